package codec

import (
	"math/bits"
	"sync"
)

// Classes of buffers: powers of two and the halves between them, from 512
// bytes up to a whole message of the protocol's limit, so that a receive
// buffer is never made anew in steady state and wastes at most a third.
const (
	leastClass = 9 // 512 bytes
	mostClass  = 22
	pooledMax  = 4<<20 + 64<<10
)

// buffers is the pool of receive buffers. gRPC's own tiered pool clears each
// buffer over its whole capacity before it gives it out, which with messages of
// megabytes was 12 % of the core's CPU; every taker of ours and of gRPC's
// writes the bytes it asked for before it reads them.
type buffers struct {
	classes [2*(mostClass-leastClass) + 2]sync.Pool
}

// classOf finds the smallest class that holds n bytes, and its size.
func classOf(n int) (class, size int) {
	if n <= 1<<leastClass {
		return 0, 1 << leastClass
	}
	if n > 1<<mostClass {
		return 2*(mostClass-leastClass) + 1, pooledMax
	}
	up := bits.Len(uint(n - 1)) // 1<<(up-1) < n <= 1<<up
	if half := 3 << (up - 2); n <= half {
		return 2*(up-leastClass) - 1, half
	}
	return 2 * (up - leastClass), 1 << up
}

// Get implements mem.BufferPool. The contents are arbitrary.
func (p *buffers) Get(n int) *[]byte {
	if n > pooledMax {
		b := make([]byte, n)
		return &b
	}
	class, size := classOf(n)
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, size)
	return &b
}

// Put implements mem.BufferPool. A buffer of another size than a class's is
// not ours and goes to the collector.
func (p *buffers) Put(b *[]byte) {
	if class, size := classOf(cap(*b)); cap(*b) == size {
		p.classes[class].Put(b)
	}
}
