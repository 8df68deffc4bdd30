package playback

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"time"

	"media-server/core/media"
	"media-server/core/web"
)

// A session is (token id, user or address; stream; protocol). HLS has no connection
// that would tell who is who when an address changes, so its playlists carry the
// session's name along (s=); it ends half a minute after its last request. What takes
// longer than a request, a download, ends with the right to it.

// session names who plays. People without a name behind one address are told apart by
// their players. It is a hash: it may stand where tokens must not.
func (r *request) session(proto string) string {
	who := r.grant.Who
	if len(who) > 8 && who[:8] == "address " {
		who = r.ctx.RemoteIP().String() + "\x00" + string(r.ctx.UserAgent())
	}
	sum := sha256.Sum256([]byte(who + "\x00" + r.uid + "\x00" + proto))
	return hex.EncodeToString(sum[:8])
}

// isSession tells whether s may be the name of a session.
func isSession(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// admit counts a viewer, or turns away one too many.
func (h *Handler) admit(r *request, proto string) *web.Error {
	if h.opt.Viewer == nil || web.IsControl(r.ctx.Conn()) {
		return nil
	}
	earlier := r.args.Get("s")
	if !isSession(earlier) {
		earlier = ""
	}
	var limit string
	if r.name, limit = h.opt.Viewer(r.uid, proto, r.session(proto), earlier); limit == "" {
		return nil
	}
	r.ctx.Response.Header.Set("Retry-After", "30")
	return web.E(429, "too_many_viewers", "as many viewers as may watch are watching", "try again later; the bound is "+limit)
}

// within is the span that may be played.
func (r *request) within() media.Span {
	s := r.grant.Within
	if s.To == 0 {
		s.To = 1<<63 - 1
	}
	return s
}

// granted refuses a span that the token is not for. One without an end ends where the
// token's does.
func (r *request) granted(s media.Span, open bool) (media.Span, bool, *web.Error) {
	w := r.grant.Within
	if open && w.To != 0 && w.To < media.WallOf(time.Now()) {
		s.To, open = w.To, false
	}
	if s.From.Milli() >= w.From.Milli() && (w.To == 0 || open || s.To.Milli() <= w.To.Milli()+1) && (w.To == 0 || s.From < w.To) {
		return s, open, nil
	}
	e := web.E(403, "other_time", "the token is for another time", "ask for what lies in the allowed span, or get a token for more")
	return s, open, e.With("allowed", map[string]int64{"from": w.From.Milli(), "to": w.To.Milli()})
}

// sending are the answers under way, so that those can be ended whose right has ended.
type sending struct {
	mu sync.Mutex
	m  map[*sent]struct{}
}

type sent struct {
	conn  net.Conn
	alive func() bool
}

func (s *sending) add(conn net.Conn, alive func() bool) (done func()) {
	if alive == nil || conn == nil {
		return func() {}
	}
	x := &sent{conn, alive}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[*sent]struct{}{}
	}
	s.m[x] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.m, x)
	}
}

// over lists the connections whose right has ended.
func (s *sending) over() (out []net.Conn) {
	s.mu.Lock()
	all := make([]*sent, 0, len(s.m))
	for x := range s.m {
		all = append(all, x)
	}
	s.mu.Unlock()
	for _, x := range all {
		if !x.alive() {
			out = append(out, x.conn)
		}
	}
	return out
}

// checkEvery is how often the rights of answers under way are looked at.
const checkEvery = time.Second

// Run ends answers whose right has ended, within two seconds, until ctx ends.
func (h *Handler) Run(ctx context.Context) error {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			for _, c := range h.out.over() {
				reset(c)
			}
		}
	}
}

// reset ends a connection, and what lies in its buffers with it: megabytes that a slow
// client would go on to get.
func reset(c net.Conn) {
	for under := c; ; {
		switch v := under.(type) {
		case *net.TCPConn:
			_ = v.SetLinger(0) // it may have ended by itself
			_ = c.Close()
			return
		case interface{ NetConn() net.Conn }:
			under = v.NetConn()
		default:
			_ = c.Close()
			return
		}
	}
}
