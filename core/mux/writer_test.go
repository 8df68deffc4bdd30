package mux

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"media-server/core/media"
)

// Parameter sets of x264 (640x360, High, two B pictures) and x265.
var (
	testSPS = []byte{0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96}
	testPPS = []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}
	zero    = media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
)

func nalUnits(nals ...[]byte) []byte {
	var b boxes
	for _, n := range nals {
		b.u32(uint32(len(n)))
		b.bytes(n...)
	}
	return b
}

func videoTrack() media.Track {
	return media.Track{ID: 1, Codec: media.H264, Timescale: 90000, SPS: testSPS, PPS: testPPS}
}

func audioTrack() media.Track {
	return media.Track{ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}
}

func dataTrack() media.Track { return media.Track{ID: 3, Codec: media.Metadata, Timescale: 90000} }

// camera produces units in arrival order.
type camera struct {
	units []media.AccessUnit
	walls []media.Wall
}

func (c *camera) add(u media.AccessUnit, at time.Duration) {
	c.units = append(c.units, u)
	c.walls = append(c.walls, zero.Add(10*time.Second+at))
}

// steady is a camera of n seconds: 25 fps with a key frame each gop frames,
// G.711 in 40 ms packets, a document each second.
func steady(n, gop int) *camera {
	c := &camera{}
	for i := range n * 25 {
		at := time.Duration(i) * 40 * time.Millisecond
		nal := append([]byte{0x41}, bytes.Repeat([]byte{byte(i)}, 200+i%50)...)
		if i%gop == 0 {
			nal[0] = 0x65
		}
		c.add(media.AccessUnit{Track: 1, Seq: uint64(i), PTS: int64(i) * 3600, DTS: int64(i) * 3600, HasDTS: true, Key: i%gop == 0, Payload: nalUnits(nal)}, at)
		c.add(media.AccessUnit{Track: 2, Seq: uint64(i), PTS: int64(i) * 320, Key: true, Payload: bytes.Repeat([]byte{0xd5}, 320)}, at)
		if i%25 == 12 {
			c.add(media.AccessUnit{Track: 3, Seq: uint64(i / 25), PTS: int64(i) * 3600, Key: true, Payload: []byte("<tt:MetadataStream/>")}, at)
		}
	}
	return c
}

func startOf(tracks ...media.Track) Start {
	return Start{Run: media.RunID{1, 2, 3}, Zero: zero, Tracks: tracks, Segment: 7, Discontinuity: 2}
}

// stored is what storage would hold.
type stored struct {
	t     *testing.T
	data  []byte
	parts []*media.Part
	ends  map[int]int64
	last  *media.Part
}

func (s *stored) take(parts []*media.Part) {
	s.t.Helper()
	for _, p := range parts {
		for i := range p.Fragments {
			f := &p.Fragments[i]
			if s.ends == nil {
				s.ends = map[int]int64{}
			}
			if f.BaseTime < s.ends[f.Track] {
				s.t.Fatalf("track %d: fragment at %d overlaps the one that ends at %d", f.Track, f.BaseTime, s.ends[f.Track])
			}
			s.ends[f.Track] = f.BaseTime + f.Duration
			SetDurable(f.Head, uint64(len(s.data)))
			s.data = append(append(s.data, f.Head...), f.Payload...)
		}
		if s.last != nil {
			sameSegment := p.Segment == s.last.Segment && p.Index == s.last.Index+1
			nextSegment := p.Segment == s.last.Segment+1 && p.Index == 0
			if !sameSegment && !nextSegment {
				s.t.Fatalf("part %d.%d after %d.%d", p.Segment, p.Index, s.last.Segment, s.last.Index)
			}
		}
		s.last = p
		s.parts = append(s.parts, p)
	}
}

// fragments reads everything back.
func (s *stored) fragments() []FragmentInfo {
	s.t.Helper()
	var all []FragmentInfo
	r := bytes.NewReader(s.data)
	for off := int64(0); off < int64(len(s.data)); {
		f, next, err := ParseFragment(r, off, int64(len(s.data)))
		if err != nil {
			s.t.Fatalf("fragment at %d: %v", off, err)
		}
		if n, err := f.VerifyPayload(r); err != nil || n != len(f.Samples) {
			s.t.Fatalf("fragment at %d: %d of %d units sound, %v", off, n, len(f.Samples), err)
		}
		if f.Header.DurableTo > uint64(off) {
			s.t.Fatalf("durable to %d at %d", f.Header.DurableTo, off)
		}
		all = append(all, f)
		off = next
	}
	return all
}

