package accept

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// rtspServer is the settings of a server with RTSP, and where it is.
func rtspServer(t *testing.T, more string) (ini, address string) {
	t.Helper()
	address = harness.FreePort(t)
	for {
		_, port, _ := net.SplitHostPort(harness.FreePort(t))
		n, _ := strconv.Atoi(port)
		a, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n})
		if err != nil || n%2 != 0 {
			continue
		}
		b, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n + 1})
		a.Close()
		if err != nil {
			continue
		}
		b.Close()
		return fmt.Sprintf("[rtsp]\nenable = true\nlisten = %s\nudp-ports = %d-%d\n%s\n", address, n, n+1, more), address
	}
}

// rtspTrack is what was promised of a track, and what came of it.
type rtspTrack struct {
	codec   string
	clock   int64
	control string

	mu      sync.Mutex
	packets []*rtp.Packet
	ntp     uint64 // newest sender report, as it stood when a packet came
	base    uint32
	at      []int64 // when each packet's instant was, by the report before it; Unix ns
	came    []int64 // when it came
	bye     bool
	report  time.Duration // most that a later report differs from the first
}

// rtspClient is a client of our own: it takes apart what comes with decoders that
// nobody here wrote, and knows the headers that players do not send.
type rtspClient struct {
	t      testing.TB
	nc     net.Conn
	br     *bufio.Reader
	url    string
	sid    string
	n      int
	tracks []*rtspTrack
	alone  bool // the first track is set up alone
	sign   func(method, url string) (header string)
	udp    []*net.UDPConn  // two a track
	begun  atomic.Int64    // when the first packet came, Unix ns; 0 = none has
	late   []time.Duration // from capture to arrival, of what media found
}

func rtspDial(t testing.TB, address, path string) *rtspClient {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return &rtspClient{t: t, nc: nc, br: bufio.NewReaderSize(nc, 1<<16), url: "rtsp://" + address + path}
}

func (c *rtspClient) close() {
	c.nc.Close()
	for _, u := range c.udp {
		u.Close()
	}
}

var rtspStatus = regexp.MustCompile(`^RTSP/1\.0 (\d{3})`)

// do sends a request; packets that come before its answer are taken.
func (c *rtspClient) do(method, url string, headers ...string) (status int, head, body string) {
	c.t.Helper()
	c.n++
	if c.sign != nil {
		headers = append(headers, c.sign(method, url))
	}
	if c.sid != "" {
		headers = append(headers, "Session: "+c.sid)
	}
	text := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", method, url, c.n, strings.Join(append(headers, ""), "\r\n"))
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.t.Fatal(err)
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(30 * time.Second))
	defer func() { _ = c.nc.SetReadDeadline(time.Time{}) }()
	for {
		b, err := c.br.Peek(1)
		if err != nil {
			c.t.Fatalf("%s %s: %v", method, url, err)
		}
		if b[0] != '$' {
			break
		}
		c.interleaved()
	}
	var lines strings.Builder
	for {
		l, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.TrimSpace(l) == "" {
			break
		}
		lines.WriteString(l)
	}
	head = lines.String()
	if m := rtspStatus.FindStringSubmatch(head); m != nil {
		status, _ = strconv.Atoi(m[1])
	}
	if n, _ := strconv.Atoi(field(head, "Content-Length")); n > 0 {
		b := make([]byte, n)
		_, _ = io.ReadFull(c.br, b)
		body = string(b)
	}
	if sid, _, _ := strings.Cut(field(head, "Session"), ";"); sid != "" {
		c.sid = sid
	}
	return status, head, body
}

func (c *rtspClient) must(method, url string, headers ...string) (head, body string) {
	c.t.Helper()
	status, head, body := c.do(method, url, headers...)
	if status != 200 {
		c.t.Fatalf("%s %s: %s%s", method, url, head, body)
	}
	return head, body
}

