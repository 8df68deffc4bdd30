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

// TestForeignWords: words of another server's count where they stand, in any order, and not
// where the file has others.
func TestForeignWords(t *testing.T) {
	p := newPlace(t, "streams.d/gate.ini", "[gate]\nstream-url = sim://\naipix = on\nstream-proto = mse, hls, mp4\nstream-tracks = application, data, video\n",
		"streams.d/_defaults.ini", "[defaults]\naipix = on\nstream-proto = hls, mse\n", "streams.d/yard.ini", "[yard]\nstream-url = sim://\naipix = off\nstream-proto = mp4\n")
	s, problems := p.load()
	if problems != "" || s.Streams["gate"] == nil || s.Streams["yard"] == nil {
		t.Fatal(problems)
	}
	if got := s.Streams["gate"].Config; !slices.Equal(got.Proto, []string{"hls", "mp4"}) || !slices.Equal(got.Tracks, []string{"data", "video"}) {
		t.Errorf("%v, %v", got.Proto, got.Tracks)
	}
	p.write("streams.d/gate.ini", "[gate]\nstream-url = sim://\naipix = on\nstream-proto = hls, hls\n")
	if _, problems := p.load(); !strings.Contains(problems, `"hls" is there twice`) {
		t.Error(problems)
	}
}

// TestForeignPoolChanges: a pool that takes the place of another one for a folder changes the
// stream, and says so.
func TestForeignPoolChanges(t *testing.T) {
	const spaces = "[space.a]\npath = /media/a\n[pool.default]\nspaces = a\n"
	p := newPlace(t, "streams.d/gate.ini", "[gate]\nstream-url = sim://\naipix = on\ndvr-archive = /media/a/7\n",
		"streams.d/off.ini", "[off]\nstream-url = sim://\naipix = on\ndvr-enable = false\ndvr-archive = /nowhere\n")
	p.write("media-server.ini", plain+spaces)
	was, problems := p.load()
	if problems != "" || was.Streams["off"] == nil {
		t.Fatal(problems)
	}
	p.write("media-server.ini", plain+"[space.a]\npath = /media/a\n[pool.first]\nspaces = a\n[pool.default]\nspaces = a\n")
	is, problems := p.load()
	if problems != "" || is.Streams["gate"].Config.DVR.Pool != "first" {
		t.Fatal(problems)
	}
	if it, _ := is.Streams["gate"].Keys.Get("gate", "dvr-pool"); it.Value != "first" || it.Default {
		t.Errorf("%+v", it)
	}
	if d := Diff(was, is); len(d.Live) != 1 || d.Live[0] != "gate" {
		t.Errorf("%+v", d)
	}
}
