package hls

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// Players that know nothing of fragmented MP4 get MPEG-TS where they ask for it.
// Only there is anything written anew of what is stored: a segment is read whole,
// its units get the headers of the other container, and the result is held in
// memory until it is sent.
//
//	fragments of a segment ─▶ units of all tracks in order of DTS ─▶ mux.AppendTS ─▶ <ms>-<n>.ts
//
// Times are those of MP4, but count from 1970 rather than from the run's zero: they
// go on over runs too, with the hole between them as it was. ffmpeg takes a step
// back for a new beginning and puts it where the pictures ended, some sound before
// it; up to ten seconds forward it leaves as they are. 33 bits come round once in
// 26.5 hours, which players know.

const tsExt = ".ts"

// cutTS reads the name of a segment of MPEG-TS as that of MP4.
func cutTS(name string) (string, bool) {
	base, ok := strings.CutSuffix(name, tsExt)
	if !ok {
		return name, false
	}
	return base + ".m4s", true
}

// Bounds of the memory that MPEG-TS takes: ten seconds of 50 Mbit/s, and all that
// is held for viewers who are slow to take it.
const (
	mostTS       = 64 << 20
	mostTSAtOnce = 512 << 20
)

// mostLent is the most that one segment or all recordings may take of it: who loads
// a day does not keep others from looking.
const mostLent = mostTSAtOnce / 2

// lent counts bytes.
type lent struct {
	n        atomic.Int64 // in all
	recorded atomic.Int64 // of it, for recordings
}

// loan is given back when what was made of it has been sent. Nothing lent: the zero value.
type loan struct {
	of       *lent
	n        int64
	recorded bool
}

func (l loan) Release() {
	if l.of == nil {
		return
	}
	l.of.n.Add(-l.n)
	if l.recorded {
		l.of.recorded.Add(-l.n)
	}
}

func (l *lent) take(n int64, recording bool) (loan, bool) {
	if recording && l.recorded.Add(n) > mostLent {
		l.recorded.Add(-n)
		return loan{}, false
	}
	if l.n.Add(n) > mostTSAtOnce {
		loan{l, n, recording}.Release()
		return loan{}, false
	}
	return loan{l, n, recording}, true
}

// addTS appends a segment as MPEG-TS. What was stored of it is read here.
func (s *Server) addTS(uid string, seg archive.Segment, form form, _ int, body *timeline.Body) error {
	b, l, err := s.makeTS(uid, seg, form, false)
	if err != nil {
		return err
	}
	body.Hold(l)
	body.Add(b)
	return nil
}

// makeTS makes a segment, or nothing where none of it is carried. Its memory is
// lent until the loan is released.
func (s *Server) makeTS(uid string, seg archive.Segment, form form, recording bool) (b []byte, l loan, err error) {
	tracks, err := s.src.Tracks(uid, seg.Init)
	if err != nil {
		return nil, l, err
	}
	in, _ := Request{TS: true}.carried(tracks)
	if form == picturesOnly {
		in = ofVideo(in)
	}
	in = mux.TSTracks(in)
	lay, err := s.src.Layout(uid, seg.File)
	if err != nil {
		return nil, l, err
	}
	sl := slices.IndexFunc(lay.Segments, func(x archive.SegmentLayout) bool { return x.Number == seg.Number })
	if sl < 0 {
		return nil, l, ErrNotFound
	}
	frags, size := fragmentsOf(lay.Fragments[lay.Segments[sl].First:lay.Segments[sl].Last], in)
	if size > mostTS {
		return nil, l, fmt.Errorf("%w: it has %d bytes, %d at most", ErrTooLarge, size, mostTS)
	}
	if len(frags) == 0 {
		return nil, l, nil
	}
	made, units := mostOf(frags, in)
	all := size + made + tsBook*int64(units) // what is read, and what is made of it
	if all > mostLent {
		return nil, l, fmt.Errorf("%w: it takes %d bytes, %d at most", ErrTooLarge, all, mostLent)
	}
	l, ok := s.ts.take(all, recording)
	if !ok {
		return nil, l, ErrBusy
	}
	if b, err = s.writeTS(uid, seg.File, frags, in, lay.Zero, size, l); err != nil {
		l = loan{}
	}
	return b, l, err
}

// tsBook is how much is noted of a unit while a segment is made.
const tsBook = 400

// writeTS reads and writes fragments. The loan is released unless that works.
func (s *Server) writeTS(uid string, id archive.FileID, frags []tsFragment, in []media.Track, zero media.Wall, size int64, l loan) ([]byte, error) {
	works := false
	defer func() {
		if !works { // also where it panics
			l.Release()
		}
	}()
	f, err := s.src.Pin(uid, id)
	if err != nil {
		return nil, err
	}
	defer f.Release()
	units, err := tsUnits(f, frags, in, zero, size)
	if err != nil {
		return nil, err
	}
	b := mux.AppendTS(nil, in, units)
	works = true
	return b, nil
}

