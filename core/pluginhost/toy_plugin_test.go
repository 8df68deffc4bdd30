package pluginhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

// The test binary plays every part: run with TOY_ROLE it is a plugin or a
// core of its own process.
func TestMain(m *testing.M) {
	role := os.Getenv("TOY_ROLE")
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	// Whatever a failing test forgets ends by itself.
	time.AfterFunc(10*time.Minute, func() { os.Exit(3) })
	switch role {
	case "driver":
		serveToy(pb.InfoReply_DRIVER, newToyDriver())
	case "storage":
		serveToy(pb.InfoReply_STORAGE, newToyStorage(os.Getenv("TOY_DIR")))
	case "crash":
		fmt.Fprintln(os.Stderr, "no camera today")
		os.Exit(7)
	case "silent":
		select {}
	case "core":
		toyCore()
	default:
		panic("unknown role " + role)
	}
}

// toyBase answers what every plugin answers.
type toyBase struct {
	pb.UnimplementedBaseServer
	kind    pb.InfoReply_Kind
	schemes []string
	caps    []string
	pid     uint32
	version string

	epoch      atomic.Uint64
	configured atomic.Int32
	settings   atomic.Value // map[string]string
	hang       atomic.Bool
	shutdown   func()
}

func (b *toyBase) Info(context.Context, *pb.InfoRequest) (*pb.InfoReply, error) {
	return &pb.InfoReply{Name: "toy", Version: b.version, Kind: b.kind, Schemes: b.schemes, Capabilities: b.caps, Pid: b.pid}, nil
}

func (b *toyBase) Configure(_ context.Context, r *pb.ConfigureRequest) (*pb.ConfigureReply, error) {
	for {
		old := b.epoch.Load()
		if r.Epoch < old {
			return nil, status.Error(codes.FailedPrecondition, "a newer core is there")
		}
		if r.Settings["bad"] != "" {
			return nil, status.Error(codes.InvalidArgument, "bad is not good")
		}
		if b.epoch.CompareAndSwap(old, r.Epoch) {
			b.settings.Store(r.Settings)
			b.configured.Add(1)
			return &pb.ConfigureReply{}, nil
		}
	}
}

func (b *toyBase) Health(ctx context.Context, _ *pb.HealthRequest) (*pb.HealthReply, error) {
	if b.hang.Load() {
		<-ctx.Done()
	}
	return &pb.HealthReply{}, nil
}

func (b *toyBase) Shutdown(context.Context, *pb.ShutdownRequest) (*pb.ShutdownReply, error) {
	if b.shutdown != nil {
		go b.shutdown()
	}
	return &pb.ShutdownReply{}, nil
}

// registrar is a driver or a storage.
type registrar interface {
	register(*grpc.Server, *toyBase)
}

// serveToy is a plugin's main function.
func serveToy(kind pb.InfoReply_Kind, r registrar) {
	if os.Getenv(cookieKey) != cookieValue {
		fmt.Fprintln(os.Stderr, "this is a plugin")
		os.Exit(1)
	}
	base := &toyBase{kind: kind, pid: uint32(os.Getpid()), version: os.Getenv("TOY_VERSION"), shutdown: func() {
		time.Sleep(20 * time.Millisecond)
		os.Exit(0)
	}}
	if kind == pb.InfoReply_DRIVER {
		base.schemes = []string{"toy"}
	}
	path := filepath.Join(os.Getenv(envSocketDir), fmt.Sprintf("plugin%d", os.Getpid()))
	lis, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow))
	pb.RegisterBaseServer(srv, base)
	r.register(srv, base)
	fmt.Fprintln(os.Stderr, "some words before the handshake")
	fmt.Printf("1|1|unix|%s|grpc\n", path)
	if os.Getenv("TOY_NOISE") != "" {
		noise()
	}
	panic(srv.Serve(lis))
}

// noise prints 1 MB/s on both outputs, and counts what it printed in a file
// beside the socket, so that a test sees that it never blocked.
func noise() {
	line := make([]byte, 1000)
	for i := range line {
		line[i] = 'x'
	}
	line[len(line)-1] = '\n'
	for _, out := range []*os.File{os.Stdout, os.Stderr} {
		go func() {
			for range time.Tick(10 * time.Millisecond) {
				for range 10 {
					if _, err := out.Write(line); err != nil {
						os.Exit(9)
					}
				}
			}
		}()
	}
}

// endpointPlugin serves a plugin inside the test process, attached by
// endpoint.
type endpointPlugin struct {
	base   *toyBase
	socket string
	srv    *grpc.Server
}

func serveEndpoint(t *testing.T, kind pb.InfoReply_Kind, r registrar) *endpointPlugin {
	t.Helper()
	dir := shortDir(t)
	e := &endpointPlugin{base: &toyBase{kind: kind, version: "1.0"}, socket: filepath.Join(dir, "s")}
	if kind == pb.InfoReply_DRIVER {
		e.base.schemes = []string{"toy"}
	}
	lis, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	e.srv = grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))
	pb.RegisterBaseServer(e.srv, e.base)
	r.register(e.srv, e.base)
	var wg sync.WaitGroup
	wg.Go(func() { e.srv.Serve(lis) })
	t.Cleanup(func() { e.srv.Stop(); wg.Wait() })
	return e
}

// shortDir is a temporary folder whose name leaves room for a socket's.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
