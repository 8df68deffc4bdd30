package archive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
	"media-server/core/mux"
)

// Parameter sets of x264, 640x360.
var (
	testSPS = []byte{0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96}
	testPPS = []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}
)

func testTracks() []media.Track {
	return []media.Track{
		{ID: 1, Codec: media.H264, Timescale: 90000, SPS: testSPS, PPS: testPPS},
		{ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1},
	}
}

// camera makes the same units whenever it is asked: 25 frames a second with a
// key frame a second, and an audio packet with each.
type camera struct {
	run  media.RunID
	born media.Wall
	name string
}

func (c *camera) unit(track int, seq uint64) (media.AccessUnit, media.Wall) {
	wall := c.born.Add(time.Duration(seq) * 40 * time.Millisecond)
	stamp := fmt.Sprintf("MSL1:%s:%d:%d;", c.name, track, seq)
	if track == 2 {
		p := append([]byte(stamp), bytes.Repeat([]byte{0xd5}, 320-len(stamp))...)
		return media.AccessUnit{Track: 2, Seq: seq, PTS: int64(seq) * 320, Key: true, Payload: p}, wall
	}
	nal := append([]byte{0x41}, bytes.Repeat([]byte(stamp), 20+int(seq%17))...)
	key := seq%25 == 0
	if key {
		nal[0] = 0x65
	}
	p := append(binary.BigEndian.AppendUint32(nil, uint32(len(nal))), nal...)
	return media.AccessUnit{Track: 1, Seq: seq, PTS: int64(seq) * 3600, DTS: int64(seq) * 3600, HasDTS: true, Key: key, Payload: p}, wall
}

// feeder writes a camera into a recorder, as stream does.
type feeder struct {
	cam   *camera
	rec   *archive.Recorder
	w     *mux.Writer
	next  [3]uint64 // by track
	parts int
}

// start begins a run, or resumes it where the archive ends.
func start(t testing.TB, cam *camera, rec *archive.Recorder, why archive.GapCause) *feeder {
	t.Helper()
	f := &feeder{cam: cam, rec: rec}
	zero := mux.Zero(cam.born)
	if r, ok := rec.Resume(); ok && r.Positions.Run == cam.run {
		f.next[1], f.next[2] = r.Positions.Next(1), r.Positions.Next(2)
		f.w = mux.NewWriter(mux.Config{Chain: true, Epoch: 2}, mux.Start{Run: cam.run, Zero: r.Zero, Tracks: r.Tracks, Segment: r.Segment, Discontinuity: r.Discontinuity,
			PartIndex: r.PartIndex, Fragments: r.Fragments, Expect: r.Expect, Continue: true, SegmentStart: r.SegmentStart})
		if err := rec.Begin(cam.run, r.Zero, r.Tracks, why); err != nil {
			t.Fatal(err)
		}
		return f
	}
	seg, disc := rec.NextSegment()
	f.w = mux.NewWriter(mux.Config{Chain: true, Epoch: 1}, mux.Start{Run: cam.run, Zero: zero, Tracks: testTracks(), Segment: seg, Discontinuity: disc})
	if err := rec.Begin(cam.run, zero, testTracks(), why); err != nil {
		t.Fatal(err)
	}
	return f
}

// feed writes frames until both tracks are at seq.
func (f *feeder) feed(seq uint64) error {
	for f.next[1] < seq || f.next[2] < seq {
		track := 1
		if f.next[2] < f.next[1] {
			track = 2
		}
		u, wall := f.cam.unit(track, f.next[track])
		parts, ev, err := f.w.Write(u, wall, func() []byte { return []byte("clock") })
		if err != nil {
			return err
		}
		if ev.Dropped != mux.Stored {
			return fmt.Errorf("track %d unit %d dropped: %s", track, u.Seq, ev.Dropped)
		}
		f.next[track]++
		if err := f.put(parts); err != nil {
			return err
		}
	}
	return nil
}

func (f *feeder) put(parts []*media.Part) error {
	var failed error
	for _, p := range parts {
		if err := f.rec.Append(p); err != nil {
			failed = errors.Join(failed, err)
		} else {
			f.parts++
		}
		p.Release()
	}
	return failed
}

