package codec

import (
	"encoding/binary"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"media-server/plugins/sdk/pb"
)

// Unit is pb.Unit as a plain value.
type Unit struct {
	Handle, Track uint32
	Sequence      uint64
	PTS           int64
	DTS           int64
	HasDTS        bool
	SourceTime    uint64
	ReceivedTime  uint64
	ReceivedMono  uint64
	Flags         uint32 // pb.Unit_Flag values, ORed
	Payload       []byte
}

// Batch is sent as pb.FramesReply{Batch}. Payloads are referred to until gRPC
// has written them, which may be after SendMsg has returned: they must never
// be changed or used again. Units itself is free again at once.
type Batch struct {
	Units []Unit
}

// body is the size of the unit's message, payload included.
func (u *Unit) body() int {
	n := sizeField(uint64(u.Handle)) + sizeField(uint64(u.Track)) + sizeField(u.Sequence) +
		sizeField(protowire.EncodeZigZag(u.PTS)) +
		sizeFixed(u.SourceTime) + sizeFixed(u.ReceivedTime) + sizeFixed(u.ReceivedMono) +
		sizeField(uint64(u.Flags)) + sizeBytes(len(u.Payload))
	if u.HasDTS {
		n += 1 + sizeVarint(protowire.EncodeZigZag(u.DTS))
	}
	return n
}

// Size is what the unit takes in a message.
func (u *Unit) Size() int {
	n := u.body()
	return 1 + sizeVarint(uint64(n)) + n
}

func (b *Batch) marshal() mem.BufferSlice {
	total, refs := 0, 0
	for i := range b.Units {
		u := &b.Units[i]
		total += u.Size()
		refs += len(u.Payload) - headRoom(len(u.Payload))
	}
	m := newMessage(1 + sizeVarint(uint64(total)) + total - refs)
	m.head = binary.AppendUvarint(append(m.head, 1<<3|bytesT), uint64(total))
	m.cuts = make([]cut, 0, len(b.Units))
	for i := range b.Units {
		m.unit(&b.Units[i])
	}
	return m.slices()
}

func (m *message) unit(u *Unit) {
	h := binary.AppendUvarint(append(m.head, 1<<3|bytesT), uint64(u.body()))
	h = putField(h, 1, uint64(u.Handle))
	h = putField(h, 2, uint64(u.Track))
	h = putField(h, 3, u.Sequence)
	h = putField(h, 4, protowire.EncodeZigZag(u.PTS))
	if u.HasDTS {
		h = binary.AppendUvarint(append(h, 5<<3|varintT), protowire.EncodeZigZag(u.DTS))
	}
	h = putFixed(h, 6, u.SourceTime)
	h = putFixed(h, 7, u.ReceivedTime)
	h = putFixed(h, 8, u.ReceivedMono)
	h = putField(h, 9, uint64(u.Flags))
	if len(u.Payload) > 0 {
		h = binary.AppendUvarint(append(h, payloadTag), uint64(len(u.Payload)))
	}
	m.head = h
	m.payload(u.Payload)
}

// FramesReply is what a core receives. One value may serve a whole stream:
// RecvMsg(reply), use it, reply.Free(), again.
type FramesReply struct {
	Units []Unit          // of a Batch; payloads are valid until Free
	Other *pb.FramesReply // every other message; nil for a Batch

	buf mem.Buffer
}

// Free gives the receive buffer back. Payloads must not be touched afterwards.
func (r *FramesReply) Free() {
	if r.buf != nil {
		r.buf.Free()
		r.buf = nil
	}
	clear(r.Units)
	r.Units, r.Other = r.Units[:0], nil
}

func (r *FramesReply) unmarshal(data mem.BufferSlice) error {
	r.Free()
	buf := materialize(data)
	if r.plain(buf.ReadOnlyData()) {
		r.buf = buf
		return nil
	}
	defer buf.Free()
	clear(r.Units)
	r.Units = r.Units[:0]
	other := &pb.FramesReply{}
	if err := proto.Unmarshal(buf.ReadOnlyData(), other); err != nil {
		return err
	}
	batch := other.GetBatch()
	if batch == nil {
		r.Other = other
		return nil
	}
	for _, u := range batch.Units {
		r.Units = append(r.Units, Unit{
			Handle: u.Handle, Track: u.Track, Sequence: u.Sequence, PTS: u.Pts,
			DTS: u.GetDts(), HasDTS: u.Dts != nil, SourceTime: u.SourceTime,
			ReceivedTime: u.ReceivedTime, ReceivedMono: u.ReceivedMono, Flags: u.Flags, Payload: u.Payload,
		})
	}
	return nil
}

// plain reads a message that is one Batch of known fields and nothing else.
func (r *FramesReply) plain(b []byte) bool {
	f, rest, ok := next(b)
	if !ok || f.tag != 1<<3|bytesT || len(rest) > 0 {
		return false
	}
	for b = f.bytes; len(b) > 0; {
		f, b, ok = next(b)
		if !ok || f.tag != 1<<3|bytesT {
			return false
		}
		r.Units = append(r.Units, Unit{})
		if !r.Units[len(r.Units)-1].plain(f.bytes) {
			return false
		}
	}
	return true
}

func (u *Unit) plain(b []byte) bool {
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return false
		}
		switch b = rest; f.tag {
		case 1<<3 | varintT:
			u.Handle = uint32(f.value)
		case 2<<3 | varintT:
			u.Track = uint32(f.value)
		case 3<<3 | varintT:
			u.Sequence = f.value
		case 4<<3 | varintT:
			u.PTS = protowire.DecodeZigZag(f.value)
		case 5<<3 | varintT:
			u.DTS, u.HasDTS = protowire.DecodeZigZag(f.value), true
		case 6<<3 | fixed64T:
			u.SourceTime = f.value
		case 7<<3 | fixed64T:
			u.ReceivedTime = f.value
		case 8<<3 | fixed64T:
			u.ReceivedMono = f.value
		case 9<<3 | varintT:
			u.Flags = uint32(f.value)
		case payloadTag:
			u.Payload = f.bytes
		default:
			return false
		}
	}
	return true
}
