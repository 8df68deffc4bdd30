package mux

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"media-server/core/media"
)

var keep = flag.String("keep", "", "folder in which TestPlayers leaves its media files, to try players on")

// sample is a file for players, made by hand around the writer's parts.
type sample struct {
	name   string
	clips  []clip
	from   time.Duration // since the run's zero
	lost   func(track int, at time.Duration) bool
	change func(b []byte) []byte
	opaque bool // players cannot show it: encrypted
}

// file is FileInit, a file header, parts, and a stand-in for the index.
func (s sample) file(t *testing.T) (data, initial []byte, units map[int]int) {
	t.Helper()
	tracks := []media.Track{}
	for _, c := range s.clips {
		tracks = append(tracks, c.track)
	}
	w := NewWriter(Config{}, Start{Run: media.RunID{9}, Zero: zero, Tracks: tracks})
	st := &stored{t: t}
	for _, u := range play(zero.Add(s.from), s.lost, s.clips...) {
		parts, ev, err := w.Write(u.unit, u.wall, nil)
		if err != nil || ev.Changed != nil {
			t.Fatalf("%s: %+v %v", s.name, ev, err)
		}
		if ev.Started != nil {
			tracks = ev.Started
		}
		st.take(parts)
	}
	st.take(w.Flush())
	if n := w.Stats(); s.lost == nil && n.Backwards+n.BadDTS > 0 { // decode times after a loss are a guess
		t.Errorf("%s: %+v", s.name, n)
	}
	units = map[int]int{}
	for _, f := range st.fragments() {
		units[f.Header.Track] += len(f.Samples)
	}
	info := FileInfo{Created: zero.Add(s.from)}
	data, err := FileInit(tracks, info)
	if err != nil {
		t.Fatal(err)
	}
	initial, _ = Init(tracks)
	data = append(data, filler("msfile", 300)...)
	data = append(data, st.data...)
	data = append(data, filler("msindx", 4000)...)
	return data, initial, units
}

// filler is a box of ours with contents that mean nothing to a player.
func filler(last string, n int) []byte {
	var b boxes
	at := b.open("uuid")
	id := BoxID(last)
	b.bytes(id[:]...)
	b.bytes(bytes.Repeat([]byte{0xa5}, n)...)
	b.shut(at)
	return b
}

func samples(t *testing.T) []sample {
	const seconds = 6
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50"}
	h264 := makeClip(t, media.Track{ID: 1, Codec: media.H264}, video360, seconds, x264...)
	bframes := makeClip(t, media.Track{ID: 1, Codec: media.H264}, video360, seconds, append(x264, "-preset", "veryfast", "-bf", "3", "-x264-params", "b-pyramid=normal:b-adapt=0")...)
	h265 := makeClip(t, media.Track{ID: 1, Codec: media.H265}, video180, seconds, "-c:v", "libx265", "-preset", "ultrafast", "-g", "50", "-x265-params", "log-level=error:bframes=2", "-tag:v", "hvc1")
	mjpeg := makeClip(t, media.Track{ID: 1, Codec: media.MJPEG}, video180, seconds, "-c:v", "mjpeg")
	alaw := makeClip(t, media.Track{ID: 2, Codec: media.PCMA, SampleRate: 8000, Channels: 1}, "sine=frequency=440:sample_rate=8000", seconds, "-c:a", "pcm_alaw")
	aac := makeClip(t, media.Track{ID: 2, Codec: media.AAC}, audioTone, seconds, "-c:a", "aac", "-b:a", "64k")
	opus := makeClip(t, media.Track{ID: 2, Codec: media.Opus, Channels: 1}, audioTone, seconds, "-c:a", "libopus")

	hole := func(_ int, at time.Duration) bool { return at >= 2*time.Second && at < 4*time.Second }
	return []sample{
		{name: "h264-g711-metadata", clips: []clip{h264, alaw, documents(3, seconds)}, from: 10 * time.Second},
		{name: "h265-aac", clips: []clip{h265, aac}, from: 10 * time.Second},
		{name: "bframes-aac", clips: []clip{bframes, aac}, from: 10 * time.Second},
		{name: "audio-only", clips: []clip{aac}, from: 10 * time.Second},
		{name: "hole", clips: []clip{bframes, aac}, from: 10 * time.Second, lost: hole},
		{name: "mjpeg-opus", clips: []clip{mjpeg, opus}, from: 10 * time.Second},
		{name: "hours", clips: []clip{bframes, aac}, from: 5 * time.Hour},
		{name: "signed", clips: []clip{h264, aac}, from: 10 * time.Second, change: signed},
		{name: "groomed", clips: []clip{groom(h264), alaw}, from: 10 * time.Second},
		{name: "encrypted", clips: []clip{h264, aac}, from: 10 * time.Second, change: encrypted, opaque: true},
	}
}

