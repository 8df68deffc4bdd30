package stream

import (
	"errors"
	"testing"
	"time"

	"media-server/core/media"
)

// lonelyDriver answers a subscription before Subscribe has returned, as the
// plugin host does when no plugin takes the scheme.
type lonelyDriver struct{ fakeDriver }

func (d *lonelyDriver) Subscribe(_ Subscription, s Sink) (Session, error) {
	d.sink = s
	s.Closed(Closed{Cause: CauseDriver, What: "there is no driver for foo://", RetryIn: -1})
	return d, nil
}

// TestAnswerWhileSubscribing: Start does not wait for itself.
func TestAnswerWhileSubscribing(t *testing.T) {
	s := New(Spec{Capture: Subscription{UID: "cam"}}, Deps{Driver: &lonelyDriver{}})
	done := make(chan error, 1)
	go func() { done <- s.Start() }()
	select {
	case err := <-done:
		if st := s.Status(); err != nil || st.State != StateLost || st.Reason != "there is no driver for foo://" {
			t.Errorf("%v, %+v", err, st)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Start hangs")
	}
}

// closingRecorder refuses everything once it is closed, as the archive's does.
type closingRecorder struct {
	fakeRecorder
	closed bool
}

func (r *closingRecorder) Close() { r.closed = true }
func (r *closingRecorder) Append(p *media.Part) error {
	if r.closed {
		return errors.New("closed")
	}
	return r.fakeRecorder.Append(p)
}

// TestNothingAfterTheEnd: what a driver says after Detach or Stop is neither
// stored nor acknowledged: the next core has to get it.
func TestNothingAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(*Stream){"detach": (*Stream).Detach, "stop": (*Stream).Stop} {
		t.Run(name, func(t *testing.T) {
			rec := &closingRecorder{}
			d := &fakeDriver{}
			s := New(Spec{Capture: Subscription{UID: "cam"}, Record: true}, Deps{Driver: d, Recorder: rec, Epoch: 1,
				LastEnd: func(string) (media.Wall, bool) { return 0, false }})
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			d.sink.Opened(opened(1))
			d.sink.Units(units(0, 100))
			end(s)
			state := s.Status().State
			parts, acks, begun := len(rec.parts), len(d.acks), len(rec.begun)
			if p := d.sink.Positions(); p != nil {
				t.Errorf("still holds %v", p)
			}
			d.sink.Units(units(100, 200))
			d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseLost, What: "too late"})
			d.sink.Opened(opened(2))
			d.sink.Units(units(0, 300))
			s.Tick()
			if len(rec.parts) != parts || len(d.acks) != acks || len(rec.begun) != begun || d.again != 0 {
				t.Errorf("%d more parts, %d more acknowledgements, %d more runs", len(rec.parts)-parts, len(d.acks)-acks, len(rec.begun)-begun)
			}
			if st := s.Status(); st.State != state {
				t.Errorf("state %s has become %s", state, st.State)
			}
		})
	}
}

// TestNoEarlyAck: after a jump of the camera's clock a new file waits for its
// beginning while the end of the last one is on its way to storage. Until that
// is durable nothing more is acknowledged, and then it is.
func TestNoEarlyAck(t *testing.T) {
	rec := &fakeRecorder{}
	s, d := newTest(t, rec)
	o := opened(1)
	o.Tracks = []media.Track{track, {ID: 2, Codec: media.H264, Timescale: 90000}} // H.264 without parameters: the file waits
	d.sink.Opened(o)
	d.sink.Units(units(0, 700)) // no video ever comes: begins with sound alone after ten seconds
	if len(rec.parts) == 0 {
		t.Fatal("nothing was recorded")
	}
	rec.durable(media.RunPosition{Run: media.RunID{1}, Tracks: []media.Position{{Track: 1, Next: 100}}})
	before := len(d.acks)
	var later []media.AccessUnit
	for n := uint64(700); n < 900; n++ {
		u := unit(n)
		u.PTS += 8000 * 3600 // an hour ahead
		later = append(later, u)
	}
	d.sink.Units(later)
	if s.Status().Clock.CameraJumps != 1 {
		t.Fatal("no jump was seen")
	}
	for _, a := range d.acks[before:] {
		if a.Next(1) > 100 {
			t.Fatalf("acknowledged up to %d when 100 were durable", a.Next(1))
		}
	}
	stored := rec.stored(media.RunID{1})
	last := stored[len(stored)-1]
	rec.durable(media.RunPosition{Run: media.RunID{1}, Tracks: []media.Position{{Track: 1, Next: last + 1}}})
	u := unit(900)
	u.PTS += 8000 * 3600
	d.sink.Units([]media.AccessUnit{u})
	if a := d.acks[len(d.acks)-1]; a.Next(1) <= last+1 || a.Next(1) > 901 {
		t.Errorf("acknowledged up to %d, want what has waited for seconds: it is not stored", a.Next(1))
	}
}
