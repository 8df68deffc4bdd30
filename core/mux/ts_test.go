package mux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"

	"media-server/core/media"
)

// tsUnits gives clips as units of MPEG-TS, from after zero, in order of DTS.
func tsUnits(from time.Duration, clips ...clip) (tracks []media.Track, units []TSUnit) {
	for i, c := range clips {
		tracks = append(tracks, c.track)
		var shown []int64
		for _, u := range c.units {
			shown = append(shown, u.PTS)
		}
		slices.Sort(shown)
		late := int64(0)
		for k, u := range c.units {
			late = max(late, shown[k]-u.PTS)
		}
		for k, u := range c.units {
			at := func(ticks int64) int64 {
				return media.TicksOf(from, TSRate) + media.Rescale(ticks, TSRate, int64(c.track.Timescale))
			}
			next := int64(0)
			if k+1 < len(shown) {
				next = shown[k+1] - shown[k]
			} else if k > 0 { // as is stored of the last one of a run
				next = shown[k] - shown[k-1]
			}
			units = append(units, TSUnit{Track: i, DTS: at(shown[k] - late), PTS: at(u.PTS), Duration: media.Rescale(next, TSRate, int64(c.track.Timescale)), Key: u.Key, Payload: u.Payload})
		}
	}
	slices.SortStableFunc(units, func(a, b TSUnit) int { return int(a.DTS - b.DTS) })
	return tracks, units
}

// packets walks through MPEG-TS and judges what every reader relies on: sync
// bytes, counters without a jump from one segment to the next, clock references
// that never run back nor stay away, in front of what they are for.
type packets struct {
	counters map[int]byte
	clock    int64
	clocks   int
	ahead    int64 // the most that sound is ahead of the clock before it
}

// sound notes how far a packet that begins a unit of sound is ahead of the clock.
func (p *packets) sound(k []byte) {
	at := 4
	if k[3]&0x20 != 0 {
		at += 1 + int(k[4])
	}
	if p.clocks == 0 || k[1]&0x40 == 0 || k[3]&0x10 == 0 || at+14 > len(k) || !bytes.HasPrefix(k[at:], []byte{0, 0, 1}) || k[at+3] != 0xc0 && k[at+3] != 0xbd {
		return
	}
	b := k[at+9:]
	pts := int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4]>>1)
	if d := (pts - p.clock) & (1<<33 - 1); d < 1<<32 {
		p.ahead = max(p.ahead, d)
	}
}

func (p *packets) check(b []byte, most int64) error {
	if p.counters == nil {
		p.counters = map[int]byte{}
	}
	if len(b)%188 != 0 {
		return fmt.Errorf("%d bytes are no whole packets", len(b))
	}
	for at := 0; at < len(b); at += 188 {
		k := b[at : at+188]
		pid := int(binary.BigEndian.Uint16(k[1:]) & 0x1fff)
		if k[0] != 0x47 {
			return fmt.Errorf("no packet at %d", at)
		}
		if at == 0 && pid != 0 || at == 188 && pid != 0x1000 {
			return fmt.Errorf("the segment begins with PID %d", pid)
		}
		counter, was := k[3]&15, byte(15)
		if c, ok := p.counters[pid]; ok {
			was = c
		}
		if k[3]&0x10 != 0 {
			was = (was + 1) & 15
		}
		if counter != was {
			return fmt.Errorf("PID %d at %d: counter %d, not %d", pid, at, counter, was)
		}
		p.counters[pid] = counter
		p.sound(k)
		if k[3]&0x20 == 0 || k[4] == 0 {
			continue
		}
		if int(k[4]) > 183 || k[3]&0x10 != 0 && k[4] > 182 {
			return fmt.Errorf("adaptation field of %d bytes", k[4])
		}
		if k[5]&0x10 != 0 {
			clock := int64(binary.BigEndian.Uint32(k[6:]))<<1 | int64(k[10]>>7)
			if ahead := (clock - p.clock) & (1<<33 - 1); p.clocks > 0 && ahead > most {
				return fmt.Errorf("the clock goes from %d to %d", p.clock, clock)
			}
			p.clock, p.clocks = clock, p.clocks+1
		}
	}
	return nil
}

// tsSegments cuts units at key frames, as stored segments are.
func tsSegments(tracks []media.Track, units []TSUnit) (out [][]TSUnit) {
	video := slices.ContainsFunc(tracks, func(t media.Track) bool { return t.Kind() == media.Video })
	begin := int64(0)
	for _, u := range units {
		cut := len(out) == 0 || video && u.Key && tracks[u.Track].Kind() == media.Video || !video && u.DTS-begin >= 2*TSRate
		if cut {
			out, begin = append(out, nil), u.DTS
		}
		out[len(out)-1] = append(out[len(out)-1], u)
	}
	return out
}

