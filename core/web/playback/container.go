package playback

import (
	"fmt"

	"media-server/core/web"
)

// ts tells whether segments of MPEG-TS are asked for.
func (r *request) ts() bool { return r.args.Get("container") == "ts" }

// container refuses the kinds of segments that playlists cannot name. What is
// recorded is fragmented MP4 and is sent as it lies.
func container(r request) *web.Error {
	switch v := r.args.Get("container"); v {
	case "", "fmp4":
		return nil
	case "ts":
		if r.file == "scrub.m3u8" {
			return web.E(400, "bad_container", "pictures to look through are fragmented MP4 alone", "leave container out")
		}
		return nil
	default:
		return web.E(400, "bad_container", fmt.Sprintf("container %q is not understood", clip(v)), "allowed: ts; without container the segments are fragmented MP4")
	}
}