// setup describes the stream and sets all of its tracks up.
func (c *rtspClient) setup(udp bool) {
	c.t.Helper()
	_, sdp := c.must("DESCRIBE", c.url, "Accept: application/sdp")
	media := regexp.MustCompile(`a=rtpmap:\d+ ([^/\r]+)/(\d+)`).FindAllStringSubmatch(sdp, -1)
	control := regexp.MustCompile(`a=control:(rtsp\S+)`).FindAllStringSubmatch(sdp, -1)
	if len(media) == 0 || len(media) != len(control) {
		c.t.Fatalf("a description that is not understood: %s", sdp)
	}
	for i, m := range media {
		if c.alone && i > 0 {
			break
		}
		clock, _ := strconv.ParseInt(m[2], 10, 64)
		c.tracks = append(c.tracks, &rtspTrack{codec: m[1], clock: clock, control: control[i][1]})
		way := fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d", 2*i, 2*i+1)
		if udp {
			var ports [2]int
			for j := range ports {
				u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					c.t.Fatal(err)
				}
				_ = u.SetReadBuffer(4 << 20)
				ports[j] = u.LocalAddr().(*net.UDPAddr).Port
				c.udp = append(c.udp, u)
			}
			way = fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", ports[0], ports[1])
		}
		c.must("SETUP", control[i][1], way)
	}
}

// interleaved takes one packet from the connection.
func (c *rtspClient) interleaved() bool {
	_ = c.nc.SetReadDeadline(time.Now().Add(30 * time.Second))
	var head [4]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil || head[0] != '$' {
		return false
	}
	b := make([]byte, binary.BigEndian.Uint16(head[2:]))
	if _, err := io.ReadFull(c.br, b); err != nil {
		return false
	}
	if int(head[1]) < 2*len(c.tracks) {
		c.take(c.tracks[head[1]/2], head[1]%2 == 1, b)
	}
	return true
}

func (c *rtspClient) take(tr *rtspTrack, control bool, b []byte) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if control {
		ps, err := rtcp.Unmarshal(b)
		if err != nil {
			c.t.Errorf("RTCP: %v", err)
		}
		for _, p := range ps {
			switch p := p.(type) {
			case *rtcp.SenderReport:
				if tr.ntp != 0 { // both must say the same of any instant
					tr.report = max(tr.report, time.Duration(tr.wall(p.RTPTime)-ntpNanos(p.NTPTime)).Abs())
				}
				tr.ntp, tr.base = p.NTPTime, p.RTPTime
			case *rtcp.Goodbye:
				tr.bye = true
			}
		}
		return
	}
	p := &rtp.Packet{}
	if err := p.Unmarshal(b); err != nil {
		c.t.Errorf("RTP: %v", err)
		return
	}
	c.begun.CompareAndSwap(0, time.Now().UnixNano()) // its tracks are read by goroutines of their own
	tr.packets = append(tr.packets, p)
	tr.at = append(tr.at, tr.wall(p.Timestamp))
	tr.came = append(tr.came, time.Now().UnixNano())
}

// account makes the client answer the challenge of the server, as RFC 7616 has it.
func (c *rtspClient) account(user, password string) {
	c.t.Helper()
	_, head, _ := c.do("DESCRIBE", c.url)
	m := regexp.MustCompile(`Digest realm="([^"]+)".*algorithm=SHA-256.*nonce="([^"]+)"`).FindStringSubmatch(head)
	if m == nil {
		c.t.Fatalf("no challenge: %s", head)
	}
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	c.sign = func(method, url string) string {
		response := sum(sum(user+":"+m[1]+":"+password) + ":" + m[2] + ":00000001:c:auth:" + sum(method+":"+url))
		return fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"`, user, m[1], m[2], url, response)
	}
}

// rtspClock is an instant, Unix ms, as a Range names it.
func rtspClock(ms int64) string { return time.UnixMilli(ms).UTC().Format("20060102T150405.000") + "Z" }

