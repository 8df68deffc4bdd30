package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/picture"
	"media-server/core/pluginhost"
	"media-server/core/stream"
)

// snapDriver makes pictures.
type snapDriver struct {
	asked atomic.Int64
	takes time.Duration
	err   error
}

func (d *snapDriver) PluginFor(scheme string) (string, bool) { return scheme, scheme == "rtsp" }

func (d *snapDriver) Snapshot(_ context.Context, plugin, uid, _ string, _ map[string]string, _ time.Duration) ([]byte, error) {
	n := d.asked.Add(1)
	time.Sleep(d.takes)
	if d.err != nil {
		return nil, d.err
	}
	return []byte(fmt.Sprintf("%s %s %d", plugin, uid, n)), nil
}

// TestSnapshots: a camera is asked once a second, however many look at it, and less often
// what does not work.
func TestSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &snapDriver{takes: 300 * time.Millisecond}
		sets := map[string]*StreamSettings{
			"gate": {UID: "gate", Config: stream.Config{URL: "rtsp://h/1"}}, "yard": {UID: "yard", Config: stream.Config{URL: "other://h/1"}}}
		s := &snapshots{host: d, stream: func(uid string) *StreamSettings { return sets[uid] }, log: slog.New(slog.DiscardHandler), asking: make(chan struct{}, 2), m: map[string]*snapshot{}, failed: map[string]*failing{}}
		look := func(uid, want string, asked int64) {
			t.Helper()
			b, at, err := s.Snapshot(uid)
			if string(b) != want || (err == nil) != (want != "") || d.asked.Load() != asked {
				t.Errorf("%q at %v, %v, asked %d times; want %q, %d", b, at, err, d.asked.Load(), want, asked)
			}
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { look("gate", "rtsp gate 1", 1) })
		}
		all.Wait()
		time.Sleep(900 * time.Millisecond)
		look("gate", "rtsp gate 1", 1)
		time.Sleep(200 * time.Millisecond)
		look("gate", "rtsp gate 2", 2)
		if _, _, err := s.Snapshot("yard"); !errors.Is(err, picture.ErrNoSnapshot) || d.asked.Load() != 2 {
			t.Errorf("no driver: %v", err)
		}
		if _, _, err := s.Snapshot("none"); !errors.Is(err, picture.ErrNoSnapshot) {
			t.Errorf("no stream: %v", err)
		}
		// Other settings are asked at once.
		sets["gate"] = &StreamSettings{UID: "gate", Config: stream.Config{URL: "rtsp://h/2"}}
		d.err = errors.New("away")
		look("gate", "", 3)
		time.Sleep(9 * time.Second)
		look("gate", "", 3)
		time.Sleep(2 * time.Second)
		look("gate", "", 4)
		time.Sleep(19 * time.Second) // twice as long: a wrong password locks accounts
		look("gate", "", 4)
		d.err = pluginhost.ErrNoSnapshot
		time.Sleep(2 * time.Second)
		look("gate", "", 5)
		time.Sleep(4 * time.Minute)
		look("gate", "", 5)
		d.err = nil
		time.Sleep(2 * time.Minute)
		look("gate", "rtsp gate 6", 6)
		time.Sleep(snapshotNever)
		s.mu.Lock()
		if len(s.m) != 0 || len(s.failed) != 0 {
			t.Errorf("%d pictures are kept for nobody, %d failures", len(s.m), len(s.failed))
		}
		s.mu.Unlock()

		// Slow cameras keep nobody else waiting.
		for i := range 3 {
			uid := fmt.Sprint("slow", i)
			sets[uid] = &StreamSettings{UID: uid, Config: stream.Config{URL: "rtsp://h/s"}}
		}
		d.takes = time.Hour
		for i := range 2 {
			all.Go(func() { _, _, _ = s.Snapshot(fmt.Sprint("slow", i)) })
		}
		synctest.Wait()
		begun := time.Now()
		if _, _, err := s.Snapshot("slow2"); err == nil || time.Since(begun) > 0 {
			t.Errorf("%v behind %v", err, time.Since(begun))
		}
		all.Wait()
	})
}
