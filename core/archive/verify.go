package archive

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// Finding is something that is not as it was recorded.
type Finding struct {
	Dir  string     // folder that is verified; "" = a single file
	File string     // path below it
	UID  string     // stream, where known
	Span media.Span // time concerned; empty = not known
	What string
}

// Verified is the outcome of a verification.
type Verified struct {
	Files     int // media files read
	Signed    int // of them with a good signature by a known key
	Unsigned  int // of them that say they were never signed
	Bytes     int64
	Encrypted int // of them encrypted
	Closed    int // of those whose units were not looked into, for want of the key
	Gone      int // files that went by rule, as signed records say
	Elsewhere int // files that were moved to a space that was not read
	Findings  []Finding
}

// Verifier reads spaces, or single files, and compares them with what was
// signed. It needs neither settings nor a server, only public keys. Not safe
// for concurrent use.
type Verifier struct {
	Keys     []ed25519.PublicKey
	UnitKeys UnitKeys       // of encrypted footage; nil: what is stored is verified, not what is in it
	Only     string         // a stream; "" = all
	Grace    time.Duration  // a file signed a moment ago may not be in the ledger yet; 0 = a minute, negative = none
	Progress func(done int) // may be nil
	Found    func(Finding)  // called as findings come; may be nil

	out    Verified
	keys   map[[8]byte]ed25519.PublicKey
	dir    string                // being read
	places map[string]*place     // by folder
	sealed map[FileID]*fact      // newest record of each, of all folders
	gone   map[FileID]string     // why; not what was moved
	seen   map[FileID]found      // where it lies
	newest map[FileID]media.Wall // when it was signed
	refers []reference
}

// place is what the ledgers of one folder say of its files.
type place struct {
	sealed map[FileID]*fact
	moved  map[FileID]bool // to another space
}

type found struct{ dir, rel string }

// reference is what one signed file says of the one before it.
type reference struct {
	by   found
	uid  string
	file FileID
	link [32]byte
	at   media.Span
}

// Verify reads spaces at dirs, which belong together: a file that was moved from
// one to another is looked for there. Files below open/ and aside/ are left
// apart: those are being written, or were never understood.
func (v *Verifier) Verify(ctx context.Context, dirs ...string) (*Verified, error) {
	v.begin()
	for _, dir := range dirs {
		v.dir = dir
		v.places[dir] = &place{sealed: map[FileID]*fact{}, moved: map[FileID]bool{}}
		if err := v.ledgers(dir); err != nil {
			return nil, err
		}
	}
	for _, dir := range dirs {
		v.dir = dir
		if err := v.files(ctx, dir); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	v.missing()
	return &v.out, nil
}

// files verifies the media files of a space.
func (v *Verifier) files(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		rel = filepath.ToSlash(rel)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && (rel == "open" || rel == "aside" || rel == "ledger"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(rel, ".mp4"):
			return nil
		}
		uid, _, _ := strings.Cut(rel, "/")
		if v.Only == "" || uid == v.Only {
			v.file(path, rel, uid)
		}
		return nil
	})
}

// VerifyFile reads one media file by itself: what is missing beside it nobody
// can tell.
func (v *Verifier) VerifyFile(path string) *Verified {
	v.begin()
	v.file(path, filepath.Base(path), "")
	return &v.out
}

func (v *Verifier) begin() {
	v.out = Verified{}
	v.keys = map[[8]byte]ed25519.PublicKey{}
	for _, k := range v.Keys {
		h := sha256.Sum256(k)
		v.keys[[8]byte(h[:8])] = k
	}
	v.dir, v.places = "", map[string]*place{}
	v.sealed, v.gone, v.seen, v.newest, v.refers = map[FileID]*fact{}, map[FileID]string{}, map[FileID]found{}, map[FileID]media.Wall{}, nil
}

func (v *Verifier) find(file, uid string, span media.Span, format string, args ...any) {
	f := Finding{Dir: v.dir, File: file, UID: uid, Span: span, What: fmt.Sprintf(format, args...)}
	v.out.Findings = append(v.out.Findings, f)
	if v.Found != nil {
		v.Found(f)
	}
}

// ledgers reads the signed records of a space.
func (v *Verifier) ledgers(dir string) error {
	var names []string
	for _, folder := range []string{"ledger", "open"} {
		m, err := filepath.Glob(filepath.Join(dir, folder, "*"+ledgerSuffix))
		if err != nil {
			return err
		}
		names = append(names, m...)
	}
	slices.Sort(names)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel := filepath.Base(filepath.Dir(name)) + "/" + filepath.Base(name)
		good, err := parseRecords(b, func(f fact, rec []byte) {
			if f.Type == factSigned {
				v.record(rel, f, rec)
			}
		})
		switch open := strings.HasPrefix(rel, openPrefix); {
		case err != nil:
			v.find(rel, "", media.Span{}, "is not a ledger: %v", err)
		case good < len(b) && !open: // a growing one may have a torn tail
			v.find(rel, "", media.Span{}, "the ledger is damaged at byte %d of %d", good, len(b))
		}
	}
	return nil
}

