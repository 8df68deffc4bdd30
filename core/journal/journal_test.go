package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

type rig struct {
	*Journal
	stop func()
}

func start(t testing.TB, path string, tweak func(*Options)) *rig {
	t.Helper()
	o := Options{Path: path, Node: "n1"}
	if tweak != nil {
		tweak(&o)
	}
	j, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := j.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	r := &rig{j, sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(r.stop)
	return r
}

func list(t testing.TB, j *Journal, f Filter) []Event {
	t.Helper()
	items, _, err := j.List(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestKeptAcrossRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	r := start(t, path, nil)
	r.Emit(Event{Type: "stream.lost", UID: "gate", Level: Warn, Message: "no camera", Data: map[string]any{"why": "refused"}})
	r.stop() // writes what is left
	r = start(t, path, nil)
	got := list(t, r.Journal, Filter{})
	if len(got) != 1 || got[0].Node != "n1" || got[0].Level != Warn || got[0].Data["why"] != "refused" || got[0].TimeMS == 0 {
		t.Fatalf("%+v", got)
	}
	r.Clear(t.Context())
	r.Emit(Event{Type: "server.started"})
	r.stop()
	r = start(t, path, nil)
	if got := list(t, r.Journal, Filter{}); len(got) != 1 || got[0].ID != 2 || got[0].Level != Info {
		t.Fatalf("ids must go on: %+v", got)
	}
}

// List is what a plain loop over all events would select.
func TestFilterProperty(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "journal.db"), nil)
	types := []string{"stream.lost", "stream.up", "storage.full", "a[b]?", "streamx"}
	words := []string{"alpha", "50%", "a_b", `back\slash`, "ünicode", ""}
	rng := rand.New(rand.NewPCG(1, 2))
	var all []Event
	for i := range 200 {
		e := Event{Type: types[rng.IntN(len(types))], TimeMS: int64(1000 + i/3), UID: []string{"", "a", "b"}[rng.IntN(3)], Node: "n1",
			Level: levels[rng.IntN(4)], Message: "x" + words[rng.IntN(len(words))] + "y"}
		all = append(all, e)
		r.Emit(e)
	}
	events, stop, err := r.Subscribe(0)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for i := range all {
		e := <-events
		if e.ID != int64(i+1) || e.Message != all[i].Message || e.Type != all[i].Type {
			t.Fatalf("%d: %+v, sent %+v", i, e, all[i])
		}
		all[i].ID = e.ID
	}
	globsOf := map[string]func(string) bool{
		"stream.*": func(s string) bool { return strings.HasPrefix(s, "stream.") },
		"*":        func(string) bool { return true },
		"a[b]?":    func(s string) bool { return s == "a[b]?" },
		"*.full":   func(s string) bool { return strings.HasSuffix(s, ".full") },
		"stream":   func(string) bool { return false },
	}
	names := []string{"stream.*", "*", "a[b]?", "*.full", "stream"}
	rapid.Check(t, func(rt *rapid.T) {
		f := Filter{
			UID:    rapid.SampledFrom([]string{"", "a", "none"}).Draw(rt, "uid"),
			Level:  rapid.SampledFrom([]Level{"", Debug, Info, Warn, Error}).Draw(rt, "level"),
			Text:   rapid.SampledFrom([]string{"", "ALPHA", "0%", "_", `\`, "ün"}).Draw(rt, "text"),
			FromMS: rapid.SampledFrom([]int64{0, 1020}).Draw(rt, "from"),
			ToMS:   rapid.SampledFrom([]int64{0, 1050}).Draw(rt, "to"),
			Limit:  rapid.IntRange(1, 70).Draw(rt, "limit"),
			Types:  rapid.SliceOfN(rapid.SampledFrom(names), 0, 2).Draw(rt, "types"),
		}
		var want []int64
		for i := len(all) - 1; i >= 0; i-- {
			e := all[i]
			ok := len(f.Types) == 0
			for _, g := range f.Types {
				ok = ok || globsOf[g](e.Type)
			}
			if ok && (f.UID == "" || e.UID == f.UID) && (f.Level == "" || e.Level.rank() >= f.Level.rank()) &&
				strings.Contains(strings.ToLower(e.Message), strings.ToLower(f.Text)) &&
				e.TimeMS >= f.FromMS && (f.ToMS == 0 || e.TimeMS < f.ToMS) {
				want = append(want, e.ID)
			}
		}
		var got []int64
		for { // page by page
			items, next, err := r.List(context.Background(), f)
			if err != nil {
				rt.Fatal(err)
			}
			for _, e := range items {
				got = append(got, e.ID)
			}
			if next == 0 {
				break
			}
			f.Before = next
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("%+v: got %v, want %v", f, got, want)
		}
	})
}

func TestSubscribe(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "journal.db"), nil)
	for i := range 300 {
		r.Emit(Event{Type: "t", Message: fmt.Sprint(i)})
	}
	ch, stop, err := r.Subscribe(0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if e := <-ch; e.ID != int64(i+1) {
			t.Fatalf("%d: %+v", i, e)
		}
	}
	now, stopNow, _ := r.Subscribe(-1)
	behind, stopBehind, _ := r.Subscribe(299)
	r.Emit(Event{Type: "t", Message: "new"})
	if e := <-now; e.ID != 301 {
		t.Fatal(e)
	}
	if e := <-behind; e.ID != 300 {
		t.Fatal(e)
	}
	stop()
	stop()
	stopNow()
	_ = stopBehind // Close ends it
	r.stop()
	for range behind {
	}
	if _, _, err := r.Subscribe(0); err == nil {
		t.Error("subscribed to a closed journal")
	}
}

// Nobody waits for the journal; what it cannot take it says.
func TestEmitNeverBlocks(t *testing.T) {
	j, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "journal.db")})
	if err != nil {
		t.Fatal(err)
	}
	for range queueLength + 7 { // nobody runs it
		j.Emit(Event{Type: "t"})
	}
	if j.Dropped() != 7 {
		t.Fatal(j.Dropped())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Run(ctx); err != nil {
		t.Fatal(err)
	}
	got := list(t, j, Filter{Types: []string{"journal.*"}})
	if len(got) != 1 || got[0].Data["events"] != float64(7) {
		t.Fatalf("%+v", got)
	}
	j.Close()
}

func TestRetention(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	now := time.UnixMilli(1e12)
	r := start(t, path, nil)
	for i := range 10 {
		r.Emit(Event{Type: "t", TimeMS: now.Add(-time.Duration(i) * time.Hour).UnixMilli()})
	}
	r.stop()
	r = start(t, path, func(o *Options) {
		o.Keep = 5 * time.Hour
		o.Now = func() time.Time { return now }
	})
	r.Emit(Event{Type: "sign"})
	ch, stop, _ := r.Subscribe(10)
	<-ch // the first cleaning came before it
	stop()
	if got := list(t, r.Journal, Filter{Types: []string{"t"}}); len(got) != 6 {
		t.Fatalf("%d left", len(got))
	}
}

func TestDamagedAndNewer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	os.WriteFile(path, []byte(strings.Repeat("rubbish ", 2000)), 0o600)
	r := start(t, path, nil)
	r.db.Write.Exec("PRAGMA user_version=9")
	r.stop()
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Options{Path: path}); err == nil || !strings.Contains(err.Error(), "journal.db has schema version 9") {
		t.Fatal(err)
	}
}

func BenchmarkEmit(b *testing.B) {
	r := start(b, filepath.Join(b.TempDir(), "journal.db"), nil)
	b.ReportAllocs()
	for b.Loop() {
		r.Emit(Event{Type: "t", Message: "m"})
	}
}
