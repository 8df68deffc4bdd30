package pluginhost

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/media"
	"media-server/core/stream"
	"media-server/plugins/sdk/pb"
)

// testSink holds what it is given and checks that it comes in order, once.
type testSink struct {
	mu      sync.Mutex
	run     media.RunID
	uid     string
	next    uint64
	units   int
	opened  []stream.Opened
	closed  []stream.Closed
	refuse  bool
	refused int
	asked   int
	bad     []string
}

func newTestSink() *testSink { return &testSink{} }

func (s *testSink) Positions() []media.RunPosition {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.run.IsZero() {
		return nil
	}
	return []media.RunPosition{{Run: s.run, Tracks: []media.Position{{Track: 1, Next: s.next}}}}
}

func (s *testSink) Opened(o stream.Opened) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, o)
	if o.Run != s.run {
		s.run, s.next = o.Run, 0
	}
}

func (s *testSink) Units(us []media.AccessUnit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		s.refused++
		return false
	}
	for _, u := range us {
		if u.Seq != s.next || !bytes.Equal(u.Payload, toyUnit(s.uid, u.Seq, 300+int(u.Seq%7)*100)) {
			s.bad = append(s.bad, fmt.Sprintf("unit %d of %d bytes where %d was due", u.Seq, len(u.Payload), s.next))
		}
		s.next = u.Seq + 1
		s.units++
	}
	return true
}

func (s *testSink) Closed(c stream.Closed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, c)
}

func (s *testSink) Stats(stream.Stats) {}

func (s *testSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.units
}

func (s *testSink) with(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *testSink) lastClosed() stream.Closed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.closed) == 0 {
		return stream.Closed{}
	}
	return s.closed[len(s.closed)-1]
}

func (s *testSink) position() media.RunPosition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return media.RunPosition{Run: s.run, Tracks: []media.Position{{Track: 1, Next: s.next}}}
}

func subscribe(t *testing.T, h *Host, uid string, sink *testSink) stream.Session {
	t.Helper()
	sink.uid = uid
	d, err := h.Driver("toy")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Subscribe(stream.Subscription{UID: uid, URL: "toy://" + uid, Kinds: []media.Kind{media.Data}}, sink)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *testSink) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bad) > 0 {
		t.Errorf("%s: %v", s.uid, s.bad[:min(3, len(s.bad))])
	}
}

func endpointRig(t *testing.T, d *toyDriver) *rig {
	e := serveEndpoint(t, pb.InfoReply_DRIVER, d)
	r := newRig(t)
	r.opt.Plugins["toy"] = Plugin{Endpoint: "unix:" + e.socket}
	t.Cleanup(r.down) // before the server stops
	return r
}

