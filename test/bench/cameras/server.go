package cameras

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Config of a load.
type Config struct {
	Clip    *Clip
	Cameras int
	Pacers  int
	Ledger  string // folder for sent-ledgers; "" = none
	Every   int    // one of so many cameras keeps one
}

// Stats are totals since the start.
type Stats struct {
	Sessions int   // playing now
	Units    int64 // written
	Bytes    int64
	Dropped  int64 // units that a session was too far behind for
	Blocked  int64 // times a socket was full
	LateMS   int64 // worst lateness of the pacer since the last Stats
}

// camera outlives its sessions.
type camera struct {
	number [2]uint64
	ledger *bufio.Writer
}

// Server is the load.
type Server struct {
	clip   *Clip
	start  int64
	cams   []*camera
	pacers []*pacer
	files  []*os.File

	playing                        atomic.Int64
	units, bytes, dropped, blocked atomic.Int64
	late                           atomic.Int64
}

// session is one RTSP connection.
type session struct {
	srv     *Server
	nc      *net.TCPConn
	raw     syscall.RawConn
	camera  int
	channel [2]int // of RTP; -1 = not set up
	seq     [2]uint16
	gone    atomic.Bool

	// of the pacer
	nextV, nextA int64
	report       int64
	pend         []byte
}

// New makes a load; Serve plays it.
func New(c Config) (*Server, error) {
	s := &Server{clip: c.Clip, start: time.Now().Add(-time.Minute).UnixNano()}
	for i := range c.Cameras {
		cam := &camera{}
		if c.Ledger != "" && i%max(1, c.Every) == 0 {
			f, err := os.Create(filepath.Join(c.Ledger, Name(i)+".csv"))
			if err != nil {
				return nil, err
			}
			s.files = append(s.files, f)
			cam.ledger = bufio.NewWriterSize(f, 4<<20)
		}
		s.cams = append(s.cams, cam)
	}
	for range max(1, c.Pacers) {
		s.pacers = append(s.pacers, &pacer{srv: s})
	}
	return s, nil
}

// Stats counts.
func (s *Server) Stats() Stats {
	return Stats{int(s.playing.Load()), s.units.Load(), s.bytes.Load(), s.dropped.Load(), s.blocked.Load(), s.late.Swap(0) / 1e6}
}

// Serve answers on l for as long as the process lives.
func (s *Server) Serve(l net.Listener) error {
	for _, p := range s.pacers {
		go p.run()
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go s.serve(nc.(*net.TCPConn))
	}
}

// Flush writes the sent-ledgers; nothing may play any more.
func (s *Server) Flush() error {
	for _, c := range s.cams {
		if c.ledger != nil {
			if err := c.ledger.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) serve(nc *net.TCPConn) {
	defer nc.Close()
	ss := &session{srv: s, nc: nc, camera: -1, channel: [2]int{-1, -1}}
	defer ss.gone.Store(true)
	raw, err := nc.SyscallConn()
	if err != nil {
		return
	}
	ss.raw = raw
	played := false
	r := bufio.NewReaderSize(nc, 2048)
	for {
		b, err := r.Peek(1)
		if err != nil {
			break
		}
		if b[0] == '$' { // a receiver report
			var h [4]byte
			if _, err := io.ReadFull(r, h[:]); err != nil {
				break
			}
			if _, err := r.Discard(int(binary.BigEndian.Uint16(h[2:]))); err != nil {
				break
			}
			continue
		}
		method, end := ss.request(r)
		if method == "PLAY" && !played {
			played = true
			s.playing.Add(1)
			defer s.playing.Add(-1)
			p := s.pacers[ss.camera%len(s.pacers)]
			p.mu.Lock()
			p.fresh = append(p.fresh, ss)
			p.mu.Unlock()
		}
		if end {
			break
		}
	}
}

// request answers one request.
func (ss *session) request(r *bufio.Reader) (method string, end bool) {
	tp := textproto.NewReader(r)
	line, err := tp.ReadLine()
	if err != nil {
		return "", true
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		return "", true
	}
	method, rest, _ := strings.Cut(line, " ")
	url, _, _ := strings.Cut(rest, " ")
	if n, _ := strconv.Atoi(h.Get("Content-Length")); n > 0 {
		if _, err := r.Discard(n); err != nil {
			return "", true
		}
	}
	status, extra, body := "200 OK", "", ""
	switch method {
	case "OPTIONS":
		extra = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n"
	case "DESCRIBE":
		body = ss.srv.clip.sdp()
		extra = fmt.Sprintf("Content-Type: application/sdp\r\nContent-Base: %s/\r\nContent-Length: %d\r\n", strings.TrimSuffix(url, "/"), len(body))
	case "SETUP":
		status, extra = ss.setup(url, h.Get("Transport"))
	case "PLAY":
		if ss.camera < 0 {
			status, method = "455 Method Not Valid in This State", ""
		}
	}
	_, err = fmt.Fprintf(ss.nc, "RTSP/1.0 %s\r\nCSeq: %s\r\nSession: 1;timeout=60\r\n%s\r\n%s", status, h.Get("CSeq"), extra, body)
	return method, err != nil || method == "TEARDOWN"
}

// setup takes a track: …/cam-00007/track2.
func (ss *session) setup(url, transport string) (status, extra string) {
	i := strings.LastIndex(url, "/cam-")
	if i < 0 || !strings.Contains(transport, "interleaved=") {
		return "461 Unsupported Transport", ""
	}
	name, track, _ := strings.Cut(url[i+len("/cam-"):], "/track")
	n, err := strconv.Atoi(name)
	t, err2 := strconv.Atoi(track)
	if err != nil || err2 != nil || n >= len(ss.srv.cams) || t < 1 || t > 2 {
		return "404 Not Found", ""
	}
	_, ch, _ := strings.Cut(transport, "interleaved=")
	ch, _, _ = strings.Cut(ch, "-")
	c, err := strconv.Atoi(ch)
	if err != nil || c < 0 || c > 254 {
		return "461 Unsupported Transport", ""
	}
	ss.camera, ss.channel[t-1] = n, c
	return status200, fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d;ssrc=%08X\r\n", c, c+1, ss.ssrc(t-1))
}

const status200 = "200 OK"

func (ss *session) ssrc(track int) uint32 { return uint32(ss.camera)<<8 | uint32(track) + 1 }

// appendReports appends a sender report for each track.
func (ss *session) appendReports(b []byte, srv *Server, now int64) []byte {
	for t, c := range ss.channel {
		if c < 0 {
			continue
		}
		rate, first := int64(90000), srv.picture(ss.camera, 0)
		if t == 1 {
			rate, first = SampleRate, srv.frame(ss.camera, 0)
		}
		since := now - first
		rtp := since/int64(time.Second)*rate + since%int64(time.Second)*rate/int64(time.Second)
		sec, frac := uint64(now/int64(time.Second)+2208988800), uint64(now%int64(time.Second))<<32/uint64(time.Second)
		b = append(b, '$', byte(c+1), 0, 28, 0x80, 200, 0, 6)
		b = binary.BigEndian.AppendUint32(b, ss.ssrc(t))
		b = binary.BigEndian.AppendUint64(b, sec<<32|frac)
		b = binary.BigEndian.AppendUint32(b, uint32(rtp))
		b = binary.BigEndian.AppendUint64(b, 0)
	}
	return b
}
