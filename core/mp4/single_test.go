package mp4

import (
	"testing"
	"time"

	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

// TestFileOfOnePicture: a file that holds a single sample keeps its distance
// to what follows.
func TestFileOfOnePicture(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 30*time.Millisecond, clip.H264)
	s.record(t, 2, t0.Add(471*time.Millisecond), 10*time.Second, clip.H264)
	s.shapes = true
	m, err := New(s).Record("cam", media.Span{From: media.WallOf(t0), To: media.WallOf(t0.Add(9 * time.Second))})
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, m, media.WallOf(t0.Add(9*time.Second)))
	probe(t, m)
}
