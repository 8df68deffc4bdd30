package archive

import (
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/media"
)

// dump is all that a catalogue says, in words.
func dump(t *testing.T, c *catalogue) (out []string) {
	t.Helper()
	for _, q := range []string{"SELECT f.id, s.uid, p.name, t0, t1, size, flags, init, zero, hex(run), f.name, hex(segs), hex(shape) FROM files f JOIN streams s ON s.id = stream JOIN spaces p ON p.id = space ORDER BY 1",
		"SELECT uid, rules, longest, last, disc FROM streams ORDER BY 1", "SELECT name FROM spaces ORDER BY 1"} {
		err := each(c.reader(), q, func(rows *sql.Rows) error {
			cols, err := rows.Columns()
			if err != nil {
				return err
			}
			v, p := make([]any, len(cols)), make([]any, len(cols))
			for i := range v {
				p[i] = &v[i]
			}
			err = rows.Scan(p...)
			out = append(out, fmt.Sprint(v...))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestPutAll writes rows at random, a thousand at once and one by one: files
// seen again, changed, copied to another space, with numbers of others.
func TestPutAll(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	var rows []*row
	for i := range 400 {
		n := rng.IntN(60)
		t0 := media.Wall(1e18 + int64(n)*6e10)
		r := &row{ID: FileID(1 + n), UID: []string{"a", "b", "c"}[n%3], Space: []string{"one", "two"}[rng.IntN(4)/3], Span: media.Span{From: t0, To: t0 + 6e10}, Size: int64(n),
			Name: fmt.Sprint("f", n), Segs: []byte{byte(n)}, Last: uint64(n), Disc: uint64(n / 7), Rules: "x"}
		switch rng.IntN(4) {
		case 0:
			r.Name = fmt.Sprint("g", i) // of another installation
		case 1:
			r.Span.To += media.Wall(i)
		}
		rows = append(rows, r)
	}
	make := func(write func(c *catalogue, rows []*row, fresh func() FileID)) (said []string, twins []int) {
		c, err := openCatalogue(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		c.later(func(tx *sql.Tx) error { // one that grows: its number is taken as it is
			return c.put(tx, &row{ID: 5, UID: "a", Space: "one", Name: "f4", Flags: rowOpen, Segs: []byte{}}, nil)
		}, nil)
		c.flush(nil)
		next := FileID(1 << 20)
		var own []*row
		for _, r := range rows {
			x := *r
			own = append(own, &x)
		}
		write(c, own, func() FileID { next++; return next / 2 }) // each twice: it must be looked at
		for i, r := range own {
			if r.Twin != nil {
				twins = append(twins, i)
			}
		}
		return dump(t, c), twins
	}
	change := func(c *catalogue, do func(tx *sql.Tx) error) {
		c.later(do, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		c.flush(nil)
	}
	all, twins := make(func(c *catalogue, rows []*row, fresh func() FileID) {
		for part := range slices.Chunk(rows, 150) {
			change(c, func(tx *sql.Tx) error { return c.putAll(tx, part, fresh) })
		}
	})
	one, twins1 := make(func(c *catalogue, rows []*row, fresh func() FileID) {
		for _, r := range rows {
			change(c, func(tx *sql.Tx) error { return c.put(tx, r, fresh) })
		}
	})
	if !slices.Equal(all, one) || !slices.Equal(twins, twins1) {
		t.Errorf("at once:\n%q %v\none by one:\n%q %v", all, twins, one, twins1)
	}
	if len(all) < 100 || len(twins) < 3 {
		t.Errorf("%d lines, %d twins: little was tried", len(all), len(twins))
	}
}

// TestHurry: what somebody waits for is taken up at once, all else when 100 ms
// have brought what they may.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
		for _, c := range []struct {
			queue func(func(*sql.Tx) error, func(error))
			want  time.Duration
		}{{d.later, batchWait}, {d.soon, 0}, {d.later, batchWait}} {
			c.queue(nil, nil)
			<-d.wake
			start := time.Now()
			d.gather(t.Context())
			if took := time.Since(start); took != c.want {
				t.Errorf("the writer waited %s, want %s", took, c.want)
			}
		}
		go func() { time.Sleep(time.Millisecond); d.soon(nil, nil) }()
		start := time.Now()
		d.gather(t.Context())
		if took := time.Since(start); took != time.Millisecond {
			t.Errorf("the writer waited %s for a change that came after 1 ms", took)
		}
	})
}
