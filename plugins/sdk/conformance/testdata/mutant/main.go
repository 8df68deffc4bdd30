// Command mutant is a driver that breaks one rule, named by its first
// argument, for the test that the kit notices.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

var rule string

func main() {
	rule = os.Args[1]
	if rule != "cookie" && os.Getenv(sdk.CookieKey) != sdk.CookieValue {
		os.Exit(1)
	}
	if rule != "signals" {
		signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	}
	path := filepath.Join(os.Getenv(sdk.SocketDirEnv), fmt.Sprint("mutant", os.Getpid()))
	if rule == "handshake" {
		syscall.Umask(0)
	} else {
		syscall.Umask(0o177)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("1|1|unix|%s|grpc\n", path)
	opts := append(sdk.ServerOptions(), grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(stream))
	if err := sdk.Serve(context.Background(), sdk.Plugin{
		Name: "mutant", Version: "1.0.0", Schemes: []string{"mutant"}, Driver: sdk.DriverFunc(capture), Snapshot: snapshot,
	}, l, opts...); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if rule == "shutdown" {
		time.Sleep(time.Minute)
	}
}

func snapshot(context.Context, sdk.Source) ([]byte, error) {
	jpeg := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 0, 0xff, 0xd9}
	if rule == "snapshot" {
		return jpeg[:6], nil // it breaks off
	}
	return jpeg, nil
}

func capture(ctx context.Context, _ sdk.Source, run *sdk.Run) error {
	if err := run.Open([]media.Track{{ID: 1, Codec: media.Metadata, Timescale: 90000}}, ""); err != nil {
		return err
	}
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for n := int64(0); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := run.Write(media.AccessUnit{Track: 1, PTS: n * 4500, Key: true, Payload: []byte("<x/>")}); err != nil {
			return err
		}
	}
}

func unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if c, ok := req.(*pb.ConfigureRequest); ok {
		switch rule {
		case "configure-epoch":
			c.Epoch = 1
		case "bound":
			c.BufferMs = 60_000
		}
	}
	reply, err := next(ctx, req)
	switch r := reply.(type) {
	case *pb.InfoReply:
		if rule == "info" {
			r.Pid++
		}
	case *pb.ValidateReply:
		if rule == "validate" {
			r.Problems = nil
		}
	}
	return reply, err
}

func stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	sp := &spoiled{ServerStream: s}
	err := next(srv, sp)
	if sp.mine && status.Code(err) == codes.Aborted {
		return nil
	}
	return err
}

type spoiled struct {
	grpc.ServerStream
	units   int
	greeted bool
	mine    bool
}

func (s *spoiled) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	r, ok := m.(*pb.FramesRequest)
	if err != nil || !ok {
		return err
	}
	switch {
	case rule == "hello" && r.GetAck() != nil:
		r.Message = &pb.FramesRequest_Hello{Hello: &pb.Hello{Epoch: 1000}}
	case rule == "frames-epoch" && r.GetHello() != nil:
		r.GetHello().Epoch = 1000
	case rule == "misuse" && r.GetHello() != nil && s.greeted:
		r.Message = &pb.FramesRequest_Ack{Ack: &pb.Ack{Handle: 99, Position: &pb.RunPosition{Run: make([]byte, 16)}}}
	case rule == "changed" && r.GetSubscribe() != nil:
		r.GetSubscribe().ReadTimeoutMs = 5000
	case rule == "takeover" && r.GetHello() != nil: // the first one ends as if all were well
		s.mine = true
	case rule == "resume" && r.GetSubscribe() != nil:
		r.GetSubscribe().Resume = nil
	case rule == "ack" && r.GetAck() != nil:
		r.GetAck().Position.Run = make([]byte, 16)
	case (rule == "keep" || rule == "stop") && r.GetUnsubscribe() != nil:
		r.GetUnsubscribe().Keep = !r.GetUnsubscribe().Keep
	}
	s.greeted = s.greeted || r.GetHello() != nil
	return nil
}

func (s *spoiled) SendMsg(m any) error {
	if b, ok := m.(*codec.Batch); ok && rule == "payload" {
		for i := range b.Units {
			b.Units[i].Flags = 0
		}
	}
	if b, ok := m.(*codec.Batch); ok && rule == "order" {
		kept := b.Units[:0]
		for _, u := range b.Units {
			if s.units++; s.units != 2 {
				kept = append(kept, u)
			}
		}
		b.Units = kept
	}
	return s.ServerStream.SendMsg(m)
}