// tsFragment is a fragment of a track that is carried.
type tsFragment struct {
	*archive.Fragment
	track int // index among those carried
}

// fragmentsOf picks the fragments of tracks, and sums up their payload.
func fragmentsOf(all []archive.Fragment, tracks []media.Track) (out []tsFragment, size int64) {
	for i := range all {
		k := slices.IndexFunc(tracks, func(t media.Track) bool { return t.ID == all[i].Track })
		if k >= 0 && len(all[i].Samples) > 0 {
			out = append(out, tsFragment{&all[i], k})
			size += all[i].DataSize
		}
	}
	return out, size
}

// sizedTS gives segments the size that they have as MPEG-TS at most: what each unit
// gets in front of it, and that packets are filled up, counts more the smaller it is.
func (s *Server) sizedTS(req Request, segs []archive.Segment) []archive.Segment {
	segs = slices.Clone(segs)
	for i := range segs {
		seg := &segs[i]
		tracks, err := s.src.Tracks(req.UID, seg.Init)
		lay, e := s.src.Layout(req.UID, seg.File)
		if err != nil || e != nil {
			seg.Size += seg.Size / 4 // it is away; nobody knows better
			continue
		}
		in, _ := req.carried(tracks)
		in = mux.TSTracks(in)
		for _, l := range lay.Segments {
			if l.Number == seg.Number {
				frags, _ := fragmentsOf(lay.Fragments[l.First:l.Last], in)
				seg.Size, _ = mostOf(frags, in)
			}
		}
	}
	return segs
}

// mostOf is how many bytes of MPEG-TS fragments become at most, and how many units
// they have.
func mostOf(frags []tsFragment, tracks []media.Track) (bytes int64, units int) {
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	for _, fr := range frags {
		t := &tracks[fr.track]
		at := fr.BaseTime
		for _, x := range fr.Samples {
			bytes += mux.TSUnitMost(t, min(int64(x.Size), fr.DataSize), x.Key)
			at += int64(x.Duration)
		}
		units += len(fr.Samples)
		from = min(from, media.Rescale(fr.BaseTime, mux.TSRate, int64(t.Timescale)))
		to = max(to, media.Rescale(at, mux.TSRate, int64(t.Timescale)))
	}
	return bytes + mux.TSRestMost(len(tracks), units, max(to-from, 0)), units
}

// tsUnits reads the units of fragments, in order of DTS. MP4 may show a unit before
// its decoding time (ISO/IEC 14496-12 8.6.1.3, negative offsets), MPEG-TS may not:
// such a unit is decoded earlier, and what comes before it as far as it must.
func tsUnits(f timeline.File, frags []tsFragment, tracks []media.Track, zero media.Wall, size int64) ([]mux.TSUnit, error) {
	stored := make([]byte, size)
	n := 0
	for _, fr := range frags {
		n += len(fr.Samples)
	}
	units := make([]mux.TSUnit, 0, n)
	from := media.TicksOf(zero.Sub(0), mux.TSRate)
	for _, fr := range frags {
		data := stored[:fr.DataSize]
		stored = stored[fr.DataSize:]
		if _, err := f.ReadAt(data, fr.DataOffset); err != nil {
			return nil, fmt.Errorf("read %d bytes at %d: %w", fr.DataSize, fr.DataOffset, err)
		}
		scale := int64(tracks[fr.track].Timescale)
		ticks := func(t int64) int64 { return from + media.Rescale(t, mux.TSRate, scale) }
		at := fr.BaseTime
		for _, x := range fr.Samples {
			if int64(x.Size) > int64(len(data)) {
				return nil, fmt.Errorf("%w: a unit reaches over the end of its fragment at %d", archive.ErrDamaged, fr.DataOffset)
			}
			dts, pts, next := ticks(at), ticks(at+int64(x.CTO)), at+int64(x.Duration)
			units = append(units, mux.TSUnit{Track: fr.track, DTS: dts, PTS: pts, Duration: ticks(next) - dts, Key: x.Key, Payload: data[:x.Size]})
			data, at = data[x.Size:], next
		}
	}
	next := slices.Repeat([]int64{math.MaxInt64}, len(tracks)) // DTS behind it
	for i := len(units) - 1; i >= 0; i-- {
		u := &units[i]
		u.DTS = min(u.DTS, u.PTS, next[u.Track]-1)
		next[u.Track] = u.DTS
	}
	slices.SortStableFunc(units, func(a, b mux.TSUnit) int { return int(a.DTS - b.DTS) })
	return units, nil
}
