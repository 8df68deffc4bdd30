package web

import (
	"errors"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/valyala/fasthttp"
)

// SendReader makes r the response body, of a length that nobody knows yet, and
// closes it when it has been sent or the client has gone. An error of r ends the
// connection in the middle of the answer, so that the client sees that it is not
// whole.
func SendReader(ctx *fasthttp.RequestCtx, r io.ReadCloser) {
	ctx.Response.SetBodyStream(&guarded{r: r}, -1)
}

// guarded reads outside of the handler, where the server's guard against panics
// does not reach.
type guarded struct{ r io.ReadCloser }

func (g *guarded) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("panic in the body of an answer", "err", r, "stack", string(debug.Stack()))
			n, err = 0, errors.New("the answer could not be made")
		}
	}()
	if n, err = g.r.Read(p); err != nil && !errors.Is(err, io.EOF) {
		slog.Warn("an answer was cut short", "err", err)
	}
	return n, err
}

func (g *guarded) Close() error { return g.r.Close() }
