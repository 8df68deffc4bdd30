package archive

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"media-server/core/media"
)

// emptyStorage is a space of which only the catalogue knows what lies there.
type emptyStorage struct{ Storage }

func (emptyStorage) Open(context.Context, uint64, uint64, bool) (SpaceInfo, error) {
	return SpaceInfo{ID: [16]byte{1}, Append: true}, nil
}
func (emptyStorage) List(context.Context, string, string, func([]Entry) error) error { return nil }
func (emptyStorage) Delete(context.Context, []string) error                          { return nil }
func (emptyStorage) Usage(context.Context) (Usage, error) {
	return Usage{Total: 100 << 40, Free: 50 << 40, Used: 50 << 40}, nil
}

// BenchmarkHundredStreams is a server of the size it is made for: 100 streams
// of 30 days in files of 2 minutes, 2.16 million rows; -short makes it 3 days.
// Beside each pass of retention it measures what recording feels of it: how
// long a row of a new file waits to be committed.
func BenchmarkHundredStreams(b *testing.B) {
	const streams = 100
	days := 30
	if testing.Short() {
		days = 3
	}
	o := Options{Spaces: []Space{{Name: "main", Storage: emptyStorage{}}},
		Pools: []Pool{{Name: "default", Spaces: []string{"main"}, Overwrite: true, DeleteMost: 50}}}
	long := time.Duration(days) * 24 * time.Hour
	// The last file ends an hour ago, so that no pass deletes by the clock alone.
	a, whole := filled(b, o, streams, media.WallOf(time.Now().Add(-long-time.Hour).Truncate(time.Minute)), days, 2*time.Minute)
	fi, err := os.Stat(filepath.Join(a.o.DataDir, "catalogue.db"))
	if err != nil {
		b.Fatal(err)
	}
	day := media.Span{From: whole.To.Add(-48 * time.Hour), To: whole.To.Add(-24 * time.Hour)}
	b.Run("ranges-day", func(b *testing.B) {
		for b.Loop() {
			if r, _, err := a.Ranges("cam7", day); err != nil || len(r) != 1 {
				b.Fatal(r, err)
			}
		}
	})
	b.Run("ranges-newest-day", func(b *testing.B) { // its end lies behind the last footage
		now := media.Span{From: whole.To.Add(-24 * time.Hour), To: whole.To.Add(2 * time.Hour)}
		for b.Loop() {
			if r, _, err := a.Ranges("cam7", now); err != nil || len(r) != 1 {
				b.Fatal(r, err)
			}
		}
	})
	a.knowsLocks.Store(true)
	writing, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.cat.run(writing, nil); close(done) }()
	rules := func(b *testing.B, r Rules) {
		b.Helper()
		if err := a.cat.now(writing, func(tx *sql.Tx) error { _, err := tx.Exec("UPDATE streams SET rules = ?", r.text()); return err }); err != nil {
			b.Fatal(err)
		}
	}
	pass := func(b *testing.B, goes int) {
		worst := waitBeside(b, a, func() {
			before := a.counters.deleted.Load()
			if _, err := a.Retain(writing, nil); err != nil {
				b.Fatal(err)
			}
			if n := int(a.counters.deleted.Load() - before); n != goes {
				b.Fatalf("%d files deleted, not %d", n, goes)
			}
		})
		b.ReportMetric(float64(worst.Microseconds())/1000, "worst-commit-ms")
	}
	b.Run("pass-nothing-due", func(b *testing.B) {
		rules(b, Rules{Duration: long + 2*time.Hour, Capacity: 1 << 50})
		for b.Loop() {
			pass(b, 0)
		}
	})
	b.Run("pass-first", func(b *testing.B) { // after a start: nothing is known of what streams take
		for b.Loop() {
			b.StopTimer()
			a.mu.Lock()
			clear(a.usage)
			a.mu.Unlock()
			b.StartTimer()
			pass(b, 0)
		}
	})
	next := whole.From.Add(time.Minute) // in the middle of the oldest file
	b.Run("pass-one-file-a-stream", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			next = next.Add(2 * time.Minute)
			rules(b, Rules{Duration: media.WallOf(time.Now()).Sub(next)})
			b.StartTimer()
			pass(b, streams)
		}
	})
	b.Run("preview-half", func(b *testing.B) {
		half := Changes{Days: map[string]time.Duration{"default": long / 2}}
		for b.Loop() {
			if p, err := a.Preview(writing, half); err != nil || len(p.Streams) != streams {
				b.Fatal(err)
			}
		}
	})
	stop()
	<-done
	a.cat.close()
	a.state.close()
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			c, err := Open(context.Background(), a.o)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc)/1e6, "heap-MB") // SQLite's pages lie outside of it
			b.ReportMetric(float64(fi.Size())/1e6, "catalogue-MB")
			c.Close()
			b.StartTimer()
		}
	})
}

// waitBeside runs f and returns the longest that a row given to the catalogue's
// writer beside it waited for its commit.
func waitBeside(b *testing.B, a *Archive, f func()) (worst time.Duration) {
	b.Helper()
	over := make(chan struct{})
	waited := make(chan time.Duration, 1)
	go func() {
		var most time.Duration
		for {
			begin, committed := time.Now(), make(chan error, 1)
			a.cat.later(func(tx *sql.Tx) error {
				_, err := tx.Exec("INSERT OR REPLACE INTO meta VALUES ('bench', ?)", fmt.Sprint(begin))
				return err
			}, func(err error) { committed <- err })
			if err := <-committed; err != nil {
				most = time.Hour
			}
			most = max(most, time.Since(begin))
			select {
			case <-over:
				waited <- most
				return
			default:
			}
		}
	}()
	f()
	close(over)
	return <-waited
}
