package rtsp

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlow: a client that takes nothing is cut after ten seconds; one that takes a
// byte now and then is not.
func TestSlow(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration // a byte is taken
		cut   bool
	}{{"nothing", 0, true}, {"a byte each second", time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			ctx, stop := context.WithCancel(t.Context())
			cn := &conn{s: &Server{o: Options{Log: slog.New(slog.DiscardHandler)}}, nc: ours, ctx: ctx, stop: stop}
			began := time.Now()
			failed := make(chan error, 1)
			go func() { failed <- cn.write(make([]byte, 40)) }()
			if c.every > 0 {
				go func() {
					for range 40 {
						time.Sleep(c.every)
						_, _ = theirs.Read(make([]byte, 1))
					}
				}()
			}
			err := <-failed
			took := time.Since(began)
			if cut := err != nil && ctx.Err() != nil; cut != c.cut || c.cut && took != stall || !c.cut && took < 39*time.Second {
				t.Errorf("%s: %v after %v", c.name, err, took)
			}
			stop()
			ours.Close()
			theirs.Close()
		})
	}
}
