package export

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/plugins/sim/clip"
)

// TestClipsOfOtherMakes: H.265 and G.711 go through other programs' hands, and
// a clip from behind a change of parameters.
func TestClipsOfOtherMakes(t *testing.T) {
	t.Run("H.265 and G.711", func(t *testing.T) {
		r := newRig(t, true)
		r.record(1, 0, 8*time.Second, false, clip.H265, clip.ALaw)
		x := r.export(time.Second, 7*time.Second)
		mp4 := filepath.Join(x.dir, "h265.mp4")
		ffmpeg(t, "-i", x.file, "-c", "copy", "-an", mp4)
		if rep := verify(t, mp4, x.proof); len(rep.Findings) != 0 || rep.Tracks[0].Recorded != rep.Tracks[0].Frames || rep.Tracks[0].Frames < 140 {
			t.Errorf("\n%s", text(rep))
		}
		mov := filepath.Join(x.dir, "both.mov")
		ffmpeg(t, "-i", x.file, "-c", "copy", mov)
		rep := verify(t, mov, x.proof)
		if len(rep.Findings) != 0 || len(rep.Tracks) != 2 || !rep.Tracks[1].Raw || !strings.Contains(text(rep), "cannot be compared") {
			t.Errorf("\n%s", text(rep))
		}
	})
	t.Run("behind a change of parameters", func(t *testing.T) {
		r := newRig(t, true)
		r.record(1, 0, 6*time.Second, false, clip.H264)
		r.record(2, 10*time.Second, 8*time.Second, false, clip.H264Small)
		x := r.export(0, 20*time.Second)
		out := filepath.Join(x.dir, "clip.mp4")
		ffmpeg(t, "-ss", "13", "-t", "3", "-i", x.file, "-c", "copy", out)
		rep := verify(t, out, x.proof)
		// ffmpeg writes the parameters of the beginning into it.
		if len(rep.Findings) != 1 || !strings.Contains(rep.Findings[0].What, "parameters of the decoder") {
			t.Errorf("\n%s", text(rep))
		}
		if v := rep.Tracks[0]; v.Recorded != v.Frames || v.Frames < 60 || v.Span.From < at(10*time.Second) {
			t.Errorf("%+v", v)
		}
	})
}

// TestEditList: a track that begins later, and in the middle of its first
// sample, is placed by its edit list.
func TestEditList(t *testing.T) {
	for _, c := range []struct {
		name string
		elst []byte
		want int64
	}{
		{"none", nil, 900},
		{"begins later", []byte{0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0x0b, 0xb8, 255, 255, 255, 255, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 0}, 900 + 3*90000},
		{"begins in the middle", []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 2, 0x58, 0, 1, 0, 0}, 300},
		{"64 bit", []byte{1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 2, 0x58, 0, 1, 0, 0}, 300},
		{"cut short", []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0}, 900},
	} {
		k := movieTrack{scale: 90000, samples: []sample{{pts: 900}}}
		k.edit(c.elst, 1000)
		if k.samples[0].pts != c.want {
			t.Errorf("%s: shown at %d, want %d", c.name, k.samples[0].pts, c.want)
		}
	}
}