func TestTS(t *testing.T) {
	const seconds = 4
	x264 := []string{"-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-bf", "3", "-x264-params", "b-adapt=0"}
	h264 := makeClip(t, media.Track{ID: 1, Codec: media.H264}, video360, seconds, x264...)
	slow := makeClip(t, media.Track{ID: 1, Codec: media.H264}, "testsrc2=size=320x180:rate=1", seconds, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "2")
	h265 := makeClip(t, media.Track{ID: 1, Codec: media.H265}, video180, seconds, "-c:v", "libx265", "-preset", "ultrafast", "-g", "50", "-x265-params", "log-level=error:bframes=2", "-tag:v", "hvc1")
	aac := makeClip(t, media.Track{ID: 2, Codec: media.AAC}, audioTone, seconds, "-c:a", "aac", "-b:a", "64k")
	opus := makeClip(t, media.Track{ID: 2, Codec: media.Opus, Channels: 1}, audioTone, seconds, "-c:a", "libopus")
	wrap := time.Duration(1<<33)*time.Second/TSRate - 3*time.Second
	for name, c := range map[string]struct {
		from  time.Duration
		clips []clip
	}{
		"H.264 and AAC": {10 * time.Second, []clip{h264, aac}}, "H.265 and AAC": {10 * time.Second, []clip{h265, aac}}, "H.264 and Opus": {10 * time.Second, []clip{h264, opus}},
		"AAC": {10 * time.Second, []clip{aac}}, "Opus": {10 * time.Second, []clip{opus}}, "one picture a second": {10 * time.Second, []clip{slow, aac}},
		"round the end of 33 bits": {wrap, []clip{h264, aac}},
	} {
		t.Run(name, func(t *testing.T) {
			tracks, units := tsUnits(c.from, c.clips...)
			var all []byte
			var judge packets
			for _, segment := range tsSegments(tracks, units) {
				b := AppendTS(nil, tracks, segment)
				if !bytes.Equal(b, AppendTS(nil, tracks, segment)) {
					t.Fatal("other bytes the second time")
				}
				if err := judge.check(b, TSRate/10+TSRate/25); err != nil {
					t.Fatal(err)
				}
				for pid, c := range judge.counters {
					if c != 15 && len(segment) > 2 {
						t.Errorf("the counter of PID %d ends with %d", pid, c)
					}
				}
				all = append(all, b...)
				most, last := int64(0), segment[len(segment)-1]
				for _, u := range segment {
					most += TSUnitMost(&tracks[u.Track], int64(len(u.Payload)), u.Key)
				}
				if most += TSRestMost(len(tracks), len(segment), last.DTS+last.Duration-segment[0].DTS); int64(len(b)) > most || most > int64(len(b))*5/4+200*tsPacket {
					t.Errorf("%d bytes were made, %d at most", len(b), most)
				}
				if cap(b) > int(most)+int(most)/4 { // what append rounds up to
					t.Errorf("%d bytes were allocated for %d", cap(b), most)
				}
			}
			if judge.ahead > TSRate {
				t.Errorf("sound is %d ticks ahead of the clock", judge.ahead)
			}
			readBack(t, all, tracks, units)
			if wrap != c.from {
				players(t, all, tracks, units)
			}
		})
	}
}

