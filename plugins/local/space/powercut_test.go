package space

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"media-server/test/disk"
)

// pattern is what a file holds at an offset; it differs from file to file and
// is never zero, so that a hole shows.
func pattern(file, from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + (file*31+(from+i)*7+(from+i)/4096)%255)
	}
	return b
}

// promise is what the space said about a file before the power went.
type promise struct {
	file    int
	growing string
	final   string
	durable int  // bytes
	sealed  bool // Seal has answered
}

// writer appends, seals and writes records on a space, and keeps the promises.
type writer struct {
	r    *rig
	rng  *rand.Rand
	mu   sync.Mutex
	all  []*promise
	recs []string
	sent map[uint64]func() // by sequence: what its Synced promises
}

func (w *writer) run(t *testing.T, steps int) {
	c := w.r.begin()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // as the core reads the answers
		var rep Report
		var upTo uint64
		for c.Next(ctx, &rep) {
			w.mu.Lock()
			for _, f := range rep.Failures {
				delete(w.sent, f.Sequence)
			}
			for ; upTo < rep.Synced; upTo++ {
				if f := w.sent[upTo+1]; f != nil {
					f()
				}
			}
			w.mu.Unlock()
		}
	})
	defer wg.Wait()
	defer cancel()
	size := map[*promise]int{}
	var growing []*promise
	var seq uint64
	for range steps {
		if len(growing) < 3 {
			n := len(w.all)
			p := &promise{file: n, growing: fmt.Sprintf("open/f%d", n), final: fmt.Sprintf("cam%d/day%d/f%d", n%2, n%3, n)}
			w.mu.Lock()
			w.all = append(w.all, p)
			w.mu.Unlock()
			growing = append(growing, p)
		}
		i := w.rng.IntN(len(growing))
		p := growing[i]
		n := 1 + w.rng.IntN(9000)
		seq++
		end := size[p] + n
		w.mu.Lock()
		w.sent[seq] = func() { p.durable = max(p.durable, end) }
		w.mu.Unlock()
		c.Append(Data{Sequence: seq, Name: p.growing, Offset: uint64(size[p]), Create: size[p] == 0,
			ReserveTo: uint64(end + 50000), Payload: pattern(p.file, size[p], n)})
		size[p] = end
		switch w.rng.IntN(12) {
		case 0:
			if err := w.r.Seal(1, p.growing, p.final, int64(end)); err != nil {
				t.Errorf("seal: %v", err)
				return
			}
			w.mu.Lock()
			p.sealed, p.durable = true, end
			w.mu.Unlock()
			growing = append(growing[:i], growing[i+1:]...)
		case 1:
			name := fmt.Sprintf("ledger/r%d", seq)
			if err := w.r.Write(1, name, []byte(name)); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			w.mu.Lock()
			w.recs = append(w.recs, name)
			w.mu.Unlock()
		case 2:
			time.Sleep(time.Duration(w.rng.IntN(15)) * time.Millisecond) // let the interval come round
		}
	}
}

// broken compares what is left with what was promised.
func (w *writer) broken(image string) (bad []string) {
	for _, p := range w.all {
		got, err := os.ReadFile(filepath.Join(image, p.growing))
		if err != nil {
			got, err = os.ReadFile(filepath.Join(image, p.final))
		}
		switch {
		case err != nil && p.durable > 0:
			bad = append(bad, fmt.Sprintf("f%d: %d bytes promised (sealed %v), no file", p.file, p.durable, p.sealed))
		case err != nil:
		case len(got) < p.durable || !bytes.Equal(got[:p.durable], pattern(p.file, 0, p.durable)):
			bad = append(bad, fmt.Sprintf("f%d: %d bytes promised, not there in %d", p.file, p.durable, len(got)))
		}
	}
	for _, n := range w.recs {
		if b, err := os.ReadFile(filepath.Join(image, n)); err != nil || string(b) != n {
			bad = append(bad, n+": lost")
		}
	}
	return bad
}

