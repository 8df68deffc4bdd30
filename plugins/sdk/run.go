package sdk

import (
	"errors"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

// Limits of the protocol.
const (
	MaxUnit    = 8 << 20 // bytes of an access unit
	MaxPiece   = 1 << 20 // bytes of a unit sent as one piece
	MaxMessage = 4 << 20 // bytes of a message
	MaxTracks  = 32      // of a run; also the largest track id
)

// Run is one connection to a device, from the driver's side. Its methods are
// safe for concurrent use; units of one track must come from one goroutine at
// a time, in decoding order.
type Run struct {
	c *capture
}

// Open says what the device delivers and begins the run; once a Capture,
// before the first Write. Track ids are the driver's choice, from 1 to 32.
func (r *Run) Open(tracks []media.Track, device string, leftOut ...LeftOut) error {
	return r.c.open(r, tracks, device, leftOut)
}

// Write hands over an access unit. Seq is set here, and Received and Mono where
// zero; a driver that gathers packets sets Received itself, to the arrival of
// the last one. u.Payload belongs to the SDK from now on.
//
// Write never waits. It fails when the run is over (return from Capture then)
// and when the unit breaks a rule of the protocol.
func (r *Run) Write(u media.AccessUnit) error { return r.c.write(r, u) }

// Stats are the stream's counters.
func (r *Run) Stats() *Stats { return &r.c.stats }

// AtOnce tells that somebody watches live: a driver that gathers packets to
// save wake-ups should not, just now. It may change at any time.
func (r *Run) AtOnce() bool { return r.c.atOnce.Load() }

// ErrRunOver is returned by Write and Open after the run has ended.
var ErrRunOver = errors.New("the run is over")

func checkTracks(tracks []media.Track) error {
	if len(tracks) == 0 {
		return Fail(pb.Cause_UNSUPPORTED, "no track that can be captured", "see the tracks left out")
	}
	if len(tracks) > MaxTracks {
		return Fail(pb.Cause_PROTOCOL, "more than 32 tracks", "")
	}
	seen := map[int]bool{}
	for _, t := range tracks {
		switch {
		case t.ID < 1 || t.ID > MaxTracks || seen[t.ID]:
			return Fail(pb.Cause_PROTOCOL, "track ids must be unique and from 1 to 32", "this is a fault of the driver")
		case t.Timescale == 0:
			return Fail(pb.Cause_PROTOCOL, "a track without a timescale", "this is a fault of the driver")
		case t.Kind() == media.KindUnknown:
			return Fail(pb.Cause_UNSUPPORTED, "codec "+string(t.Codec)+" cannot be stored", "leave the track out")
		}
		seen[t.ID] = true
	}
	return nil
}
