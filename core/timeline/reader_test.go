package timeline_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/stream"
	"media-server/core/timeline"
)

// camera is a stream without recording, its driver, and a timeline over both.
type camera struct {
	t    *testing.T
	cur  atomic.Pointer[stream.Stream]
	sink stream.Sink
	tl   *timeline.Timeline
	next [3]uint64 // sequence numbers by track
	gop  uint64    // pictures from key frame to key frame
	mode bool      // units are delivered at once
}

func (c *camera) Subscribe(_ stream.Subscription, k stream.Sink) (stream.Session, error) {
	c.sink = k
	return c, nil
}
func (c *camera) Ack(media.RunPosition) {}
func (c *camera) SetDelivery(on bool)   { c.mode = on }
func (c *camera) Resubscribe()          {}
func (c *camera) Close()                {}

// none is an archive without footage.
type none struct{ timeline.Archive }

func (none) Segments(string, media.Span) ([]archive.Segment, error) { return nil, nil }
func (none) Bounds(string) (media.Span, bool)                       { return media.Span{}, false }
func (none) Newest(string) (media.Wall, bool)                       { return 0, false }
func (none) Tracks(archive.InitID) ([]media.Track, error)           { return nil, archive.ErrGone }

type ring struct{ *stream.Ring }

func (r ring) HoldFile(id archive.FileID) (timeline.File, error) {
	h, err := r.Hold(id)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// start begins a capture, as that of a stream whose settings have changed.
func (c *camera) start() {
	c.t.Helper()
	var first stream.Numbers
	if s := c.cur.Load(); s != nil {
		first = s.Next()
	}
	s := stream.New(stream.Spec{Capture: stream.Subscription{UID: "cam"}}, stream.Deps{Driver: c, Epoch: 1, Log: slog.New(slog.DiscardHandler),
		First: first, LastEnd: func(string) (media.Wall, bool) { return 0, false }})
	if err := s.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.cur.Store(s)
}

func newCamera(t *testing.T) *camera {
	c := &camera{t: t, gop: 25}
	c.start()
	c.tl = timeline.New(none{}, func(string) timeline.Ring { return ring{c.cur.Load().Ring()} })
	c.tl.Follow(func(string) timeline.Tap {
		if tap, ok := c.cur.Load().Tap(); ok {
			return tap
		}
		return nil
	})
	return c
}

var (
	sps, _ = hex.DecodeString("6742c01ed901e089f97011000003000100000300328f162e48")
	pps, _ = hex.DecodeString("68cb83cb20")
)

func (c *camera) open(run byte) {
	c.next = [3]uint64{}
	c.sink.Opened(stream.Opened{Run: media.RunID{run}, At: media.WallOf(time.Now()), Tracks: []media.Track{
		{ID: 1, Codec: media.H264, Timescale: 90000, SPS: sps, PPS: pps},
		{ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1},
	}, First: []media.Position{{Track: 1}, {Track: 2}}})
}

// unit gives the next unit of a track; its payload says which one it is.
func (c *camera) unit(track int) {
	n := c.next[track]
	c.next[track]++
	u := media.AccessUnit{Track: track, Seq: n, PTS: int64(n) * 3600, Received: media.WallOf(time.Now()), Mono: time.Now().UnixNano()}
	p := make([]byte, 4+9)
	binary.BigEndian.PutUint32(p, 9)
	p[4] = 0x41
	if u.Key = n%c.gop == 0; u.Key {
		p[4] = 0x65
	}
	if track == 2 {
		u.PTS, u.Key = int64(n)*160, true
	}
	binary.BigEndian.PutUint64(p[5:], n)
	u.Payload = p
	c.sink.Units([]media.AccessUnit{u})
}

// play gives frames of so much time, as they are taken: 25 pictures and 50 of sound a second.
func (c *camera) play(d time.Duration) {
	for range int(d / (40 * time.Millisecond)) {
		c.unit(1)
		c.unit(2)
		time.Sleep(20 * time.Millisecond)
		c.unit(2)
		time.Sleep(20 * time.Millisecond)
	}
}

type got struct {
	run   media.RunID
	track int
	seq   uint64
	brk   bool
	pts   media.Wall
}

// collect reads frames until ctx ends or the range does.
func collect(ctx context.Context, r *timeline.Reader, each func()) (out []got, err error) {
	for {
		f, err := r.Next(ctx)
		if err != nil {
			return out, err
		}
		out = append(out, got{f.Run, f.Track, binary.BigEndian.Uint64(f.Payload[5:]), f.Break, f.PTS})
		if each != nil {
			each()
		}
	}
}

// watch reads a stream live until the function it gives is called, which gives what came.
func (c *camera) watch(each func()) (r *timeline.Reader, end func() []got) {
	c.t.Helper()
	r, err := c.tl.Frames("cam", timeline.Read{Live: true})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan []got)
	go func() {
		gs, err := collect(ctx, r, each)
		if !errors.Is(err, context.Canceled) {
			c.t.Errorf("the reading ended with %v", err)
		}
		done <- gs
	}()
	return r, func() []got {
		cancel()
		return <-done
	}
}

