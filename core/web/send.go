package web

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"media-server/core/timeline"
)

// sendStep bounds one sendfile or write, so that the connection's rolling
// deadline moves with progress: a slow reader is one that does not take a
// megabyte in the time allowed, not one whose download is long.
const sendStep = 1 << 20

// SendBody makes b the response body, cut to [off, off+n), and releases it
// when it has been sent or the client has gone. head is true for HEAD: only
// the length is announced.
func SendBody(ctx *fasthttp.RequestCtx, b *timeline.Body, off, n int64, done func(sent int64, err error)) {
	if ctx.IsHead() {
		b.Release()
		ctx.Response.SkipBody = true
		ctx.Response.Header.SetContentLength(int(n))
		return
	}
	ctx.Response.SetBodyStream(&bodyStream{body: b, off: off, n: n, conn: ctx.Conn(), done: done}, int(n))
}

// bodyStream hands a body to fasthttp. WriteTo sends stored files straight
// from their descriptors to the socket; Read serves everything else (and
// fasthttp's own fallbacks).
type bodyStream struct {
	body   *timeline.Body
	off, n int64
	conn   net.Conn
	sent   int64
	err    error
	done   func(int64, error)
	once   sync.Once
}

func (s *bodyStream) SupportsBodyWriteTo() bool { return true }

func (s *bodyStream) Read(p []byte) (k int, err error) {
	defer s.survive(&err)
	if s.n == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > s.n {
		p = p[:s.n]
	}
	k, err = s.body.ReadAt(p, s.off)
	s.off, s.n, s.sent = s.off+int64(k), s.n-int64(k), s.sent+int64(k)
	if s.err = err; errors.Is(err, io.EOF) && k > 0 {
		err = nil
	}
	return k, err
}

// Close releases the body; fasthttp calls it in every case.
func (s *bodyStream) Close() error {
	s.once.Do(func() {
		s.body.Release()
		if s.done != nil {
			s.done(s.sent, s.err)
		}
	})
	return nil
}

// survive ends an answer whose making panicked: bodies are written outside the
// handler, where the server's guard does not reach.
func (s *bodyStream) survive(err *error) {
	if r := recover(); r != nil {
		slog.Error("panic in the body of an answer", "err", r, "stack", string(debug.Stack()))
		*err = errors.New("the answer could not be made")
		s.err = *err
	}
}

func (s *bodyStream) WriteTo(w io.Writer) (sent int64, err error) {
	defer s.survive(&err)
	bw, _ := w.(*bufio.Writer)
	tcp := plainTCP(s.conn)
	for piece := range s.body.Pieces(s.off, s.n) {
		var n int64
		var err error
		switch {
		case piece.File == nil:
			if bw != nil && piece.Make != nil {
				// What is made next may take reading dozens of indexes: a player gets
				// what is there at once, and of one that has gone this hears before
				// more is made for nobody.
				if err := bw.Flush(); err != nil {
					s.err = err
					return s.sent, err
				}
			}
			var b []byte
			if b, err = piece.Load(); err == nil {
				var k int
				k, err = w.Write(b)
				n = int64(k)
			}
		case bw != nil && tcp != nil && piece.Len >= 16<<10:
			n, err = s.sendFile(bw, tcp, piece)
		default:
			n, err = copyPiece(w, piece)
		}
		s.sent += n
		if err != nil {
			s.err = err
			return s.sent, err
		}
	}
	return s.sent, nil
}

// plainTCP finds the TCP connection under c, or nil when TLS or something else
// lies between.
func plainTCP(c net.Conn) *net.TCPConn {
	for {
		switch v := c.(type) {
		case *net.TCPConn:
			return v
		case *tls.Conn:
			return nil
		case interface{ NetConn() net.Conn }:
			c = v.NetConn()
		default:
			return nil
		}
	}
}

// sendFile moves a piece from a descriptor to the socket. The offset is passed
// explicitly: two responses on one descriptor share its file offset, and Go's
// own sendfile path (io.Copy from *os.File) uses it and mixes them up.
func (s *bodyStream) sendFile(bw *bufio.Writer, tcp *net.TCPConn, p timeline.Piece) (int64, error) {
	f, limit, ok := p.File.File()
	if !ok || p.Off+p.Len > limit {
		return copyPiece(bw, p)
	}
	// The head of the answer leaves in one packet with the first bytes of the file: to
	// wake the player for it alone costs as much as to send a frame.
	cork := bw.Buffered() > 0 && setCork(tcp, 1)
	err := bw.Flush()
	var n int64
	if err == nil {
		n, err = sendfileAt(s.conn, tcp, f, p.Off, p.Len)
	}
	if cork {
		setCork(tcp, 0) // what is left leaves now
	}
	return n, err
}

// setCork holds back packets that are not full, or lets them go (tcp(7), TCP_CORK).
func setCork(tcp *net.TCPConn, on int) (done bool) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on)
	})
	return cerr == nil && err == nil
}

func sendfileAt(deadline interface{ SetWriteDeadline(time.Time) error }, tcp *net.TCPConn, f *os.File, off, n int64) (int64, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	// The descriptor is borrowed for each step, not remembered: a file that
	// retention closes meanwhile must not leave its number to another one.
	in, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var sent int64
	for sent < n {
		if err := deadline.SetWriteDeadline(time.Now().Add(writeStall)); err != nil {
			return sent, err
		}
		var serr error
		var k int
		werr := raw.Write(func(out uintptr) bool {
			at := off + sent
			ferr := in.Control(func(in uintptr) {
				k, serr = unix.Sendfile(int(out), int(in), &at, int(min(n-sent, sendStep)))
			})
			if ferr != nil {
				k, serr = 0, ferr
			}
			return !errors.Is(serr, unix.EAGAIN)
		})
		if k > 0 {
			sent += int64(k)
		}
		switch {
		case werr != nil:
			return sent, werr
		case errors.Is(serr, unix.EINTR):
		case serr != nil:
			return sent, os.NewSyscallError("sendfile", serr)
		case k == 0:
			return sent, io.ErrUnexpectedEOF // the file is shorter than its index says
		}
	}
	return sent, nil
}

var copyBufs = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func copyPiece(w io.Writer, p timeline.Piece) (int64, error) {
	buf := copyBufs.Get().(*[]byte)
	defer copyBufs.Put(buf)
	var sent int64
	for sent < p.Len {
		k := int(min(p.Len-sent, int64(len(*buf))))
		n, err := p.File.ReadAt((*buf)[:k], p.Off+sent)
		if n < k {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return sent, err
		}
		n, err = w.Write((*buf)[:n])
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}
