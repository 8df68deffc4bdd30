package readers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
	"golang.org/x/sys/unix"
)

// Modes lists what Open takes.
var Modes = []string{"discard", "append", "gather", "gortsplib"}

// lowat is the SO_RCVLOWAT of gather.
const lowat = 64 << 10

// Open connects to a camera and returns once it plays; reading goes on. Files
// go to dir.
func Open(mode, url, dir string) error {
	if mode == "gortsplib" {
		return library(url)
	}
	u, err := base.ParseURL(url)
	if err != nil {
		return err
	}
	nc, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	r := bufio.NewReader(nc)
	for i, req := range []string{"OPTIONS " + url, "DESCRIBE " + url, "SETUP " + url + "/track1", "SETUP " + url + "/track2", "PLAY " + url} {
		h := ""
		if i == 2 || i == 3 {
			h = fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n", 2*(i-2), 2*(i-2)+1)
		}
		if err := ask(nc, r, fmt.Sprintf("%s RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", req, i+1, h)); err != nil {
			return err
		}
	}
	to := io.Discard
	if mode != "discard" {
		f, err := os.Create(filepath.Join(dir, filepath.Base(url)))
		if err != nil {
			return err
		}
		to = f
	}
	if mode == "gather" {
		raw, err := nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, lowat) }); cerr != nil || err != nil {
			return fmt.Errorf("SO_RCVLOWAT: %w %w", cerr, err)
		}
	}
	go copyAll(to, nc)
	return nil
}

// copyAll is written out: io.Copy would splice.
func copyAll(to io.Writer, nc net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := nc.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func ask(w io.Writer, r *bufio.Reader, req string) error {
	if _, err := io.WriteString(w, req); err != nil {
		return err
	}
	tp := textproto.NewReader(r)
	line, err := tp.ReadLine()
	if err != nil {
		return err
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		return err
	}
	if line != "RTSP/1.0 200 OK" {
		return fmt.Errorf("the camera answers %q", line)
	}
	n, _ := strconv.Atoi(h.Get("Content-Length"))
	_, err = r.Discard(n)
	return err
}

// library is gortsplib's client as its own examples use it.
func library(url string) error {
	u, err := base.ParseURL(url)
	if err != nil {
		return err
	}
	tcp := gortsplib.TransportTCP
	c := &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Transport: &tcp}
	if err := c.Start2(); err != nil {
		return err
	}
	d, _, err := c.Describe(u)
	if err != nil {
		return err
	}
	if err := c.SetupAll(d.BaseURL, d.Medias); err != nil {
		return err
	}
	c.OnPacketRTPAny(func(*description.Media, format.Format, *rtp.Packet) {})
	_, err = c.Play(nil)
	return err
}
