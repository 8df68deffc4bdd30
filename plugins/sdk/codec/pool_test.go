package codec

import "testing"

func TestClasses(t *testing.T) {
	last := 0
	for n := 1; n <= pooledMax; n += 1 + n/97 {
		class, size := classOf(n)
		if size < n || class < last || class >= len(new(buffers).classes) {
			t.Fatalf("%d bytes: class %d of %d bytes after class %d", n, class, size, last)
		}
		if n > 512 && n <= 1<<mostClass && size > n*3/2+1 {
			t.Fatalf("%d bytes take %d", n, size)
		}
		if c, s := classOf(size); c != class || s != size {
			t.Fatalf("a buffer of %d bytes goes back to class %d of %d, came from %d", size, c, s, class)
		}
		last = class
	}
}

func TestPoolLengths(t *testing.T) {
	p := &buffers{}
	for _, n := range []int{0, 1, 512, 513, 16 << 10, 3 << 20, pooledMax, pooledMax + 1} {
		for range 3 {
			b := p.Get(n)
			if len(*b) != n {
				t.Fatalf("asked for %d bytes, got %d", n, len(*b))
			}
			p.Put(b)
		}
	}
	odd := make([]byte, 700)
	p.Put(&odd) // not of a class: dropped
	if b := p.Get(600); cap(*b) == 700 {
		t.Fatal("a foreign buffer was kept")
	}
}

// BenchmarkPool is what a message of a megabyte pays before its first byte.
func BenchmarkPool(b *testing.B) {
	p := Pool()
	b.ReportAllocs()
	for b.Loop() {
		p.Put(p.Get(1_200_000))
	}
}