// unbroken checks that of a track each frame came once, in order.
func unbroken(t *testing.T, gs []got, run byte, track int) (first, last uint64) {
	t.Helper()
	n := 0
	for _, g := range gs {
		if g.run != (media.RunID{run}) || g.track != track {
			continue
		}
		if n == 0 {
			first = g.seq
		} else if g.seq != last+1 {
			t.Fatalf("run %d track %d: %d behind %d", run, track, g.seq, last)
		}
		last = g.seq
		n++
	}
	if n == 0 {
		t.Fatalf("nothing of run %d track %d", run, track)
	}
	return first, last
}

// TestLiveReader: who begins to watch gets the newest group of pictures, then each
// unit once, as it comes, and the camera's next connection too.
func TestLiveReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t)
		c.open(1)
		c.play(7700 * time.Millisecond)
		r, end := c.watch(nil)
		defer r.Close()
		c.play(5 * time.Second)
		if !c.mode {
			t.Error("the driver does not deliver at once while somebody watches")
		}
		c.sink.Closed(stream.Closed{Run: media.RunID{1}, Cause: stream.CauseLost})
		time.Sleep(time.Second)
		c.open(2)
		c.play(5 * time.Second)
		gs := end()
		first, last := unbroken(t, gs, 1, 1)
		if first != 175 || last != c.frames(7700+5000)-1 {
			t.Errorf("pictures %d to %d of the first run, want 175 to %d", first, last, c.frames(12700)-1)
		}
		unbroken(t, gs, 1, 2)
		if first, last := unbroken(t, gs, 2, 1); first != 0 || last != c.next[1]-1 {
			t.Errorf("pictures %d to %d of the second run, want all %d", first, last, c.next[1])
		}
		for _, g := range gs {
			if begins := g.track == 1 && (g.run == media.RunID{1} && g.seq == 175 || g.run == media.RunID{2} && g.seq == 0); g.brk != begins && g.track == 1 {
				t.Errorf("run %v picture %d: break %v", g.run[0], g.seq, g.brk)
			}
		}
		r.Close()
		if c.mode {
			t.Error("nobody watches any more, and the driver delivers at once")
		}
		c.cur.Load().Stop()
	})
}

func (c *camera) frames(ms int) uint64 { return uint64(ms / 40) }

// TestReaderOverRestart: a stream whose settings change ends its capture and begins
// another. Who watches gets that one, and nothing of what he has seen again.
func TestReaderOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t)
		c.open(1)
		c.play(3 * time.Second)
		r, end := c.watch(nil)
		defer r.Close()
		c.play(20 * time.Second)
		c.cur.Load().Stop()
		time.Sleep(2 * time.Second)
		c.start()
		c.open(2)
		c.play(10 * time.Second)
		gs := end()
		unbroken(t, gs, 1, 1)
		unbroken(t, gs, 1, 2)
		if first, last := unbroken(t, gs, 2, 1); first != 0 || last != c.next[1]-1 {
			t.Errorf("pictures %d to %d of the second capture, want all %d", first, last, c.next[1])
		}
		var prev media.Wall
		for _, g := range gs {
			if g.track == 1 && g.pts < prev {
				t.Fatalf("%v behind %v", g.pts.Time(), prev.Time())
			} else if g.track == 1 {
				prev = g.pts
			}
		}
		c.cur.Load().Stop()
	})
}

// TestSlowReader: who does not keep up loses whole groups of pictures and goes on
// with a key frame; the capture does not wait.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t)
		c.open(1)
		c.play(3 * time.Second)
		n := 0
		r, end := c.watch(func() {
			if n++; n == 200 {
				time.Sleep(time.Minute)
			}
		})
		defer r.Close()
		c.play(90 * time.Second)
		gs := end()
		var prev uint64
		jumps := 0
		for _, g := range gs {
			if g.track != 1 {
				continue
			}
			if prev != 0 && g.seq != prev+1 {
				jumps++
				if g.seq%25 != 0 || !g.brk {
					t.Errorf("goes on with picture %d (break %v) behind %d", g.seq, g.brk, prev)
				}
			}
			prev = g.seq
		}
		if jumps != 1 || prev != c.next[1]-1 {
			t.Errorf("%d jumps, the last picture is %d of %d", jumps, prev, c.next[1])
		}
		c.cur.Load().Stop()
	})
}

