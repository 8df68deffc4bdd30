package mux

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/media"
)

// store writes clips with the writer and returns the stored bytes.
func store(t *testing.T, from time.Duration, lost func(int, time.Duration) bool, clips ...clip) ([]byte, []FragmentInfo, []media.Track) {
	t.Helper()
	var tracks []media.Track
	for _, c := range clips {
		tracks = append(tracks, c.track)
	}
	w := NewWriter(Config{}, Start{Run: media.RunID{9}, Zero: zero, Tracks: tracks})
	st := &stored{t: t}
	for _, u := range play(zero.Add(from), lost, clips...) {
		parts, _, _ := w.Write(u.unit, u.wall, nil)
		st.take(parts)
	}
	st.take(w.Flush())
	return st.data, st.fragments(), tracks
}

// TestMovie: a progressive file over the stored bytes of two runs with other
// parameters, a short hole and one of hours; ffmpeg
// decodes every frame of it, at its time.
func TestMovie(t *testing.T) {
	x264 := []string{"-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-bf", "2"}
	h264 := makeClip(t, media.Track{ID: 1, Codec: media.H264}, video360, 4, x264...)
	other := makeClip(t, media.Track{ID: 1, Codec: media.H264}, video180, 4, x264...)
	aac := makeClip(t, media.Track{ID: 2, Codec: media.AAC}, audioTone, 4, "-c:a", "aac")
	hole := func(_ int, at time.Duration) bool { return at >= time.Second && at < 2*time.Second }

	first := 10 * time.Second
	m := NewMovie(zero.Add(first))
	tracks := map[int]*MovieTrack{}
	var payload []byte
	want, wantTimes := map[int]int{}, []float64{}
	for _, run := range []struct {
		from  time.Duration
		clips []clip
		lost  func(int, time.Duration) bool
	}{
		{first, []clip{h264, aac}, nil},
		{first + 5*time.Second, []clip{other, aac}, hole},
		{first + 3*time.Hour, []clip{h264, aac}, nil},
	} {
		data, frags, described := store(t, run.from, run.lost, run.clips...)
		wantTimes = append(wantTimes, (run.from - first).Seconds())
		for _, f := range frags {
			d := described[f.Header.Track-1]
			mt := tracks[f.Header.Track]
			if mt == nil {
				mt = m.Track(d, 0, 0)
				tracks[f.Header.Track] = mt
			}
			at := f.BaseTime - media.TicksOf(first, d.Timescale)
			if err := mt.Chunk(mt.Entry(d), uint64(len(payload))+uint64(f.PayloadAt), at, f.Samples); err != nil {
				t.Fatal(err)
			}
			want[f.Header.Track] += len(f.Samples)
		}
		payload = append(payload, data...)
	}
	if len(tracks[1].entries) != 2 || len(tracks[2].entries) != 1 {
		t.Fatalf("%d and %d sample entries", len(tracks[1].entries), len(tracks[2].entries))
	}
	head, err := m.Head(uint64(len(payload)))
	if err != nil {
		t.Fatal(err)
	}
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	}
	name := filepath.Join(dir, "movie.mp4")
	if err := os.WriteFile(name, append(head, payload...), 0o644); err != nil {
		t.Fatal(err)
	}
	checkMovie(t, name, want, wantTimes)
}

func checkMovie(t *testing.T, name string, want map[int]int, starts []float64) {
	t.Helper()
	got := map[int]int{}
	times := map[string]bool{}
	for line := range strings.Lines(string(run(t, "ffprobe", "-v", "error", "-show_entries", "packet=stream_index,pts_time", "-of", "csv=p=0", name))) {
		var index int
		var pts float64
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if _, err := fmt.Sscanf(line, "%d,%f", &index, &pts); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got[index+1]++
		times[fmt.Sprintf("%d %.2f", index+1, pts)] = true
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ffprobe finds %v, stored %v", got, want)
	}
	for _, s := range starts {
		for id := 1; id <= 2; id++ {
			if !times[fmt.Sprintf("%d %.2f", id, s)] {
				t.Errorf("track %d has no sample at %v", id, s)
			}
		}
	}
	if out := run(t, "ffmpeg", "-v", "error", "-i", name, "-map", "0:a", "-f", "null", "-"); len(out) > 0 {
		t.Errorf("ffmpeg: %s", out)
	}
}

