package sdk_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// 100 cameras of 2 Mbit/s and 25 pictures a second: units from Run.Write to the
// core's reader over a socket, acknowledged every second. An operation is a
// unit; cpu-ns/op counts both sides, wall time is the gathering's.
func BenchmarkFrames(b *testing.B) {
	runs := make(chan *sdk.Run, 100)
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- sdk.Serve(ctx, plugin(sdk.DriverFunc(func(ctx context.Context, _ sdk.Source, run *sdk.Run) error {
			if err := run.Open([]media.Track{h264}, ""); err != nil {
				return err
			}
			runs <- run
			<-ctx.Done()
			return nil
		})), l)
	}()
	cc, err := sdk.Dial(l.Addr().String(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cc.Close()
		cancel()
		<-ended
	}()
	f, err := pb.NewDriverClient(cc).Frames(ctx)
	if err != nil {
		b.Fatal(err)
	}
	_ = f.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Hello{Hello: &pb.Hello{Epoch: 1}}})
	var all []*sdk.Run
	for i := range 100 {
		_ = f.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Subscribe{Subscribe: &pb.Subscribe{Handle: uint32(i), Uid: fmt.Sprint(i), Url: "test://x"}}})
		all = append(all, <-runs)
	}
	payload := make([]byte, 10_000)
	reply := &codec.FramesReply{}
	ids := map[uint32][]byte{}
	b.ReportAllocs()
	before := cpu(b)
	sent, got := 0, 0
	for b.Loop() {
		_ = all[sent%100].Write(media.AccessUnit{Track: 1, PTS: int64(sent), Payload: payload})
		if sent++; sent%250 != 0 {
			continue
		}
		for got < sent { // what 100 ms brought
			if err := f.RecvMsg(reply); err != nil {
				b.Fatal(err)
			}
			got += len(reply.Units)
			if o := reply.Other.GetOpened(); o != nil {
				ids[o.Handle] = o.Run
			}
			reply.Free()
		}
		if sent%2500 == 0 {
			for h, run := range ids {
				_ = f.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Ack{Ack: &pb.Ack{Handle: h, Position: &pb.RunPosition{Run: run, Tracks: []*pb.TrackPosition{{Track: 1, Next: uint64(sent / 100)}}}}}})
			}
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}
