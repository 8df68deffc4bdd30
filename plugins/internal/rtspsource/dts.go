package rtspsource

import (
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

const maxDepth = 16 // H.264 A.3.1: no more frames than that can wait for output

// decodeOrder derives DTS of pictures that come in decoding order. With a
// reorder depth of d, no more than d pictures precede one in decoding order
// and follow it in output order; so after picture n the (n-d)-th smallest PTS
// is final, and it is the n-th DTS.
type decodeOrder struct {
	depth   int
	known   bool    // written in the parameter sets, not learned
	pending []int64 // the PTS that no DTS has used yet, sorted; depth of them
	recent  [maxDepth]int64
	n       int // pictures seen
	last    int64
	hasLast bool
}

// setDepth takes the depth that parameter sets state; -1 = they do not.
func (d *decodeOrder) setDepth(depth int) {
	d.known = depth >= 0
	if d.known {
		d.grow(min(depth, maxDepth))
	}
}

func (d *decodeOrder) grow(depth int) {
	if depth < d.depth {
		d.pending = d.pending[min(len(d.pending), d.depth-depth):]
	}
	d.depth = depth
}

// reset forgets what was pending: the PTS that follow are on another line.
func (d *decodeOrder) reset() {
	d.pending, d.n, d.hasLast = d.pending[:0], 0, false
}

// next returns the DTS of a picture, and false where none can be given that
// grows and is not above PTS.
func (d *decodeOrder) next(pts int64) (int64, bool) {
	if !d.known {
		d.learn(pts)
	}
	d.recent[d.n%maxDepth] = pts
	d.n++
	at, _ := slices.BinarySearch(d.pending, pts)
	d.pending = slices.Insert(d.pending, at, pts)

	var dts int64
	if len(d.pending) > d.depth {
		dts = d.pending[0]
		d.pending = slices.Delete(d.pending, 0, 1)
	} else {
		// The first pictures of a run: there are no earlier PTS to use. One
		// tick apart and just below the first one; the core measures durations
		// from the pictures that follow.
		dts = d.pending[0] - int64(d.depth-len(d.pending)+1)
	}
	if d.hasLast && dts <= d.last {
		dts = d.last + 1
	}
	if dts > pts {
		return 0, false
	}
	d.last, d.hasLast = dts, true
	return dts, true
}

// learn raises the depth to the number of recent pictures that are shown later
// than this one but came before it.
func (d *decodeOrder) learn(pts int64) {
	later := 0
	for i := 0; i < min(d.n, maxDepth); i++ {
		if d.recent[i] > pts {
			later++
		}
	}
	if later > d.depth {
		d.grow(later)
	}
}

// depthH264 reads the reorder depth from a sequence parameter set; -1 where it
// does not say. (The standard's default then is the whole picture buffer, which
// would delay every camera without B-frames by 4 to 16 pictures.)
func depthH264(sps []byte) (depth int) {
	var s h264.SPS
	if !decodes(func() error { return s.Unmarshal(sps) }) {
		return -1
	}
	switch {
	case s.PicOrderCntType == 2, s.ProfileIdc == 66:
		return 0
	case s.VUI != nil && s.VUI.BitstreamRestriction != nil:
		return int(min(s.VUI.BitstreamRestriction.MaxNumReorderFrames, maxDepth))
	}
	return -1
}

// depthH265 is the same for H.265, where the parameter set always says.
func depthH265(sps []byte) (depth int) {
	var s h265.SPS
	if !decodes(func() error { return s.Unmarshal(sps) }) || len(s.MaxNumReorderPics) == 0 {
		return -1
	}
	return int(min(s.MaxNumReorderPics[len(s.MaxNumReorderPics)-1], maxDepth))
}

// decodes runs a decoder of somebody else over foreign bytes: an error or a
// panic of it is only "no".
func decodes(f func() error) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return f() == nil
}