// readBack compares with what a library reads that others use.
func readBack(t *testing.T, b []byte, tracks []media.Track, units []TSUnit) {
	t.Helper()
	r := &mpegts.Reader{R: bytes.NewReader(b)}
	if err := r.Initialize(); err != nil {
		t.Fatal(err)
	}
	r.OnDecodeError(func(err error) { t.Errorf("decode: %v", err) })
	if len(r.Tracks()) != len(tracks) {
		t.Fatalf("%d tracks of %d", len(r.Tracks()), len(tracks))
	}
	at := make([]int, len(tracks))
	next := func(i int) TSUnit {
		for ; at[i] < len(units); at[i]++ {
			if units[at[i]].Track == i {
				at[i]++
				return units[at[i]-1]
			}
		}
		t.Errorf("track %d has more units than were written", i)
		return TSUnit{}
	}
	const mask = 1<<33 - 1
	for i, tr := range r.Tracks() {
		video := func(pts, dts int64, au [][]byte) error {
			u := next(i)
			var stored [][]byte // the delimiter is not told
			for p := u.Payload; len(p) > 0; {
				nal, rest, _ := nextNAL(p)
				stored, p = append(stored, nal), rest
			}
			if extra := len(au) - len(stored); extra < 0 || u.Key != (extra > 0) || !slices.EqualFunc(au[extra:], stored, bytes.Equal) {
				t.Errorf("unit at %d: %d NAL units of %d", u.DTS, len(au), len(stored))
			}
			if pts != u.PTS&mask || dts != u.DTS&mask {
				t.Errorf("unit at %d, %d is at %d, %d", u.PTS, u.DTS, pts, dts)
			}
			return nil
		}
		sound := func(pts int64, aus [][]byte) error {
			for _, au := range aus {
				u := next(i)
				if !bytes.Equal(au, u.Payload) || pts != u.PTS&mask {
					t.Errorf("sound at %d is at %d, equal %v", u.PTS, pts, bytes.Equal(au, u.Payload))
				}
			}
			return nil
		}
		switch tracks[i].Codec {
		case media.H264:
			r.OnDataH264(tr, video)
		case media.H265:
			r.OnDataH265(tr, video)
		case media.AAC:
			r.OnDataMPEG4Audio(tr, sound)
		case media.Opus:
			r.OnDataOpus(tr, sound)
		}
	}
	for {
		if err := r.Read(); errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "no more packets") {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for i := range tracks {
		if rest := slices.ContainsFunc(units[at[i]:], func(u TSUnit) bool { return u.Track == i }); rest {
			t.Errorf("track %d ends too early", i)
		}
	}
}

// players: ffmpeg finds each unit at its time, and decodes all without a word.
func players(t *testing.T, b []byte, tracks []media.Track, units []TSUnit) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.ts")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		_ = os.WriteFile(filepath.Join(*keep, strings.ReplaceAll(t.Name(), "/", "_")+".ts"), b, 0o600)
	}
	for i := range tracks {
		var want, got []int64
		for _, u := range units {
			if u.Track == i {
				want = append(want, u.PTS)
			}
		}
		for l := range strings.Lines(string(run(t, "ffprobe", "-v", "error", "-select_streams", strconv.Itoa(i), "-show_entries", "packet=pts", "-of", "csv=p=0", file))) {
			if n, err := strconv.ParseInt(strings.Trim(l, ", \n"), 10, 64); err == nil {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("track %d: ffprobe finds %d units of %d, or at other times", i, len(got), len(want))
		}
	}
	if said := run(t, "sh", "-c", "ffmpeg -v warning -xerror -i '"+file+"' -f null - 2>&1"); len(said) > 0 && !bytes.Contains(said, []byte("non monotonically")) {
		t.Errorf("ffmpeg: %s", said)
	}
}

// tsClip is an H.264 clip of made-up bytes: n seconds of 25 units of size bytes.
func tsClip(n, size int) ([]media.Track, []TSUnit) {
	var units []TSUnit
	for i := range n * 25 {
		nal := bytes.Repeat([]byte{0x41}, size)
		if i%50 == 0 {
			nal[0] = 0x65
		}
		at := int64(i)*3600 + 900000
		units = append(units, TSUnit{DTS: at, PTS: at, Key: i%50 == 0, Payload: nalUnits(nal)}, TSUnit{Track: 1, DTS: at, PTS: at, Key: true, Payload: make([]byte, 160)})
	}
	return []media.Track{videoTrack(), {ID: 2, Codec: media.AAC, Timescale: 16000, Config: []byte{0x14, 0x08}, SampleRate: 16000, Channels: 1}}, units
}

