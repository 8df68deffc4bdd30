// Command mutant is the local plugin with one rule broken, named by its first
// argument, for the test that the conformance kit notices.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc"

	"media-server/plugins/local/server"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

var rule string

func main() {
	rule = os.Args[1]
	if os.Getenv(sdk.CookieKey) != sdk.CookieValue {
		os.Exit(1)
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	syscall.Umask(0o177)
	dir := os.Getenv(sdk.SocketDirEnv)
	l, err := net.Listen("unix", filepath.Join(dir, fmt.Sprint("mutant", os.Getpid())))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	socket := server.SocketPath(dir, os.Getpid())
	s := server.New(slog.New(slog.NewTextHandler(os.Stderr, nil)), socket)
	syscall.Umask(0o077)
	go s.ServeDescriptors(context.Background())
	fmt.Printf("1|1|unix|%s|grpc\n", l.Addr())
	opts := append(sdk.ServerOptions(), grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(stream))
	if err := sdk.Serve(context.Background(), sdk.Plugin{
		Name: "mutant", Version: "1.0.0", Storage: broken{s},
		ItemKeys: []sdk.Key{{Name: "path", Required: true, Help: "Folder."}, {Name: "fsync", Help: "Time."}},
	}, l, opts...); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// broken gives wrong answers where an interceptor could not.
type broken struct{ *server.Server }

func (b broken) Describe(ctx context.Context, r *pb.DescribeRequest) (*pb.DescribeReply, error) {
	d, err := b.Server.Describe(ctx, r)
	if rule == "descriptors" {
		os.Chmod(d.DescriptorSocket, 0o666)
	}
	if rule == "descriptors-many" {
		d.DescriptorSocket = forgetful(d.DescriptorSocket)
	}
	return d, err
}

var (
	mu     sync.Mutex
	newest uint64
)

func unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	switch r := req.(type) {
	case *pb.OpenRequest:
		mu.Lock()
		newest = max(newest, r.Epoch)
		switch rule {
		case "space":
			r.Create = true
		case "space-epoch": // the older core is let on
			r.Epoch = 1
		}
		mu.Unlock()
	case *pb.SyncRequest:
		older(&r.Epoch)
	case *pb.WriteRequest:
		older(&r.Epoch)
		if rule == "write" && len(r.Payload) > 100 {
			r.Payload = r.Payload[:100]
		}
	case *pb.TruncateRequest:
		older(&r.Epoch)
		if rule == "truncate" {
			r.Size = min(r.Size, 1233)
		}
	case *pb.SealRequest:
		older(&r.Epoch)
		if rule == "seal" && r.Size == 3999 {
			r.Size = 4000
		}
	case *pb.DeleteRequest:
		older(&r.Epoch)
	case *pb.StatRequest:
		if rule == "names" { // cleans up instead of refusing
			r.Name = strings.TrimSuffix(r.Name, "/")
		}
	}
	reply, err := next(ctx, req)
	switch r := reply.(type) {
	case *pb.UsageReply:
		if rule == "usage" {
			r.Used = 0
		}
	case *pb.DeleteReply:
		if rule == "delete" {
			r.Missing = nil
		}
	}
	return reply, err
}

func older(epoch *uint64) {
	if rule == "space-epoch" {
		*epoch = 1
	}
}

func stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, &spoiled{ServerStream: s, ends: map[string]uint64{}})
}

type spoiled struct {
	grpc.ServerStream
	ends    map[string]uint64
	written uint64
	listed  int
}

func (s *spoiled) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err != nil {
		return err
	}
	switch r := m.(type) {
	case *pb.ReadRequest:
		if rule == "read" && r.Length == 0 {
			r.Length = 1 << 20
		}
	case *pb.ListRequest:
		if rule == "list" {
			r.After = ""
		}
	case *codec.AppendRequest:
		if b := r.Other.GetBegin(); b != nil {
			older(&b.Epoch)
			return nil
		}
		switch rule {
		case "resend": // appends whatever the offset says
			r.Offset = s.ends[r.Name]
			s.ends[r.Name] += uint64(len(r.Payload))
		case "offset": // closes the hole
			r.Offset = min(r.Offset, s.ends[r.Name])
			s.ends[r.Name] = max(s.ends[r.Name], r.Offset+uint64(len(r.Payload)))
		case "absent":
			r.Create = true
		}
	}
	return nil
}

func (s *spoiled) SendMsg(m any) error {
	if r, ok := m.(*pb.AppendReply); ok && rule == "append" {
		if w := r.GetWritten(); w != nil { // durable at once, it says
			y := &pb.AppendReply{Message: &pb.AppendReply_Synced{Synced: &pb.AppendSynced{Sequence: w.Sequence}}}
			if err := s.ServerStream.SendMsg(y); err != nil {
				return err
			}
		}
	}
	return s.ServerStream.SendMsg(m)
}
