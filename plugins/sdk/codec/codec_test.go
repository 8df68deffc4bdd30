package codec

import (
	"bytes"
	"encoding/binary"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"media-server/plugins/sdk/pb"
)

// wire is what the codec sends for v.
func wire(t testing.TB, v any) []byte {
	t.Helper()
	s, err := Codec{}.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	return s.Materialize()
}

func deterministic(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pbUnit(u Unit) *pb.Unit {
	p := &pb.Unit{
		Handle: u.Handle, Track: u.Track, Sequence: u.Sequence, Pts: u.PTS, SourceTime: u.SourceTime,
		ReceivedTime: u.ReceivedTime, ReceivedMono: u.ReceivedMono, Flags: u.Flags, Payload: u.Payload,
	}
	if u.HasDTS {
		p.Dts = proto.Int64(u.DTS)
	}
	return p
}

func pbBatch(b *Batch) *pb.FramesReply {
	out := &pb.Batch{}
	for _, u := range b.Units {
		out.Units = append(out.Units, pbUnit(u))
	}
	return &pb.FramesReply{Message: &pb.FramesReply_Batch{Batch: out}}
}

func pbAppend(a *Append) *pb.AppendRequest {
	return &pb.AppendRequest{Message: &pb.AppendRequest_Data{Data: &pb.AppendData{
		Sequence: a.Sequence, Name: a.Name, Offset: a.Offset, ReserveTo: a.ReserveTo,
		Create: a.Create, Payload: bytes.Join(a.Payload, nil),
	}}}
}

func someBatch(units, payload int) *Batch {
	b := &Batch{}
	for i := range units {
		b.Units = append(b.Units, Unit{
			Handle: uint32(i), Track: 1, Sequence: uint64(i) << 20, PTS: int64(i-1) * 3600, DTS: -7, HasDTS: i%2 == 0,
			SourceTime: 1 << 60, ReceivedTime: 1 << 61, ReceivedMono: uint64(i), Flags: uint32(i % 4),
			Payload: bytes.Repeat([]byte{byte(i)}, payload*i%(8*payload+1)),
		})
	}
	return b
}

func TestBytesAreThoseOfGeneratedCode(t *testing.T) {
	for name, b := range map[string]*Batch{
		"empty":       {},
		"zero unit":   {Units: make([]Unit, 2)},
		"small":       someBatch(5, 10),
		"at 1 kB":     someBatch(9, 128),
		"large":       someBatch(20, 9000),
		"one payload": {Units: []Unit{{Payload: make([]byte, 1<<20)}}},
	} {
		if got, want := wire(t, b), deterministic(t, pbBatch(b)); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes differ from %d of generated code", name, len(got), len(want))
		}
	}
}

func TestDoneIsCalledOnce(t *testing.T) {
	for name, pieces := range map[string][][]byte{
		"none": nil, "small": {[]byte("abc")}, "large": {make([]byte, 5000)},
		"mixed": {make([]byte, 5000), []byte("x"), nil, make([]byte, 3000)},
	} {
		calls := 0
		a := &Append{Sequence: 1, Name: "open/x", Payload: pieces, Done: func() { calls++ }}
		s, err := Codec{}.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if len(pieces) > 0 && len(pieces[0]) > 1024 && calls != 0 {
			t.Errorf("%s: done before the bytes were freed", name)
		}
		s.Ref()
		s.Free()
		s.Free()
		if calls != 1 {
			t.Errorf("%s: done called %d times", name, calls)
		}
	}
}

// fuzzed values from raw bytes, so that one corpus drives every field.
type source []byte

func (s *source) u64() uint64 {
	var b [8]byte
	n := copy(b[:], *s)
	*s = (*s)[n:]
	v := binary.LittleEndian.Uint64(b[:])
	return v >> (v & 63) // all magnitudes
}

func (s *source) bytes() []byte {
	n := int(s.u64() % 3000)
	out := make([]byte, n)
	copy(out, *s)
	return out
}

