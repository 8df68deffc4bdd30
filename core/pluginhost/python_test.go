package pluginhost

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"media-server/core/media"
	"media-server/core/stream"
)

// trackSink checks sequences of any driver, per track.
type trackSink struct {
	mu     sync.Mutex
	run    media.RunID
	next   map[int]uint64
	units  int
	closed []stream.Closed
	bad    []string
}

func (s *trackSink) Positions() []media.RunPosition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run.IsZero() {
		return nil
	}
	p := media.RunPosition{Run: s.run}
	for t, n := range s.next {
		p.Tracks = append(p.Tracks, media.Position{Track: t, Next: n})
	}
	return []media.RunPosition{p}
}

func (s *trackSink) Opened(o stream.Opened) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Run != s.run {
		s.run, s.next = o.Run, map[int]uint64{}
	}
}

func (s *trackSink) Units(us []media.AccessUnit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range us {
		if u.Seq != s.next[u.Track] {
			s.bad = append(s.bad, fmt.Sprintf("track %d: %d where %d was due", u.Track, u.Seq, s.next[u.Track]))
		}
		s.next[u.Track] = u.Seq + 1
		s.units++
	}
	return true
}

func (s *trackSink) Closed(c stream.Closed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, c)
}

func (s *trackSink) Stats(stream.Stats) {}

func (s *trackSink) state() (media.RunID, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run, s.units
}

// TestPythonDriver runs the example that was written from PROTOCOL.md alone.
func TestPythonDriver(t *testing.T) {
	if err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").Run(); err != nil {
		t.Fatal("needs the Debian packages python3-grpcio and python3-protobuf")
	}
	r := newRig(t)
	from := filepath.Join("..", "..", "plugins", "examples", "python-clock")
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(from, e.Name())); err == nil {
			files[e.Name()] = string(b)
		}
	}
	r.files("python-clock", files["plugin.ini"], files)
	sink := &trackSink{}
	sub := func() {
		d, err := r.host.Driver("clock")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Subscribe(stream.Subscription{UID: "cam", URL: "clock://cam"}, sink); err != nil {
			t.Fatal(err)
		}
	}
	r.up()
	sub()
	eventually(t, "units", func() bool { _, n := sink.state(); return n > 20 })
	pid := r.status("python-clock").PID
	run, n := sink.state()
	r.down()
	r.opt.Epoch++
	r.up()
	sub()
	eventually(t, "more units", func() bool { _, m := sink.state(); return m > n+20 })
	if again, _ := sink.state(); again != run || r.status("python-clock").PID != pid || len(sink.bad) > 0 || len(sink.closed) > 0 {
		t.Errorf("run %v became %v, pid %d %d, bad %v, closed %v", run, again, pid, r.status("python-clock").PID, sink.bad, sink.closed)
	}
}
