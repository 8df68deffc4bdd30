package stream

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
)

// fakeDriver hands its sink to the test.
type fakeDriver struct {
	sink  Sink
	acks  []media.RunPosition
	again int
	ended bool
}

func (d *fakeDriver) Subscribe(_ Subscription, s Sink) (Session, error) { d.sink = s; return d, nil }
func (d *fakeDriver) Ack(p media.RunPosition)                           { d.acks = append(d.acks, p) }
func (d *fakeDriver) SetDelivery(bool)                                  {}
func (d *fakeDriver) Resubscribe()                                      { d.again++ }
func (d *fakeDriver) Close()                                            { d.ended = true }

// fakeRecorder keeps parts as the archive would: what it accepted can be
// resumed, what it refused cannot.
type fakeRecorder struct {
	parts   []*media.Part
	begun   []media.RunID
	ends    []archive.GapCause
	whys    []archive.GapCause
	tracks  []media.Track
	zero    media.Wall
	gaps    []media.Span
	refuse  int // refuse the next n parts
	durable func(media.RunPosition)
}

func (r *fakeRecorder) Resume() (res archive.Resume, ok bool) {
	if len(r.parts) == 0 || len(r.ends) == len(r.begun) && len(r.ends) > 0 {
		return res, false
	}
	p := r.parts[len(r.parts)-1]
	h, err := mux.ParsePartHeader(p.Fragments[0].Head)
	if err != nil {
		panic(err)
	}
	res = archive.Resume{Positions: media.RunPosition{Run: p.Run}, Zero: r.zero, Clock: h.Clock, Segment: p.Segment,
		Discontinuity: p.Discontinuity, PartIndex: p.Index + 1, Tracks: r.tracks, LastEnd: p.End}
	for _, q := range r.parts {
		if q.Run == p.Run && q.Segment == p.Segment {
			res.SegmentStart = q.Start
			break
		}
	}
	for _, t := range r.tracks {
		var expect *mux.Expect
		for _, q := range r.parts {
			for i := range q.Fragments {
				if f := &q.Fragments[i]; f.Track == t.ID && q.Run == p.Run {
					expect = &mux.Expect{Track: t.ID, NextTime: f.BaseTime + f.Duration, NextSeq: f.LastSeq + 1}
				}
			}
		}
		if expect != nil {
			res.Expect = append(res.Expect, *expect)
			res.Positions.Tracks = append(res.Positions.Tracks, media.Position{Track: t.ID, Next: expect.NextSeq})
		}
	}
	return res, true
}

func (r *fakeRecorder) Held() (pos media.RunPosition, ok bool) {
	if len(r.parts) == 0 {
		return pos, false
	}
	pos.Run = r.parts[len(r.parts)-1].Run
	for _, p := range r.parts {
		if p.Run == pos.Run {
			pos.Tracks = []media.Position{{Track: 1, Next: p.Fragments[0].LastSeq + 1}}
		}
	}
	return pos, true
}

func (r *fakeRecorder) NextSegment() (uint64, uint64) {
	if n := len(r.parts); n > 0 {
		return r.parts[n-1].Segment + 1, r.parts[n-1].Discontinuity
	}
	return 1, 0
}

func (r *fakeRecorder) Begin(run media.RunID, zero media.Wall, tracks []media.Track, why archive.GapCause) error {
	r.begun, r.whys, r.tracks, r.zero = append(r.begun, run), append(r.whys, why), tracks, zero
	return nil
}

func (r *fakeRecorder) Append(p *media.Part) error {
	if r.refuse > 0 {
		r.refuse--
		return archive.ErrBehind
	}
	p.Retain()
	r.parts = append(r.parts, p)
	return nil
}

func (r *fakeRecorder) OnDurable(f func(media.RunPosition))  { r.durable = f }
func (r *fakeRecorder) End(c archive.GapCause)               { r.ends = append(r.ends, c) }
func (r *fakeRecorder) Gap(s media.Span, _ archive.GapCause) { r.gaps = append(r.gaps, s) }
func (r *fakeRecorder) SetRules(archive.Rules)               {}
func (r *fakeRecorder) Close()                               {}