func (v *Verifier) record(ledger string, f fact, rec []byte) {
	key, ok := v.keys[f.Key]
	if !ok {
		return // of another server, or an earlier key that was not given
	}
	if !ed25519.Verify(key, factBytes(rec), f.Sig[:]) {
		v.find(ledger, f.UID, media.Span{From: f.At, To: f.Until}, "the signature of a record is wrong")
		return
	}
	switch f.Cause {
	case causeSealed:
		v.sealed[f.File], v.places[v.dir].sealed[f.File] = &f, &f
	case causeMoved:
		v.places[v.dir].moved[f.File] = true
	default:
		v.gone[f.File] = string(f.Cause)
	}
}

// file verifies one media file.
func (v *Verifier) file(path, rel, uid string) {
	v.out.Files++
	if v.Progress != nil {
		v.Progress(v.out.Files)
	}
	f, err := os.Open(path)
	if err != nil {
		v.find(rel, uid, media.Span{}, "cannot be read: %v", err)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		v.find(rel, uid, media.Span{}, "cannot be read: %v", err)
		return
	}
	v.out.Bytes += fi.Size()
	c := fileCheck{v: v, r: f, rel: rel, uid: uid, size: fi.Size()}
	c.run()
}

// fileCheck is the verification of one file.
type fileCheck struct {
	v    *Verifier
	r    io.ReaderAt
	rel  string
	uid  string
	size int64

	header *FileHeader
	infos  []mux.FragmentInfo
	link   [32]byte
	span   media.Span
	bad    bool
	cipher *partCipher // nil: clear, or the key is not at hand
}

func (c *fileCheck) find(span media.Span, format string, args ...any) {
	c.bad = true
	c.v.find(c.rel, c.uid, span, format, args...)
}

func (c *fileCheck) run() {
	h, _, at, err := parseHead(c.r, c.size)
	if err != nil {
		c.find(media.Span{}, "its head is damaged: %v", err)
		return
	}
	c.header = h
	c.span = media.Span{From: h.Opened, To: h.Opened}
	switch id, named := idOf(c.rel); {
	case c.uid != "" && h.UID != c.uid:
		c.find(c.span, "it is footage of stream %s, not of %s", h.UID, c.uid)
	case named && id != h.ID:
		c.find(c.span, "it is file %s under another's name", h.ID)
	}
	c.uid = h.UID
	if other, twice := c.v.seen[h.ID]; twice && other.dir == c.v.dir { // in two spaces while it is moved
		c.find(c.span, "it is a copy of %s", other.rel)
	}
	c.v.seen[h.ID] = found{c.v.dir, c.rel}
	c.secretFile()
	if h.Optional&featureSigned == 0 {
		c.v.out.Unsigned++
		if _, was := c.v.sealed[h.ID]; was {
			c.find(c.span, "it was signed when it was recorded and is not any more")
		}
		c.plain(at)
		return
	}
	head := make([]byte, at)
	if _, err := c.r.ReadAt(head, 0); err != nil {
		c.find(c.span, "cannot be read: %v", err)
		return
	}
	c.link = beginChain(head).link
	end := c.fragments(at)
	c.signature(end)
}

// plain checks what an unsigned file says of itself: checksums only.
func (c *fileCheck) plain(at int64) {
	c.fragments(at)
	if _, _, err := readIndex(c.r, c.size); err != nil {
		c.find(c.span, "its index is damaged: %v", err)
	}
}

// fragments walks the chain and returns where the fragments end.
func (c *fileCheck) fragments(at int64) int64 {
	end := at
	signed := c.header.Optional&featureSigned != 0
	for at < c.size {
		x, next, err := mux.ParseFragment(c.r, at, c.size)
		if err != nil {
			if at == end && c.isBox(at) {
				return end
			}
			resume := findPart(c.r, at+1, c.size)
			from := c.span.To
			if resume < 0 {
				if !c.isBox(at) {
					c.find(media.Span{From: from, To: from}, "it is damaged from byte %d on: %v", at, err)
				}
				return end
			}
			at = resume
			if y, _, err := mux.ParseFragment(c.r, at, c.size); err == nil {
				c.find(media.Span{From: from, To: y.Header.WallStart}, "bytes %d to %d are damaged", end, at)
				c.link = y.Header.Chain // the rest is judged by itself
			}
			continue
		}
		span := c.spanOf(&x)
		if signed {
			c.chained(&x, span)
		} else if err := verifyUnits(c.r, &x); err != nil {
			c.find(span, "units were changed: %v", err)
		}
		c.inside(&x, span)
		c.infos = append(c.infos, x)
		c.span.To = max(c.span.To, span.To)
		at, end = next, next
	}
	return end
}