// live writes 25 frames a second for some seconds of a bubble's clock.
func (f *feeder) live(t *testing.T, seconds int) {
	t.Helper()
	for range seconds {
		if err := f.feed(f.next[1] + 25); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

func (f *feeder) flush() error { return f.put(f.w.Flush()) }

// host runs an archive over some spaces.
type host struct {
	t       testing.TB
	a       *archive.Archive
	stop    context.CancelFunc
	done    chan error
	mu      sync.Mutex
	notices []archive.Notice
}

func options(data string, epoch uint64, dirs ...*storagetest.Dir) archive.Options {
	o := archive.Options{DataDir: data, Epoch: epoch, Program: "test", Log: testLog}
	p := archive.Pool{Name: "default", Overwrite: true}
	for i, d := range dirs {
		name := fmt.Sprintf("s%d", i)
		o.Spaces = append(o.Spaces, archive.Space{Name: name, Storage: d, Create: true})
		p.Spaces = append(p.Spaces, name)
	}
	o.Pools = []archive.Pool{p}
	return o
}

func open(t testing.TB, o archive.Options) *host {
	t.Helper()
	h := &host{t: t, done: make(chan error, 1)}
	o.Notify = func(n archive.Notice) {
		h.mu.Lock()
		h.notices = append(h.notices, n)
		h.mu.Unlock()
	}
	ctx, stop := context.WithCancel(context.Background())
	a, err := archive.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	h.a, h.stop = a, stop
	go func() { h.done <- a.Run(ctx) }()
	t.Cleanup(h.close)
	return h
}

func (h *host) close() {
	if h.stop == nil {
		return
	}
	h.stop()
	h.stop = nil
	if err := <-h.done; err != nil {
		h.t.Error(err)
	}
	h.a.Close()
}

func (h *host) saw(typ string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, x := range h.notices {
		if x.Type == typ {
			n++
		}
	}
	return n
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// audit reads everything of a stream back through Segments, Layout and Pin,
// and checks that the units of the camera from first to last are there once,
// in order, with their bytes. It returns the units read.
func audit(t testing.TB, a *archive.Archive, cam *camera, from, to uint64) {
	t.Helper()
	segs, err := a.Segments(cam.name, media.Span{From: 0, To: 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	next := map[int]uint64{1: from, 2: from}
	var number uint64
	for i, s := range segs {
		if i > 0 && s.Number != number+1 && !(s.Number == number && s.File != segs[i-1].File) {
			t.Fatalf("segment %d follows %d", s.Number, number)
		}
		number = s.Number
		auditSegment(t, a, cam, s, next)
	}
	for track, n := range next {
		if n != to {
			t.Fatalf("track %d: units up to %d instead of %d", track, n, to)
		}
	}
}

func auditSegment(t testing.TB, a *archive.Archive, cam *camera, s archive.Segment, next map[int]uint64) {
	t.Helper()
	l, err := a.Layout(s.File)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := a.Pin(s.File)
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Release()
	sl := l.Segments[s.Index]
	if sl.Number != s.Number {
		t.Fatalf("layout's segment %d is %d, not %d", s.Index, sl.Number, s.Number)
	}
	scales := map[int]uint32{1: 90000, 2: 8000}
	for i := sl.First; i < sl.Last; i++ {
		fr := &l.Fragments[i]
		b := make([]byte, fr.DataSize)
		if _, err := pin.ReadAt(b, fr.DataOffset); err != nil {
			t.Fatalf("read %d bytes at %d: %v", fr.DataSize, fr.DataOffset, err)
		}
		dts := fr.BaseTime
		for _, smp := range fr.Samples {
			u, wall := cam.unit(fr.Track, next[fr.Track])
			if !bytes.Equal(b[:smp.Size], u.Payload) {
				t.Fatalf("track %d: unit %d is not where it should be (%.40q)", fr.Track, u.Seq, b[:smp.Size])
			}
			if smp.Key != u.Key {
				t.Fatalf("track %d unit %d: key %v", fr.Track, u.Seq, smp.Key)
			}
			at := l.Zero.Add(media.DurationOf(dts+int64(smp.CTO), scales[fr.Track]))
			if d := at.Sub(wall); d > time.Millisecond || d < -time.Millisecond {
				t.Fatalf("track %d unit %d is %s off", fr.Track, u.Seq, d)
			}
			dts += int64(smp.Duration)
			b = b[smp.Size:]
			next[fr.Track]++
		}
	}
}

func newCamera(name string, n byte) *camera {
	return &camera{run: media.RunID{n, 1}, name: name, born: media.WallOf(time.Now().Truncate(time.Second))}
}

// inBubble is a camera by the clock that a synctest bubble begins with.
func inBubble(name string, n byte) *camera {
	c := newCamera(name, n)
	c.born = media.WallOf(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	return c
}

// testLog shows what the archive logs in verbose runs only.
var testLog = slog.New(slog.NewTextHandler(logWriter{}, nil))

type logWriter struct{}

func (logWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		return os.Stderr.Write(b)
	}
	return len(b), nil
}
