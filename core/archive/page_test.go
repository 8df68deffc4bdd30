package archive

import (
	"database/sql"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"media-server/core/media"
)

// TestPages changes a catalogue at random and asks it for spans at random:
// pages must never tell anything else than the rows.
func TestPages(t *testing.T) {
	c, err := openCatalogue(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	t0 := media.WallOf(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	uids := []string{"a", "b"}
	fromPages, fromHours := 0, 0
	change := func(do func(tx *sql.Tx) error) {
		t.Helper()
		c.later(do, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		})
		c.flush(nil)
	}
	for round := range 300 {
		uid := uids[rng.IntN(2)]
		at := t0.Add(time.Duration(rng.IntN(48*60)) * time.Minute)
		switch rng.IntN(6) {
		case 0, 1, 2: // a file comes, or is written anew elsewhere in time
			r := &row{ID: FileID(1 + rng.IntN(400)), UID: uid, Space: "main", Span: media.Span{From: at, To: at.Add(time.Duration(1+rng.IntN(90)) * time.Minute)},
				Size: 5, Flags: int64(rng.IntN(8)&1) | []int64{0, 0, 0, 0, rowGroomed, rowGroomed, 0, rowHoles}[rng.IntN(8)], Init: 7, Zero: at.Add(-10 * time.Second), Run: media.RunID{byte(round)}, Name: FileID(round).String(), Segs: []byte{},
				Shape: appendShape(nil, &Shape{First: 1, End: int64(round), Tracks: []TrackShape{{Track: 1, Samples: 1, Chunks: 1, Groups: 1}}})}
			change(func(tx *sql.Tx) error { return c.put(tx, r, nil) })
		case 3: // one goes
			id := 1 + rng.IntN(400)
			change(func(tx *sql.Tx) error { _, err := tx.Exec("DELETE FROM files WHERE id = ?", id); return err })
		case 4: // one is about to go
			id := 1 + rng.IntN(400)
			change(func(tx *sql.Tx) error {
				_, err := tx.Exec("UPDATE files SET flags = flags | 2 WHERE id = ?", id)
				return err
			})
		case 5:
			done := make(chan error, 1)
			go func() { done <- c.makeAllPages(t.Context()) }()
			for running := true; running; {
				select {
				case err := <-done:
					if err != nil {
						t.Fatal(err)
					}
					running = false
				default:
					c.flush(nil)
				}
			}
		}
		id, longest, ok := c.id(uid)
		if !ok {
			continue
		}
		sp := media.Span{From: t0.Add(time.Duration(rng.IntN(48*60)) * time.Minute)}
		sp.To = sp.From.Add(time.Duration(1+rng.IntN(40*60)) * time.Minute)
		if rng.IntN(10) == 0 {
			sp = media.Span{To: 1<<63 - 1}
		}
		want := extentList{c: c, stream: id, sp: sp}
		if err := want.rows(floorSub(int64(sp.From), longest), int64(sp.To)); err != nil {
			t.Fatal(err)
		}
		got, err := c.extents(uid, sp)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want.out) || len(got) > 0 && !reflect.DeepEqual(got, want.out) {
			t.Fatalf("round %d, %s %v: pages tell %d files, rows %d", round, uid, sp, len(got), len(want.out))
		}
		told, rows := spansOf(t, c, uid, sp, true), spansOf(t, c, uid, sp, false)
		if !reflect.DeepEqual(told.all, rows.all) || !reflect.DeepEqual(told.groomed, rows.groomed) {
			t.Fatalf("round %d, %s %v: pages tell %v, rows %v", round, uid, sp, told, rows)
		}
		fromHours += told.hours
		c.flush(nil) // pages that were asked for
		var n int
		if err := c.reader().QueryRow("SELECT count(*) FROM pages").Scan(&n); err != nil {
			t.Fatal(err)
		}
		fromPages = max(fromPages, n)
	}
	if fromPages < 20 || fromHours < 100 {
		t.Errorf("at most %d pages were there, %d spans told by them: nothing was tried", fromPages, fromHours)
	}
}

// toldSpans is what is recorded of a span, clipped to it.
type toldSpans struct {
	all, groomed []media.Span
	hours        int // spans that pages told
}

func spansOf(t *testing.T, c *catalogue, uid string, sp media.Span, byHour bool) (out toldSpans) {
	t.Helper()
	add := func(s media.Span, groomed bool) {
		if s = s.Intersect(sp); groomed {
			out.groomed = append(out.groomed, s)
		} else {
			out.all = append(out.all, s)
		}
	}
	hour := func(s media.Span, groomed bool) { out.hours++; add(s, groomed) }
	if !byHour {
		hour = nil
	}
	err := c.spans(uid, sp, hour, func(_ FileID, s media.Span, flags int64) {
		add(s, false)
		if flags&rowGroomed != 0 {
			add(s, true)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	out.all, out.groomed = merge(out.all), merge(out.groomed)
	return out
}

// FuzzPage: whatever the database holds, a page is read or refused.
func FuzzPage(f *testing.F) {
	f.Add([]byte{1, 0})
	f.Add([]byte{2, 4, 1, 2, 1, 3, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = new(extentList).page(b, 0, 1)
		_ = readHourSpans(b, 0, func(media.Span, bool) {})
	})
}

// TestManySpansAnHour: an hour of more spans than the head of its page shows is read
// from its rows, and its page is made once.
func TestManySpansAnHour(t *testing.T) {
	c, err := openCatalogue(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	t0 := media.WallOf(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	day := media.Span{From: t0, To: t0.Add(6 * time.Hour)}
	for i := range 6 * 60 { // 30 s of every minute
		at := t0.Add(time.Duration(i) * time.Minute)
		r := &row{ID: FileID(1 + i), UID: "gate", Space: "main", Span: media.Span{From: at, To: at.Add(30 * time.Second)}, Size: 5, Name: FileID(1 + i).String(), Segs: []byte{}}
		c.later(func(tx *sql.Tx) error { return c.put(tx, r, nil) }, nil)
	}
	c.flush(nil)
	for i := range 3 {
		if got := spansOf(t, c, "gate", day, true); len(got.all) != 6*60 {
			t.Errorf("%d spans", len(got.all))
		}
		c.mu.Lock()
		c.database.mu.Lock()
		asked := len(c.ops)
		c.database.mu.Unlock()
		c.mu.Unlock()
		if (asked > 0) != (i == 0) {
			t.Errorf("question %d has %d changes made", i, asked)
		}
		c.flush(nil)
	}
}
