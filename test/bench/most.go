package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"media-server/test/bench/cameras"
	"media-server/test/ledger"
)

// most looks for the most cameras without a lost frame: doubling, then halving
// the step. Each number is tried in a window; what the cameras could not get
// rid of, what any counter of the server calls lost, a stream that is not
// recorded, a capture that is seconds behind, and a frame of some cameras that
// is not in their footage each mean that it was too many.
func most(ctx context.Context, b *bench, p *Page) error {
	if _, err := cameras.Load(ctx, b.keep); err != nil {
		return err
	}
	t := p.Table("", "cameras")
	p.Note("A number of cameras is kept when, over %v, no counter shows a loss, every stream records, none is more than %v behind, "+
		"and the frame ledger finds every frame of five cameras in their footage. Cameras and server share the machine, so the cameras' share is part of what limits.", b.mostWindow(), mostBehind)
	if b.asked {
		for _, n := range b.counts {
			if _, err := b.mostTry(ctx, t, n); err != nil {
				return fmt.Errorf("%d cameras: %w", n, err)
			}
		}
		return nil
	}
	good, bad, step := 0, 0, pick(b, 200, 100)
	limit := pick(b, 3200, 800)
	for n := step; n <= limit; {
		ok, err := b.mostTry(ctx, t, n)
		if err != nil {
			if ctx.Err() != nil {
				p.Note("The time was up: at least %d cameras.", good)
				return nil
			}
			return fmt.Errorf("%d cameras: %w", n, err)
		}
		if ok {
			good = n
		} else {
			bad = n
		}
		switch {
		case bad == 0:
			n *= 2
		case bad-good <= pick(b, 50, 100):
			p.Note("The most cameras without a lost frame: **%d** (%d are too many).", good, bad)
			return nil
		default:
			n = (good + bad) / 2
		}
	}
	p.Note("No limit found: **%d** cameras without a lost frame.", good)
	return nil
}

const mostBehind = 5 * time.Second

func (b *bench) mostWindow() time.Duration { return pick(b, 20*time.Second, 8*time.Second) }

func (b *bench) mostTry(ctx context.Context, t *Table, n int) (good bool, err error) {
	defer endAll()
	label := fmt.Sprint(n)
	dir := filepath.Join(b.work, "most")
	sent := filepath.Join(dir, "sent")
	if err := os.MkdirAll(sent, 0o755); err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	every := max(1, n/5)
	load, addr, err := b.cameraLoad(n, sent, every, "")
	if err != nil {
		return false, err
	}
	s, err := b.recorder(ctx, options{dir: dir}, addr, n)
	if s != nil {
		defer s.discard()
	}
	if err != nil {
		if ctx.Err() == nil && s != nil {
			t.Text(label, "verdict", "not all record within a minute")
			return false, nil
		}
		return false, err
	}
	if err := sleep(ctx, b.settle()); err != nil {
		return false, err
	}
	w, err := window(ctx, b.mostWindow(), s.pids(), load)
	if err != nil {
		return false, err
	}
	verdict, err := s.judge(n, w.dropped)
	if err != nil {
		return false, err
	}
	var st cameras.Stats
	if err := load.ask("stats", &st); err != nil {
		return false, err
	}
	if verdict == "" {
		verdict, err = s.account(ctx, t, load, sent, n, every)
		if err != nil {
			return false, err
		}
	}
	t.Add(label, "cores", w.total)
	t.Add(label, "MB", w.memory)
	stalled, err := pressure("io")
	if err != nil {
		stalled = 0
	}
	t.Add(label, "waiting for disk, %", stalled)
	t.Add(label, "cameras' cores", w.load)
	t.Add(label, "a camera late, ms", float64(st.LateMS))
	good = verdict == ""
	if good {
		verdict = "none lost"
	}
	t.Text(label, "verdict", verdict)
	fmt.Fprintf(os.Stderr, "   %d cameras: %s, %.2f cores, cameras %.2f\n", n, verdict, w.total, w.load)
	return good, nil
}

// judge says what is wrong; "" = nothing.
func (s *server) judge(n int, dropped int64) (string, error) {
	l, err := s.states()
	if err != nil {
		return "", err
	}
	now, recording, behind, why := time.Now().UnixMilli(), 0, int64(0), ""
	for _, st := range l {
		if st.Recording {
			recording++
		} else {
			why = fmt.Sprintf("%s is %s: %s", st.UID, st.State, st.Reason)
		}
		behind = max(behind, now-st.LastFrame)
	}
	lost, err := s.losses()
	switch {
	case err != nil:
		return "", err
	case recording < n:
		return fmt.Sprintf("%d record; %s", recording, why), nil
	case lost > 0:
		return fmt.Sprintf("%d frames or packets lost", lost), nil
	case dropped > 0:
		return fmt.Sprintf("%d frames stuck in the cameras", dropped), nil
	case behind > mostBehind.Milliseconds():
		return fmt.Sprintf("%d ms behind", behind), nil
	}
	return "", nil
}

// account asks the ledger about the cameras that keep one.
func (s *server) account(ctx context.Context, t *Table, load *child, sent string, n, every int) (string, error) {
	to := time.Now()
	if err := sleep(ctx, 3*time.Second); err != nil { // until that is stored
		return "", err
	}
	list := s.streams
	for i := 0; i < n; i++ {
		_ = os.Remove(filepath.Join(list, cameras.Name(i)+".ini"))
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		var st cameras.Stats
		if err := load.ask("stats", &st); err != nil {
			return "", err
		}
		if st.Sessions == 0 {
			break
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return "", err
		}
	}
	if err := load.ask("flush", &cameras.Stats{}); err != nil {
		return "", err
	}
	for i := 0; i < n; i += every {
		name := cameras.Name(i)
		units, err := ledger.ReadSent(filepath.Join(sent, name+".csv"))
		if err != nil {
			return "", err
		}
		src := ledger.Source{URL: fmt.Sprintf("http://%s/dvr/%s/record.mp4?from=%d&to=%d", s.http, name, to.Add(-10*time.Minute).UnixMilli(), to.Add(time.Minute).UnixMilli())}
		m, err := ledger.Read(ctx, src)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		r := ledger.Compare(units, m, ledger.Rules{To: to.UnixNano(), Off: mostBehind})
		for _, x := range r.Tracks {
			t.Add(fmt.Sprint(n), "time off by, ms", float64(max(x.Error.Max.Abs(), x.Error.Min.Abs()).Microseconds())/1000)
		}
		if r.Failures() > 0 {
			r.Write(os.Stderr)
			return fmt.Sprintf("the ledger misses frames of %s", name), nil
		}
	}
	return "", nil
}

// pressure is the share of the last ten seconds in which something waited for
// a resource, in percent (Documentation/accounting/psi.rst).
func pressure(what string) (float64, error) {
	b, err := os.ReadFile("/proc/pressure/" + what)
	if err != nil {
		return 0, err
	}
	var v float64
	_, err = fmt.Sscanf(string(b), "some avg10=%f", &v)
	return v, err
}
