package hls

import (
	"fmt"
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

// lent counts bytes.
type lent struct{ n atomic.Int64 }

// loan is given back when what was made of it has been sent. Nothing lent: the zero value.
type loan struct {
	of *lent
	n  int64
}

func (l loan) Release() {
	if l.of != nil {
		l.of.n.Add(-l.n)
	}
}

func (l *lent) take(n int64) (loan, bool) {
	if l.n.Add(n) > mostTSAtOnce {
		l.n.Add(-n)
		return loan{}, false
	}
	return loan{l, n}, true
}

// addTS appends a segment as MPEG-TS. What was stored of it is read here.
func (s *Server) addTS(uid string, seg archive.Segment, form form, _ int, body *timeline.Body) error {
	b, l, err := s.makeTS(uid, seg, form)
	if err != nil {
		return err
	}
	body.Hold(l)
	body.Add(b)
	return nil
}

// makeTS makes a segment, or nothing where none of it is carried. Its memory is
// lent until the loan is released.
func (s *Server) makeTS(uid string, seg archive.Segment, form form) (b []byte, l loan, err error) {
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
	var ok bool
	if l, ok = s.ts.take(2 * size); !ok { // what is read and what is made of it
		return nil, l, ErrBusy
	}
	defer func() {
		if err != nil {
			l.Release()
			l = loan{}
		}
	}()
	f, err := s.src.Pin(uid, seg.File)
	if err != nil {
		return nil, l, err
	}
	defer f.Release()
	units, err := tsUnits(f, frags, in, lay.Zero, size)
	if err != nil {
		return nil, l, err
	}
	return mux.AppendTS(nil, in, units), l, nil
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

// tsUnits reads the units of fragments, in order of DTS.
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
			dts, next := ticks(at), at+int64(x.Duration)
			units = append(units, mux.TSUnit{Track: fr.track, DTS: dts, PTS: ticks(at + int64(x.CTO)), Duration: ticks(next) - dts, Key: x.Key, Payload: data[:x.Size]})
			data, at = data[x.Size:], next
		}
	}
	slices.SortStableFunc(units, func(a, b mux.TSUnit) int { return int(a.DTS - b.DTS) })
	return units, nil
}
