package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"media-server/test/bench/cameras"
	"media-server/test/ledger"
)

// reconnect takes the cameras away for three seconds and looks what is missing
// after they are back. Their process is killed, so connections break and new
// ones are refused; back on the same address they play on from any picture, so
// that up to a GOP passes before footage can begin.
func reconnect(ctx context.Context, b *bench, p *Page) error {
	if _, err := cameras.Load(ctx, b.keep); err != nil {
		return err
	}
	const n = 10
	t := p.Table("", "footage after the camera is back")
	var all, key []float64
	missed := 0
	for range b.rounds {
		a, k, m, err := b.outage(ctx, n, 3*time.Second)
		if err != nil {
			return err
		}
		all, key, missed = append(all, a...), append(key, k...), missed+m
	}
	for _, x := range []struct {
		name string
		v    []float64
	}{{"begins, s after the camera's return", all}, {"begins, s after the first key frame sent", key}} {
		t.Add(x.name, "median", median(x.v))
		t.Add(x.name, "p95", percentile(x.v, 0.95))
		t.Add(x.name, "worst", percentile(x.v, 1))
	}
	p.Note("Of %d outages %d missed a key frame that the camera had after its return.", len(all), missed)
	p.Note("%d cameras with a GOP of 2 s at phases spread evenly, away for 3 s (process killed: connections reset, then refused). "+
		"A camera whose key frame falls between its return and the next try of the driver is recorded from the key frame after: a GOP later.", n)
	return nil
}

type footage struct {
	Ranges []struct{ From, To int64 }
	Gaps   []struct {
		From, To int64
		Why      string
	}
}

func (s *server) footage(uid string) (f footage, err error) {
	resp, err := http.Get("http://" + s.http + "/dvr/" + uid + "/ranges.json")
	if err != nil {
		return f, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return f, fmt.Errorf("ranges.json of %s: %s %w", uid, resp.Status, err)
	}
	return f, json.Unmarshal(body, &f)
}

// outage measures one: for each camera the time from its return, and from its
// first key frame after that, to the beginning of footage, in seconds.
func (b *bench) outage(ctx context.Context, n int, away time.Duration) (all, key []float64, missed int, err error) {
	defer endAll()
	dir := filepath.Join(b.work, "reconnect")
	sent := filepath.Join(dir, "sent")
	if err := os.MkdirAll(sent, 0o755); err != nil {
		return nil, nil, 0, err
	}
	defer os.RemoveAll(dir)
	load, addr, err := b.cameraLoad(n, "", 1, "")
	if err != nil {
		return nil, nil, 0, err
	}
	s, err := b.recorder(ctx, options{dir: dir}, addr, n)
	if s != nil {
		defer s.discard()
	}
	if err != nil {
		return nil, nil, 0, err
	}
	if err := sleep(ctx, b.settle()); err != nil {
		return nil, nil, 0, err
	}
	load.kill()
	gone := time.Now()
	if err := sleep(ctx, away); err != nil {
		return nil, nil, 0, err
	}
	load, _, err = b.cameraLoad(n, sent, 1, addr)
	if err != nil {
		return nil, nil, 0, err
	}
	back := time.Now()
	if err := sleep(ctx, 8*time.Second); err != nil {
		return nil, nil, 0, err
	}
	starts := make([]int64, n)
	for i := range n {
		f, err := s.footage(cameras.Name(i))
		if err != nil {
			return nil, nil, 0, err
		}
		for _, r := range f.Ranges {
			if r.From > gone.UnixMilli() {
				starts[i] = r.From
				break
			}
		}
		if starts[i] == 0 {
			return nil, nil, 0, fmt.Errorf("%s has no footage after its return: %+v", cameras.Name(i), f)
		}
	}
	// Stopping the server ends the sessions: the ledgers are whole.
	s.stop()
	var st cameras.Stats
	if err := load.ask("flush", &st); err != nil {
		return nil, nil, 0, err
	}
	for i := range n {
		units, err := ledger.ReadSent(filepath.Join(sent, cameras.Name(i)+".csv"))
		if err != nil {
			return nil, nil, 0, err
		}
		first := int64(0)
		for _, u := range units[ledger.ID{Camera: cameras.Name(i), Track: 'v'}] {
			if u.Key {
				first = u.Time
				break
			}
		}
		after := time.UnixMilli(starts[i]).Sub(back).Seconds()
		late := time.Duration(starts[i]*1e6 - first).Seconds()
		// The camera had one key frame every GOP from its return on.
		gop := time.Duration(cameras.GOP) * time.Second / cameras.Rate
		if time.Duration(first-back.UnixNano()) > gop {
			missed++
		}
		all, key = append(all, after), append(key, late)
		fmt.Fprintf(os.Stderr, "   %s: footage %.2f s after the return, %.3f s after the first key frame sent\n", cameras.Name(i), after, late)
	}
	return all, key, missed, nil
}
