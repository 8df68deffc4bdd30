package mux

import (
	"bytes"
	"time"

	"media-server/core/media"
)

// earlyUnit is a unit of sound or data that came while a key frame was waited
// for. A picture arrives later than sound taken at the same time (reordering,
// larger units), so what comes before the first key frame may belong behind it.
type earlyUnit struct {
	media.AccessUnit
	wall media.Wall
}

// Bounds of what is kept: a picture is not later than that. GStreamer's RTSP
// server, when its pipeline begins again, has sent sound two seconds ahead of the
// pictures of the same time.
const (
	earlySpan  = 5 * time.Second
	earlyBytes = 1 << 20
)

// keepEarly keeps a unit with a payload of its own, and drops those that are
// too old by now.
func (w *Writer) keepEarly(u *media.AccessUnit, wall media.Wall) {
	e := earlyUnit{*u, wall}
	e.Payload = bytes.Clone(u.Payload)
	w.early = append(w.early, e)
	total := 0
	for i := range w.early {
		total += len(w.early[i].Payload)
	}
	n := 0
	for n < len(w.early)-1 && (wall.Sub(w.early[n].wall) > earlySpan || total > earlyBytes) {
		total -= len(w.early[n].Payload)
		w.drop(DropWaiting)
		n++
	}
	w.early = append(w.early[:0], w.early[n:]...)
}

// addEarly adds what was taken at or after the first unit of the file and where
// nothing else is stored, and drops the rest. It returns how many were added.
func (w *Writer) addEarly(start media.Wall) (joined int) {
	early := w.early
	w.early = nil
	for i := range early {
		e := &early[i]
		t := w.track(e.Track)
		if e.wall < start || !t.inFile || e.Seq < t.nextSeq || w.start.Covered != nil && w.start.Covered(e.Track, e.wall) {
			w.drop(DropWaiting)
			continue
		}
		t.nextSeq = e.Seq + 1
		w.add(t, &e.AccessUnit, e.wall, true)
		joined++
	}
	return joined
}
