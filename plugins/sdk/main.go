package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
)

// Facts of the handshake; PROTOCOL.md explains them.
const (
	CookieKey       = "MEDIA_SERVER_PLUGIN"
	CookieValue     = "c0ffee-free-frames-v1"
	ProtocolVersion = 1
	SocketDirEnv    = "PLUGIN_UNIX_SOCKET_DIR"
	NameEnv         = "MEDIA_SERVER_PLUGIN_NAME"
	HealthService   = "plugin"
)

// collectAt is GOGC for plugins. What a driver holds is payloads without a
// pointer in them, which cost the collector nothing to look at: at 100 cameras
// 50 instead of 100 saves a fifth of the driver's memory (109 to 88 MB) for no
// CPU that could be measured.
const collectAt = 50

const endWait = 5 * time.Second // for calls and captures under way, at the end

// Main shakes hands with the host, serves p until it is told to end or no core
// has come for long, and exits the process.
func Main(p Plugin) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	os.Exit(run(p, os.Stdout, os.Stderr))
}

func run(p Plugin, stdout, stderr *os.File) int {
	if os.Getenv(CookieKey) != CookieValue {
		fmt.Fprintf(stderr, "%s is a plugin of media-server, which starts it by itself.\nTo try it: media-server plugin check %s\n", p.Name, os.Args[0])
		return 1
	}
	if name := os.Getenv(NameEnv); name != "" {
		p.Name = name
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(stderr, nil)))
	// The life of a plugin is not its parent's: a core that dies, or an
	// interrupt at its terminal, must not end it.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	l, err := listen()
	if err != nil {
		slog.Error("plugin cannot listen", "err", err, "hint", "the folder in "+SocketDirEnv+" must exist, be ours, and have a short path")
		return 1
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	sv := newServing(p, cancel)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() { // lives as long as the process
		for range term {
			if sv.cores() > 0 {
				slog.Warn("SIGTERM ignored: a core is connected, and Shutdown is how it ends a plugin")
				continue
			}
			cancel(errors.New("SIGTERM"))
		}
	}()
	fmt.Fprintf(stdout, "1|%d|unix|%s|grpc\n", ProtocolVersion, l.Addr())
	if err := sv.serve(ctx, l, ServerOptions()); err != nil {
		slog.Error("plugin ended", "err", err)
		return 1
	}
	slog.Info("plugin ended", "reason", context.Cause(ctx).Error())
	return 0
}

// listen makes the socket in the folder that the host names.
func listen() (net.Listener, error) {
	dir := os.Getenv(SocketDirEnv)
	if dir == "" {
		dir = os.TempDir()
	}
	f, err := os.CreateTemp(dir, "plugin")
	if err != nil {
		return nil, err
	}
	path := f.Name()
	_ = f.Close()
	_ = os.Remove(path)
	if len(path) > 107 {
		return nil, fmt.Errorf("%s: a socket's path has at most 107 bytes", filepath.Base(path))
	}
	old := syscall.Umask(0o177) // no moment in which others may connect
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}

// Serve serves p on l until ctx ends, without handshake, signals and linger:
// for tests, and for plugins behind an endpoint.
func Serve(ctx context.Context, p Plugin, l net.Listener, opts ...grpc.ServerOption) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sv := newServing(p, cancel)
	sv.linger = false
	if opts == nil {
		opts = ServerOptions()
	}
	return sv.serve(ctx, l, opts)
}

// TransportOptions are ServerOptions without peer credentials, for tests over
// connections that are no sockets.
func TransportOptions() []grpc.ServerOption { return transportOptions() }

// serving is one server and the count of its connections.
type serving struct {
	s      *server
	linger bool

	mu    sync.Mutex
	conns int
	left  chan struct{} // the last connection went, or the first came; capacity 1
}

func newServing(p Plugin, end context.CancelCauseFunc) *serving {
	sv := &serving{linger: true, left: make(chan struct{}, 1)}
	sv.s = newServer(p, func(why string) { end(errors.New(why)) })
	return sv
}

func (sv *serving) cores() int {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return sv.conns
}

func (sv *serving) serve(ctx context.Context, l net.Listener, opts []grpc.ServerOption) error {
	g := grpc.NewServer(append(opts, grpc.StatsHandler(sv))...)
	h := health.NewServer()
	h.SetServingStatus(HealthService, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(g, h)
	sv.s.register(g)

	helpers, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { sv.s.janitor(helpers) })
	if sv.linger {
		wg.Go(func() { sv.lonely(helpers) })
	}
	served := make(chan error, 1)
	wg.Go(func() { served <- g.Serve(l) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	// Captures end first, so that Frames calls end; then answers under way get
	// a moment, the one to Shutdown among them.
	stop()
	sv.finish(g)
	wg.Wait()
	return err
}

func (sv *serving) finish(g *grpc.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		sv.s.close()
		g.GracefulStop()
	}()
	t := time.NewTimer(endWait)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		g.Stop()
	}
}

// lonely ends the plugin when no core has been connected for the linger time.
func (sv *serving) lonely(ctx context.Context) {
	for {
		sv.s.mu.Lock()
		linger := sv.s.linger
		sv.s.mu.Unlock()
		t := time.NewTimer(linger)
		select {
		case <-t.C:
			if sv.cores() == 0 {
				sv.s.quit("no core came for " + linger.String())
				return
			}
		case <-sv.left:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// HandleConn implements stats.Handler: it counts connections that passed the
// handshake.
func (sv *serving) HandleConn(_ context.Context, s stats.ConnStats) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		sv.conns++
	case *stats.ConnEnd:
		sv.conns--
	}
	poke(sv.left)
}

// TagConn implements stats.Handler.
func (*serving) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC implements stats.Handler.
func (*serving) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (*serving) HandleRPC(context.Context, stats.RPCStats) {}
