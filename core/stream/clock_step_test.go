package stream

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

// TestServerClockSet: while the server's clock is set by an hour, recording
// goes on into a real archive: every unit is there once, in the order of
// capture, at the time that the clock showed; nothing that was recorded at
// the same hour before is overwritten; and both times are told.
func TestServerClockSet(t *testing.T) {
	for name, by := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			const n, at = 1000, 500 // 20 s; the clock is set in the middle
			dir := t.TempDir()
			a, end := runArchive(t, dir)
			rec, err := a.Recorder("cam", archive.Rules{Chunk: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			d := &fakeDriver{}
			var told []map[string]any
			now := start
			s := New(Spec{Capture: Subscription{UID: "cam"}, Record: true}, Deps{Driver: d, Recorder: rec, Epoch: 1, Log: slog.New(slog.DiscardHandler),
				Now: func() time.Time { return now },
				Notify: func(e Notice) {
					if e.Type == "server.clock" {
						told = append(told, e.Data)
					}
				},
				LastEnd: a.Newest})
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			d.sink.Opened(opened(1))
			received := func(i uint64) media.Wall {
				w := media.WallOf(start) + media.Wall(i)*media.Wall(20*time.Millisecond)
				if i >= at {
					w = w.Add(by)
				}
				return w
			}
			// One unit alone could come from a reader preempted between its two
			// clocks: the first behind the step is placed by the old one.
			wall := func(i uint64) media.Wall {
				if i == at {
					return received(i).Add(-by)
				}
				return received(i)
			}
			for i := range uint64(n) {
				u := unit(i)
				u.Mono = int64(u.Received) // runs on
				u.Received = received(i)
				now = u.Received.Time()
				d.sink.Units([]media.AccessUnit{u})
			}
			d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseLost, What: "gone"})
			if st := s.Status(); st.Clock.ServerSteps != 1 || st.Lost != 0 || len(told) != 1 {
				t.Fatalf("%+v, told %v", st.Clock, told)
			}
			before, after := told[0]["before_ms"].(int64), told[0]["after_ms"].(int64)
			if after-before < by.Milliseconds()-100 || after-before > by.Milliseconds()+100 {
				t.Errorf("told: %d to %d, set by %s", before, after, by)
			}
			_, gaps, err := a.Ranges("cam", media.Span{From: 0, To: 1 << 62})
			if by > 0 && (err != nil || len(gaps) != 1 || gaps[0].Why != archive.GapClockSet) {
				t.Errorf("gaps %+v, %v", gaps, err)
			}
			end()
			files, _ := filepath.Glob(filepath.Join(dir, "media", "cam", "*", "*.mp4"))
			a, end = runArchive(t, dir) // as the next process finds it
			defer end()
			if err := a.Rebuild(t.Context(), "", nil); err != nil {
				t.Fatal(err)
			}
			segs, err := a.Segments("cam", media.Span{From: 0, To: 1 << 62})
			if err != nil || len(files) < 8 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			slices.SortFunc(segs, func(x, y archive.Segment) int { return int(int64(x.Number) - int64(y.Number)) })
			next := uint64(0)
			for i, g := range segs {
				if i > 0 && g.Number != segs[i-1].Number+1 {
					t.Errorf("segment %d follows %d", g.Number, segs[i-1].Number)
				}
				next = unitsOf(t, a, g, next, wall)
			}
			if next != n {
				t.Errorf("%d of %d units", next, n)
			}
			for hour, i := range map[string]uint64{"before": at / 2, "after": at + at/2} {
				some, err := a.Segments("cam", media.Span{From: wall(i), To: wall(i + 1)})
				if err != nil || len(some) == 0 {
					t.Errorf("nothing lies at the hour that the clock showed %s the step: %v", hour, err)
				}
			}
		})
	}
}