// TestMovieSamplesAreTheStoredOnes: the bytes that ffmpeg cuts out are those
// that went in.
func TestMovieSamplesAreTheStoredOnes(t *testing.T) {
	c := makeClip(t, media.Track{ID: 2, Codec: media.PCMA, SampleRate: 8000, Channels: 1}, "sine=sample_rate=8000", 3, "-c:a", "pcm_alaw")
	data, frags, tracks := store(t, 10*time.Second, nil, c)
	m := NewMovie(zero)
	mt := m.Track(tracks[0], 0, 0)
	for _, f := range frags {
		if err := mt.Chunk(mt.Entry(tracks[0]), uint64(f.PayloadAt), f.BaseTime-10*8000, f.Samples); err != nil {
			t.Fatal(err)
		}
	}
	head, err := m.Head(uint64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "m.mp4")
	_ = os.WriteFile(name, append(head, data...), 0o644)
	h := md5.New()
	for _, u := range c.units {
		h.Write(u.Payload)
	}
	if got := run(t, "ffmpeg", "-v", "error", "-i", name, "-c", "copy", "-f", "alaw", "-"); md5.Sum(got) != [16]byte(h.Sum(nil)) {
		t.Error("not the bytes that were stored")
	}
}

func TestMovieBeyondFourGigabytes(t *testing.T) {
	for _, payload := range []uint64{1000, math.MaxUint32 - 9000, math.MaxUint32 + 1, 1 << 40} {
		m := NewMovie(zero)
		mt := m.Track(videoTrack(), 0, 0)
		e := mt.Entry(videoTrack())
		last := payload - 100
		_ = mt.Chunk(e, 0, 0, []media.Sample{{Size: 100, Duration: 3600, Key: true}})
		_ = mt.Chunk(e, last, 3600, []media.Sample{{Size: 100, Duration: 3600}})
		head, err := m.Head(payload)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := m.HeadSize(payload)
		if n != int64(len(head)) {
			t.Fatalf("%d bytes, promised %d", len(head), n)
		}
		var got uint64
		if i := bytes.Index(head, []byte("co64")); i > 0 {
			got = binary.BigEndian.Uint64(head[i+20:])
		} else {
			i = bytes.Index(head, []byte("stco"))
			got = uint64(binary.BigEndian.Uint32(head[i+16:]))
		}
		if got != last+uint64(n) {
			t.Errorf("payload %d: last chunk at %d, want %d", payload, got, last+uint64(n))
		}
	}
}

// TestMovieKeepsTime: stretched and shrunk joints never add up.
func TestMovieKeepsTime(t *testing.T) {
	m := NewMovie(zero)
	tr := audioTrack()
	mt := m.Track(tr, 0, 0)
	at := int64(0)
	for i := range 1000 {
		at += 160 + int64(i%3-1)
		_ = mt.Chunk(mt.Entry(tr), 0, at, []media.Sample{{Size: 160, Duration: 160, Key: true}})
		if end := mt.base + mt.length; end != at+160 {
			t.Fatalf("chunk %d: ends at %d, want %d", i, end, at+160)
		}
	}
	// another timescale after a change of parameters
	fast := tr
	fast.SampleRate, fast.Timescale = 48000, 48000
	_ = mt.Chunk(mt.Entry(fast), 0, at*6+960, []media.Sample{{Size: 1, Duration: 961, Key: true}, {Size: 1, Duration: 961, Key: true}})
	if end := mt.base + mt.length; end != at+160+320 {
		t.Fatalf("ends at %d, want %d", end, at+480)
	}
}

func TestMovieWithoutSamples(t *testing.T) {
	m := NewMovie(zero)
	m.Track(videoTrack(), 0, 0)
	if _, err := m.Head(0); err == nil {
		t.Error("an empty movie was made")
	}
}

func BenchmarkMovie24h(b *testing.B) {
	samples := make([]media.Sample, 12)
	for i := range samples {
		samples[i] = media.Sample{Size: uint32(5000 + i), Duration: 3600, Key: i == 0}
	}
	b.ReportAllocs()
	for b.Loop() {
		m := NewMovie(zero)
		mt := m.Track(videoTrack(), 180000*12, 180000)
		for i := range 180000 {
			_ = mt.Chunk(mt.Entry(videoTrack()), uint64(i)*60000, int64(i)*12*3600, samples)
		}
		h, err := m.Head(180000 * 60000)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Discard.Write(h)
	}
}
