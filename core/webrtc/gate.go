package webrtc

import (
	"context"
	"net/netip"

	"media-server/core/media"
)

// Ask is somebody who was found to have the right to play a stream live.
type Ask struct {
	UID     string
	Who     string      // token, user or address
	Alive   func() bool // false = the right has ended since; nil = it never does
	Known   bool        // has shown a token or a login that is good, and not come by his address alone
	Address netip.Addr  // of the player, or of a proxy before it
	Session string      // the session's name, one for each; set by Open
}

// Gate counts viewers, and refuses those beyond a limit. The error is a *Refusal.
type Gate interface {
	Play(Ask) (Pass, error)
}

// Pass is the right to play, as long as the session lasts.
type Pass interface {
	Alive() bool // asked at least once a second; false = revoked or expired
	Close()
}

// Reader gives the frames of a stream as timeline.Reader does; one goroutine uses it.
type Reader interface {
	Next(ctx context.Context) (*media.Frame, error)
	Close()
}

// Source opens readers.
type Source interface {
	// Live begins with the newest group of pictures and goes on live. The error
	// wraps timeline.ErrNoFootage where nothing was ever captured.
	Live(uid string) (Reader, error)
	// Newest is the end of what was captured last, as timeline.Newest is; false =
	// nothing ever was.
	Newest(uid string) (media.Wall, bool)
}
