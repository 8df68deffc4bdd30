package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Options configure a Server. The zero value serves nothing.
type Options struct {
	HTTP  string // listen address; empty = off
	HTTPS string // listen address; empty = off
	// Control is the path of the control socket; empty = off.
	Control string
	Cert    func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Open opens the listeners of HTTP and HTTPS, which it may hold over the
	// death of this process; nil = net.Listen.
	Open func(address string) (net.Listener, error)

	MinTLS         uint16
	MaxConns       int // of all listeners together, each counted apart; 0 = 4096
	MaxConnsPerIP  int // 0 = 512
	MaxRequestBody int // bytes; 0 = 1 MiB

	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed

	Log *slog.Logger
}

// Room answers the requests that are its own: Handle returns false, and has
// done nothing, when the path belongs to another.
type Room interface {
	Handle(ctx *fasthttp.RequestCtx) bool
}

// Use sets the rooms that are asked, in this order. Call it before Run.
func (s *Server) Use(rooms ...Room) { s.rooms = rooms }

// Server listens and answers. Make it with New, then Listen, then Run.
type Server struct {
	opt       Options
	rooms     []Room
	srv       *fasthttp.Server
	listeners []net.Listener
	stopping  atomic.Bool
	stop      chan struct{}
	stopOnce  sync.Once
}

// New makes a server; nothing listens yet.
func New(opt Options) *Server {
	if opt.MaxConns == 0 {
		opt.MaxConns = 4096
	}
	if opt.MaxConnsPerIP == 0 {
		opt.MaxConnsPerIP = 512
	}
	if opt.MaxRequestBody == 0 {
		opt.MaxRequestBody = 1 << 20
	}
	if opt.MinTLS == 0 {
		opt.MinTLS = tls.VersionTLS12
	}
	if opt.Open == nil {
		opt.Open = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	s := &Server{opt: opt, stop: make(chan struct{})}
	s.srv = &fasthttp.Server{
		Name:                         "media-server",
		Handler:                      s.guard,
		ReadTimeout:                  15 * time.Second, // a whole request head and body: slowloris ends here
		IdleTimeout:                  75 * time.Second,
		MaxRequestBodySize:           opt.MaxRequestBody,
		ReadBufferSize:               16 << 10, // the longest request head: tokens travel in URLs
		WriteBufferSize:              16 << 10, // a live playlist leaves with its head
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true, // heads hold tokens
		Logger:                       quiet{opt.Log},
		ErrorHandler:                 badRequest,
	}
	return s
}

// quiet passes fasthttp's own complaints on at debug level: they are about
// clients that left or spoke rubbish.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	if q.log != nil {
		q.log.Debug("http connection", "err", fmt.Sprintf(format, args...))
	}
}

func badRequest(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var nerr net.Error
	switch {
	case errors.As(err, &small):
		Fail(ctx, E(431, "request_head_too_large", "the request head is longer than 16 KiB", "send a shorter URL or fewer headers"))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		Fail(ctx, E(413, "body_too_large", "the request body is larger than this server takes", ""))
	case errors.As(err, &nerr) && nerr.Timeout():
		Fail(ctx, E(408, "request_timeout", "the request did not arrive in time", ""))
	default:
		Fail(ctx, E(400, "bad_request", "the request is not valid HTTP", ""))
	}
}

