package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"media-server/test/bench/cameras"
)

// profile runs the server built with a probe in each process, counts what the
// allocator does for an access unit on its way from socket to disk, and keeps
// profiles with the figures.
func profile(ctx context.Context, b *bench, p *Page) error {
	if _, err := cameras.Load(ctx, b.keep); err != nil {
		return err
	}
	n := pick(b, 100, 50)
	bin := filepath.Join(b.out, "probed")
	file := filepath.Join(b.work, "probe.go")
	if err := os.WriteFile(file, probe, 0o644); err != nil {
		return err
	}
	if err := build(ctx, bin, file); err != nil {
		return err
	}
	sockets, err := os.MkdirTemp("", "probe")
	if err != nil {
		return err
	}
	defer os.RemoveAll(sockets)
	defer endAll()
	load, addr, err := b.cameraLoad(n, "", 1, "")
	if err != nil {
		return err
	}
	s, err := b.recorder(ctx, options{dir: filepath.Join(b.work, "profile"), bin: bin, env: "BENCH_PROBE=" + sockets}, addr, n)
	if s != nil {
		defer s.discard()
	}
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.settle()+b.settle()); err != nil {
		return err
	}
	pids := s.pids()
	t := p.Table(fmt.Sprintf("An access unit from socket to disk, %d cameras", n), "process")
	for range b.rounds {
		if err := b.allocations(ctx, t, s, pids, sockets, load); err != nil {
			return err
		}
	}
	p.Note("Allocated objects and bytes of each process over the access units that the streams took in, everything else that goes on in the process included (timers, catalogue, settings).")
	return b.profiles(ctx, p, pids, sockets)
}

type allocs struct{ Objects, Bytes, GCs uint64 }

func probed(sockets string, pid int) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(sockets, fmt.Sprint(pid)))
	}}}
}

func (s *server) units() (sum uint64, err error) {
	l, err := s.states()
	for _, st := range l {
		sum += st.Counters["units"]
	}
	return sum, err
}

func (b *bench) allocations(ctx context.Context, t *Table, s *server, pids map[string]int, sockets string, load *child) error {
	read := func() (m map[string]allocs, err error) {
		m = map[string]allocs{}
		for name, pid := range pids {
			resp, err := probed(sockets, pid).Get("http://probe/allocs")
			if err != nil {
				return nil, err
			}
			var a allocs
			err = json.NewDecoder(resp.Body).Decode(&a)
			resp.Body.Close()
			if err != nil {
				return nil, err
			}
			m[name] = a
		}
		return m, nil
	}
	u0, err := s.units()
	if err != nil {
		return err
	}
	a0, err := read()
	if err != nil {
		return err
	}
	w, err := window(ctx, b.watch(), pids, load)
	if err != nil {
		return err
	}
	a1, err := read()
	if err != nil {
		return err
	}
	u1, err := s.units()
	if err != nil {
		return err
	}
	units := float64(u1 - u0)
	all, bytes := 0.0, 0.0
	for _, name := range []string{"rtsp", "core", "local"} {
		o, by := float64(a1[name].Objects-a0[name].Objects)/units, float64(a1[name].Bytes-a0[name].Bytes)/units
		all, bytes = all+o, bytes+by
		t.Add(name, "objects a unit", o)
		t.Add(name, "bytes a unit", by)
		t.Add(name, "GCs/s", float64(a1[name].GCs-a0[name].GCs)/b.watch().Seconds())
		t.Add(name, "µs CPU a unit", w.cores[name]*b.watch().Seconds()*1e6/units)
	}
	t.Add("all", "objects a unit", all)
	t.Add("all", "bytes a unit", bytes)
	t.Add("all", "µs CPU a unit", w.total*b.watch().Seconds()*1e6/units)
	return nil
}

// profiles fetches CPU and allocation profiles and the heads of their tables.
func (b *bench) profiles(ctx context.Context, p *Page, pids map[string]int, sockets string) error {
	dir := filepath.Join(b.out, "profile")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	seconds := int(pick(b, 20*time.Second, 8*time.Second).Seconds())
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for name, pid := range pids {
		for what, path := range map[string]string{"cpu": fmt.Sprintf("profile?seconds=%d", seconds), "allocs": fmt.Sprintf("allocs?seconds=%d", seconds), "heap": "heap"} {
			wg.Go(func() {
				if err := keepProfile(ctx, probed(sockets, pid), path, filepath.Join(dir, name+"."+what)); err != nil {
					mu.Lock()
					failed = fmt.Errorf("%s %s: %w", name, what, err)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	p.Note("Profiles of %d s are in profile/: NAME.cpu, NAME.allocs, NAME.heap for go tool pprof, and NAME.….txt, their heads.", seconds)
	return failed
}

func keepProfile(ctx context.Context, c *http.Client, path, to string) error {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://probe/debug/pprof/"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("%s %s %w", resp.Status, body, err)
	}
	if err := os.WriteFile(to, body, 0o644); err != nil {
		return err
	}
	args := []string{"tool", "pprof", "-top", "-nodecount=60"}
	if filepath.Ext(to) == ".allocs" {
		args = append(args, "-sample_index=alloc_objects")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, to)...).Output()
	if err != nil {
		return err
	}
	return os.WriteFile(to+".txt", out, 0o644)
}