// TestTSSparse: where pictures are sparse, come late or not at all, the clock goes
// on with the sound, and never runs back where the next segment begins.
func TestTSSparse(t *testing.T) {
	tracks, _ := tsClip(0, 0)
	sound := func(from, to int64) (out []TSUnit) {
		for at := from; at < to; at += 5760 {
			out = append(out, TSUnit{Track: 1, DTS: at, PTS: at, Duration: 5760, Key: true, Payload: make([]byte, 100)})
		}
		return out
	}
	picture := func(at, lasts int64) TSUnit {
		return TSUnit{DTS: at, PTS: at, Duration: lasts, Key: true, Payload: nalUnits(bytes.Repeat([]byte{0x65}, 300))}
	}
	const s = int64(TSRate)
	for name, c := range map[string]struct {
		segments [][]TSUnit
		most     int64
	}{
		"a picture in eight seconds": {[][]TSUnit{append([]TSUnit{picture(80*s, 8*s)}, sound(80*s, 88*s)...), append([]TSUnit{picture(88*s, 8*s)}, sound(88*s, 96*s)...)}, s},
		"sound beyond the segment":   {[][]TSUnit{append([]TSUnit{picture(80*s, 4*s)}, sound(80*s, 84*s+s/4)...), append([]TSUnit{picture(84*s, 4*s)}, sound(84*s+s/4, 88*s)...)}, s + s/10},
		"a late picture":             {[][]TSUnit{append(sound(80*s, 86*s), picture(86*s, 2*s)), append([]TSUnit{picture(88*s, 4*s)}, sound(88*s, 92*s)...)}, s},
		"pictures that stop":         {[][]TSUnit{append([]TSUnit{picture(80*s, s/25)}, sound(80*s, 90*s)...), append([]TSUnit{picture(90*s, 4*s)}, sound(90*s, 94*s)...)}, 2 * s},
		"pictures that pause":        {[][]TSUnit{append(append([]TSUnit{picture(80*s, s/25)}, sound(80*s, 90*s)...), picture(90*s, s))}, s + s/10},
		"no picture":                 {[][]TSUnit{sound(80*s, 90*s), append([]TSUnit{picture(90*s-s/2, 4*s)}, sound(90*s, 94*s)...)}, 2 * s},
	} {
		var judge packets
		for i, units := range c.segments {
			if err := judge.check(AppendTS(nil, tracks, units), 2*s); err != nil && !strings.Contains(err.Error(), "counter") {
				t.Errorf("%s: segment %d: %v", name, i, err)
			}
		}
		if judge.ahead > c.most {
			t.Errorf("%s: sound is %d ticks ahead of the clock", name, judge.ahead)
		}
	}
}

func TestTSable(t *testing.T) {
	for name, c := range map[string]struct {
		t    media.Track
		want bool
	}{
		"H.264": {videoTrack(), true}, "H.264 without parameters": {media.Track{ID: 1, Codec: media.H264}, false}, "G.711": {audioTrack(), false}, "metadata": {dataTrack(), false},
		"MJPEG": {media.Track{ID: 1, Codec: media.MJPEG}, false}, "AAC": {media.Track{ID: 2, Codec: media.AAC, Config: []byte{0x14, 0x08}}, true},
		"AAC of a rate of its own": {media.Track{ID: 2, Codec: media.AAC, Config: []byte{0x17, 0x80, 0x20, 0x00, 0x08}}, false}, "AAC that cannot be read": {media.Track{ID: 2, Codec: media.AAC, Config: []byte{1}}, false},
		"Opus": {media.Track{ID: 2, Codec: media.Opus}, true}, "Opus of nine": {media.Track{ID: 2, Codec: media.Opus, Channels: 9}, false},
	} {
		if got := TSable(c.t); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if b := TSNull(); len(b)%188 != 0 || binary.BigEndian.Uint16(b[1:]) != 0x1fff {
		t.Error("null packets")
	}
}

// FuzzTS: whatever is stored as a payload, the packets are sound.
func FuzzTS(f *testing.F) {
	f.Add(nalUnits([]byte{0x65, 1, 2}, []byte{0x41}), []byte{1, 2, 3}, int64(900000), int64(903600), uint8(0))
	f.Add([]byte{0, 0, 0, 200, 1}, bytes.Repeat([]byte{7}, 9000), int64(-5), int64(1)<<40, uint8(1))
	f.Add([]byte{0, 0, 0, 1, 0x26}, []byte{}, int64(1<<33-1), int64(1<<33), uint8(2))
	f.Fuzz(func(t *testing.T, video, sound []byte, dts, pts int64, kind uint8) {
		tracks, _ := tsClip(0, 0)
		switch kind % 4 {
		case 1:
			tracks = []media.Track{{ID: 1, Codec: media.H265, VPS: []byte{64, 1}, SPS: testSPS, PPS: testPPS}, {ID: 2, Codec: media.Opus}}
		case 2:
			tracks = []media.Track{{ID: 1, Codec: media.Opus}, {ID: 2, Codec: media.H264, SPS: testSPS, PPS: testPPS}}
		}
		dts = dts % (1 << 40)
		units := []TSUnit{{0, dts, pts, 90, true, video}, {1, dts, dts, 90, true, sound}, {0, dts + 900000, pts, 900000, false, video}, {1, dts + 900000, pts, 90, true, sound}}
		var p packets
		for range 2 {
			if err := p.check(AppendTS(nil, tracks, units), 1<<33); err != nil && !strings.Contains(err.Error(), "counter 0, not") {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkTS writes a segment of two seconds at 2 Mbit/s.
func BenchmarkTS(b *testing.B) {
	tracks, units := tsClip(2, 10000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = len(AppendTS(nil, tracks, units))
	}
	b.SetBytes(int64(n))
	raw := 0
	for _, u := range units {
		raw += len(u.Payload)
	}
	b.ReportMetric(float64(n)/float64(raw), "bytes/stored")
}
