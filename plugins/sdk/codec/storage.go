package codec

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"media-server/plugins/sdk/pb"
)

// Append is sent as pb.AppendRequest{Data}. Its payload is given in pieces, so
// that what a part is made of need not be joined first.
type Append struct {
	Sequence  uint64
	Name      string // valid UTF-8, as every name of the protocol
	Offset    uint64
	ReserveTo uint64
	Create    bool
	Payload   [][]byte

	// Done, if set, is called once nobody needs the payload any more: when it
	// has been written to the socket or the connection has ended. It may be
	// called from gRPC's goroutines and must not block. With SendAppend it is
	// called exactly once, also when sending fails.
	Done func()

	encoded bool
}

// SendAppend sends a on a Storage.Append stream made with this codec.
func SendAppend(s grpc.ClientStream, a *Append) error {
	a.encoded = false
	err := s.SendMsg(a)
	if !a.encoded && a.Done != nil {
		a.Done() // refused before it came to encoding
	}
	return err
}

func (a *Append) marshal() mem.BufferSlice {
	size, head := 0, 0
	for _, p := range a.Payload {
		size += len(p)
		head += headRoom(len(p))
	}
	fixed := sizeField(a.Sequence) + sizeBytes(len(a.Name)) + sizeField(a.Offset) +
		sizeField(a.ReserveTo) + sizeField(bit(a.Create))
	body := fixed + sizeBytes(size)
	m := newMessage(1 + sizeVarint(uint64(body)) + body - size + head)
	if a.Done != nil {
		m.done = &done{f: a.Done}
	}
	h := binary.AppendUvarint(append(m.head, 1<<3|bytesT), uint64(body))
	h = putField(h, 1, a.Sequence)
	if len(a.Name) > 0 {
		h = binary.AppendUvarint(append(h, 2<<3|bytesT), uint64(len(a.Name)))
		h = append(h, a.Name...)
	}
	h = putField(h, 3, a.Offset)
	h = putField(h, 4, a.ReserveTo)
	h = putField(h, 5, bit(a.Create))
	m.head = m.payloads(h, a.Payload, size)
	a.encoded = true
	return m.slices()
}

// payloads appends one bytes field made of the pieces.
func (m *message) payloads(h []byte, pieces [][]byte, size int) []byte {
	if size > 0 {
		h = binary.AppendUvarint(append(h, payloadTag), uint64(size))
	}
	m.head = h
	for _, p := range pieces {
		m.payload(p)
	}
	return m.head
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// AppendRequest is what a storage plugin receives. One value may serve a whole
// stream: RecvMsg(req), use it, req.Free(), again.
type AppendRequest struct {
	Sequence  uint64
	Name      string
	Offset    uint64
	ReserveTo uint64
	Create    bool
	Payload   []byte            // valid until Free
	Other     *pb.AppendRequest // every message but Data; nil for Data

	buf      mem.Buffer
	lastName string // mostly the same few: spares an allocation a message
}

// Free gives the receive buffer back. Payload must not be touched afterwards.
func (r *AppendRequest) Free() {
	if r.buf != nil {
		r.buf.Free()
	}
	*r = AppendRequest{lastName: r.lastName}
}

func (r *AppendRequest) unmarshal(data mem.BufferSlice) error {
	r.Free()
	buf := materialize(data)
	if r.plain(buf.ReadOnlyData()) {
		r.buf = buf
		return nil
	}
	defer buf.Free()
	r.Free()
	other := &pb.AppendRequest{}
	if err := proto.Unmarshal(buf.ReadOnlyData(), other); err != nil {
		return err
	}
	d := other.GetData()
	if d == nil {
		r.Other = other
		return nil
	}
	r.Sequence, r.Name, r.Offset, r.ReserveTo = d.Sequence, d.Name, d.Offset, d.ReserveTo
	r.Create, r.Payload = d.Create, d.Payload
	return nil
}

func (r *AppendRequest) plain(b []byte) bool {
	f, rest, ok := next(b)
	if !ok || f.tag != 1<<3|bytesT || len(rest) > 0 {
		return false
	}
	for b = f.bytes; len(b) > 0; {
		if f, b, ok = next(b); !ok {
			return false
		}
		switch f.tag {
		case 1<<3 | varintT:
			r.Sequence = f.value
		case 2<<3 | bytesT:
			if !utf8.Valid(f.bytes) {
				return false
			}
			if string(f.bytes) != r.lastName {
				r.lastName = string(f.bytes)
			}
			r.Name = r.lastName
		case 3<<3 | varintT:
			r.Offset = f.value
		case 4<<3 | varintT:
			r.ReserveTo = f.value
		case 5<<3 | varintT:
			r.Create = f.value != 0
		case payloadTag:
			r.Payload = f.bytes
		default:
			return false
		}
	}
	return true
}

// ReadReply is pb.ReadReply in both directions. Sent: Payload is referred to
// until Done, if set, is called (not at all when SendMsg fails before it
// encodes). Received: Payload is valid until Free.
type ReadReply struct {
	Payload []byte
	Done    func()

	buf mem.Buffer
}

// Free gives the receive buffer back. Payload must not be touched afterwards.
func (r *ReadReply) Free() {
	if r.buf != nil {
		r.buf.Free()
	}
	*r = ReadReply{}
}

func (r *ReadReply) marshal() mem.BufferSlice {
	n := len(r.Payload)
	m := newMessage(sizeBytes(n) - n + headRoom(n))
	if r.Done != nil {
		m.done = &done{f: r.Done}
	}
	m.head = m.payloads(m.head, [][]byte{r.Payload}, n)
	return m.slices()
}

func (r *ReadReply) unmarshal(data mem.BufferSlice) error {
	r.Free()
	buf := materialize(data)
	b := buf.ReadOnlyData()
	if len(b) == 0 {
		buf.Free()
		return nil
	}
	if f, rest, ok := next(b); ok && f.tag == payloadTag && len(rest) == 0 {
		r.Payload, r.buf = f.bytes, buf
		return nil
	}
	defer buf.Free()
	other := &pb.ReadReply{}
	if err := proto.Unmarshal(b, other); err != nil {
		return err
	}
	r.Payload = other.Payload
	return nil
}
