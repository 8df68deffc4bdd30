package retain

import (
	"time"

	"media-server/core/media"
)

// Groomable is the footage of a pool that may be reduced to key frames.
type Groomable struct {
	After time.Duration      // age at which it is; 0 = never
	Stays map[string]float64 // share of a file's bytes that is left of it, by stream, as measured
	Files []File             // sealed, with something to gain, in any order
	Busy  map[uint64]bool    // of them those that somebody reads, or a run may go on from
}

// Grooming is one file that keeps its key frames only.
type Grooming struct {
	File
	Gain int64 // bytes that will be free, as far as can be told before
}

// Groom lists what is due, oldest first. A file is due when all of it is old
// enough. One that shares any time with a lock stays whole, and so does one
// that is read; what the plan del deletes is not groomed before.
func Groom(now media.Wall, g Groomable, del []Deletion) (out []Grooming) {
	if g.After <= 0 {
		return nil
	}
	gone := make(map[uint64]bool, len(del))
	for i := range del {
		gone[del[i].ID] = true
	}
	until := now.Add(-g.After)
	for _, f := range ordered(g.Files) {
		if f.Locked || f.Span.To > until || gone[f.ID] || g.Busy[f.ID] {
			continue
		}
		out = append(out, Grooming{File: f, Gain: gain(f.Size, g.Stays[f.Stream])})
	}
	return out
}

// gain is how many bytes go when a share of them stays; of a stream that was
// not measured nothing is promised.
func gain(size int64, stays float64) int64 {
	if stays <= 0 || stays >= 1 {
		return 0
	}
	return size - int64(float64(size)*stays)
}
