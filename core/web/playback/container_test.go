package playback

import "testing"

// TestContainers: what playlists cannot name is refused, where they are asked for.
func TestContainers(t *testing.T) {
	h := newHandler()
	for uri, want := range map[string]string{
		"/live/gate/playlist.m3u8?container=mkv":   "bad_container",
		"/live/gate/playlist.m3u8?container=fmp4":  "no_footage",
		"/live/shut/playlist.m3u8?container=ts":    "login",
		"/live/gate/playlist.m3u8&container=ts":    "no_footage",
		"/dvr/gate/scrub.m3u8?from=1&container=ts": "bad_container",
		"/dvr/gate/ranges.json?from=x&container=y": "bad_time",
	} {
		ctx, _ := do(h, "GET", uri)
		shape(t, ctx, want)
	}
}
