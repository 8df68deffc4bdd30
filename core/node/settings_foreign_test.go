package node

import (
	"slices"
	"strings"
	"testing"
)

// TestForeignStreamFile: a file that was written for another server records where it says.
func TestForeignStreamFile(t *testing.T) {
	const spaces = "[space.a]\npath = /media/a\n[space.b]\npath = /media/b\n[space.idle]\npath = /media/idle\n[pool.default]\nspaces = b\n[pool.one]\nspaces = a\n[pool.two]\nspaces = a, b\n"
	const file = "[gate]\nstream-url = sim://\naipix = on\ncamera-uid = 17\nstream-proto = hls, mse, rtsp\nstream-tracks = video, application\n"
	for _, c := range []struct{ more, pool, problem string }{
		{"", "default", ""},
		{"dvr-archive = /media/a/cam/7\n", "one", ""},
		{"dvr-archive = /media/a\n", "one", ""},
		{"dvr-archive = /media/b/x\n", "default", ""},
		{"dvr-archive = /media/a/cam\ndvr-pool = two\n", "two", ""},
		{"dvr-archive = /media/a/cam\ndvr-pool = default\n", "", "streams.d/gate.ini:7:1: /media/a/cam lies in space a, which dvr-pool = default does not record into; remove one of the two"},
		{"dvr-archive = /media/ab\n", "", "streams.d/gate.ini:7:1: /media/ab lies in no space; paths of spaces: /media/a, /media/b, /media/idle; or write dvr-pool in its place"},
		{"dvr-archive = cam\n", "", "streams.d/gate.ini:7:1: cam lies in no space; paths of spaces: /media/a, /media/b, /media/idle; or write dvr-pool in its place"},
		{"dvr-archive = /media/idle/7\n", "", "streams.d/gate.ini:7:1: /media/idle/7 lies in space idle, which no pool records into; name the space in a pool, or write dvr-pool in place of dvr-archive"},
	} {
		p := newPlace(t, "streams.d/gate.ini", file+c.more)
		p.write("media-server.ini", plain+spaces)
		s, problems := p.load()
		if c.problem != "" {
			if !strings.Contains(problems, c.problem) || s.Streams["gate"] != nil {
				t.Errorf("%s: got\n%s\nwant\n%s", c.more, problems, c.problem)
			}
			continue
		}
		got := s.Streams["gate"]
		if got == nil {
			t.Errorf("%s: %s", c.more, problems)
			continue
		}
		if got.Config.DVR.Pool != c.pool || !slices.Equal(got.Config.Proto, []string{"hls", "rtsp"}) || !slices.Equal(got.Config.Tracks, []string{"video", "data"}) || got.Config.Foreign.CameraUID != "17" {
			t.Errorf("%s: pool %s, %v, %v, want pool %s", c.more, got.Config.DVR.Pool, got.Config.Proto, got.Config.Tracks, c.pool)
		}
	}
}
