package codec

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Tags, all of one byte: field<<3 | wire type.
const (
	varintT  = 0
	fixed64T = 1
	bytesT   = 2

	payloadTag = 15<<3 | bytesT
)

func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func sizeField(v uint64) int { // a varint field of proto3: absent when zero
	if v == 0 {
		return 0
	}
	return 1 + sizeVarint(v)
}

func sizeFixed(v uint64) int {
	if v == 0 {
		return 0
	}
	return 9
}

func sizeBytes(n int) int { // a bytes or string field: absent when empty
	if n == 0 {
		return 0
	}
	return 1 + sizeVarint(uint64(n)) + n
}

func putField(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(append(b, field<<3|varintT), v)
}

func putFixed(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(append(b, field<<3|fixed64T), v)
}

// message gathers head bytes in one buffer and payloads by reference between
// them. The head is left to the garbage collector: cutting a pooled buffer
// into counted pieces cost two allocations a unit, this costs three a message.
type message struct {
	head []byte // capacity suffices from the start
	cuts []cut
	done *done
}

type cut struct {
	at      int // the payload follows head[:at]
	payload []byte
}

func newMessage(headBytes int) message {
	return message{head: make([]byte, 0, headBytes)}
}

// small tells which payloads are copied: gRPC does not count references to
// buffers up to 1 kB, and a slice of their own costs more than the copy.
func small(n int) bool { return mem.IsBelowBufferPoolingThreshold(n) }

// headRoom is what a payload takes in the head buffer.
func headRoom(n int) int {
	if small(n) {
		return n
	}
	return 0
}

func (m *message) payload(p []byte) {
	if small(len(p)) {
		m.head = append(m.head, p...)
		return
	}
	m.cuts = append(m.cuts, cut{len(m.head), p})
}

// slices hands the message over to gRPC, which frees each piece when sent.
func (m *message) slices() mem.BufferSlice {
	n := 2*len(m.cuts) + 1
	out := make(mem.BufferSlice, 0, n)
	backing := make([]mem.SliceBuffer, 0, n) // pointers into it spare an allocation a piece
	add := func(b []byte) {
		if len(b) > 0 {
			backing = append(backing, b)
			out = append(out, &backing[len(backing)-1])
		}
	}
	if m.done != nil {
		// One more than the payloads, so that it cannot fire while they are added.
		m.done.left.Add(1)
		defer m.done.Put(nil)
	}
	taken := 0
	for i := range m.cuts {
		c := &m.cuts[i]
		add(m.head[taken:c.at])
		taken = c.at
		if m.done == nil {
			add(c.payload)
			continue
		}
		m.done.left.Add(1)
		out = append(out, mem.NewBuffer(&c.payload, m.done))
	}
	add(m.head[taken:])
	return out
}

// done calls f once gRPC has freed every payload. It is a BufferPool only
// because that is how gRPC tells.
type done struct {
	left atomic.Int32
	f    func()
}

func (d *done) Get(n int) *[]byte { b := make([]byte, n); return &b }

func (d *done) Put(*[]byte) {
	if d.left.Add(-1) == 0 {
		d.f()
	}
}

// field is one field as the plain reader meets it.
type field struct {
	tag   byte
	value uint64 // varint, fixed64
	bytes []byte // bytes; aliases the input
}

// next reads a field with a one-byte tag of a known wire type; ok is false at
// anything else, which generated code then judges.
func next(b []byte) (f field, rest []byte, ok bool) {
	if len(b) == 0 || b[0] >= 0x80 || b[0] < 8 {
		return f, nil, false
	}
	f.tag, b = b[0], b[1:]
	var n int
	switch f.tag & 7 {
	case varintT:
		f.value, n = protowire.ConsumeVarint(b)
	case fixed64T:
		f.value, n = protowire.ConsumeFixed64(b)
	case bytesT:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		return f, nil, false
	}
	if n < 0 {
		return f, nil, false
	}
	return f, b[n:], true
}

// materialize makes the received pieces one buffer; the caller frees it.
func materialize(data mem.BufferSlice) mem.Buffer { return data.MaterializeToBuffer(pool) }
