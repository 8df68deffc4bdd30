package mux

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestGather: what is taken is what was written, whatever the sizes, and nothing
// that was taken changes when more is written.
func TestGather(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var g gather
	var want, sent []byte
	var taken []*buffer
	var before [][]byte
	for range 3000 {
		b := make([]byte, rng.IntN([]int{3, 500, 70_000}[rng.IntN(3)]))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		g.write(b)
		want = append(want, b...)
		if rng.IntN(12) > 0 {
			continue
		}
		n := rng.IntN(len(want) + 1)
		if rng.IntN(3) == 0 {
			n = len(want)
		}
		got := g.take(n)
		if sent, want = want[:n:n], want[n:]; !bytes.Equal(got.b, sent) {
			t.Fatalf("the %d bytes taken are not those that were written", n)
		}
		taken, before = append(taken, got), append(before, sent)
		if len(taken) > 4 { // as parts that wait for their sync
			if !bytes.Equal(taken[0].b, before[0]) {
				t.Fatal("what was taken has changed")
			}
			putBuffer(taken[0])
			taken, before = taken[1:], before[1:]
		}
	}
	g.free()
	if got := g.take(0); len(got.b) != 0 || len(g.pieces) != 0 {
		t.Error("bytes are left")
	}
}

// TestClass: a class holds what it is asked for, and no smaller one does.
func TestClass(t *testing.T) {
	last, size := -1, 0
	for n := range 1<<20 + 2 {
		i, s := class(n)
		if s < n || i != last && (i != last+1 || n != 0 && n != size+1) || i == last && s != size {
			t.Fatalf("%d bytes: class %d of %d, behind class %d of %d", n, i, s, last, size)
		}
		last, size = i, s
	}
	if i, s := class(1 << largest); i != len(pools)-1 || s != 1<<largest {
		t.Errorf("the largest is class %d of %d, of %d bytes", i, len(pools), s)
	}
	if b := getBuffer(1<<largest + 1); b.class >= 0 {
		t.Error("what is too large for every class has one")
	}
}