// groom keeps key frames only.
func groom(c clip) clip {
	out := clip{track: c.track}
	for _, u := range c.units {
		if u.Key {
			out.units = append(out.units, u)
		}
	}
	return out
}

// signed puts the reserved boxes between parts, as a later version may.
func signed(b []byte) []byte {
	return eachPart(b, func(part []byte) []byte { return append(part, filler("mssign", 120)...) })
}

// encrypted hides the payload and names the sample entries as a later version
// will: encv, enca with sinf.
func encrypted(b []byte) []byte {
	b = eachPart(b, func(part []byte) []byte {
		i := bytes.Index(part, []byte("mdat"))
		for j := i + 4; j < len(part); j++ {
			part[j] ^= 0x5a
		}
		return part
	})
	b = bytes.Replace(b, []byte("avc1"), []byte("encv"), 1)
	i := bytes.Index(b, []byte("mp4a\x00\x00\x00\x00\x00\x00\x00\x01"))
	copy(b[i:], "enca")
	return b
}

// eachPart applies f to each fragment of a file.
func eachPart(b []byte, f func([]byte) []byte) []byte {
	var out []byte
	r := bytes.NewReader(b)
	for off := int64(0); off < int64(len(b)); {
		if _, next, err := ParseFragment(r, off, int64(len(b))); err == nil {
			out = append(out, f(append([]byte(nil), b[off:next]...))...)
			off = next
			continue
		}
		n := int64(b[off])<<24 | int64(b[off+1])<<16 | int64(b[off+2])<<8 | int64(b[off+3])
		out = append(out, b[off:off+n]...)
		off += n
	}
	return out
}

// TestPlayers: ffprobe, which shares no code with us, finds every unit in
// every file, at the right time.
func TestPlayers(t *testing.T) {
	tool(t, "ffprobe")
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	}
	for _, s := range samples(t) {
		data, initial, units := s.file(t)
		if s.change != nil {
			data = s.change(data)
		}
		name := filepath.Join(dir, s.name+".mp4")
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if *keep != "" {
			_ = os.WriteFile(filepath.Join(dir, s.name+".init"), initial, 0o644)
		}
		if s.opaque {
			continue
		}
		s.judge(t, name, units)
	}
}

func (s sample) judge(t *testing.T, name string, units map[int]int) {
	var p struct {
		Packets []struct {
			Index int    `json:"stream_index"`
			PTS   string `json:"pts_time"`
			DTS   string `json:"dts_time"`
		}
	}
	if err := json.Unmarshal(run(t, "ffprobe", "-v", "error", "-of", "json", "-show_packets", name), &p); err != nil {
		t.Fatal(err)
	}
	got, first, last := map[int]int{}, math.Inf(1), map[int]float64{}
	for _, k := range p.Packets {
		id := s.clips[k.Index].track.ID
		got[id]++
		pts, _ := strconv.ParseFloat(k.PTS, 64)
		dts, _ := strconv.ParseFloat(k.DTS, 64)
		first = min(first, pts)
		if before, ok := last[id]; ok && dts <= before {
			t.Errorf("%s: track %d: DTS %v after %v", s.name, id, dts, before)
		}
		last[id] = dts
	}
	if fmt.Sprint(got) != fmt.Sprint(units) {
		t.Errorf("%s: ffprobe finds %v, stored %v", s.name, got, units)
	}
	if want := s.from.Seconds(); math.Abs(first-want) > 0.001 {
		t.Errorf("%s: starts at %v, want %v", s.name, first, want)
	}
}