func write(t *testing.T, w *Writer, c *camera, s *stored) {
	t.Helper()
	for i, u := range c.units {
		parts, ev, err := w.Write(u, c.walls[i], func() []byte { return []byte("clock") })
		if err != nil || ev.Changed != nil {
			t.Fatalf("unit %d: %+v %v", i, ev, err)
		}
		s.take(parts)
	}
}

func TestSteadyCamera(t *testing.T) {
	c := steady(20, 50)
	w := NewWriter(Config{Epoch: 5}, startOf(videoTrack(), audioTrack(), dataTrack()))
	s := &stored{t: t}
	write(t, w, c, s)
	s.take(w.Flush())

	units := map[int]int{}
	for _, f := range s.fragments() {
		units[f.Header.Track] += len(f.Samples)
		for i, sm := range f.Samples {
			if d := sm.Duration; f.Header.Track == 1 && d != 3600 || f.Header.Track == 2 && d != 320 || d == 0 {
				t.Fatalf("track %d sample %d lasts %d", f.Header.Track, i, d)
			}
		}
		if f.Header.First != (f.Header.Clock != nil) || f.Header.Epoch != 5 || f.Header.Run != (media.RunID{1, 2, 3}) {
			t.Fatalf("%+v", f.Header)
		}
	}
	if units[1] != 500 || units[2] != 500 || units[3] != 20 {
		t.Fatalf("units stored: %v", units)
	}
	for i, p := range s.parts {
		if d := p.End.Sub(p.Start); d > 500*time.Millisecond || d < 40*time.Millisecond {
			t.Errorf("part %d lasts %v", i, d)
		}
		if p.Independent != (p.Index == 0) {
			t.Errorf("part %d.%d independent: %v", p.Segment, p.Index, p.Independent)
		}
		if i > 0 && p.Start != s.parts[i-1].End {
			t.Errorf("part %d starts %v after the end of the one before", i, p.Start.Sub(s.parts[i-1].End))
		}
	}
	if first, last := s.parts[0], s.parts[len(s.parts)-1]; first.Segment != 7 || last.Segment != 16 {
		t.Errorf("segments %d to %d", first.Segment, last.Segment)
	}
	if st := w.Stats(); st.Backwards+st.Holes+st.BadDTS+st.NegativeTimes != 0 || st.Dropped != [16]uint64{} {
		t.Errorf("odd: %+v", st)
	}
}

// TestResume: the core dies after any part; the driver sends again what was
// not stored. The result is what an undisturbed recording holds.
func TestResume(t *testing.T) {
	c := steady(12, 50)
	whole := &stored{t: t}
	w := NewWriter(Config{}, startOf(videoTrack(), audioTrack(), dataTrack()))
	write(t, w, c, whole)
	whole.take(w.Flush())

	for cut := 1; cut < len(whole.parts); cut++ {
		s := &stored{t: t}
		s.take(whole.parts[:cut])
		start := startOf(videoTrack(), audioTrack(), dataTrack())
		last := s.last
		start.Continue, start.Segment, start.PartIndex = true, last.Segment, last.Index+1
		for _, p := range s.parts {
			if p.Segment == last.Segment && p.Index == 0 {
				start.SegmentStart = p.Start
			}
		}
		next := map[int]Expect{}
		for _, f := range s.fragments() {
			next[f.Header.Track] = Expect{Track: f.Header.Track, NextSeq: f.Header.LastSeq + 1, NextTime: f.BaseTime + f.Duration,
				LastDuration: f.Samples[len(f.Samples)-1].Duration}
		}
		for _, e := range next {
			start.Expect = append(start.Expect, e)
		}
		w := NewWriter(Config{}, start)
		jittered := &camera{units: c.units}
		for _, wall := range c.walls { // the restored clock is off by a hair
			jittered.walls = append(jittered.walls, wall.Add(time.Duration(cut%3-1)*700*time.Microsecond))
		}
		write(t, w, jittered, s)
		s.take(w.Flush())
		units, end := map[int]uint64{}, map[int]int64{}
		for _, f := range s.fragments() {
			if f.Header.FirstSeq != units[f.Header.Track] {
				t.Fatalf("cut %d: track %d goes from %d to %d", cut, f.Header.Track, units[f.Header.Track], f.Header.FirstSeq)
			}
			units[f.Header.Track] = f.Header.LastSeq + 1
			if e := end[f.Header.Track]; e != 0 && f.Header.Track != 3 && f.BaseTime != e {
				t.Fatalf("cut %d: track %d: crack of %d ticks", cut, f.Header.Track, f.BaseTime-e)
			}
			end[f.Header.Track] = f.BaseTime + f.Duration
		}
		if units[1] != 300 || units[2] != 300 || units[3] != 12 {
			t.Fatalf("cut %d: %v", cut, units)
		}
	}
}