// stored lists the sequence numbers that the recorder holds of a run, in order.
func (r *fakeRecorder) stored(run media.RunID) (out []uint64) {
	for _, p := range r.parts {
		if p.Run != run {
			continue
		}
		for i := range p.Fragments {
			for s := p.Fragments[i].FirstSeq; s <= p.Fragments[i].LastSeq; s++ {
				out = append(out, s)
			}
		}
	}
	return out
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// unit is the n-th packet of a G.711 camera: 20 ms each.
func unit(n uint64) media.AccessUnit {
	at := media.WallOf(start) + media.Wall(n)*media.Wall(20*time.Millisecond)
	return media.AccessUnit{Track: 1, Seq: n, PTS: int64(n) * 160, Received: at + media.Wall(5*time.Millisecond), Key: true,
		Payload: bytes.Repeat([]byte{byte(n)}, 160)}
}

func units(from, to uint64) (us []media.AccessUnit) {
	for n := from; n < to; n++ {
		us = append(us, unit(n))
	}
	return us
}

var track = media.Track{ID: 1, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}

func opened(id byte) Opened {
	return Opened{Run: media.RunID{id}, Tracks: []media.Track{track}, First: []media.Position{{Track: 1}}, At: media.WallOf(start)}
}

func newTest(t *testing.T, rec *fakeRecorder) (*Stream, *fakeDriver) {
	t.Helper()
	d := &fakeDriver{}
	now := start
	s := New(Spec{Capture: Subscription{UID: "cam"}, Record: rec != nil}, Deps{
		Driver: d, Recorder: recorderOrNil(rec), Epoch: 1, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { now = now.Add(2 * time.Second); return now },
		LastEnd: func(string) (media.Wall, bool) {
			if rec == nil || len(rec.parts) == 0 {
				return 0, false
			}
			return rec.parts[len(rec.parts)-1].End, true
		},
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s, d
}

func recorderOrNil(r *fakeRecorder) Recorder {
	if r == nil {
		return nil
	}
	return r
}

func sequence(from, to uint64) (out []uint64) {
	for n := from; n < to; n++ {
		out = append(out, n)
	}
	return out
}

func same(t *testing.T, got, want []uint64) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("stored %v\nwant   %v", got, want)
	}
}

// TestEveryUnitOnce: whatever the driver repeats, each unit is stored once.
func TestEveryUnitOnce(t *testing.T) {
	rec := &fakeRecorder{}
	s, d := newTest(t, rec)
	d.sink.Opened(opened(1))
	d.sink.Units(units(0, 60))
	d.sink.Units(units(40, 100)) // 40..59 again
	d.sink.Opened(opened(1))     // the connection was cut and is back
	d.sink.Units(units(90, 150))
	d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseLost, What: "gone"})
	same(t, rec.stored(media.RunID{1}), sequence(0, 150))
	if st := s.Status(); st.Duplicates != 30 || st.Lost != 0 || st.State != StateLost || st.Reason != "gone" {
		t.Errorf("status %+v", st)
	}
	if fmt.Sprint(rec.ends) != "[camera_lost]" {
		t.Errorf("ends %v", rec.ends)
	}
}

// TestResumeByAnotherCore: a second stream over the same recorder goes on
// behind the last stored unit, without a discontinuity and in step with time.
func TestResumeByAnotherCore(t *testing.T) {
	rec := &fakeRecorder{}
	_, d := newTest(t, rec)
	d.sink.Opened(opened(1))
	d.sink.Units(units(0, 120))
	held := rec.stored(media.RunID{1})
	last := rec.parts[len(rec.parts)-1]

	_, d2 := newTest(t, rec) // the old core is gone with what it had not stored
	pos := d2.sink.Positions()
	if len(pos) != 1 || pos[0].Next(1) != uint64(len(held)) {
		t.Fatalf("resumes at %v, want unit %d", pos, len(held))
	}
	d2.sink.Opened(opened(1))
	d2.sink.Units(units(pos[0].Next(1)-10, 200)) // a few more than asked for
	d2.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseLost})
	same(t, rec.stored(media.RunID{1}), sequence(0, 200))
	next := rec.parts[len(held2parts(rec, last))]
	if next.Discontinuity != last.Discontinuity || next.Start != last.End {
		t.Errorf("goes on at %v with discontinuity %d, want %v and %d", next.Start, next.Discontinuity, last.End, last.Discontinuity)
	}
}

func held2parts(r *fakeRecorder, last *media.Part) []*media.Part {
	for i, p := range r.parts {
		if p == last {
			return r.parts[:i+1]
		}
	}
	return nil
}

// TestBehind: a refused part is neither lost nor stored twice once storage has
// room again, for every place where the refusal can strike.
func TestBehind(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		rec := &fakeRecorder{}
		s, d := newTest(t, rec)
		d.sink.Opened(opened(1))
		sent := uint64(0)
		for sent < 400 || len(rec.ends) == 0 {
			if sent == 400 {
				d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseLost})
				if !s.Status().Behind {
					break
				}
				s.Tick()
				pos := d.sink.Positions()
				d.sink.Opened(opened(1))
				sent = pos[0].Next(1)
			}
			if rnd.IntN(6) == 0 {
				rec.refuse = 1
			}
			n := min(sent+uint64(rnd.IntN(40)+1), 400)
			if d.sink.Units(units(sent, n)) {
				sent = n
				continue
			}
			if !s.Status().Behind || d.sink.Units(units(sent, n)) {
				t.Fatalf("seed %d: a stream that is behind must refuse", seed)
			}
			s.Tick() // time has passed: taken up again
			if d.again == 0 {
				t.Fatalf("seed %d: not subscribed again", seed)
			}
			pos := d.sink.Positions()
			d.sink.Opened(opened(1))
			sent = 0
			if len(pos) > 0 {
				sent = pos[0].Next(1)
			}
		}
		same(t, rec.stored(media.RunID{1}), sequence(0, 400))
	}
}

