// Package codec writes and reads the protocol's hot messages without copying
// their payloads: the same protobuf bytes as generated code, made faster.
//
//	Batch, Append, ReadReply ─Marshal─▶ head bytes (one buffer) + payloads by reference ─▶ gRPC
//	gRPC ─Unmarshal─▶ one pooled buffer ─▶ FramesReply, AppendRequest, ReadReply (payloads alias it until Free)
//
// It is a gRPC CodecV2 named "proto": nobody at the other end can tell, and a
// plugin in another language needs nothing of it. Types that it does not know
// go to gRPC's own codec, so it may be forced on a whole server, health
// service included.
//
// What does not belong here: streams, sockets, meaning of the messages.
//
// Invariants, fuzzed against generated code:
//   - Marshal gives byte for byte what deterministic generated code gives.
//   - Unmarshal takes and refuses the same inputs, with the same result. The
//     hand-written reader takes only plain inputs; at the first surprise
//     (unknown field, long tag, repeated oneof, any error) generated code
//     reads the whole message again and has the last word.
//
// FramesRequest and AppendReply carry no payload and come a few times a second
// and stream; they stay with generated code (about 0.3 µs each way).
//
// It starts no goroutine.
package codec
