package webrtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// Looking at a stream before it is promised to a player.
const (
	probeWait   = 4 * time.Second        // for the first frame
	probeMore   = 250 * time.Millisecond // for one more, until there are probeEnough pictures
	probeAtOnce = 5 * time.Millisecond   // for one more, then
	probeEnough = 4                      // pictures among which a B picture would be: I P B
	probeUnits  = 60                     // pictures that are looked at
	probeAll    = 800 * time.Millisecond // for everything behind the first frame
	probeStale  = 30 * time.Second       // nothing newer than this: the camera is away
)

// look is what a stream is found to be.
type look struct {
	tracks []media.Track
	b      bool // pictures depend on later ones
}

// probe reads the newest group of pictures, which may be a long one: whether the
// stream lives is asked of the source, and not told by the pictures looked at.
func probe(ctx context.Context, src Source, uid string) (look, error) {
	r, err := src.Live(uid)
	if err != nil {
		return look{}, noFrames(uid, err)
	}
	defer r.Close()
	var l look
	wait, end := probeWait, time.Time{}
	for pictures := 0; pictures < probeUnits && (end.IsZero() || time.Now().Before(end)); {
		f, err := next(ctx, r, wait)
		if err != nil && l.tracks == nil {
			return l, noFrames(uid, err)
		}
		if err != nil {
			break
		}
		if end.IsZero() {
			end = time.Now().Add(probeAll)
		}
		if wait = probeMore; pictures >= probeEnough || f.Of() == nil || !hasVideo(f.Tracks) {
			wait = probeAtOnce
		}
		if l.tracks = f.Tracks; straight(f.Tracks) {
			break
		}
		if t := f.Of(); t != nil && t.Kind() == media.Video {
			pictures++
			l.b = l.b || t.Codec == media.H264 && hasB(f.Payload)
		}
	}
	if ctx.Err() != nil {
		return l, ctx.Err()
	}
	if newest, ok := src.Newest(uid); !ok || media.WallOf(time.Now()).Sub(newest) > probeStale {
		return l, noFrames(uid, timeline.ErrNoFootage)
	}
	return l, nil
}

// straight tells whether the parameters alone promise that there are no B-frames.
func straight(tracks []media.Track) bool {
	for _, t := range tracks {
		if t.Kind() == media.Video && !mux.Straight(t) {
			return false
		}
	}
	return true
}

func hasVideo(tracks []media.Track) bool {
	return slices.ContainsFunc(tracks, func(t media.Track) bool { return t.Kind() == media.Video })
}

func next(ctx context.Context, r Reader, wait time.Duration) (*media.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return r.Next(ctx)
}

// noFrames is the refusal for an error of reading.
func noFrames(uid string, err error) error {
	if errors.Is(err, timeline.ErrNoFootage) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) {
		return &Refusal{404, "no_footage", fmt.Sprintf("stream %s has nothing live to show", uid), "the stream's state is at /api/v1/streams/" + uid}
	}
	if errors.Is(err, context.Canceled) {
		return closing()
	}
	return &Refusal{503, "storage", "the footage cannot be read at present: " + err.Error(), "see the problems page; try again"}
}

func closing() error {
	return &Refusal{503, "closing", "the server is about to stop", "try again"}
}
