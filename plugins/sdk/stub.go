package sdk

import (
	"sync/atomic"

	"media-server/core/media"
)

type capture struct {
	stats  Stats
	atOnce atomic.Bool
}

func (c *capture) open(*Run, []media.Track, string, []LeftOut) error { return nil }
func (c *capture) write(*Run, media.AccessUnit) error                { return nil }

// Main shakes hands with the host, serves p and never returns.
func Main(p Plugin) { select {} }
