package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"media-server/core/fault"
	"media-server/core/node"
)

type runCmd struct{}

// Run runs the server until SIGINT or SIGTERM; SIGHUP reads the settings again.
func (runCmd) Run(g *globals) error {
	path, err := g.confPath()
	if err != nil {
		return err
	}
	collectByRoom()
	ctx, stop := untilTold()
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	err = node.Run(ctx, node.Options{Path: path, Version: version, Terminal: term.IsTerminal(int(os.Stdout.Fd())), Out: os.Stdout, Reload: hup, Holder: holderCommand()})
	var ps fault.Problems
	if errors.As(err, &ps) {
		return ps
	}
	return err
}

// untilTold gives a context that ends when a signal tells the server to stop:
// SIGTERM, which may be half of a restart, or SIGINT, which comes from a person
// at a terminal and is for good.
func untilTold() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case sig := <-told:
			if sig == os.Interrupt {
				cancel(node.ErrForGood)
			}
			cancel(nil)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(told)
		cancel(nil)
		<-done
	}
}
