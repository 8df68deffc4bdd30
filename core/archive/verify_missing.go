package archive

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"media-server/core/media"
)

// there tells whether a file, or what it was groomed to, was found.
func (v *Verifier) there(id FileID) bool {
	_, there := v.seen[id]
	_, stands := v.stands[id]
	return there || stands
}

// missing compares what was signed with what is there.
func (v *Verifier) missing() {
	moved := map[FileID]bool{}
	for dir, p := range v.places {
		v.dir = dir
		for id := range p.moved {
			moved[id] = true
		}
		v.taken(p)
	}
	v.dir = ""
	for id, rec := range v.sealed {
		if v.leaves(rec.UID) {
			continue
		}
		switch _, gone := v.gone[id]; {
		case gone:
			v.out.Gone++
		case !v.there(id) && moved[id] && v.settled(id):
			v.out.Elsewhere++
		}
		if made, groomed := v.placed[id]; groomed && !v.there(id) && !v.there(made) && v.gone[made] == "" && v.sealed[made] == nil {
			v.find(finalName(rec.UID, made, rec.At), rec.UID, media.Span{From: rec.At, To: rec.Until}, "the file that keeps the key frames of %s is missing, and no rule took it", id)
		}
	}
	// A file whose record was taken away with it is still named by the next.
	for _, r := range v.refers {
		if r.file == 0 {
			continue
		}
		_, gone := v.gone[r.file]
		_, told := v.sealed[r.file]
		if !v.there(r.file) && !gone && !told && !moved[r.file] {
			v.dir = r.by.dir
			v.find(r.by.rel, r.uid, media.Span{From: r.at.From, To: r.at.From}, "the file before it (%s) is missing, and nothing says why", r.file)
		}
	}
	// Files are attested as they are sealed: one that is not, beside others that
	// are, means that the end of a ledger was cut.
	grace := v.Grace
	if grace == 0 {
		grace = time.Minute
	}
	for id, at := range v.newest {
		if v.sealed[id] == nil && !v.late[id] && v.gone[id] == "" && len(v.sealed) > 0 && time.Since(at.Time()) > grace {
			v.dir = v.seen[id].dir
			v.find(v.seen[id].rel, "", media.Span{}, "no ledger knows it: the ledger was cut or is missing")
		}
	}
	v.tell()
	slices.SortStableFunc(v.out.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Dir, b.Dir))
	})
}

// taken names the files that the ledgers of one folder have, and nobody else.
func (v *Verifier) taken(p *place) {
	for id, rec := range p.sealed {
		if v.leaves(rec.UID) {
			continue
		}
		_, gone := v.gone[id]
		if !v.there(id) && !gone && !p.moved[id] {
			v.find(finalName(rec.UID, id, rec.At), rec.UID, media.Span{From: rec.At, To: rec.Until}, "the file is missing, and no rule took it")
		}
	}
}

// settled tells whether a file went to a space that was not read: no folder
// that was says that it has it.
func (v *Verifier) settled(id FileID) bool {
	for _, p := range v.places {
		if p.sealed[id] != nil && !p.moved[id] {
			return false
		}
	}
	return true
}
