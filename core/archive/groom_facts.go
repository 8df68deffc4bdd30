package archive

import (
	"database/sql"
	"fmt"
	"sync"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/media"
)

// groomFacts is what is known of the files of a pool that may be groomed.
type groomFacts struct {
	retain.Groomable
	whole []FileID // files that turned out to have nothing to gain
}

// groomStep is how many rows are read at a time.
const groomStep = 1000

// groomFacts lists the files of a pool that are old enough at now and have
// something to gain, oldest first. most is where it stops counting those that
// are not locked; 0 = never. What waits in the stage of the pool comes later.
func (a *Archive) groomFacts(p *Pool, now media.Wall, after time.Duration, most int) (*groomFacts, error) {
	out := &groomFacts{Groomable: retain.Groomable{After: after, Stays: map[string]float64{}, Busy: map[uint64]bool{}}}
	if after <= 0 {
		return out, nil
	}
	for _, space := range p.Spaces {
		if err := a.groomable(out, space, now.Add(-after), most); err != nil {
			return nil, fmt.Errorf("list what may be groomed: %w", err)
		}
	}
	for i := range out.Files {
		f := &out.Files[i]
		if _, known := out.Stays[f.Stream]; !known {
			out.Stays[f.Stream] = a.share(f.Stream)
		}
		if a.groomBusy(f, now) {
			out.Busy[f.ID] = true
		}
	}
	return out, nil
}

// groomable adds the files of a space that end before until.
func (a *Archive) groomable(out *groomFacts, space string, until media.Wall, most int) error {
	from, after := int64(-1<<62), int64(-1)
	free := 0
	for {
		n := 0
		err := each(a.cat.reader(), fmt.Sprintf("SELECT f.id, s.uid, f.t0, f.t1, f.size, f.init, f.shape%sWHERE p.name = ? AND (f.t0 > ? OR f.t0 = ? AND f.id > ?) AND f.t0 < ? AND f.t1 <= ? AND f.flags & 51 = 0 ORDER BY f.t0, f.id LIMIT %d", rowTables, groomStep),
			func(rows *sql.Rows) error {
				f := retain.File{Space: space}
				var id, t0, t1, init int64
				var shape sql.RawBytes
				if err := rows.Scan(&id, &f.Stream, &t0, &t1, &f.Size, &init, &shape); err != nil {
					return err
				}
				n, from, after = n+1, t0, id
				f.ID, f.Span = uint64(id), media.Span{From: media.Wall(t0), To: media.Wall(t1)}
				if !a.hasGain(InitID(init), shape) {
					out.whole = append(out.whole, FileID(id))
					return nil
				}
				f.Locked = a.locks.locked(f.Stream, f.Span)
				if !f.Locked {
					free++
				}
				out.Files = append(out.Files, f)
				return nil
			}, space, from, from, after, int64(until), int64(until))
		if err != nil || n < groomStep || most > 0 && free >= most {
			return err
		}
	}
}

// hasGain tells from the catalogue whether a file may be groomed. What it
// cannot tell is found out when the file is read.
func (a *Archive) hasGain(init InitID, shape []byte) bool {
	sh, err := parseShape(shape)
	if err != nil {
		return true
	}
	tracks, err := a.cat.tracks(init)
	return err != nil || groomable(sh.Tracks, tracks)
}

// A run that goes on after a restart looks back: at the newest file of its
// stream, and behind that for tracks that are sparse. Those files stay whole
// for a while.
const (
	groomNewest = 6
	groomRecent = time.Hour
)

// groomBusy tells whether a file is needed as it is just now.
func (a *Archive) groomBusy(f *retain.File, now media.Wall) bool {
	id := FileID(f.ID)
	if a.file(id) != nil || a.isPinned(id) {
		return true
	}
	if now.Sub(f.Span.To) > groomRecent {
		return false
	}
	var newer int
	err := a.cat.reader().QueryRow("SELECT count(*) FROM (SELECT 1 FROM files WHERE stream = (SELECT id FROM streams WHERE uid = ?) AND t0 > ? LIMIT ?)",
		f.Stream, int64(f.Span.From), groomNewest).Scan(&newer)
	return err != nil || newer < groomNewest
}

// shares remembers how much of each stream's files grooming leaves.
type shares struct {
	mu    sync.Mutex
	known map[string]measured
}

type measured struct {
	share float64
	at    time.Time
}

const (
	shareAge   = time.Hour // then it is measured anew
	shareFiles = 3         // oldest files that are looked at
)

// share is how much of a stream's files is left by grooming, 1 = all of it,
// measured by the index boxes of a few that may be groomed next and the newest.
// 0 = not known.
func (a *Archive) share(uid string) float64 {
	k := &a.stays
	k.mu.Lock()
	m, ok := k.known[uid]
	k.mu.Unlock()
	if ok && time.Since(m.at) < shareAge {
		return m.share
	}
	m = measured{share: a.measureShare(uid), at: time.Now()} // a space may take its time
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[string]measured{}
	}
	k.known[uid] = m
	return m.share
}

func (a *Archive) measureShare(uid string) float64 {
	var before, after int64
	for _, order := range []string{fmt.Sprintf("f.t0 LIMIT %d", shareFiles), "f.t0 DESC LIMIT 1"} {
		var rows []*row
		err := each(a.cat.reader(), "SELECT "+rowColumns+rowTables+"WHERE f.stream = (SELECT id FROM streams WHERE uid = ?) AND f.flags & 51 = 0 ORDER BY "+order, func(q *sql.Rows) error {
			r, err := scanRow(q)
			rows = append(rows, r)
			return err
		}, uid)
		if err != nil {
			return 0
		}
		for _, r := range rows {
			if sp := a.space(r.Space); sp == nil || !sp.readable() {
				continue
			}
			x, err := a.indexOfRow(r)
			if err != nil {
				continue
			}
			tracks, err := a.cat.tracks(r.Init)
			if err != nil {
				continue
			}
			before += r.Size
			after += a.groomedSize(r, x, tracks)
		}
	}
	if before == 0 {
		return 0
	}
	return min(float64(after)/float64(before), 1)
}

// groomedSize is about how long a file will be when it has been groomed, as far
// as its index tells.
func (a *Archive) groomedSize(r *row, x *Index, tracks []media.Track) int64 {
	if !groomable(ShapeOf(&x.Layout).Tracks, tracks) {
		return r.Size
	}
	const (
		fragment = 152 + 8 + 4 + 32 + 120 + mdatHeader + 24 // part header, moof, mdat, and its share of the index
		leaf     = 32
		proof    = 32 + 4 // a fragment's share of the box msgrom
	)
	video := videoTracks(tracks)
	signed := r.Size-x.End > signSize && a.isSigned(r)
	n := x.First + 512
	for i := range x.Layout.Fragments {
		fr := &x.Layout.Fragments[i]
		keys := 0
		for _, s := range fr.Samples {
			if s.Key && video[fr.Track] {
				n += int64(s.Size)
				keys++
			}
		}
		if keys > 0 {
			n += fragment
		}
		if signed {
			n += proof + leaf*int64(len(fr.Samples)-keys)
		}
	}
	return n
}

// isSigned tells whether files of a stream are signed, as its pool says now.
func (a *Archive) isSigned(r *row) bool {
	p, err := a.pool(a.rulesOf(r.UID).Pool)
	return err == nil && p.Sign
}