func TestDriverDelivers(t *testing.T) {
	for _, large := range []bool{false, true} {
		t.Run(fmt.Sprintf("pieces=%v", large), func(t *testing.T) {
			d := newToyDriver()
			d.large = large
			r := endpointRig(t, d)
			r.up()
			sinks := map[string]*testSink{}
			for i := range 20 {
				uid := fmt.Sprintf("cam%d", i)
				sinks[uid] = newTestSink()
				subscribe(t, r.host, uid, sinks[uid])
			}
			for uid, s := range sinks {
				eventually(t, uid+" delivers", func() bool { return s.count() > 20 })
				s.check(t)
				if len(s.opened) != 1 || s.opened[0].Tracks[0].Codec != media.Metadata || s.opened[0].Device != "toy" {
					t.Errorf("%s opened %+v", uid, s.opened)
				}
			}
			if st := r.status("toy"); st.Streams != 20 || st.Open != 20 || st.Units < 400 || st.Dropped != 0 {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestAcksAreGathered(t *testing.T) {
	d := newToyDriver()
	r := endpointRig(t, d)
	r.up()
	sink := newTestSink()
	s := subscribe(t, r.host, "cam", sink)
	eventually(t, "units", func() bool { return sink.count() > 0 })
	for range 1000 {
		s.Ack(sink.position())
	}
	eventually(t, "the driver forgets", func() bool { first, _ := d.held("cam"); return first > 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.acks > 20 {
		t.Errorf("%d messages for 1000 acknowledgements", d.acks)
	}
}

func TestBehindIsTakenUpAgain(t *testing.T) {
	d := newToyDriver()
	r := endpointRig(t, d)
	r.up()
	slow, other := newTestSink(), newTestSink()
	s := subscribe(t, r.host, "slow", slow)
	subscribe(t, r.host, "other", other)
	eventually(t, "units", func() bool { return slow.count() > 3 })
	slow.with(func() { slow.refuse = true })
	eventually(t, "a refusal", func() bool { slow.mu.Lock(); defer slow.mu.Unlock(); return slow.refused > 0 })
	n := other.count()
	eventually(t, "the other goes on", func() bool { return other.count() > n+10 })
	slow.with(func() {
		if slow.refused != 1 {
			t.Errorf("a stream that is behind was called %d times", slow.refused)
		}
		slow.refuse = false
	})
	n = slow.count()
	s.Resubscribe()
	eventually(t, "it goes on", func() bool { return slow.count() > n+10 })
	slow.check(t)
	other.check(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.unsubs) != 1 || !d.unsubs[0].Keep {
		t.Errorf("unsubscribed: %v", d.unsubs)
	}
}

func TestModeAndClose(t *testing.T) {
	d := newToyDriver()
	r := endpointRig(t, d)
	r.up()
	sink := newTestSink()
	s := subscribe(t, r.host, "cam", sink)
	s.SetDelivery(true) // kept for the subscription
	eventually(t, "units", func() bool { return sink.count() > 0 })
	s.SetDelivery(false)
	eventually(t, "both modes", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.modes) == 2 && d.modes[0].Delivery == pb.Mode_AT_ONCE && d.modes[1].Delivery == pb.Mode_BATCH
	})
	s.Close()
	n := sink.count()
	eventually(t, "the driver forgets the stream", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.streams) == 0 })
	if sink.count() != n {
		t.Error("units after Close")
	}
	eventually(t, "the session is gone", func() bool { return r.status("toy").Streams == 0 })
	s.Ack(media.RunPosition{})
	s.Resubscribe()
	s.Close()
}

func TestDriverDeathAndReturn(t *testing.T) {
	r := newRig(t)
	r.toy("toy", "driver")
	r.up()
	sink := newTestSink()
	subscribe(t, r.host, "cam", sink)
	eventually(t, "units", func() bool { return sink.count() > 3 })
	run := sink.position().Run
	unix.Kill(r.status("toy").PID, unix.SIGKILL)
	eventually(t, "a new run", func() bool { p := sink.position(); return p.Run != run && p.Tracks[0].Next > 3 })
	c := sink.closed[0]
	if len(sink.closed) != 1 || c.Cause != stream.CauseDriver || c.Run != run {
		t.Errorf("closed %+v, run was %v", sink.closed, run)
	}
	sink.check(t)
	if sink.asked != 2 {
		t.Errorf("positions were asked %d times", sink.asked)
	}
}

func TestCoreRestartResumesTheRun(t *testing.T) {
	r := newRig(t)
	r.toy("toy", "driver")
	r.up()
	sink := newTestSink()
	subscribe(t, r.host, "cam", sink)
	eventually(t, "units", func() bool { return sink.count() > 3 })
	r.down()
	before := sink.position()
	time.Sleep(100 * time.Millisecond) // the driver goes on alone
	r.opt.Epoch++
	r.up()
	subscribe(t, r.host, "cam", sink)
	eventually(t, "more units", func() bool { return sink.position().Tracks[0].Next > before.Tracks[0].Next+10 })
	if sink.position().Run != before.Run || len(sink.closed) != 0 {
		t.Errorf("run %v became %v; closed %v", before.Run, sink.position().Run, sink.closed)
	}
	sink.check(t)
}

func TestNoDriverIsTold(t *testing.T) {
	r := newRig(t)
	r.up()
	sink := newTestSink()
	subscribe(t, r.host, "cam", sink)
	eventually(t, "the reason", func() bool { return sink.lastClosed().Cause == stream.CauseDriver })
	r.toy("toy", "driver")
	r.host.Reload(r.opt)
	eventually(t, "units of a driver that came later", func() bool { return sink.count() > 0 })
}

// A stream holds its lock while it subscribes; the sink's methods take it too.
func TestNoDriverIsToldFromElsewhere(t *testing.T) {
	r := newRig(t)
	r.up()
	eventually(t, "the folders to be looked through", func() bool { r.host.mu.Lock(); defer r.host.mu.Unlock(); return r.host.scanned })
	sink, done := newTestSink(), make(chan struct{})
	go func() {
		defer close(done)
		sink.with(func() { subscribe(t, r.host, "cam", sink) })
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Subscribe waits for the sink")
	}
	eventually(t, "the reason", func() bool { return sink.lastClosed().Cause == stream.CauseDriver })
}

func TestOpenedIsChecked(t *testing.T) {
	good := func() *pb.Opened {
		return &pb.Opened{Run: bytes.Repeat([]byte{1}, 16), Tracks: []*pb.Track{{Id: 1, Codec: "h264", Timescale: 90000}}}
	}
	for name, change := range map[string]func(*pb.Opened){
		"short run": func(o *pb.Opened) { o.Run = o.Run[:15] },
		"zero run":  func(o *pb.Opened) { clear(o.Run) },
		"no tracks": func(o *pb.Opened) { o.Tracks = nil },
		"id 0":      func(o *pb.Opened) { o.Tracks[0].Id = 0 },
		"id large":  func(o *pb.Opened) { o.Tracks[0].Id = 1 << 31 },
		"twice":     func(o *pb.Opened) { o.Tracks = slices.Repeat(o.Tracks, 2) },
		"codec":     func(o *pb.Opened) { o.Tracks[0].Codec = "av7" },
		"timescale": func(o *pb.Opened) { o.Tracks[0].Timescale = 0 },
	} {
		o := good()
		change(o)
		if _, what := openedOf(o); what == "" {
			t.Errorf("%s is taken", name)
		}
	}
	if _, what := openedOf(good()); what != "" {
		t.Error(what)
	}
}
