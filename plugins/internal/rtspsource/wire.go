package rtspsource

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBuffer = 64 << 10  // of a source; also the largest share of one read
	maxHead    = 16 << 10  // bytes of a message's header
	maxBody    = 512 << 10 // bytes of a message's body
	maxGarbage = 1 << 20   // bytes between frames before we give up
)

var errGarbage = errors.New("no RTSP")

// wire cuts a connection's bytes into interleaved frames and messages without
// copying them.
type wire struct {
	nc      net.Conn
	tcp     *net.TCPConn // below nc if nc is plain TCP, else nil
	raw     syscall.RawConn
	buf     []byte
	r, w    int
	small   []byte  // its own, for messages and what is left between two reads
	wide    *[]byte // lent by wides; nil = none
	garbage int
	known   func(channel byte) bool // channels in use; nil before SETUP
	total   uint64                  // bytes read
}

func newWire(nc net.Conn) *wire {
	tcp, _ := nc.(*net.TCPConn)
	small := make([]byte, 4<<10)
	return &wire{nc: nc, tcp: tcp, buf: small, small: small}
}

// wides are buffers for large reads. Sources that gather need one only while they
// take apart what has come, a few at a time.
var wides = sync.Pool{New: func() any { b := make([]byte, readBuffer+4); return &b }}

// fill reads once. What next returned before is gone afterwards.
func (c *wire) fill() error {
	c.makeRoom()
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	c.total += uint64(n)
	if n > 0 {
		return nil
	}
	return err
}

// take reads once what the kernel holds and does not wait; more = there may be
// more. The connection is plain TCP.
func (c *wire) take() (more bool, err error) {
	c.widen()
	c.makeRoom()
	if c.raw == nil {
		if c.raw, err = c.tcp.SyscallConn(); err != nil {
			return false, err
		}
	}
	room := c.buf[c.w:]
	n := 0
	var rerr error
	err = c.raw.Read(func(fd uintptr) bool {
		for n, rerr = unix.Read(int(fd), room); rerr == unix.EINTR; {
			n, rerr = unix.Read(int(fd), room)
		}
		return true
	})
	switch {
	case err != nil:
		return false, err
	case rerr == unix.EAGAIN:
		return false, nil
	case rerr != nil:
		return false, os.NewSyscallError("read", rerr)
	case n == 0:
		return false, io.EOF
	}
	c.w += n
	c.total += uint64(n)
	return n == len(room), nil
}

// makeRoom moves what is left of the last read to the front.
func (c *wire) makeRoom() {
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	if c.w == len(c.buf) {
		bigger := make([]byte, max(2*len(c.buf), readBuffer))
		copy(bigger, c.buf[:c.w])
		c.giveBack(bigger)
	}
}

// giveBack makes b the buffer, which holds what the last one did.
func (c *wire) giveBack(b []byte) {
	c.buf = b
	if c.wide != nil {
		wides.Put(c.wide)
		c.wide = nil
	}
}

// widen makes room for large reads once media flows.
func (c *wire) widen() {
	if len(c.buf) < readBuffer+4 {
		wide := wides.Get().(*[]byte)
		c.w = copy(*wide, c.buf[c.r:c.w])
		c.r, c.buf, c.wide = 0, *wide, wide
	}
}

// rest gives the large buffer back until the next take, if little is left in it.
func (c *wire) rest() {
	if c.wide != nil && c.w-c.r <= len(c.small) {
		c.w = copy(c.small, c.buf[c.r:c.w])
		c.r = 0
		c.giveBack(c.small)
	}
}

// next returns a frame (msg nil) or a message from what has been read;
// ok = false: read more.
func (c *wire) next() (channel byte, frame []byte, msg *message, ok bool, err error) {
	for c.r < c.w {
		b := c.buf[c.r:c.w]
		switch {
		case b[0] == '$':
			if len(b) < 4 {
				return 0, nil, nil, false, nil
			}
			if c.garbage > 0 && c.known != nil && !c.known(b[1]) {
				break // a dollar in the rubbish
			}
			n := 4 + int(binary.BigEndian.Uint16(b[2:]))
			if len(b) < n {
				return 0, nil, nil, false, nil
			}
			c.r += n
			c.garbage = 0
			return b[1], b[4:n], nil, true, nil
		case b[0] >= 'A' && b[0] <= 'Z':
			m, n, more := parseMessage(b)
			if more {
				return 0, nil, nil, false, nil
			}
			if m != nil {
				c.r += n
				c.garbage = 0
				return 0, nil, m, true, nil
			}
		}
		c.r++
		if c.garbage++; c.garbage > maxGarbage {
			return 0, nil, nil, false, errGarbage
		}
	}
	return 0, nil, nil, false, nil
}

func (c *wire) write(b []byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := c.nc.Write(b)
	return err
}

// message is an RTSP request or answer as a device sends it. Reading is
// lenient: no reason phrase, bare line feeds and unknown versions pass.
type message struct {
	method string // of a request
	code   int    // of an answer
	header map[string][]string
	body   []byte
}

func (m *message) get(key string) string {
	if v := m.header[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

var methods = []string{"OPTIONS ", "GET_PARAMETER ", "SET_PARAMETER ", "ANNOUNCE ", "REDIRECT ", "TEARDOWN ",
	"DESCRIBE ", "SETUP ", "PLAY ", "PAUSE ", "RECORD ", "PLAY_NOTIFY "}

// parseMessage reads a message at the start of b; more = not all of it is there
// yet; nil = there is none.
func parseMessage(b []byte) (m *message, n int, more bool) {
	kind := ""
	for _, s := range append([]string{"RTSP/"}, methods...) {
		if len(b) < len(s) {
			if strings.HasPrefix(s, string(b)) {
				return nil, 0, true
			}
		} else if string(b[:len(s)]) == s {
			kind = s
			break
		}
	}
	if kind == "" {
		return nil, 0, false
	}
	end, gap := bytes.Index(b, []byte("\r\n\r\n")), 4
	if bare := bytes.Index(b, []byte("\n\n")); bare >= 0 && (end < 0 || bare < end) {
		end, gap = bare, 2
	}
	if end < 0 {
		return nil, 0, len(b) < maxHead
	}
	if end > maxHead {
		return nil, 0, false
	}
	m = &message{header: map[string][]string{}}
	first := true
	for line := range strings.Lines(string(b[:end])) {
		line = strings.TrimRight(line, "\r\n")
		if first {
			first = false
			f := strings.Fields(line)
			if kind != "RTSP/" {
				m.method = strings.TrimSpace(kind)
			} else if len(f) < 2 {
				return nil, 0, false
			} else if m.code, _ = strconv.Atoi(f[1]); m.code < 100 || m.code > 999 {
				return nil, 0, false
			}
			continue
		}
		if k, v, ok := strings.Cut(line, ":"); ok {
			k = strings.ToLower(strings.TrimSpace(k))
			m.header[k] = append(m.header[k], strings.TrimSpace(v))
		}
	}
	size, _ := strconv.Atoi(m.get("content-length"))
	if size < 0 || size > maxBody {
		return nil, 0, false
	}
	n = end + gap + size
	if len(b) < n {
		return nil, 0, true
	}
	m.body = bytes.Clone(b[end+gap : n])
	return m, n, false
}