// TestHoleLeavesNumbersFree: after 25 s without a camera three segment numbers
// are left for EXT-X-GAP, and the cause is kept.
func TestHoleLeavesNumbersFree(t *testing.T) {
	rec := &fakeRecorder{}
	_, d := newTest(t, rec)
	d.sink.Opened(opened(1))
	d.sink.Units(units(0, 200))
	d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseSilent})
	last := rec.parts[len(rec.parts)-1]
	d.sink.Opened(opened(2))
	var later []media.AccessUnit
	for n := range uint64(200) {
		u := unit(n + 200 + 1250)
		u.Seq, u.PTS = n, int64(n)*160
		later = append(later, u)
	}
	d.sink.Units(later)
	d.sink.Closed(Closed{Run: media.RunID{2}, Cause: CauseLost})
	var first *media.Part
	for _, p := range rec.parts {
		if p.Run == (media.RunID{2}) {
			first = p
			break
		}
	}
	if first.Segment != last.Segment+1+3 || first.Discontinuity != last.Discontinuity+1 {
		t.Errorf("segment %d after %d, discontinuity %d after %d", first.Segment, last.Segment, first.Discontinuity, last.Discontinuity)
	}
	if rec.whys[1] != archive.GapCameraSilent {
		t.Errorf("cause %q", rec.whys[1])
	}
}

// TestHoleInsideARun: units that never come are told to the recorder as a gap
// from the last unit before to the first behind.
func TestHoleInsideARun(t *testing.T) {
	rec := &fakeRecorder{}
	s, d := newTest(t, rec)
	d.sink.Opened(opened(1))
	d.sink.Units(units(0, 100))
	if !d.sink.Units(units(150, 200)) {
		t.Fatal("refused")
	}

	d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseLost})
	want := media.Span{From: media.WallOf(start.Add(99 * 20 * time.Millisecond)), To: media.WallOf(start.Add(150 * 20 * time.Millisecond))}
	if len(rec.gaps) != 1 || rec.gaps[0].From.Sub(want.From).Abs() > 6*time.Millisecond || rec.gaps[0].To.Sub(want.To).Abs() > 6*time.Millisecond {
		t.Errorf("gaps %v, want about %v", rec.gaps, want)
	}
	if s.Status().Lost != 50 {
		t.Errorf("%d units lost", s.Status().Lost)
	}
}

// TestUnrecorded: everything received is acknowledged at once, and the ring
// holds the newest segments as bytes that can be read back.
func TestUnrecorded(t *testing.T) {
	s, d := newTest(t, nil)
	d.sink.Opened(opened(1))
	for n := uint64(0); n < 5000; n += 50 {
		d.sink.Units(units(n, n+50))
	}
	if a := d.acks[len(d.acks)-1]; a.Next(1) != 5000 {
		t.Errorf("acknowledged up to %d", a.Next(1))
	}
	r := s.Ring()
	segs, err := r.Segments("cam", media.Span{From: 0, To: 1 << 62})
	if err != nil || len(segs) < ringSegments {
		t.Fatalf("%d segments, %v", len(segs), err)
	}
	b, _ := r.Bounds("cam")
	if b.Duration() > 3*ringSpan {
		t.Errorf("the ring holds %v", b.Duration())
	}
	for _, seg := range segs {
		lay, err := r.Layout(seg.File)
		if err != nil {
			t.Fatal(err)
		}
		h, err := r.Hold(seg.File)
		if err != nil {
			t.Fatal(err)
		}
		fr := lay.Fragments[lay.Segments[seg.Index].First]
		buf := make([]byte, fr.DataSize)
		if _, err := h.ReadAt(buf, fr.DataOffset); err != nil {
			t.Fatalf("segment %d: %v", seg.Number, err)
		}
		if want := byte(fr.FirstSeq); buf[0] != want {
			t.Errorf("segment %d begins with unit %d, want %d", seg.Number, buf[0], want)
		}
		h.Release()
	}
	if _, err := r.Layout(archive.FileID(1)); !errors.Is(err, archive.ErrGone) {
		t.Errorf("an unknown file: %v", err)
	}
}

func TestUnstoredIsSaid(t *testing.T) {
	r := &run{tracks: []runTrack{{Track: media.Track{ID: 1, Codec: media.H264}}}}
	tr := &r.tracks[0]
	at := func(s int) media.Wall { return media.Wall(1_700_000_000+s) * media.Wall(time.Second) }
	for _, c := range []struct {
		second int
		drop   mux.Drop
		want   string
	}{
		{0, mux.Stored, ""}, {1, mux.DropBadPayload, ""}, {5, mux.DropDuplicate, ""}, {7, mux.DropBadPayload, "malformed"},
		{8, mux.Stored, ""}, {9, mux.DropWaiting, ""}, {40, mux.DropWaiting, ""}, {50, mux.DropWaiting, "waiting for a key frame"},
		{51, mux.Stored, ""},
	} {
		tr.newest = at(c.second)
		tr.refused(c.drop, tr.newest)
		got := ""
		for _, u := range r.unstored() {
			got = u.Why
		}
		if got != c.want {
			t.Errorf("second %d: %q, want %q", c.second, got, c.want)
		}
	}
}
