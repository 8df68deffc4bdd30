package mux

import "media-server/core/media"

// add places a unit, which ends the one held before it, and cuts parts and
// segments where they are due.
func (w *Writer) add(t *track, u *media.AccessUnit, wall media.Wall, key bool) (dts int64, cto int32) {
	dts, cto = w.place(t, u, wall)
	at := t.ns(dts)
	w.adding, w.addingAt = t, dts
	if t.holding {
		w.finish(t, dts)
	} else if t.Kind() == media.Data {
		t.closeData(dts)
	}
	if w.segStart < 0 {
		w.openSegment(t, at, cto, key || w.start.Continue)
	} else if independent, due := w.due(t, at, key); due {
		w.emit()
		if w.partIndex > 0 { // else nothing came of it yet: only held units
			w.segment++
			w.partIndex = 0
		}
		w.openSegment(t, at, cto, independent)
	}
	t.hold(u, wall, dts, cto, key)
	if t.Kind() == media.Data {
		w.makeRoom(t, 1, at)
		t.take(1) // until the next one or the part's end
	}
	w.adding = nil
	return dts, cto
}

func (w *Writer) openSegment(t *track, at int64, cto int32, independent bool) {
	w.segStart, w.independent = at, independent
	w.shift = 0
	if t == w.primary {
		w.shift = t.ns(int64(cto))
	}
}

// due tells whether a new segment begins with a unit of t at decode time at.
func (w *Writer) due(t *track, at int64, key bool) (independent, due bool) {
	long := at - w.segStart
	if t != w.primary { // only when the primary track is silent
		return w.primary.Kind() != media.Video, t.Kind() != media.Data && long >= int64(w.cfg.MaxSegment)*11/10
	}
	least := int64(w.cfg.MinSegment)
	if t.Kind() == media.Video {
		// A few per cent less will do: the clock map bends, and a GOP of exactly
		// half the length must not make every segment half as long again.
		least = least * 19 / 20
	}
	if key && (long >= least || !w.independent) {
		return true, true
	}
	return false, long >= int64(w.cfg.MaxSegment)
}

// finish gives the held unit its duration and makes it part of a part.
func (w *Writer) finish(t *track, next int64) {
	d := next - t.held.dts // >= 1: place sees to it
	hole := t.ns(d) > int64(w.cfg.MaxSegment)
	if hole {
		w.stats.Holes++
		d = int64(t.usual())
	} else {
		t.last = uint32(d)
	}
	w.makeRoom(t, d, t.ns(t.held.dts))
	t.take(uint32(d))
	if hole || t.ns(t.ticks+d) > int64(w.cfg.PartDuration) { // the next one would be too long
		w.emit()
	}
}

// makeRoom cuts the part when the held unit does not fit in it any more.
func (w *Writer) makeRoom(t *track, d, at int64) {
	if len(t.pending) == 0 {
		return
	}
	long := t.ns(t.ticks + d)
	if t.Kind() == media.Data {
		long = at - t.ns(t.pending[0].dts)
	}
	gap := t.Kind() != media.Data && t.held.dts != t.pending[len(t.pending)-1].end()
	if long > int64(w.cfg.PartDuration) || gap || len(t.pending) >= maxUnits || t.size+int(t.held.size) > maxPartBytes {
		w.emit()
	}
}

// closeData ends the last pending document where the next one begins.
func (t *track) closeData(next int64) {
	if n := len(t.pending); n > 0 && next > t.pending[n-1].dts {
		t.stretch(next)
	}
}

// stretch lets the last pending sample last until end.
func (t *track) stretch(end int64) {
	s := &t.pending[len(t.pending)-1]
	d := uint32(min(max(end-s.dts, 1), int64(t.Timescale)*60))
	t.ticks += int64(d) - int64(s.duration)
	s.duration = d
	t.next = max(t.next, s.end())
}

// Flush ends the writer: held units leave with the duration of the one before,
// or up to the unit that Write reported as Changed.
func (w *Writer) Flush() []*media.Part {
	w.out = w.out[:0]
	for _, t := range w.tracks {
		if !t.holding {
			continue
		}
		d := int64(t.usual())
		if t.ended > t.held.dts && t.ns(t.ended-t.held.dts) <= int64(w.cfg.MaxSegment) {
			d = t.ended - t.held.dts
		}
		t.last = uint32(d)
		w.makeRoom(t, d, t.ns(t.held.dts))
		t.take(uint32(d))
	}
	w.emit()
	w.closed = true
	for _, t := range w.tracks {
		t.bytes.free()
	}
	return w.out
}

// Next says where a writer of other parameters goes on in the same run, after Flush.
// The discontinuity counter is one higher, the segment the next.
func (w *Writer) Next(tracks []media.Track) Start {
	s := Start{Run: w.start.Run, Zero: w.zero, Tracks: tracks, Segment: w.segment, Discontinuity: w.start.Discontinuity,
		Fragments: w.fragments}
	if w.fragments > w.start.Fragments {
		s.Discontinuity++
		if w.partIndex > 0 {
			s.Segment++
		}
	}
	for _, t := range w.tracks {
		e := Expect{Track: t.ID, NextTime: t.next, LastDuration: t.last, NextSeq: t.nextSeq}
		if t.inFile && e.NextTime > 0 {
			s.Expect = append(s.Expect, e)
		}
	}
	return s
}