func FuzzMarshal(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1, 2, 3, 250, 77, 0, 0, 9}, 40))
	f.Add(bytes.Repeat([]byte{255}, 500))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := source(raw)
		b := &Batch{}
		for len(s) > 0 && len(b.Units) < 20 {
			b.Units = append(b.Units, Unit{
				Handle: uint32(s.u64()), Track: uint32(s.u64()), Sequence: s.u64(), PTS: int64(s.u64()), DTS: int64(s.u64()),
				HasDTS: s.u64()&1 == 1, SourceTime: s.u64(), ReceivedTime: s.u64(), ReceivedMono: s.u64(),
				Flags: uint32(s.u64()), Payload: s.bytes(),
			})
		}
		got := wire(t, b)
		if !bytes.Equal(got, deterministic(t, pbBatch(b))) {
			t.Fatalf("batch differs from generated code")
		}
		checkFrames(t, got)
		s = source(raw)
		a := &Append{Sequence: s.u64(), Name: string(bytes.ToValidUTF8(s.bytes(), nil)), Offset: s.u64(),
			ReserveTo: s.u64(), Create: s.u64()&1 == 1, Payload: [][]byte{s.bytes(), s.bytes(), s.bytes()}}
		got = wire(t, a)
		if !bytes.Equal(got, deterministic(t, pbAppend(a))) {
			t.Fatalf("append differs from generated code")
		}
		checkAppend(t, got)
		r := &ReadReply{Payload: a.Payload[0]}
		if !bytes.Equal(wire(t, r), deterministic(t, &pb.ReadReply{Payload: r.Payload})) {
			t.Fatalf("read reply differs from generated code")
		}
	})
}

func received(b []byte) mem.BufferSlice {
	if len(b) < 2 { // in two pieces, as gRPC may deliver it
		return mem.BufferSlice{mem.SliceBuffer(b)}
	}
	return mem.BufferSlice{mem.SliceBuffer(b[:len(b)/2]), mem.SliceBuffer(b[len(b)/2:])}
}

func checkFrames(t *testing.T, raw []byte) {
	t.Helper()
	want := &pb.FramesReply{}
	wantErr := proto.Unmarshal(raw, want)
	got := &FramesReply{Units: make([]Unit, 3), Other: &pb.FramesReply{}} // of an earlier use
	gotErr := Codec{}.Unmarshal(received(raw), got)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("generated: %v, fast: %v", wantErr, gotErr)
	}
	if wantErr != nil {
		return
	}
	dropUnknown(want)
	if got.Other != nil {
		if want.GetBatch() != nil || !proto.Equal(got.Other, want) {
			dropUnknown(got.Other)
			if !proto.Equal(got.Other, want) {
				t.Fatalf("got %v, want %v", got.Other, want)
			}
		}
	} else if !proto.Equal(pbBatch(&Batch{got.Units}), want) {
		t.Fatalf("got %v, want %v", got.Units, want)
	}
	got.Free()
}

func checkAppend(t *testing.T, raw []byte) {
	t.Helper()
	want := &pb.AppendRequest{}
	wantErr := proto.Unmarshal(raw, want)
	got := &AppendRequest{Sequence: 9, Name: "old", Payload: []byte("old")}
	gotErr := Codec{}.Unmarshal(received(raw), got)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("generated: %v, fast: %v", wantErr, gotErr)
	}
	if wantErr != nil {
		return
	}
	dropUnknown(want)
	m := got.Other
	if m == nil {
		m = pbAppend(&Append{Sequence: got.Sequence, Name: got.Name, Offset: got.Offset,
			ReserveTo: got.ReserveTo, Create: got.Create, Payload: [][]byte{got.Payload}})
	}
	dropUnknown(m)
	if !proto.Equal(m, want) {
		t.Fatalf("got %v, want %v", m, want)
	}
	got.Free()
}

