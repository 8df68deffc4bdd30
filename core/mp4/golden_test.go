package mp4

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

var update = flag.Bool("update", false, "write testdata/movies.txt anew; only together with a new formatVersion")

// TestBytesStay: the bytes of a movie and its ETag are a promise to players that
// come back for the rest after the server was changed. Whoever changes them
// raises formatVersion and writes the hashes anew.
func TestBytesStay(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 40*time.Second, clip.H264, clip.AAC)
	s.record(t, 2, t0.Add(40*time.Second+300*time.Millisecond), 25*time.Second, clip.H264Small, clip.AAC)
	s.record(t, 3, t0.Add(75*time.Second), 30*time.Second, clip.H264, clip.AAC, clip.ALaw)
	s.record(t, 4, t0.Add(2*time.Minute), 20*time.Second, clip.AAC)
	s.record(t, 5, t0.Add(2*time.Hour), 25*time.Second, clip.H265, clip.Opus)
	s.record(t, 6, t0.Add(2*time.Hour+28*time.Second), 30*time.Millisecond, clip.H264)
	s.record(t, 7, t0.Add(2*time.Hour+30*time.Second), 30*time.Second, clip.H264Long)
	s.record(t, 8, t0.Add(15*time.Hour), 20*time.Second, clip.H264, clip.AAC) // beyond 32 bits of 90 kHz
	s.record(t, 9, t0.Add(16*time.Hour), 20*time.Second, clip.H264, clip.AAC)
	points := []time.Duration{0, 41 * time.Second, 75 * time.Second, 2 * time.Minute, 2 * time.Hour, 2*time.Hour + 30*time.Second, 15 * time.Hour, 16 * time.Hour}
	rng := rand.New(rand.NewPCG(7, 11))
	srv := New(s)
	var got strings.Builder
	for range 120 {
		from := points[rng.IntN(len(points))] + time.Duration(rng.IntN(50_000)-10_000)*time.Millisecond
		length := time.Duration(1+rng.IntN(60_000)) * time.Millisecond
		if rng.IntN(2) == 0 {
			length = max(length, points[rng.IntN(len(points))]+20*time.Second-from)
		}
		span := media.Span{From: media.WallOf(t0.Add(from)), To: media.WallOf(t0.Add(from + length))}
		segment := uint64(0)
		if rng.IntN(5) == 0 { // what a memory ring recorded from its middle on
			segment = 301 + uint64(rng.IntN(3))
		}
		s.first = segment
		fmt.Fprintf(&got, "%v %v %d ", from, length, segment)
		m, err := srv.Record("cam", span)
		if errors.Is(err, timeline.ErrNoFootage) {
			fmt.Fprintln(&got, "nothing")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all := whole(t, m)
		fmt.Fprintf(&got, "%d %s %x\n", len(all), m.ETag, sha256.Sum256(all))
		s.shapes = true
		quick, err := srv.Record("cam", span)
		s.shapes = false
		if err != nil || quick.ETag != m.ETag || sha256.Sum256(whole(t, quick)) != sha256.Sum256(all) {
			t.Errorf("%v of %v: planned from shapes: other bytes, %v", length, from, err)
		}
	}
	const file = "testdata/movies.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(b), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("movie %d is\n%s, it was\n%s", i, line, want[min(i, len(want)-1)])
		}
	}
}

// firstSegment marks extents of the third run as ones of which only the
// segments from s.first on count.
func (s *store) firstSegment(e *archive.Extent) {
	if s.first != 0 && e.Run == (media.RunID{3}) {
		e.Segment = s.first
		e.Shape = nil // such extents come from memory
	}
}