// cut runs a writer on a disk, takes the power away, opens what is left, and
// returns the promises that were broken.
func cut(t *testing.T, seed uint64, mutate func(*diskCalls)) []string {
	t.Helper()
	f := disk.Fuse(t, seed)
	r := start(t, filepath.Join(f.Dir(), "space"), 1, nil, mutate)
	w := &writer{r: r, rng: rand.New(rand.NewPCG(seed, 1)), sent: map[uint64]func(){}}
	// Another folder on the way that the space did not make: not its duty.
	d, err := os.Open(f.Dir())
	if err != nil {
		t.Fatal(err)
	}
	d.Sync()
	d.Close()
	w.run(t, 40+int(seed*37%90))
	image := t.TempDir()
	// The promises first: those made while the power goes do not count.
	if _, _, _, err := f.Cut(image); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(image, "space")
	bad := w.broken(left)
	s, _, err := Open(t.Context(), Options{Name: "main", Epoch: 2, Node: "n1", Settings: Settings{Path: left}})
	if err != nil {
		return append(bad, "cannot be opened: "+err.Error())
	}
	defer s.Close(t.Context())
	s.List(t.Context(), "", "", func(e Entry) error {
		if e.Size == 0 {
			bad = append(bad, e.Name+": empty")
		}
		return nil
	})
	return bad
}

func TestPowerCut(t *testing.T) {
	for seed := range uint64(12) {
		for _, b := range cut(t, seed, nil) {
			t.Errorf("seed %d: %s", seed, b)
		}
	}
}

// The test above proves something only if it catches these.
func TestPowerCutCatchesMutants(t *testing.T) {
	mutants := map[string]func(*diskCalls){
		"skips fdatasync of every fourth file": func(d *diskCalls) {
			real, n := d.fdatasync, 0
			var mu sync.Mutex
			d.fdatasync = func(f *os.File) error {
				mu.Lock()
				n++
				skip := n%4 == 0
				mu.Unlock()
				if skip {
					return nil
				}
				return real(f)
			}
		},
		"does not sync folders": func(d *diskCalls) {
			d.fsync = func(f *os.File) error { return nil }
		},
		"acknowledges before writing": func(d *diskCalls) {
			real := d.pwrite
			var held func()
			d.pwrite = func(f *os.File, p []byte, off int64) (int, error) {
				if held != nil {
					held()
				}
				p = bytes.Clone(p)
				// The length at once, or it is caught as a file that was cut.
				if fi, err := f.Stat(); err == nil && fi.Size() < off+int64(len(p)) {
					if err := f.Truncate(off + int64(len(p))); err != nil {
						return 0, err
					}
				}
				held = func() { real(f, p, off) }
				return len(p), nil
			}
		},
	}
	for name, mutate := range mutants {
		caught := 0
		for seed := range uint64(6) {
			if len(cut(t, seed, func(d *diskCalls) { mutate(d) })) > 0 {
				caught++
			}
		}
		if caught == 0 {
			t.Errorf("not caught: %s", name)
		}
		t.Logf("%s: caught by %d of 6 seeds", name, caught)
	}
}

// A file that is sealed before any round has seen it, and one that a process
// before this one made, keep their names.
func TestPowerCutKeepsYoungNames(t *testing.T) {
	for seed := range uint64(8) {
		f := disk.Fuse(t, seed)
		dir := filepath.Join(f.Dir(), "space")
		slow := func(s *Settings) { s.Fsync = time.Hour }
		r := start(t, dir, 1, slow, nil)
		d, _ := os.Open(f.Dir())
		d.Sync()
		d.Close()
		c := r.begin()
		c.Append(Data{Sequence: 1, Name: "open/young", Create: true, Payload: []byte("young")})
		if err := r.Seal(1, "open/young", "u/young", 5); err != nil {
			t.Fatal(err)
		}
		if err := r.Sync(t.Context(), 1); err != nil { // so that nothing else makes the folder be synced
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, "open", "old"), []byte("old"), 0o600) // as the process before left it
		c.Append(Data{Sequence: 2, Name: "open/old", Offset: 3, Payload: []byte("er")})
		if err := r.Sync(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if seed%2 == 1 { // its Seal syncs the folder for the others, too
			c.Append(Data{Sequence: 3, Name: "open/last", Create: true, Payload: []byte("last")})
			if err := r.Seal(1, "open/last", "u/last", 4); err != nil {
				t.Fatal(err)
			}
		}
		image := t.TempDir()
		if _, _, _, err := f.Cut(image); err != nil {
			t.Fatal(err)
		}
		for want, names := range map[string][]string{"young": {"open/young", "u/young"}, "older": {"open/old"}, "last": {"open/last", "u/last"}} {
			var got []byte
			for _, n := range names {
				if b, err := os.ReadFile(filepath.Join(image, "space", n)); err == nil {
					got = b
				}
			}
			if string(got) != want && (want != "last" || seed%2 == 1) {
				t.Errorf("seed %d: %q, want %q", seed, got, want)
			}
		}
	}
}