// dropUnknown removes unknown fields on the way to the hot messages: the plain
// Go types have no place for them.
func dropUnknown(m proto.Message) {
	m.ProtoReflect().SetUnknown(nil)
	switch m := m.(type) {
	case *pb.FramesReply:
		if b := m.GetBatch(); b != nil {
			dropUnknown(b)
			for _, u := range b.Units {
				dropUnknown(u)
			}
		}
	case *pb.AppendRequest:
		if d := m.GetData(); d != nil {
			dropUnknown(d)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, m := range []proto.Message{
		pbBatch(someBatch(3, 20)), &pb.FramesReply{},
		&pb.FramesReply{Message: &pb.FramesReply_Opened{Opened: &pb.Opened{Handle: 1}}},
		pbAppend(&Append{Sequence: 1, Name: "open/a", Offset: 3, Create: true, Payload: [][]byte{{1, 2, 3}}}),
		&pb.AppendRequest{Message: &pb.AppendRequest_Begin{Begin: &pb.AppendBegin{Space: "main", Epoch: 2}}},
		&pb.ReadReply{Payload: []byte("xyz")},
	} {
		b, _ := proto.Marshal(m)
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Add([]byte{0x0a, 2, 0x0a, 0, 0x0a, 0})                                             // batch twice: merged
	f.Add([]byte{0x0a, 4, 0x0a, 2, 0xf8, 1})                                             // unknown field of a unit, cut short
	f.Add([]byte{0x0a, 3, 0x12, 1, 0xff})                                                // name that is no UTF-8
	f.Add([]byte{0x0a, 4, 0x0a, 2, 0x08, 0x80})                                          // varint cut short
	f.Add([]byte{0x8a, 0, 0})                                                            // long form of a tag
	f.Add([]byte{0x0a, 13, 0x0a, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2}) // varint over 64 bits
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkFrames(t, raw)
		checkAppend(t, raw)
		want, got := &pb.ReadReply{}, &ReadReply{Payload: []byte("old")}
		wantErr, gotErr := proto.Unmarshal(raw, want), Codec{}.Unmarshal(received(raw), got)
		if (wantErr == nil) != (gotErr == nil) || wantErr == nil && !bytes.Equal(want.Payload, got.Payload) {
			t.Fatalf("read reply: generated %v %v, fast %v %v", want, wantErr, got, gotErr)
		}
	})
}

func TestOtherTypesTakeGeneratedCode(t *testing.T) {
	in := &pb.InfoReply{Name: "x", Pid: 7}
	out := &pb.InfoReply{}
	if err := (Codec{}).Unmarshal(received(wire(t, in)), out); err != nil || !proto.Equal(in, out) {
		t.Fatal(out, err)
	}
	if _, err := (Codec{}).Marshal("no message"); err == nil {
		t.Fatal("a type that is no message was taken")
	}
}

// 250 units of 10 kB: what 100 cameras of 2 Mbit/s give in 100 ms.
func BenchmarkMarshal(b *testing.B) {
	batch := &Batch{}
	for i := range 250 {
		batch.Units = append(batch.Units, Unit{Handle: uint32(i), Track: 1, Sequence: 1e6, PTS: 1e9, ReceivedTime: 1, ReceivedMono: 1, Payload: make([]byte, 10_000)})
	}
	run := func(name string, v any) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(2_500_000)
			for b.Loop() {
				s, err := Codec{}.Marshal(v)
				if err != nil {
					b.Fatal(err)
				}
				s.Free()
			}
		})
	}
	run("fast", batch)
	run("generated", pbBatch(batch))
}

func BenchmarkUnmarshal(b *testing.B) {
	batch := &Batch{}
	for i := range 250 {
		batch.Units = append(batch.Units, Unit{Handle: uint32(i), Track: 1, Sequence: 1e6, PTS: 1e9, ReceivedTime: 1, ReceivedMono: 1, Payload: make([]byte, 10_000)})
	}
	raw := wire(b, batch)
	var data mem.BufferSlice // as HTTP/2 frames of 16 kB
	for rest := raw; len(rest) > 0; {
		n := min(len(rest), 16384)
		data, rest = append(data, mem.SliceBuffer(rest[:n])), rest[n:]
	}
	b.Run("fast", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		r := &FramesReply{}
		for b.Loop() {
			if err := (Codec{}).Unmarshal(data, r); err != nil || len(r.Units) != 250 {
				b.Fatal(err)
			}
			r.Free()
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if err := (Codec{}).Unmarshal(data, &pb.FramesReply{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