// TestRanges: a range begins with the key frame that its first picture needs and ends
// where it was asked to, also when that is still to come; key frames alone, and backward.
func TestRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t)
		c.open(1)
		c.play(10 * time.Second)
		b, _ := c.tl.Bounds("cam")
		read := func(o timeline.Read) []got {
			t.Helper()
			r, err := c.tl.Frames("cam", o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			gs, err := collect(t.Context(), r, nil)
			if err != io.EOF {
				t.Fatalf("ends with %v", err)
			}
			return gs
		}
		at := func(n uint64) media.Wall { return b.From.Add(time.Duration(n) * 40 * time.Millisecond) }
		gs := read(timeline.Read{From: at(60), To: at(110)})
		if first, last := unbroken(t, gs, 1, 1); first != 50 || last != 109 {
			t.Errorf("pictures %d to %d, want 50 to 109", first, last)
		}
		gs = read(timeline.Read{From: at(60), To: at(160), Keys: true})
		if len(gs) != 5 || gs[0].seq != 50 || gs[4].seq != 150 {
			t.Errorf("key frames %v", gs)
		}
		gs = read(timeline.Read{From: at(160), To: at(60), Keys: true, Backward: true})
		if len(gs) != 4 || gs[0].seq != 150 || gs[3].seq != 75 {
			t.Errorf("key frames backward %v", gs)
		}
		if _, err := c.tl.Frames("cam", timeline.Read{From: b.From.Add(-time.Hour), To: b.From.Add(-time.Minute)}); !errors.Is(err, timeline.ErrNoFootage) {
			t.Errorf("before all footage: %v", err)
		}
		go c.play(4 * time.Second)
		gs = read(timeline.Read{From: at(240), To: at(300)})
		if first, last := unbroken(t, gs, 1, 1); first != 225 || last != 299 {
			t.Errorf("into the future: pictures %d to %d, want 225 to 299", first, last)
		}
		time.Sleep(10 * time.Second)
		c.cur.Load().Stop()
	})
}

// TestBackwardOverDropped: what a memory ring drops while somebody reads backward is a
// hole at the end of it and no failure.
func TestBackwardOverDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t)
		c.open(1)
		c.play(40 * time.Second)
		b, _ := c.tl.Bounds("cam")
		r, err := c.tl.Frames("cam", timeline.Read{From: b.To, To: b.From, Keys: true, Backward: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		gs, err := collect(t.Context(), r, func() { c.play(3 * time.Second) })
		if err != io.EOF || len(gs) < 4 || len(gs) > 20 {
			t.Fatalf("%d key frames, ends with %v", len(gs), err)
		}
		for i, g := range gs[1:] {
			if g.pts >= gs[i].pts {
				t.Errorf("picture %d comes behind %d", g.seq, gs[i].seq)
			}
		}
		c.cur.Load().Stop()
	})
}

// replaced is a memory ring that is another one by the time its tracks are asked for.
type replaced struct {
	ring
	asked *int
}

func (r replaced) Tracks(id archive.InitID) ([]media.Track, error) {
	if *r.asked++; *r.asked == 1 {
		return nil, archive.ErrGone
	}
	return r.ring.Tracks(id)
}

// TestBeginOverReplaced: where the segment that a range begins with is gone by the time
// it is read, the range begins with the next key frame.
func TestBeginOverReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t)
		c.gop = 1000 // longer than a segment
		c.open(1)
		c.play(60 * time.Second)
		asked := 0
		tl := timeline.New(none{}, func(string) timeline.Ring { return replaced{ring{c.cur.Load().Ring()}, &asked} })
		b, _ := tl.Bounds("cam")
		r, err := tl.Frames("cam", timeline.Read{From: b.From, To: b.To})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		gs, err := collect(t.Context(), r, nil)
		if err != io.EOF || asked < 2 {
			t.Fatalf("ends with %v, tracks were asked for %d times", err, asked)
		}
		if first, last := unbroken(t, gs, 1, 1); first != 1000 || last < c.next[1]-25 {
			t.Errorf("pictures %d to %d, want 1000 to the newest, about %d", first, last, c.next[1]-1)
		}
		for _, g := range gs {
			if g.track == 1 {
				if !g.brk {
					t.Error("the first picture does not tell that some are missing before it")
				}
				break
			}
		}
		c.cur.Load().Stop()
	})
}

// TestKeysHole: key frames alone tell of a hole inside a run, forward and backward, also
// where it lies between two of them that are given, and of nothing else.
func TestKeysHole(t *testing.T) {
	for _, n := range []time.Duration{4 * time.Second, 3600 * time.Millisecond} { // the hole begins with a key frame, or between two
		synctest.Test(t, func(t *testing.T) {
			c := newCamera(t)
			c.open(1)
			c.play(n)
			b, _ := c.tl.Bounds("cam")
			lost := 10 * time.Second
			time.Sleep(lost)
			c.next[1] += c.frames(int(lost.Milliseconds()))
			c.next[2] += 2 * c.frames(int(lost.Milliseconds()))
			c.play(5 * time.Second)
			end, _ := c.tl.Bounds("cam")
			for name, o := range map[string]timeline.Read{
				"forward":  {From: b.From, To: end.To, Keys: true},
				"backward": {From: end.To - 1, To: b.From, Keys: true, Backward: true},
			} {
				r, err := c.tl.Frames("cam", o)
				if err != nil {
					t.Fatal(err)
				}
				gs, err := collect(t.Context(), r, nil)
				r.Close()
				if err != io.EOF || len(gs) < 8 {
					t.Fatalf("%s: %d key frames, %v", name, len(gs), err)
				}
				for i, g := range gs {
					behind := i == 0 || gs[i-1].pts.Sub(g.pts).Abs() > lost
					if g.brk != behind {
						t.Errorf("%s: key frame %d of run %v: break %v", name, g.seq, g.run[0], g.brk)
					}
				}
			}
			c.cur.Load().Stop()
		})
	}
}