func ntpNanos(v uint64) int64 {
	return (int64(v>>32)-2208988800)*1e9 + int64((v&0xffffffff)*1e9>>32)
}

// wall is an instant by the newest sender report; 0 = there was none.
func (tr *rtspTrack) wall(ts uint32) int64 {
	if tr.ntp == 0 {
		return 0
	}
	return ntpNanos(tr.ntp) + int64(int32(ts-tr.base))*1e9/tr.clock
}

// play asks for a range and takes what comes until enough says so, or every track
// has said goodbye.
func (c *rtspClient) play(enough func() bool, headers ...string) {
	c.t.Helper()
	c.begun.Store(0)
	var wg sync.WaitGroup
	for i, u := range c.udp {
		_ = u.SetReadDeadline(time.Now().Add(time.Minute))
		wg.Go(func() {
			buf := make([]byte, 1<<16)
			for {
				n, err := u.Read(buf)
				if err != nil {
					return
				}
				c.take(c.tracks[i/2], i%2 == 1, append([]byte(nil), buf[:n]...))
			}
		})
	}
	c.must("PLAY", c.url, headers...)
	over := func() bool {
		all := true
		for _, tr := range c.tracks {
			tr.mu.Lock()
			all = all && tr.bye
			tr.mu.Unlock()
		}
		return all || enough != nil && enough()
	}
	for end := time.Now().Add(harness.Patience); !over(); {
		if time.Now().After(end) {
			c.t.Errorf("%s: the range does not end", c.url)
			break
		}
		if len(c.udp) > 0 {
			time.Sleep(20 * time.Millisecond)
		} else if !c.interleaved() {
			c.t.Errorf("%s: the connection ended", c.url)
			break
		}
	}
	for _, u := range c.udp {
		_ = u.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // what is under way
	}
	wg.Wait()
}

// units joins the packets of a track to access units.
func (tr *rtspTrack) units(t testing.TB) (units [][]byte, at, came []int64) {
	var nal func(*rtp.Packet) ([][]byte, error)
	switch tr.codec {
	case "H264":
		d := &rtph264.Decoder{PacketizationMode: 1}
		if err := d.Init(); err != nil {
			t.Fatal(err)
		}
		nal = d.Decode
	case "H265":
		d := &rtph265.Decoder{}
		if err := d.Init(); err != nil {
			t.Fatal(err)
		}
		nal = d.Decode
	}
	var joined []byte
	for i, p := range tr.packets {
		if i > 0 && p.SequenceNumber != tr.packets[i-1].SequenceNumber+1 {
			t.Errorf("%s: packet %d follows %d", tr.codec, p.SequenceNumber, tr.packets[i-1].SequenceNumber)
		}
		switch tr.codec {
		case "H264", "H265":
			au, err := nal(p)
			if err != nil {
				continue
			}
			for _, n := range au {
				joined = append(joined, n...)
			}
		case "mpeg4-generic":
			joined = append(joined, p.Payload[4:]...)
		case "JPEG":
			joined = append(joined, p.Payload[8:]...)
		default:
			joined = append(joined, p.Payload...)
		}
		if i+1 == len(tr.packets) || tr.packets[i+1].Timestamp != p.Timestamp {
			units, at, came = append(units, joined), append(at, tr.at[i]), append(came, tr.came[i])
			joined = nil
		}
	}
	return units, at, came
}

// media is what came, in the words of the ledger.
func (c *rtspClient) media() *ledger.Media {
	c.t.Helper()
	m := &ledger.Media{}
	c.late = nil
	for _, tr := range c.tracks {
		units, at, came := tr.units(c.t)
		for i, u := range units {
			m.Packets++
			found := ledger.Search(u)
			for _, f := range found {
				f.Shown = at[i]
				c.late = append(c.late, time.Duration(came[i]-f.Token))
				m.Found = append(m.Found, f)
			}
			if len(found) == 0 {
				m.Unnamed++
			}
		}
	}
	return m
}
