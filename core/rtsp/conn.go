package rtsp

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// stall is how long a client may take no byte at all before it is cut.
	stall = 10 * time.Second
	// wholeWithin is how long a request may take from its first byte to its last.
	wholeWithin = 10 * time.Second
	writeStep   = 16 << 10
)

// conn is one client. Its goroutine reads requests and answers them; while it
// plays, the player's goroutine writes as well.
type conn struct {
	s      *Server
	nc     net.Conn
	from   netip.Addr
	id     string // names the viewer
	secure bool
	ctx    context.Context
	stop   context.CancelFunc
	br     *bufio.Reader

	d    *description // newest; of the reading goroutine
	user Account      // proved on this connection; likewise

	mu sync.Mutex // of ss, for those who only look
	ss *session

	writing   sync.Mutex
	playing   atomic.Bool
	lastHeard atomic.Int64 // ns since the server was made
	told      atomic.Bool  // a refusal was logged
}

// heard notes a sign of life, by a clock that nobody sets.
func (c *conn) heard() { c.lastHeard.Store(int64(time.Since(c.s.made))) }

// serve reads and answers until the client leaves or is cut.
func (c *conn) serve() {
	defer c.ends() // a player that waits in a write is let go before
	defer c.nc.Close()
	defer c.stop()
	unhook := context.AfterFunc(c.ctx, func() { c.nc.Close() })
	defer unhook()
	if t, ok := c.nc.(*tls.Conn); ok {
		_ = t.SetDeadline(time.Now().Add(wholeWithin))
		if t.HandshakeContext(c.ctx) != nil {
			return
		}
		_ = t.SetDeadline(time.Time{})
	}
	c.br = bufio.NewReader(c.nc)
	for {
		first, err := c.br.Peek(1) // whoever is silent for long is cut by the server's sweep
		if err != nil {
			return
		}
		if first[0] == '\r' || first[0] == '\n' { // some clients send empty lines to keep a connection
			_, _ = c.br.Discard(1)
			c.heard()
			continue
		}
		_ = c.nc.SetReadDeadline(time.Now().Add(wholeWithin))
		if first[0] == '$' {
			err = c.discard()
		} else {
			err = c.next()
		}
		if err != nil {
			return
		}
		_ = c.nc.SetReadDeadline(time.Time{})
		c.heard()
	}
}

// discard takes an interleaved packet: a report, which says that the client lives.
func (c *conn) discard() error {
	var head [tcpHead]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return err
	}
	_, err := c.br.Discard(int(head[2])<<8 | int(head[3]))
	return err
}

// next answers one request.
func (c *conn) next() error {
	req, err := readRequest(c.br)
	if errors.Is(err, errRubbish) {
		c.refused("", 400, "not RTSP")
		_ = c.write(refuse(400, "%v", err).append(nil, ""))
	}
	if err != nil {
		return err
	}
	res, after := c.answer(req)
	err = c.write(res.append(nil, plain(req.get("cseq"))))
	if after != nil {
		after(err == nil)
	}
	return err
}

// write sends b whole. A client that takes no byte for stall is cut.
func (c *conn) write(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	for len(b) > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(stall))
		n, err := c.nc.Write(b[:min(len(b), writeStep)])
		b = b[n:]
		if err == nil {
			continue
		}
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			if n > 0 && !c.secure { // slow, but there; a TLS connection does not go on after this
				continue
			}
			if c.told.CompareAndSwap(false, true) {
				c.s.o.Log.Warn("rtsp client cut", "client", c.from, "err", "it took nothing for "+stall.String())
			}
		}
		c.stop()
		return err
	}
	return nil
}

// begins makes a session this connection's, or goes on with it.
func (c *conn) begins(ss *session) {
	c.mu.Lock()
	c.ss = ss
	c.mu.Unlock()
	c.s.expect(c, ss.media[len(ss.media)-1])
}

// ends ends the session, if there is one.
func (c *conn) ends() {
	ss := c.ss
	if ss == nil {
		return
	}
	ss.end()
	c.mu.Lock()
	c.ss = nil
	c.mu.Unlock()
	c.s.forget(ss.media)
}

// idle tells whether the client has been silent for too long. One that plays over
// TCP need not say anything: that it takes what is sent is enough.
func (c *conn) idle(now time.Time) bool {
	c.mu.Lock()
	tcp := c.ss != nil && c.ss.tcp
	c.mu.Unlock()
	if tcp && c.playing.Load() {
		return false
	}
	return now.Sub(c.s.made)-time.Duration(c.lastHeard.Load()) > sessionTimeout+5*time.Second
}

// revoked tells whether the gate has taken the pass back, and logs why.
func (c *conn) revoked() bool {
	c.mu.Lock()
	ss := c.ss
	c.mu.Unlock()
	if ss == nil {
		return false
	}
	err := ss.alive()
	if err != nil {
		c.s.o.Log.Info("rtsp playback ended: who played may no longer", "client", c.from, "stream", ss.d.t.uid, "err", err)
	}
	return err != nil
}

// stranded tells of a session by UDP whose ports are closed: the listener has moved.
func (c *conn) stranded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ss != nil && c.ss.udp != nil && c.ss.udp.closed.Load()
}

// packets are the UDP ports of a session; nil = TCP only.
func (c *conn) packets(ss *session) *udpPair {
	switch {
	case c.secure:
		return nil
	case ss.udp != nil:
		return ss.udp
	}
	return c.s.packets()
}

// tell logs a refusal in words of ours.
func (c *conn) tell(uid string, res *response) {
	c.refused(uid, res.status, cmp.Or(res.logged, reasons[res.status]))
}

// refused logs why somebody got nothing, once a connection. why has nothing of what the
// client has sent.
func (c *conn) refused(uid string, status int, why string) {
	if !c.told.CompareAndSwap(false, true) {
		return
	}
	if uid == "" { // whoever looks for open ports is no news
		c.s.o.Log.Debug("rtsp request refused", "client", c.from, "status", status, "err", why)
		return
	}
	if c.s.mayTell() {
		c.s.o.Log.Warn("rtsp request refused", "client", c.from, "stream", wellFormed(uid), "status", status, "err", why)
	}
}

// wellFormed keeps what cannot be a stream's name out of the log.
func wellFormed(uid string) string {
	if !isName(uid) {
		return "(not a name)"
	}
	return uid
}
