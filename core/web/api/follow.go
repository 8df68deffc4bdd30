package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/web"
)

// heartbeat keeps proxies from closing an idle event stream, and finds out
// that a client has left: only a failed write tells.
const heartbeat = 15 * time.Second

// follow is GET events/stream: server-sent events (HTML Living Standard,
// 9.2). It goes on behind Last-Event-ID; without one it starts now.
func (a *API) follow(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	after := int64(-1)
	v := string(ctx.Request.Header.Peek("Last-Event-ID"))
	if v == "" {
		v = string(ctx.QueryArgs().Peek("last_event_id"))
	}
	if v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return web.E(400, "bad_event_id", "Last-Event-ID is not one this server gave", "leave it out to start now")
		}
		after = n
	}
	events, stop, err := a.b.Follow(after)
	if err != nil {
		return web.E(503, "journal", "events cannot be followed at present: "+err.Error(), "")
	}
	ctx.SetContentType("text/event-stream")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.Response.Header.Set("X-Accel-Buffering", "no")
	done := a.done
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer stop()
		defer func() { // this goroutine is fasthttp's own: nobody else would catch it
			if r := recover(); r != nil {
				slog.Error("panic in an event stream", "err", r, "stack", string(debug.Stack()))
			}
		}()
		fmt.Fprint(w, "retry: 2000\n\n")
		if w.Flush() != nil {
			return
		}
		beat := time.NewTicker(heartbeat)
		defer beat.Stop()
		for {
			select {
			case <-done:
				return
			case <-beat.C:
				fmt.Fprint(w, ": still here\n\n")
			case ev, ok := <-events:
				if !ok {
					return
				}
				b, err := json.Marshal(ev)
				if err != nil {
					continue
				}
				// No "event:" line: a browser would then need to know every type by
				// name to hear of it; the type is in the data.
				fmt.Fprintf(w, "id: %d\ndata: %s\n\n", ev.ID, b)
			}
			if w.Flush() != nil {
				return
			}
		}
	})
	return nil
}