func TestSegmentsWithoutKeyFrames(t *testing.T) {
	c := steady(65, 25*30) // 30 s GOP
	w := NewWriter(Config{}, startOf(videoTrack(), audioTrack()))
	s := &stored{t: t}
	for i, u := range c.units {
		if u.Track == 3 {
			continue
		}
		parts, _, _ := w.Write(u, c.walls[i], nil)
		s.take(parts)
	}
	s.take(w.Flush())
	var got []string
	for _, p := range s.parts {
		if p.Index == 0 {
			got = append(got, fmt.Sprintf("%.0f%v", p.Start.Sub(zero).Seconds()-10, p.Independent))
		}
	}
	if want := "[0true 10false 20false 30true 40false 50false 60true]"; fmt.Sprint(got) != want {
		t.Errorf("segments %v, want %v", got, want)
	}
}

func TestParameterChange(t *testing.T) {
	other := append([]byte(nil), testSPS...)
	other[3] = 0x1f // level
	c := steady(6, 25)
	for i := range c.units {
		if u := &c.units[i]; u.Track == 1 && u.Key {
			sps := testSPS
			if u.Seq >= 75 {
				sps = other
			}
			u.Payload = nalUnits(sps, testPPS, u.Payload[4:])
		}
	}
	s := &stored{t: t}
	w := NewWriter(Config{}, startOf(videoTrack(), audioTrack(), dataTrack()))
	changes := 0
	for i, u := range c.units {
		parts, ev, err := w.Write(u, c.walls[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		s.take(parts)
		if ev.Changed != nil {
			changes++
			if u.Seq != 75 || !bytes.Equal(ev.Changed[0].SPS, other) {
				t.Fatalf("unit %d: %+v", i, ev)
			}
			s.take(w.Flush())
			w = NewWriter(Config{}, w.Next(ev.Changed))
			parts, ev, err = w.Write(u, c.walls[i], nil)
			s.take(parts)
			if ev.Started == nil || err != nil {
				t.Fatalf("after the change: %+v %v", ev, err)
			}
		}
	}
	s.take(w.Flush())
	if changes != 1 {
		t.Fatalf("%d changes", changes)
	}
	n := 0
	for _, f := range s.fragments() {
		if f.Header.Track == 1 {
			n += len(f.Samples)
			for _, sm := range f.Samples {
				if sm.Duration != 3600 {
					t.Errorf("sample of %d ticks", sm.Duration)
				}
			}
		}
	}
	if n != 150 || s.last.Discontinuity != 3 {
		t.Errorf("%d units, discontinuity %d", n, s.last.Discontinuity)
	}
}

func TestWaitsForParametersInBand(t *testing.T) {
	bare := videoTrack()
	bare.SPS, bare.PPS = nil, nil
	c := steady(6, 50)
	for i := range c.units {
		if u := &c.units[i]; u.Track == 1 && u.Seq == 50 {
			u.Payload = nalUnits(testSPS, testPPS, u.Payload[4:])
		}
	}
	w := NewWriter(Config{}, startOf(bare, audioTrack()))
	for i, u := range c.units {
		parts, ev, _ := w.Write(u, c.walls[i], nil)
		if ev.Started != nil {
			if u.Seq != 50 || len(ev.Started) != 2 || ev.Started[0].Width != 640 || ev.Started[0].Height != 360 {
				t.Fatalf("unit %d: %+v", i, ev)
			}
			return
		}
		if ev.Dropped == Stored && !ev.Kept || len(parts) > 0 {
			t.Fatalf("unit %d: %+v", i, ev)
		}
	}
	t.Fatal("never started")
}

// Sound that was taken after the first key frame but came before it is stored;
// sound taken before it is not.
func TestSoundAheadOfTheFirstPicture(t *testing.T) {
	for _, ahead := range []time.Duration{120 * time.Millisecond, 2100 * time.Millisecond} {
		soundAhead(t, ahead)
	}
}

func soundAhead(t *testing.T, ahead time.Duration) {
	t.Helper()
	c := steady(8, 50)
	w, s := NewWriter(Config{}, startOf(videoTrack(), audioTrack())), &stored{t: t}
	var late []media.AccessUnit // pictures come behind the sound of their time
	var lateAt []media.Wall
	push := func(until media.Wall) {
		for len(late) > 0 && lateAt[0] <= until-media.Wall(ahead) {
			parts, _, err := w.Write(late[0], lateAt[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			s.take(parts)
			late, lateAt = late[1:], lateAt[1:]
		}
	}
	var first media.Wall
	for i, u := range c.units {
		switch u.Track {
		case 1:
			if u.Seq < 20 {
				u.Key = false
				u.Payload = nalUnits([]byte{1, 9, 9})
			} else if first == 0 {
				u.Key, first = true, c.walls[i]
				u.Payload = nalUnits(testSPS, testPPS, []byte{0x65, 1, 2})
			}
			late, lateAt = append(late, u), append(lateAt, c.walls[i])
		case 2:
			push(c.walls[i])
			parts, _, err := w.Write(u, c.walls[i], nil)
			if err != nil {
				t.Fatal(err)
			}
			s.take(parts)
		}
	}
	s.take(w.Flush())
	for _, f := range s.fragments() {
		if f.Header.Track == 2 {
			if f.Header.WallStart.Sub(first).Abs() > 20*time.Millisecond {
				t.Fatalf("sound begins at %v, the first key frame is at %v", f.Header.WallStart.Time(), first.Time())
			}
			return
		}
	}
	t.Fatal("no sound")
}

// A video track that never brings its parameters does not stop the sound, and
// joins with a new file when it does.
func TestVideoComesLate(t *testing.T) {
	bare := videoTrack()
	bare.SPS, bare.PPS = nil, nil
	c := steady(20, 50)
	for i := range c.units {
		if u := &c.units[i]; u.Track == 1 && u.Seq == 400 {
			u.Payload = nalUnits(testSPS, testPPS, u.Payload[4:])
		}
	}
	w := NewWriter(Config{}, startOf(bare, audioTrack()))
	started, changed := -1, -1
	for i, u := range c.units {
		_, ev, _ := w.Write(u, c.walls[i], nil)
		if ev.Started != nil {
			started = int(u.Seq)
			if len(ev.Started) != 1 || ev.Started[0].ID != 2 {
				t.Fatalf("started with %v", ev.Started)
			}
		}
		if ev.Changed != nil {
			changed = int(u.Seq)
			break
		}
	}
	if started != 250 || changed != 400 {
		t.Errorf("started at %d, changed at %d", started, changed)
	}
}

func TestReorderDerivesDTS(t *testing.T) {
	for _, c := range []struct {
		name  string
		depth int
		order []int // presentation index in decode order, repeated
	}{
		{"none", 0, []int{0, 1, 2, 3}},
		{"two B", 1, []int{2, 0, 1}},
		{"pyramid", 2, []int{3, 1, 0, 2}},
	} {
		for _, known := range []bool{true, false} {
			var r reorder
			if known {
				r.depth = c.depth
			}
			last := int64(-1 << 62)
			late := 0
			for i := range 41 {
				p := int64(99 * 3600) // the key frame
				if k := i - 1; k >= 0 {
					p = int64(k/len(c.order)*len(c.order)+c.order[k%len(c.order)]+100) * 3600
				}
				d := r.decode(p, 3600, 90000)
				if d <= last || d > p {
					late++
					d = last + 1
				}
				if known && i > c.depth && d-last != 3600 {
					t.Errorf("%s: unit %d comes %d after the one before", c.name, i, d-last)
				}
				last = d
			}
			if known && late > 0 || late > 2*maxReorder {
				t.Errorf("%s, depth known %v: %d decode times had to be moved", c.name, known, late)
			}
			if r.depth != c.depth {
				t.Errorf("%s: depth %d", c.name, r.depth)
			}
		}
	}
}

// TestOddInput: whatever comes, samples never overlap, last at least a tick,
// and no more units are stored than came.
func TestOddInput(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 9))
		w := NewWriter(Config{}, startOf(videoTrack(), audioTrack(), dataTrack()))
		s := &stored{t: t}
		seq := map[int]uint64{}
		wall := zero.Add(time.Duration(r.IntN(20)) * time.Second)
		given := 0
		for range 400 {
			id := r.IntN(4) + 1
			u := media.AccessUnit{Track: id, Seq: seq[id], Key: r.IntN(10) == 0, PTS: r.Int64N(1 << 40), HasDTS: r.IntN(2) == 0}
			seq[id] += 1 + uint64(r.IntN(20)/19)
			u.DTS = u.PTS - r.Int64N(1<<uint(r.IntN(40)+1)) + 1000
			switch r.IntN(30) {
			case 0:
				wall = wall.Add(time.Duration(r.Int64N(40_000_000_000) - 20_000_000_000))
			case 1:
				wall = wall.Add(7 * 24 * time.Hour)
			case 2: // the same again
			default:
				wall = wall.Add(time.Duration(r.IntN(50)) * time.Millisecond)
			}
			u.Payload = make([]byte, r.IntN(300))
			if id == 1 && len(u.Payload) > 5 {
				u.Payload = nalUnits(u.Payload)
			}
			parts, ev, err := w.Write(u, wall, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.take(parts)
			if ev.Changed != nil {
				s.take(w.Flush())
				w = NewWriter(Config{}, w.Next(ev.Changed))
				parts, ev, _ = w.Write(u, wall, nil)
				s.take(parts)
			}
			if ev.Dropped == Stored && !ev.Kept {
				given++
			}
			given += ev.Joined
		}
		s.take(w.Flush())
		n := 0
		for _, f := range s.fragments() {
			n += len(f.Samples)
		}
		if n != given {
			t.Fatalf("seed %d: %d units taken, %d stored", seed, given, n)
		}
	}
}

func TestBigUnits(t *testing.T) {
	w := NewWriter(Config{}, startOf(videoTrack()))
	s := &stored{t: t}
	for i := range 12 {
		nal := make([]byte, MaxUnit-4)
		nal[0] = 0x65
		parts, ev, _ := w.Write(media.AccessUnit{Track: 1, Seq: uint64(i), Key: true, Payload: nalUnits(nal)}, zero.Add(time.Duration(i+1)*10*time.Millisecond), nil)
		if ev.Dropped != Stored {
			t.Fatal(ev)
		}
		s.take(parts)
	}
	if _, ev, _ := w.Write(media.AccessUnit{Track: 1, Seq: 99, Key: true, Payload: make([]byte, MaxUnit+1)}, zero, nil); ev.Dropped != DropTooBig {
		t.Fatal(ev)
	}
	s.take(w.Flush())
	if n := len(s.fragments()); n != 3 {
		t.Errorf("%d fragments", n)
	}
}

func TestInitRefusesBrokenParameters(t *testing.T) {
	for _, tr := range []media.Track{
		{ID: 1, Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 1}, PPS: []byte{0x68}},
		{ID: 1, Codec: media.H265, Timescale: 90000, VPS: []byte{0x40}, SPS: []byte{0x42, 1}, PPS: []byte{0x44}},
		{ID: 1, Codec: media.AAC, Timescale: 48000},
		{ID: 0, Codec: media.PCMA, Timescale: 8000},
		{ID: 1, Codec: media.PCMA},
		{ID: 1, Codec: "vp9", Timescale: 90000},
	} {
		if _, err := Init([]media.Track{tr}); err == nil {
			t.Errorf("%v: an init segment was made", tr)
		}
	}
	if _, err := Init(nil); err == nil {
		t.Error("an init segment without tracks was made")
	}
}

func TestContinueWithoutParameters(t *testing.T) {
	bare := videoTrack()
	bare.SPS = nil
	start := startOf(bare)
	start.Continue = true
	if _, ev, err := NewWriter(Config{}, start).Write(steady(1, 25).units[0], zero, nil); err != nil || ev.Dropped != DropWaiting {
		t.Fatalf("%+v %v", ev, err)
	}
}

func TestOneFrameASecond(t *testing.T) {
	w := NewWriter(Config{}, startOf(videoTrack()))
	s := &stored{t: t}
	for i := range 10 {
		parts, _, _ := w.Write(media.AccessUnit{Track: 1, Seq: uint64(i), Key: i%5 == 0, PTS: int64(i) * 90000, DTS: int64(i) * 90000, HasDTS: true, Payload: nalUnits([]byte{0x41, 1, 2})},
			zero.Add(time.Duration(i+10)*time.Second), nil)
		if i > 0 && len(parts) != 1 {
			t.Fatalf("unit %d: %d parts", i, len(parts))
		}
		s.take(parts)
	}
	s.take(w.Flush())
	if last := s.parts[len(s.parts)-1]; last.End != zero.Add(20*time.Second) {
		t.Errorf("ends at %v", last.End.Sub(zero))
	}
}

func TestSameInputSameBytes(t *testing.T) {
	var first []byte
	for range 2 {
		s := &stored{t: t}
		w := NewWriter(Config{}, startOf(videoTrack(), audioTrack(), dataTrack()))
		write(t, w, steady(5, 30), s)
		s.take(w.Flush())
		if first == nil {
			first = s.data
		} else if !bytes.Equal(first, s.data) {
			t.Fatal("bytes differ")
		}
	}
}

func FuzzParseFragment(f *testing.F) {
	w := NewWriter(Config{}, startOf(videoTrack(), audioTrack()))
	c := steady(2, 25)
	c.units[4].Seq += 3 // a hole in the sequence
	for i := range c.units {
		if c.units[i].Track == 3 {
			continue
		}
		parts, _, _ := w.Write(c.units[i], c.walls[i], nil)
		for _, p := range parts {
			for i := range p.Fragments {
				f.Add(append(append([]byte(nil), p.Fragments[i].Head...), p.Fragments[i].Payload...))
				hidden, _, _ := AppendEncryptedHead(nil, p.Fragments[i].Head)
				SetEncryption(hidden, &Encryption{Nonce: [12]byte{1}})
				f.Add(append(hidden, p.Fragments[i].Payload...))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append([]byte(nil), b...)
		if len(b) > headerFixed { // let the fuzzer past the checksums
			if h, err := ParsePartHeader(b); err == ErrChecksum {
				sealHeader(b[:h.Size])
			}
		}
		r := bytes.NewReader(b)
		frag, next, err := ParseFragment(r, 0, int64(len(b)))
		if err != nil {
			return
		}
		if next > int64(len(b)) || next != frag.End() {
			t.Fatalf("next %d of %d", next, len(b))
		}
		if _, err := frag.VerifyPayload(r); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add(uint8(0), nalUnits(testSPS, testPPS, []byte{0x65, 1}))
	f.Add(uint8(2), []byte{0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 1, 2, 3, 4, 1, 1, 0x11, 0})
	f.Fuzz(func(t *testing.T, codec uint8, p []byte) {
		tr := media.Track{ID: 1, Timescale: 90000, Codec: []media.Codec{media.H264, media.H265, media.MJPEG}[codec%3]}
		c := inspect(&tr, p)
		tr.VPS, tr.SPS, tr.PPS = c.vps, c.sps, c.pps
		FillParameters(&tr)
		reorderDepth(&tr)
		CodecString(tr)
		if tr.Ready() {
			_, _ = Init([]media.Track{tr})
		}
		a := media.Track{ID: 1, Timescale: 48000, Codec: media.AAC, Config: p}
		FillParameters(&a)
		CodecString(a)
	})
}

func BenchmarkWrite(b *testing.B) {
	c := steady(60, 50)
	for i := range c.units {
		if c.units[i].Track == 1 {
			c.units[i].Payload = nalUnits(append([]byte{c.units[i].Payload[4]}, make([]byte, 10000)...))
		}
	}
	w := NewWriter(Config{}, startOf(videoTrack(), audioTrack(), dataTrack()))
	clock := make([]byte, 166)
	state := func() []byte { return clock }
	n, lap := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		if n == len(c.units) {
			n = 0
			lap++
		}
		u := c.units[n]
		u.Seq += uint64(lap) * 1500
		parts, _, _ := w.Write(u, c.walls[n].Add(time.Duration(lap)*time.Minute), state)
		for _, p := range parts {
			b.SetBytes(0)
			p.Release()
		}
		n++
	}
}
