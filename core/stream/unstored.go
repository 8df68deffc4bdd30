package stream

import (
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// Unstored is a track whose units arrive and cannot be stored.
type Unstored struct {
	Codec string
	Why   string
	Since media.Wall
}

// How long units may be refused before it is said. A key frame may be half a
// minute away on a healthy camera.
const (
	unstoredAfter = 5 * time.Second
	waitingAfter  = 40 * time.Second
)

// refused notes what became of a unit of the track.
func (t *runTrack) refused(d mux.Drop, at media.Wall) {
	switch {
	case d == mux.Stored:
		t.badSince = 0
	case d == mux.DropDuplicate:
	case t.badSince == 0 || t.badWhy != d:
		t.badSince, t.badWhy = at, d
	}
}

// unstored lists the tracks of which nothing has been stored for a while
// though units arrive.
func (r *run) unstored() (out []Unstored) {
	for i := range r.tracks {
		t := &r.tracks[i]
		limit := unstoredAfter
		if t.badWhy == mux.DropWaiting {
			limit = waitingAfter
		}
		if t.badSince != 0 && t.newest.Sub(t.badSince) > limit {
			out = append(out, Unstored{Codec: string(t.Codec), Why: t.badWhy.String(), Since: t.badSince})
		}
	}
	return out
}
