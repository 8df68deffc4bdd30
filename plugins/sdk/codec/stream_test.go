package codec_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

// store keeps what is appended and reads it back in large pieces.
type store struct {
	pb.UnimplementedStorageServer
	data []byte
}

func (s *store) Append(stream grpc.BidiStreamingServer[pb.AppendRequest, pb.AppendReply]) error {
	req := &codec.AppendRequest{}
	for {
		if err := stream.RecvMsg(req); err != nil {
			return nil
		}
		if req.Other != nil {
			req.Free()
			continue
		}
		s.data = append(s.data[:req.Offset], req.Payload...)
		seq := req.Sequence
		req.Free()
		if err := stream.Send(&pb.AppendReply{Message: &pb.AppendReply_Written{Written: &pb.AppendWritten{Sequence: seq}}}); err != nil {
			return err
		}
	}
}

func (s *store) Read(_ *pb.ReadRequest, stream grpc.ServerStreamingServer[pb.ReadReply]) error {
	for b := s.data; len(b) > 0; {
		n := min(len(b), 1<<20)
		if err := stream.SendMsg(&codec.ReadReply{Payload: b[:n]}); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// serveStore serves over a real socket, with everything a plugin has.
func serveStore(t testing.TB) pb.StorageClient {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sdk.Serve(ctx, sdk.Plugin{Name: "store", Storage: &store{}}, l) }()
	cc, err := sdk.Dial(l.Addr().String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cc.Close()
		cancel()
		<-ended
	})
	return pb.NewStorageClient(cc)
}

func TestAppendAndReadBack(t *testing.T) {
	c := serveStore(t)
	s, err := c.Append(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.AppendRequest{Message: &pb.AppendRequest_Begin{Begin: &pb.AppendBegin{Space: "main", Epoch: 1}}}); err != nil {
		t.Fatal(err)
	}
	var want []byte
	var done atomic.Int32
	for i := range 50 {
		head, body := bytes.Repeat([]byte{byte(i)}, 100+i), bytes.Repeat([]byte{byte(i), 7}, 1000*i)
		a := &codec.Append{Sequence: uint64(i + 1), Name: "open/1", Offset: uint64(len(want)), Create: i == 0, Payload: [][]byte{head, body}, Done: func() { done.Add(1) }}
		want = append(append(want, head...), body...)
		if err := codec.SendAppend(s, a); err != nil {
			t.Fatal(err)
		}
		r, err := s.Recv()
		if err != nil || r.GetWritten().GetSequence() != a.Sequence {
			t.Fatal(r, err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); done.Load() < 50 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := done.Load(); n != 50 {
		t.Errorf("%d of 50 payloads came back", n)
	}
	r, err := c.Read(t.Context(), &pb.ReadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for m := (&codec.ReadReply{}); r.RecvMsg(m) == nil; m.Free() {
		got = append(got, m.Payload...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back, %d were written, or they differ", len(got), len(want))
	}
}

func TestDoneIsCalledWhenSendingFails(t *testing.T) {
	c := serveStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 3 {
		calls := make(chan struct{}, 8)
		err := codec.SendAppend(s, &codec.Append{Payload: [][]byte{make([]byte, 100_000)}, Done: func() { calls <- struct{}{} }})
		select {
		case <-calls:
		case <-time.After(10 * time.Second):
			t.Fatal("done was not called; SendAppend returned ", err)
		}
		if len(calls) > 0 {
			t.Fatal("done was called twice")
		}
	}
}

// 500 kB appends, as the storage of parts makes them, over a socket and back.
func BenchmarkAppend(b *testing.B) {
	for _, name := range []string{"fast", "generated"} {
		b.Run(name, func(b *testing.B) {
			s, err := serveStore(b).Append(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, 500_000)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				n++
				var err error
				if name == "fast" {
					err = codec.SendAppend(s, &codec.Append{Sequence: n, Name: "open/1", Payload: [][]byte{payload}})
				} else {
					err = s.Send(&pb.AppendRequest{Message: &pb.AppendRequest_Data{Data: &pb.AppendData{Sequence: n, Name: "open/1", Payload: payload}}})
				}
				if err == nil {
					_, err = s.Recv()
				}
				if err != nil {
					b.Fatal(fmt.Errorf("append: %w", err))
				}
			}
		})
	}
}
