package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"media-server/core/node"
)

type rebuildCmd struct {
	Space string `arg:"" optional:"" help:"Only this space."`
}

// Run rebuilds with no server running: it takes the data folder's lock, starts
// the storage plugins it needs, and leaves them to end by themselves. A
// running server rebuilds by itself when its catalogue is missing or damaged.
func (c *rebuildCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	if cl.running() {
		return fmt.Errorf("a server is running; it rebuilds a missing catalogue by itself. To force it: stop the server, run rebuild, start it again (drivers keep the frames meanwhile)")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return node.Rebuild(ctx, set, version, c.Space, func(done, total int) {
		fmt.Fprintf(os.Stderr, "\r%d of %d files", done, total)
		if done == total {
			fmt.Fprintln(os.Stderr)
		}
	})
}