// Listen opens the listeners. An address that cannot be had is an error that
// names it; the listeners opened so far are closed again.
func (s *Server) Listen() error {
	open := func(addr string, secure bool) error {
		l, err := s.opt.Open(addr)
		if err != nil {
			return err // it names the address
		}
		var ll net.Listener = newLimitedListener(l, s.opt.MaxConns, s.opt.MaxConnsPerIP)
		if secure {
			ll = tls.NewListener(ll, &tls.Config{MinVersion: s.opt.MinTLS, GetCertificate: s.opt.Cert, NextProtos: []string{"http/1.1"}})
		}
		s.listeners = append(s.listeners, ll)
		return nil
	}
	for _, l := range []struct {
		addr   string
		secure bool
	}{{s.opt.HTTP, false}, {s.opt.HTTPS, true}} {
		if l.addr == "" {
			continue
		}
		if err := open(l.addr, l.secure); err != nil {
			s.Close()
			return err
		}
	}
	if s.opt.Control != "" {
		l, err := listenControl(s.opt.Control)
		if err != nil {
			s.Close()
			return fmt.Errorf("control socket: %w", err)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// Close closes the listeners of a server that was never Run.
func (s *Server) Close() {
	for _, l := range s.listeners {
		l.Close()
	}
	s.listeners = nil
}

// Addrs are the addresses listened on, HTTP first.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Done is closed when the server begins to stop: long answers (event streams,
// held playlists) end themselves on it, or Run would wait for them.
func (s *Server) Done() <-chan struct{} { return s.stop }

// Run serves until ctx ends, then lets requests under way finish for at most
// grace.
func (s *Server) Run(ctx context.Context, grace time.Duration) error {
	errs := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { errs <- s.srv.Serve(l) }()
	}
	left := len(s.listeners)
	var first error
	select {
	case <-ctx.Done():
	case err := <-errs:
		left--
		if first = err; err == nil {
			first = errors.New("a listener closed by itself")
		}
	}
	s.stopOnce.Do(func() { close(s.stop) })
	s.stopping.Store(true)
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := s.srv.ShutdownWithContext(down); err != nil && s.opt.Log != nil {
		s.opt.Log.Info("connections cut at shutdown", "count", s.srv.GetOpenConnectionsCount())
	}
	for _, l := range s.listeners {
		l.Close()
	}
	for ; left > 0; left-- {
		<-errs
	}
	return first
}

// guard stands before every handler: an id, a panic's end, security headers.
func (s *Server) guard(ctx *fasthttp.RequestCtx) {
	defer func() {
		if r := recover(); r != nil {
			if s.opt.Log != nil {
				s.opt.Log.Error("panic in a request", "id", RequestID(ctx), "path", shownPath(ctx), "err", r, "stack", string(debug.Stack()))
			}
			Fail(ctx, E(500, "internal", "something went wrong here, not with your request", "look in the server's log for the id"))
		}
	}()
	s.believe(ctx)
	h := &ctx.Response.Header
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if strings.ContainsAny(string(ctx.Path()), "\x00\\") {
		Fail(ctx, E(400, "bad_path", "the path holds characters that no path here has", ""))
		return
	}
	if ambiguous(&ctx.Request.Header) {
		ctx.SetConnectionClose()
		Fail(ctx, E(400, "bad_request", "the request has both Content-Length and Transfer-Encoding", ""))
		return
	}
	s.answer(ctx)
	// 501 refuses a name of the interface that is not built: nothing failed here,
	// and a client that polls one would fill the log.
	if st := ctx.Response.StatusCode(); st >= 500 && st != 501 && ctx.UserValue(countedKey) == nil && s.opt.Log != nil {
		s.opt.Log.Warn("request failed", "id", RequestID(ctx), "path", shownPath(ctx), "status", st)
	}
}

// shownPath is the path for the log. What stands behind "&" is a query that was written
// so, and may hold a token.
func shownPath(ctx *fasthttp.RequestCtx) string {
	p, _, _ := strings.Cut(string(ctx.Path()), "&")
	return p
}

// ambiguous tells of a request whose end another reader, a proxy before this
// server, may see elsewhere (RFC 9112, 6.1: an attempt to smuggle).
func ambiguous(h *fasthttp.RequestHeader) bool {
	length, coding := false, false
	for head := h.RawHeaders(); len(head) > 0; {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch len(name) {
		case len("Content-Length"):
			length = length || bytes.EqualFold(name, []byte("Content-Length"))
		case len("Transfer-Encoding"):
			coding = coding || bytes.EqualFold(name, []byte("Transfer-Encoding"))
		}
	}
	return length && coding
}

func (s *Server) answer(ctx *fasthttp.RequestCtx) {
	for _, r := range s.rooms {
		if r.Handle(ctx) {
			return
		}
	}
	Fail(ctx, E(404, "no_such_page", "there is nothing at this address", "the control panel is at /cpanel/"))
}
