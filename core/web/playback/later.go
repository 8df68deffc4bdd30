package playback

import (
	"fmt"

	"media-server/core/web"
)

// later are files of the published interface that this version lacks.
var later = web.Later{Root: "/", Names: []web.Name{
	{Path: "live/{uid}/whep/...", Use: "/live/<uid>/playlist.m3u8 plays in browsers as HLS"},
}}

// later refuses a file that is not served, if it is one of those names. The
// method does not matter: WHEP begins with POST.
func (r *request) later() *web.Error {
	if proto(r.live, r.file) != "" {
		return nil
	}
	root := "dvr"
	if r.live {
		root = "live"
	}
	return later.Refuse(string(r.ctx.Method()), root+"/"+r.uid+"/"+r.file)
}

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
