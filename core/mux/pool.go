package mux

import (
	"math/bits"
	"sync"

	"media-server/core/media"
)

// Buffers come in four sizes an octave from 4 kB up, 2^k to 1.75·2^k, so that a
// part wastes a fifth at most and a tenth on average. They are shared by all
// writers.
const (
	smallest = 12
	largest  = 26
)

var pools [4*(largest-smallest) + 1]sync.Pool

type buffer struct {
	b     []byte
	class int
}

// class returns the index of the smallest class that holds n bytes, and its size.
func class(n int) (i, size int) {
	if n <= 1<<smallest {
		return 0, 1 << smallest
	}
	k := bits.Len(uint(n-1)) - 1 // 2^k < n <= 2^(k+1)
	quarter := 1 << (k - 2)
	q := (n - 1<<k + quarter - 1) / quarter
	return 4*(k-smallest) + q, 1<<k + q*quarter
}

// getBuffer returns an empty buffer of at least n bytes.
func getBuffer(n int) *buffer {
	i, size := class(n)
	if i >= len(pools) {
		return &buffer{b: make([]byte, 0, size), class: -1}
	}
	if b, ok := pools[i].Get().(*buffer); ok {
		b.b = b.b[:0]
		return b
	}
	return &buffer{b: make([]byte, 0, size), class: i}
}

func putBuffer(b *buffer) {
	if b != nil && b.class >= 0 {
		pools[b.class].Put(b)
	}
}

// partBox is a part with everything that it owns, reused as a whole.
type partBox struct {
	part      media.Part
	fragments []media.Fragment
	samples   [][]media.Sample
	payloads  []*buffer
	head      *buffer
	free      func(*media.Part)
}

var partBoxes sync.Pool

func getPart(tracks int) *partBox {
	p, ok := partBoxes.Get().(*partBox)
	if !ok {
		p = &partBox{}
		p.free = func(*media.Part) { p.release() }
	}
	for len(p.samples) < tracks {
		p.samples = append(p.samples, nil)
	}
	p.fragments, p.payloads = p.fragments[:0], p.payloads[:0]
	p.part.Fragments = nil
	return p
}

func (p *partBox) release() {
	for i, b := range p.payloads {
		putBuffer(b)
		p.payloads[i] = nil
	}
	putBuffer(p.head)
	p.head = nil
	for i := range p.fragments {
		p.fragments[i] = media.Fragment{}
	}
	p.part.Fragments = nil
	partBoxes.Put(p)
}
