package ports

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// errNotStarted: the verb was called by hand.
var errNotStarted = errors.New("this verb is the server's own: it keeps listeners open while the server restarts, and cannot be started by hand")

// Serve is the holder's main: Hold on the connection that the core that started
// it has given, until SIGTERM or until nobody needs it.
func Serve(runDir string) error {
	// It does next to nothing: as few threads and as little memory as can be.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(10)
	debug.FreeOSMemory()
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP) // meant for the core; a service's stop takes the folder away
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	const given = 3 // the first of exec.Cmd's ExtraFiles
	f := os.NewFile(given, "core")
	c, err := net.FileConn(f)
	if err != nil {
		return errNotStarted
	}
	f.Close()
	core, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return errNotStarted
	}
	return Hold(ctx, runDir, core, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}
