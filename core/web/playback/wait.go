package playback

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"media-server/core/hls"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// waitMost is how long a request for what is to come waits: as long as three segments
// of the longest kind may take (RFC 8216bis 6.2.5.2). Where nothing came a playlist is
// answered as it is, with 200 rather than the 503 of the draft: the camera is away, and
// a player that hears of an error gives up, where this one asks again.
const waitMost = 30 * time.Second

// lowLatency tells whether a playlist has parts for this player. One that shows many
// streams on a page over HTTP/1.1, where a browser opens six connections, says
// latency=normal. Apple's players take parts over HTTP/2 alone.
func (r *request) lowLatency() bool {
	return r.args.Get("latency") != "normal" && !strings.Contains(string(r.ctx.UserAgent()), "AppleCoreMedia")
}

// await holds the request for a playlist until it has what the player waits for.
func (h *Handler) await(r request) *web.Error {
	msn, part := r.args.Get("_HLS_msn"), r.args.Get("_HLS_part")
	if msn == "" && part == "" {
		return nil
	}
	n, err := strconv.ParseUint(msn, 10, 64)
	p := uint64(0)
	if err == nil && part != "" {
		p, err = strconv.ParseUint(part, 10, 16)
	}
	if err != nil {
		return web.E(400, "bad_wait", "_HLS_msn and _HLS_part are numbers, the second never without the first", "see EXT-X-SERVER-CONTROL")
	}
	want := int(p)
	if part == "" {
		want = -1
	}
	return h.until(r, func() (bool, error) { return h.hls.Ready(r.src, n, want) })
}

// until waits until something is there, the wait is too long, or the server ends. What
// ready finds wrong is left to who answers, but for what can never be.
func (h *Handler) until(r request, ready func() (bool, error)) *web.Error {
	moved, stop := h.opt.Timeline.Watch(r.src)
	defer stop()
	t := time.NewTimer(waitMost)
	defer t.Stop()
	tick := time.NewTicker(lookAgain) // the memory that is watched may be that of before
	defer tick.Stop()
	for {
		switch ok, err := ready(); {
		case errors.Is(err, hls.ErrAhead):
			return web.E(400, "too_far_ahead", err.Error(), "wait for the next segment, or load the playlist anew")
		case ok, err != nil && !errors.Is(err, timeline.ErrNoFootage):
			return nil
		}
		select {
		case <-moved:
		case <-tick.C:
		case <-t.C:
			return nil
		case <-h.opt.Done:
			return nil
		}
	}
}

// lookAgain is how often one who waits looks by himself.
const lookAgain = 500 * time.Millisecond

// wakeMost is how long the first viewer of a stream that is captured on demand waits
// for it: a camera answers within a second or two, and begins with a key frame.
const wakeMost = 12 * time.Second

// nearNow is how far back somebody may begin who is taken to want to see what is live in
// the end: a camera is not captured for one who looks at what was last week.
const nearNow = time.Hour

// wake makes sure that a stream is captured that somebody wants to see live, and waits
// until there is a first segment; who begins earlier has something to look at.
func (h *Handler) wake(r request, live bool, from media.Wall) {
	if h.opt.Wake == nil || !live && time.Since(from.Time()) > nearNow {
		return
	}
	if !h.opt.Wake(r.src) || !live {
		return
	}
	moved, stop := h.opt.Timeline.Watch(r.src)
	defer stop()
	t := time.NewTimer(wakeMost)
	defer t.Stop()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		segs, err := h.opt.Timeline.Last(r.src, 1)
		if n := len(segs); err == nil && n > 0 && time.Since(segs[n-1].Span.To.Time()) < fresh && (n > 1 || segs[0].Complete) {
			return
		}
		select {
		case <-moved:
		case <-tick.C:
		case <-t.C:
			return
		case <-h.opt.Done:
			return
		}
	}
}

// fresh is how old live footage is at most.
const fresh = 15 * time.Second
