package stream

import (
	"testing"
	"time"

	"media-server/core/media"
)

// TestRecordSwitched: recording goes on and off while the run goes on; nothing
// is stored twice, numbers of segments only grow, and what is received is
// acknowledged in each state.
func TestRecordSwitched(t *testing.T) {
	s, d := newTest(t, nil)
	d.sink.Opened(opened(1))
	d.sink.Units(units(0, 500))
	r := s.Ring()
	last := func(r *Ring) (n uint64) {
		segs, err := r.Segments("cam", media.Span{From: 0, To: 1 << 62})
		if err != nil || len(segs) == 0 {
			t.Fatalf("%d segments, %v", len(segs), err)
		}
		return segs[len(segs)-1].Number
	}

	rec := &fakeRecorder{}
	s.Record(rec)
	if s.Ring() != nil || !s.Status().Recording {
		t.Error("still a ring")
	}
	d.sink.Units(units(500, 1000))
	if len(rec.parts) == 0 || rec.parts[0].Segment <= last(r) || rec.parts[0].Start < r.mustEnd() {
		t.Fatalf("%d parts, the ring ended with segment %d", len(rec.parts), last(r))
	}
	for _, a := range d.acks {
		if a.Next(1) > 600 {
			t.Errorf("acknowledged up to %d though nothing is durable", a.Next(1))
		}
	}

	s.Record(nil)
	if s.Ring() == nil || s.Status().Recording || len(rec.ends) != 1 {
		t.Error("still recorded")
	}
	stored := rec.stored(media.RunID{1})
	same(t, stored, sequence(stored[0], 1000))
	d.sink.Units(units(1000, 1500))
	same(t, rec.stored(media.RunID{1}), stored)
	if a := d.acks[len(d.acks)-1]; a.Next(1) != 1500 {
		t.Errorf("acknowledged up to %d", a.Next(1))
	}
	if n := rec.parts[len(rec.parts)-1].Segment; last(s.Ring()) <= n {
		t.Errorf("segment %d follows on %d", last(s.Ring()), n)
	}
	if st := s.Status(); st.Runs != 1 || st.Lost != 0 || st.Duplicates != 0 {
		t.Errorf("%+v", st)
	}
}

func (r *Ring) mustEnd() media.Wall { b, _ := r.Bounds(""); return b.To }

// TestSwitchedOffBehindRecorded: what comes when recording is switched off lies behind
// what is recorded, all of it, though the new time map would have it earlier: the first
// one began when the server was late.
func TestSwitchedOffBehindRecorded(t *testing.T) {
	rec := &fakeRecorder{}
	s, d := newTest(t, rec)
	d.sink.Opened(opened(1))
	late := units(0, 210)
	for i := range late {
		late[i].Received = late[i].Received.Add(80 * time.Millisecond)
	}
	d.sink.Units(late)
	s.Record(nil)
	d.sink.Units(units(210, 400))
	end := rec.parts[len(rec.parts)-1].End
	if b, ok := s.Ring().Bounds("cam"); !ok || b.From < end {
		t.Errorf("live goes on at %v, recorded is until %v (%v earlier)", b.From.Time(), end.Time(), end.Sub(b.From))
	}
}
