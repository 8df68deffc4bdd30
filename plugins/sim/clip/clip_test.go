package clip

import (
	"io/fs"
	"testing"

	"media-server/core/media"
)

func TestClips(t *testing.T) {
	for _, tc := range []struct {
		name    string
		codec   media.Codec
		samples int
		perKey  int   // samples between key frames, 0 = all are
		step    int64 // ticks
		bframes bool
	}{
		{H264, media.H264, 250, 25, 3600, true},
		{H264Small, media.H264, 250, 25, 3600, true},
		{H264Long, media.H264, 750, 750, 3600, true},
		{H264Plain, media.H264, 250, 25, 3600, false},
		{H265, media.H265, 250, 25, 3600, true},
		{MJPEG, media.MJPEG, 50, 0, 18000, false},
		{AAC, media.AAC, 469, 0, 1024, false},
		{Opus, media.Opus, 500, 0, 960, false},
		{ALaw, media.PCMA, 250, 0, 160, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load(tc.name)
			if err != nil {
				t.Fatal(err)
			}
			if c.Track.Codec != tc.codec || c.Step != tc.step || !c.Track.Ready() {
				t.Fatalf("track %v, step %d, ready %v", c.Track, c.Step, c.Track.Ready())
			}
			if n := len(c.Samples); n < tc.samples || n > tc.samples+2 {
				t.Errorf("%d samples, want %d", n, tc.samples)
			}
			if (c.Ahead > 0) != tc.bframes || (c.Behind > 0) != tc.bframes {
				t.Errorf("reordered by %d, %d; B-frames wanted: %v", c.Ahead, c.Behind, tc.bframes)
			}
			for i, s := range c.Samples {
				if want := tc.perKey == 0 || i%tc.perKey == 0; s.Key != want {
					t.Fatalf("sample %d: key %v", i, s.Key)
				}
				if dts := int64(i) - c.Behind; dts > s.PTS {
					t.Fatalf("sample %d: DTS %d after PTS %d", i, dts, s.PTS)
				}
				if int64(i)+c.Ahead < s.PTS {
					t.Fatalf("sample %d sent before it is seen", i)
				}
			}
		})
	}
	if _, err := Load("nothing"); err == nil {
		t.Error("an unknown clip was found")
	}
}

// TestSize keeps the repository small.
func TestSize(t *testing.T) {
	var sum int64
	entries, err := fs.ReadDir(Files(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		i, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		sum += i.Size()
	}
	if sum > 1500<<10 {
		t.Errorf("clips take %d kB, 1500 allowed", sum>>10)
	}
}

func FuzzFragments(f *testing.F) {
	b, err := files.ReadFile("opus.mp4")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:4096])
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_ = fragments(b, func(s sample) error {
			if n++; n > 1000 {
				return errFragment
			}
			return nil
		})
	})
}
