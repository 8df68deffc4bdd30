package codec

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that takes every other type
	"google.golang.org/grpc/mem"
)

// Codec is the gRPC codec. Give it to grpc.ForceServerCodecV2 and
// grpc.ForceCodecV2.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

var (
	generated = encoding.GetCodecV2("proto")

	pool mem.BufferPool = &buffers{}
)

// Pool is the buffer pool to give to gRPC as well (experimental.BufferPool).
func Pool() mem.BufferPool { return pool }

type marshaler interface {
	marshal() mem.BufferSlice
}

type unmarshaler interface {
	unmarshal(data mem.BufferSlice) error
}

// Name is that of protobuf: the bytes are the same.
func (Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(marshaler); ok {
		return m.marshal(), nil
	}
	return generated.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(unmarshaler); ok {
		return m.unmarshal(data)
	}
	return generated.Unmarshal(data, v)
}