// chained compares a fragment's link to the one before, and its units with
// their hashes.
func (c *fileCheck) chained(x *mux.FragmentInfo, span media.Span) {
	if !x.Header.HasChain || x.Header.Chain != c.link {
		before := media.Span{From: c.span.To, To: span.From}
		if n := len(c.infos); n > 0 {
			before.From = c.infos[n-1].Header.WallStart
		}
		c.find(before, "the chain is broken in front of this part: something before it was changed, cut out, put in or swapped")
	}
	if err := verifyUnits(c.r, x); err != nil {
		c.find(span, "units were changed: %v", err)
	}
	link, err := storedLink(c.r, x)
	if err != nil {
		c.find(span, "cannot be read: %v", err)
		return
	}
	c.link = link
}

func (c *fileCheck) spanOf(x *mux.FragmentInfo) media.Span {
	s := media.Span{From: x.Header.WallStart}
	s.To = s.From
	for _, t := range c.header.Tracks {
		if t.ID == x.Header.Track {
			s.To = s.From.Add(media.DurationOf(x.Duration, t.Timescale))
		}
	}
	return s
}

// isBox tells whether a signature or an index begins at a byte.
func (c *fileCheck) isBox(at int64) bool {
	b := make([]byte, 24)
	if _, err := c.r.ReadAt(b, at); err != nil {
		return false
	}
	id := [16]byte(b[8:])
	return string(b[4:8]) == "uuid" && (id == boxSign || id == boxIndex)
}

// signature checks what lies behind the last fragment.
func (c *fileCheck) signature(end int64) {
	at := c.span.To
	last := media.Span{From: at, To: at}
	b := make([]byte, signSize)
	if n, _ := c.r.ReadAt(b, end); n < len(b) {
		c.find(last, "its tail was cut: the signature is missing")
		return
	}
	sig, err := parseSignature(b)
	if err != nil {
		c.find(last, "its signature is missing or damaged: %v", err)
		return
	}
	key, known := c.v.keys[sig.Key]
	switch {
	case !known:
		c.find(c.span, "it was signed with key %x, which was not given", sig.Key)
		return
	case !ed25519.Verify(key, signedBytes(b), sig.Sig[:]):
		c.find(c.span, "its signature is wrong")
		return
	case sig.File != c.header.ID:
		c.find(c.span, "its signature is that of file %s", sig.File)
	case int(sig.Count) != len(c.infos):
		c.find(c.span, "%d parts were signed, %d are there", sig.Count, len(c.infos))
	case sig.Link != c.link:
		c.find(last, "its last part was changed")
	}
	idx := make([]byte, c.size-end-signSize)
	if n, _ := c.r.ReadAt(idx, end+signSize); n < len(idx) || sha256.Sum256(idx) != sig.Index {
		c.find(last, "its index was changed or cut")
	}
	c.v.refers = append(c.v.refers, reference{by: found{c.v.dir, c.rel}, uid: c.uid, file: sig.Previous, link: sig.PreviousLink, at: c.span})
	c.v.newest[c.header.ID] = sig.At
	if rec := c.v.sealed[c.header.ID]; rec != nil && rec.Link != sig.Link && !c.bad {
		c.find(c.span, "the ledger knows it with another content")
	}
	if !c.bad {
		c.v.out.Signed++
	}
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
		if v.Only != "" && rec.UID != v.Only {
			continue
		}
		_, there := v.seen[id]
		switch _, gone := v.gone[id]; {
		case gone:
			v.out.Gone++
		case !there && moved[id] && v.settled(id):
			v.out.Elsewhere++
		}
	}
	// A file whose record was taken away with it is still named by the next.
	for _, r := range v.refers {
		if r.file == 0 {
			continue
		}
		_, there := v.seen[r.file]
		_, gone := v.gone[r.file]
		_, told := v.sealed[r.file]
		if !there && !gone && !told && !moved[r.file] {
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
		if v.sealed[id] == nil && v.gone[id] == "" && len(v.sealed) > 0 && time.Since(at.Time()) > grace {
			v.dir = v.seen[id].dir
			v.find(v.seen[id].rel, "", media.Span{}, "no ledger knows it: the ledger was cut or is missing")
		}
	}
	slices.SortStableFunc(v.out.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Dir, b.Dir))
	})
}

// taken names the files that the ledgers of one folder have, and nobody else.
func (v *Verifier) taken(p *place) {
	for id, rec := range p.sealed {
		if v.Only != "" && rec.UID != v.Only {
			continue
		}
		_, there := v.seen[id]
		_, gone := v.gone[id]
		if !there && !gone && !p.moved[id] {
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