// TestClockSetBetweenKeyFrames: what cannot be played without the pictures before it
// is recorded by the clock as it was, up to the next key frame, and nothing is lost;
// a second step meanwhile is told, too. Where no key frame comes the new time counts
// after a while.
func TestClockSetBetweenKeyFrames(t *testing.T) {
	c, err := clip.Load(clip.H264)
	if err != nil {
		t.Fatal(err)
	}
	pictures := func(t *testing.T, n int, key func(i int) bool, ahead func(i int) time.Duration) (*fakeRecorder, *Stream) {
		rec := &fakeRecorder{}
		s, d := newTest(t, rec)
		o := opened(1)
		o.Tracks = []media.Track{c.Track}
		o.Tracks[0].ID = 1
		d.sink.Opened(o)
		for i := range n {
			sm := c.Samples[i%len(c.Samples)]
			if !key(i) {
				sm.Key, sm.Payload = false, c.Samples[1].Payload
			}
			at := media.WallOf(start).Add(time.Duration(i) * 40 * time.Millisecond)
			whole := int64(i - i%len(c.Samples))
			d.sink.Units([]media.AccessUnit{{Track: 1, Seq: uint64(i), PTS: (whole + sm.PTS + c.Behind) * c.Step, DTS: int64(i) * c.Step, HasDTS: true, Key: sm.Key,
				Received: at.Add(ahead(i)), Mono: int64(at), Payload: sm.Payload}})
		}
		d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseLost, What: "gone"})
		return rec, s
	}
	every := func(int) bool { return true }
	rec, s := pictures(t, 300, every, func(i int) time.Duration {
		switch {
		case i < 110:
			return 0
		case i < 115:
			return time.Hour
		}
		return 2 * time.Hour
	})
	same(t, rec.stored(media.RunID{1}), sequence(0, 300))
	if st := s.Status(); st.Clock.ServerSteps != 2 || len(rec.whys) != 2 || rec.whys[1] != archive.GapClockSet {
		t.Errorf("%+v, begun because of %q", st.Clock, rec.whys)
	}
	for _, p := range rec.parts {
		first := p.Fragments[0].FirstSeq
		by := p.Start.Sub(media.WallOf(start)) - time.Duration(first)*40*time.Millisecond
		if want := first >= 125; by > time.Hour != want {
			t.Errorf("the part that begins with picture %d is %v ahead", first, by)
		}
	}
	rec, _ = pictures(t, 4000, func(i int) bool { return i < 100 || i >= 3900 }, func(i int) time.Duration {
		if i < 110 {
			return 0
		}
		return time.Hour
	})
	got := rec.stored(media.RunID{1})
	if k := slices.Index(got, 3900); len(rec.whys) != 2 || k < 0 || got[k-1] < 110+3000 || got[k-1] > 110+3010 {
		t.Errorf("without a key frame: begun because of %q, %d pictures", rec.whys, len(got))
	}
}

// unitsOf checks the times of a segment's units, which begin with next.
func unitsOf(t *testing.T, a *archive.Archive, g archive.Segment, next uint64, wall func(uint64) media.Wall) uint64 {
	t.Helper()
	l, err := a.Layout(g.File)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Pin(g.File)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	for i := l.Segments[g.Index].First; i < l.Segments[g.Index].Last; i++ {
		fr := &l.Fragments[i]
		b := make([]byte, fr.DataSize)
		if _, err := p.ReadAt(b, fr.DataOffset); err != nil {
			t.Fatal(err)
		}
		at := fr.BaseTime
		for _, x := range fr.Samples {
			shown := l.Zero.Add(media.DurationOf(at, 8000))
			if off := shown.Sub(wall(next)); off < -50*time.Millisecond || off > 50*time.Millisecond || b[0] != byte(next) {
				t.Fatalf("unit %d of segment %d is %d, %s off", next, g.Number, b[0], off)
			}
			at, b, next = at+int64(x.Duration), b[x.Size:], next+1
		}
	}
	return next
}

func runArchive(t *testing.T, dir string) (a *archive.Archive, end func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "media"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := archive.Options{DataDir: dir, Epoch: 1, Program: "test", Log: slog.New(slog.DiscardHandler),
		Spaces: []archive.Space{{Name: "s0", Storage: storagetest.New(filepath.Join(dir, "media")), Create: true}},
		Pools:  []archive.Pool{{Name: "default", Spaces: []string{"s0"}, Overwrite: true}}}
	ctx, stop := context.WithCancel(context.Background())
	a, err := archive.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return a, func() {
		time.Sleep(500 * time.Millisecond) // what was sent last is sealed
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.Close()
	}
}

// TestClockSetBackInRing: the ring of a stream that is not recorded ends with what
// came last, and what the clock showed before goes like what is old.
func TestClockSetBackInRing(t *testing.T) {
	s, d := newTest(t, nil)
	d.sink.Opened(opened(1))
	var u media.AccessUnit
	feed := func(from, to uint64, ahead time.Duration) {
		for i := from; i < to; i++ {
			u = unit(i)
			u.Mono = int64(u.Received)
			u.Received = u.Received.Add(ahead)
			d.sink.Units([]media.AccessUnit{u})
		}
	}
	for _, n := range []uint64{1500, 4000} { // for 10 s, for a minute
		feed(0, 1000, 0)
		feed(1000, n, -time.Hour)
		end, ok := s.Ring().Newest("cam")
		b, _ := s.Ring().Bounds("cam")
		if off := u.Received.Sub(end); !ok || off < 0 || off > 2*time.Second {
			t.Errorf("%d units: the newest is %v before the last unit", n, off)
		}
		if b.From >= b.To || b.From > end || n == 4000 && b.To != end {
			t.Errorf("%d units: from %v to %v, newest %v", n, b.From.Time(), b.To.Time(), end.Time())
		}
		s, d = newTest(t, nil)
		d.sink.Opened(opened(1))
	}
}
