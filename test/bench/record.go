package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"media-server/test/bench/cameras"
	"media-server/test/bench/readers"
)

// sample is what a window of recording cost.
type sample struct {
	cores   map[string]float64 // by process
	total   float64
	memory  float64            // MB, all processes
	wakeups map[string]float64 // a second, by process; "" = all
	load    float64            // cores of the cameras
	dropped int64              // units that the cameras could not get rid of
}

// window measures processes for d, the cameras beside them.
func window(ctx context.Context, d time.Duration, pids map[string]int, load *child) (sample, error) {
	var list []int
	for _, pid := range pids {
		list = append(list, pid)
	}
	var before, after cameras.Stats
	if err := load.ask("stats", &before); err != nil {
		return sample{}, err
	}
	wakeups := func() map[string]float64 {
		m := map[string]float64{}
		for name, pid := range pids {
			n := float64(switches(pid))
			m[name] += n
			m[""] += n
		}
		return m
	}
	c0, w0, t0 := cpuOf(append(list, load.pid())...), wakeups(), time.Now()
	if err := sleep(ctx, d); err != nil {
		return sample{}, err
	}
	c1, w1, took := cpuOf(append(list, load.pid())...), wakeups(), time.Since(t0)
	for name := range w1 {
		w1[name] = (w1[name] - w0[name]) / took.Seconds()
	}
	if err := load.ask("stats", &after); err != nil {
		return sample{}, err
	}
	s := sample{cores: map[string]float64{}, memory: float64(pss(list...)) / 1e6, wakeups: w1, dropped: after.Dropped - before.Dropped}
	for name, pid := range pids {
		if _, ok := c1[pid]; !ok {
			return s, fmt.Errorf("%s has ended", name)
		}
		s.cores[name] = (c1[pid] - c0[pid]).Seconds() / took.Seconds()
		s.total += s.cores[name]
	}
	s.load = (c1[load.pid()] - c0[load.pid()]).Seconds() / took.Seconds()
	return s, nil
}

// settle is how long a load runs before it is measured: long enough for rates
// to be known, marks to be set and the heap to find its size.
func (b *bench) settle() time.Duration { return pick(b, 8*time.Second, 4*time.Second) }

func (b *bench) watch() time.Duration { return pick(b, 15*time.Second, 5*time.Second) }

// record compares the server with its lower bounds, all fed by one process of
// cameras.
func record(ctx context.Context, b *bench, p *Page) error {
	clip, err := cameras.Load(ctx, b.keep)
	if err != nil {
		return err
	}
	p.Note("Cameras: 720p25 H.264 + AAC over RTSP/TCP, %.2f Mbit/s each with framing, one process that is not in the figures but in the column cameras. "+
		"CPU in cores, utime + stime of core, rtsp driver and local storage together; memory is PSS of the same processes. "+
		"Bounds are programs that take the same cameras and can do nothing else: discard = read and forget, append = read and append to a file each, "+
		"gather = append with SO_RCVLOWAT at 64 kB, gortsplib = its client, packets forgotten.", clip.Bitrate()/1e6)
	counts := b.counts
	tables := map[int]*Table{}
	for _, n := range counts {
		tables[n] = p.Table(fmt.Sprintf("%d cameras", n), "recorder")
	}
	modes := append([]string{"server, sync on", "server, sync off"}, readers.Modes...)
	if b.modes != "" {
		modes = strings.Split(b.modes, ";")
	}
	for round := range b.rounds {
		for _, n := range counts {
			for i := range modes { // the order turns, so that none is always first
				mode := modes[(i+round)%len(modes)]
				if err := b.recordOnce(ctx, tables[n], mode, n); err != nil {
					return fmt.Errorf("%s, %d cameras: %w", mode, n, err)
				}
			}
		}
	}
	for _, t := range tables {
		for _, bound := range readers.Modes {
			t.Ratio("cores", bound, "× "+bound)
		}
	}
	return nil
}

func (b *bench) recordOnce(ctx context.Context, t *Table, mode string, n int) error {
	defer endAll()
	load, addr, err := b.cameraLoad(n, "", 1, "")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "   %d cameras, %s", n, mode)
	var pids map[string]int
	var s *server
	dir := filepath.Join(b.work, "record")
	defer os.RemoveAll(dir)
	if strings.HasPrefix(mode, "server") {
		fsync := "500ms"
		if strings.HasSuffix(mode, "off") {
			fsync = "off"
		}
		if s, err = b.recorder(ctx, options{dir: dir, fsync: fsync, env: b.env}, addr, n); err != nil {
			return err
		}
		defer s.discard()
		pids = s.pids()
	} else {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		r, err := spawn("reader", "-mode", mode, "-n", fmt.Sprint(n), "-addr", addr, "-dir", dir)
		if err != nil {
			return err
		}
		var ready string
		if err := r.line(&ready); err != nil {
			return err
		}
		pids = map[string]int{"reader": r.pid()}
	}
	if err := sleep(ctx, b.settle()); err != nil {
		return err
	}
	w, err := window(ctx, b.watch(), pids, load)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, ": %.3f cores, %.0f MB, cameras %.3f\n", w.total, w.memory, w.load)
	t.Add(mode, "cores", w.total)
	if s != nil {
		for _, name := range []string{"core", "rtsp", "local"} {
			t.Add(mode, name, w.cores[name])
		}
		for _, name := range []string{"core", "rtsp", "local"} {
			t.Add(mode, "wake-ups/s "+name, w.wakeups[name])
		}
		lost, err := s.losses()
		if err != nil {
			return err
		}
		t.Add(mode, "lost", float64(lost+uint64(w.dropped)))
	}
	for _, name := range []string{"core", "rtsp", "local"} {
		if pid := pids[name]; pid != 0 {
			t.Add(mode, "MB "+name, float64(pss(pid))/1e6)
		}
	}
	t.Add(mode, "MB", w.memory)
	t.Add(mode, "MB a camera", w.memory/float64(n))
	t.Add(mode, "wake-ups/s", w.wakeups[""])
	t.Add(mode, "cameras", w.load)
	return nil
}

// recorder starts a server that records n cameras and waits until it does.
func (b *bench) recorder(ctx context.Context, o options, addr string, n int) (*server, error) {
	s, err := b.newServer(o)
	if err != nil {
		return nil, err
	}
	for i := range n {
		if err := s.stream(cameras.Name(i), "stream-url = rtsp://"+addr+"/"+cameras.Name(i)); err != nil {
			return nil, err
		}
	}
	if _, err := s.start(ctx); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s, s.recording(wait, n)
}

// lossy are the counters of a stream that a healthy one keeps at zero.
var lossy = []string{"lost", "duplicates", "units_dropped", "units_damaged", "packets_lost", "reconnects"}

// losses sums them over all streams.
func (s *server) losses() (sum uint64, err error) {
	l, err := s.states()
	for _, st := range l {
		for _, c := range lossy {
			sum += st.Counters[c]
		}
	}
	return sum, err
}
