package rtsp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"media-server/core/media"
	"media-server/core/timeline"
)

// film is a stream: a picture every 40 ms, a key frame each second, sound each 20 ms,
// from begin on for length with a hole in the middle; live goes on for ever.
type film struct {
	begin  media.Wall
	length time.Duration
	hole   media.Span
	runs   bool // behind the hole is another run, which begins with sound; the break is said once
	tracks []media.Track
	turns  media.Wall // from here on the tracks are others
	others []media.Track
	opened atomic.Int32
}

func newFilm() *film {
	return &film{begin: media.WallOf(noon.Add(-time.Hour)), length: 60 * time.Second, tracks: []media.Track{h264Track, {ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}}}
}

func (f *film) Bounds(uid string) (media.Span, bool) {
	return media.Span{From: f.begin, To: f.begin.Add(f.length)}, uid == "film"
}

func (f *film) Stream(uid string) (string, bool, bool) {
	return "A film", uid != "mp4-only", uid != "nobody"
}

func (f *film) Wake(string) bool { return false }

func (f *film) Frames(uid string, o timeline.Read) (Reader, error) {
	if uid != "film" || !o.Live && (o.From >= f.begin.Add(f.length) || o.To != 0 && o.To <= f.begin && !o.Backward) {
		return nil, fmt.Errorf("film: %w", timeline.ErrNoFootage)
	}
	f.opened.Add(1)
	r := &filmReader{f: f, o: o, at: max(o.From, f.begin), first: true}
	r.at -= (r.at - f.begin) % media.Wall(time.Second)
	if o.Live {
		r.at = f.begin
	}
	return r, nil
}

type filmReader struct {
	f     *film
	o     timeline.Read
	at    media.Wall
	n     int
	first bool
}

const tick = 20 * time.Millisecond

func (r *filmReader) Close() { r.f.opened.Add(-1) }

func (r *filmReader) Next(ctx context.Context) (*media.Frame, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		at, n := r.at, r.n
		if r.n++; r.n == 2 {
			r.n = 0
			if r.at = r.at.Add(tick); r.o.Backward {
				r.at = r.at.Add(-2 * tick)
			}
		}
		if r.o.Live {
			time.Sleep(time.Millisecond)
		}
		if r.o.Backward && at < r.o.To || !r.o.Backward && (r.o.To != 0 && at >= r.o.To || !r.o.Live && at >= r.f.begin.Add(r.f.length)) {
			return nil, io.EOF
		}
		since := at.Sub(r.f.begin)
		tracks := r.f.tracks
		if r.f.turns != 0 && at >= r.f.turns {
			tracks = r.f.others
		}
		fr := &media.Frame{Tracks: tracks, Track: n + 1, PTS: at, DTS: at, Key: true}
		if n == 0 {
			if since%(2*tick) != 0 {
				continue
			}
			fr.Key = since%time.Second == 0
			fr.Payload = sample(append([]byte{0x41}, strconv.FormatInt(int64(at), 10)...))
		} else {
			fr.Payload = make([]byte, 160)
		}
		if r.f.hole.Contains(at) || r.o.Keys && (n != 0 || !fr.Key) {
			continue
		}
		fr.Break = r.first || !r.f.hole.Empty() && at == r.f.hole.To
		if r.f.runs && at >= r.f.hole.To {
			if fr.Run = (media.RunID{1}); n == 0 && at == r.f.hole.To {
				continue
			}
		}
		r.first = false
		return fr, nil
	}
}

// gate lets everybody in but those whom a test keeps out.
type gate struct {
	mu    sync.Mutex
	asks  []Ask
	open  int
	dead  atomic.Bool
	no    *Refusal
	needs string // token
	since int64  // when the account got its password
}

func (g *gate) Play(a Ask) (Pass, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asks = append(g.asks, a)
	if g.no != nil {
		return nil, g.no
	}
	if g.needs != "" && a.Token != g.needs && (a.User.Name != "anna" || a.User.Since != g.since) {
		return nil, &Refusal{Status: 401, Message: "a token"}
	}
	g.open++
	return &pass{g}, nil
}

func (g *gate) setSince(since int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since = since
}

type pass struct{ g *gate }

func (p *pass) Alive() error {
	if p.g.dead.Load() {
		return errors.New("it is over")
	}
	return nil
}

func (p *pass) Close() { p.g.mu.Lock(); p.g.open--; p.g.mu.Unlock() }

// words are accounts that know one right answer.
type words struct{}

func (words) Challenges(_ netip.Addr, stale bool) []string {
	return []string{fmt.Sprintf(`Digest algorithm=SHA-256, stale=%v`, stale), `Digest algorithm=MD5`}
}

func (words) Check(_, header string, same func(string) bool, _ netip.Addr) (Account, bool, error) {
	if uri, ok := strings.CutPrefix(header, "Digest of "); ok && same(uri) {
		return Account{"anna", 7}, false, nil
	}
	switch header {
	case "Digest right":
		return Account{"anna", 7}, false, nil
	case "Digest old":
		return Account{}, true, nil
	case "Digest shut":
		return Account{}, false, &Refusal{Status: 503, Code: "keys", Message: "not now", Cause: errors.New("shut")}
	case "Digest locked":
		return Account{}, false, &Refusal{Status: 403, Message: "shut out"}
	}
	return Account{}, false, errors.New("wrong")
}

// start runs a server with a film; it ends with the test, and with no goroutine left.
func start(t *testing.T, f *film, g *gate, change func(*Options)) string {
	t.Helper()
	o := Options{Listen: "127.0.0.1:0", Source: f, Gate: g, Zone: func() *time.Location { return time.UTC },
		Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	s := New(o)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil || s.Sessions() != 0 || f.opened.Load() != 0 || g.open != 0 {
				t.Errorf("%v, %d connections, %d readers, %d passes are left", err, s.Sessions(), f.opened.Load(), g.open)
			}
		case <-time.After(20 * time.Second):
			t.Error("the server does not end")
		}
	})
	return s.Addrs()[0].String()
}

// brittle is a connection that can be broken: nothing more can be written then.
type brittle struct {
	net.Conn
	broken *atomic.Bool
}

func (b brittle) Write(p []byte) (int, error) {
	if b.broken.Load() {
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

type brittleListener struct {
	net.Listener
	broken atomic.Bool
}

func (l *brittleListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return brittle{nc, &l.broken}, err
}

// TestLeftBeforePlay: who leaves before the answer to PLAY leaves no reader behind; start
// counts them.
func TestLeftBeforePlay(t *testing.T) {
	l := &brittleListener{}
	address := start(t, newFilm(), &gate{}, func(o *Options) {
		o.Open = func(a string) (_ net.Listener, err error) {
			l.Listener, err = net.Listen("tcp", a)
			return l, err
		}
	})
	c := dial(t, address, "/live/film")
	c.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1")
	l.broken.Store(true)
	if _, err := fmt.Fprintf(c.nc, "PLAY %s RTSP/1.0\r\nCSeq: 9\r\nSession: %s\r\n\r\n", c.base, c.sid); err != nil {
		t.Fatal(err)
	}
	if _, err := c.br.ReadByte(); err != io.EOF {
		t.Errorf("the connection stays: %v", err)
	}
}

// client speaks RTSP.
type client struct {
	t    *testing.T
	nc   net.Conn
	br   *bufio.Reader
	base string
	n    int
	sid  string
	got  []*rtp.Packet // of channel 0
	rtcp []rtcp.Packet // of channel 1
	all  map[uint8]int // packets by channel
}

func dial(t *testing.T, address, path string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc, br: bufio.NewReader(nc), base: "rtsp://" + address + path, all: map[uint8]int{}}
}

var statusLine = regexp.MustCompile(`^RTSP/1\.0 (\d{3}) `)

// do sends a request and reads its answer; what is interleaved before it is kept.
func (c *client) do(method, suffix string, headers ...string) (status int, header map[string]string, body string) {
	c.t.Helper()
	c.n++
	text := fmt.Sprintf("%s %s%s RTSP/1.0\r\nCSeq: %d\r\n", method, c.base, suffix, c.n)
	if c.sid != "" {
		text += "Session: " + c.sid + "\r\n"
	}
	for _, h := range headers {
		text += h + "\r\n"
	}
	if _, err := io.WriteString(c.nc, text+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	for {
		b, err := c.br.Peek(1)
		if err != nil {
			c.t.Fatalf("%s: %v", method, err)
		}
		if b[0] != '$' {
			break
		}
		c.packet()
	}
	line, _ := c.br.ReadString('\n')
	m := statusLine.FindStringSubmatch(line)
	if m == nil {
		c.t.Fatalf("%s: %q", method, line)
	}
	status, _ = strconv.Atoi(m[1])
	header = map[string]string{}
	for {
		l, err := c.br.ReadString('\n')
		if l = strings.TrimRight(l, "\r\n"); l == "" || err != nil {
			break
		}
		k, v, _ := strings.Cut(l, ": ")
		header[k] += v
	}
	if n, _ := strconv.Atoi(header["Content-Length"]); n > 0 {
		b := make([]byte, n)
		_, _ = io.ReadFull(c.br, b)
		body = string(b)
	}
	if header["CSeq"] != strconv.Itoa(c.n) {
		c.t.Errorf("%s: CSeq %s, want %d", method, header["CSeq"], c.n)
	}
	if s, _, _ := strings.Cut(header["Session"], ";"); s != "" {
		c.sid = s
	}
	return status, header, body
}

// must is do that has to be 200.
func (c *client) must(method, suffix string, headers ...string) (map[string]string, string) {
	c.t.Helper()
	status, h, body := c.do(method, suffix, headers...)
	if status != 200 {
		c.t.Fatalf("%s: %d %v %s", method, status, h, body)
	}
	return h, body
}

// packet takes one that is interleaved; false: the connection has ended.
func (c *client) packet() bool {
	var head [4]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return false
	}
	b := make([]byte, binary.BigEndian.Uint16(head[2:]))
	if _, err := io.ReadFull(c.br, b); err != nil || head[0] != '$' {
		return false
	}
	c.all[head[1]]++
	switch head[1] {
	case 0:
		p := &rtp.Packet{}
		if err := p.Unmarshal(b); err != nil {
			c.t.Error(err)
		}
		c.got = append(c.got, p)
	case 1:
		ps, err := rtcp.Unmarshal(b)
		if err != nil {
			c.t.Error(err)
		}
		c.rtcp = append(c.rtcp, ps...)
	}
	return true
}

// until reads packets until a fact holds.
func (c *client) until(what string, is func() bool) {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(15 * time.Second))
	defer func() { _ = c.nc.SetReadDeadline(time.Time{}) }()
	for !is() {
		if !c.packet() {
			c.t.Fatalf("the connection ended before %s: %d packets", what, len(c.got))
		}
	}
}

func (c *client) bye() bool {
	for _, p := range c.rtcp {
		if _, ok := p.(*rtcp.Goodbye); ok {
			return true
		}
	}
	return false
}

// walls are the times in the pictures that came.
func (c *client) walls() (out []media.Wall) {
	for _, p := range c.got {
		if p.Payload[0] == 0x41 {
			n, _ := strconv.ParseInt(string(p.Payload[1:]), 10, 64)
			out = append(out, media.Wall(n))
		}
	}
	return out
}

func (c *client) setup() {
	c.t.Helper()
	c.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	c.must("SETUP", "/trackID=2", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3")
}

func clockOf(w media.Wall) string { return "Range: clock=" + clockText(w) + "-" }

// TestReplay: a range comes as fast as it is taken, every frame once, in RTP times
// and extensions that are the recording's, ends with a BYE, and plays again.
func TestReplay(t *testing.T) {
	f, g := newFilm(), &gate{}
	f.hole = media.Span{From: f.begin.Add(5 * time.Second), To: f.begin.Add(8 * time.Second)}
	c := dial(t, start(t, f, g, nil), "/dvr/film?from=2026-03-01T11:00:00Z&to=2026-03-01T11:00:12Z&token=secret")
	_, sdp := c.must("DESCRIBE", "", "Accept: application/sdp")
	for _, want := range []string{"a=range:clock=20260301T110000.000000Z-20260301T110012.000000Z\r\n", "a=range:npt=0-12.000000\r\n", "m=video 0 RTP/AVP 96\r\n", "H264/90000", "m=audio 0 RTP/AVP 8\r\n", "/trackID=2\r\n"} {
		if !strings.Contains(sdp, want) {
			t.Errorf("no %q in %s", want, sdp)
		}
	}
	c.setup()
	h, _ := c.must("PLAY", "", "Require: onvif-replay", "Rate-Control: no", clockOf(f.begin.Add(2500*time.Millisecond)))
	if h["Range"] != "clock=20260301T110002.000000Z-20260301T110012.000000Z" || h["Rate-Control"] != "no" || !strings.Contains(h["RTP-Info"], "seq=") {
		t.Errorf("%v", h)
	}
	c.until("a BYE", c.bye)
	walls := c.walls()
	if len(walls) != 25*7 || walls[0] != f.begin.Add(2*time.Second) {
		t.Fatalf("%d pictures from %v", len(walls), walls[0].Time())
	}
	sr := c.rtcp[0].(*rtcp.SenderReport)
	at := media.Wall(int64(sr.NTPTime>>32-2208988800)*1e9 + int64((sr.NTPTime&0xffffffff)*1e9>>32))
	i := -1
	for _, p := range c.got {
		if p.Payload[0] != 0x41 {
			continue
		}
		i++
		w := walls[i]
		if d := at.Add(time.Duration(int32(p.Timestamp-sr.RTPTime)) * time.Second / 90000).Sub(w); d.Abs() > 20*time.Microsecond {
			t.Fatalf("picture %d is off by %v", i, d)
		}
	}
	var flags []byte
	for _, p := range c.got {
		if e := p.GetExtension(0); e != nil {
			flags = append(flags, e[8])
			if e[9] != byte(c.n) {
				t.Fatalf("CSeq %d in the extension, want %d", e[9], c.n)
			}
		}
	}
	// C and D with the first, E with the last before the hole, C and D behind it, E and
	// T with the very last.
	for at, want := range map[int]byte{0: 0xa0, 1: 0, 25: 0x80, 74: 0x40, 75: 0xa0, 76: 0, len(flags) - 1: 0x50} {
		if len(flags) != len(walls) || flags[at] != want {
			t.Errorf("%d pictures; flags of picture %d are %#x, want %#x", len(flags), at, flags[at], want)
		}
	}
	ssrc := c.got[0].SSRC
	c.got, c.rtcp = nil, nil
	c.must("PLAY", "", "Rate-Control: no", "Range: npt=11-")
	c.until("a BYE", c.bye)
	if w := c.walls(); len(w) != 25 || c.got[0].SSRC == ssrc {
		t.Errorf("played again: %d pictures", len(w))
	}
	c.must("TEARDOWN", "")
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.asks[len(g.asks)-1]
	if last.Token != "secret" || last.UID != "film" || last.From != f.begin.Add(11*time.Second) || last.To != f.begin.Add(12*time.Second) {
		t.Errorf("the gate was asked %+v", last)
	}
}

// TestHole: nobody waits a hole out, and every track says where it was, also where the
// frame that tells of it is sound that is left out.
func TestHole(t *testing.T) {
	f := newFilm()
	f.hole, f.runs = media.Span{From: f.begin.Add(2 * time.Second), To: f.begin.Add(50 * time.Second)}, true
	address := start(t, f, &gate{}, nil)
	c := dial(t, address, "/dvr/film?from=2026-03-01T11:00:00Z&to=2026-03-01T11:00:52Z")
	c.setup()
	began := time.Now()
	c.must("PLAY", "", "Scale: 2")
	c.until("a BYE", c.bye)
	if took := time.Since(began); took > 10*time.Second || len(c.walls()) != 50+49 {
		t.Errorf("%d pictures in %v", len(c.walls()), took)
	}
	c.got, c.rtcp = nil, nil
	c.must("PLAY", "", "Require: onvif-replay", "Rate-Control: no", "Range: npt=0-")
	c.until("a BYE", c.bye)
	holes := 0
	for _, p := range c.got {
		if e := p.GetExtension(0); e != nil && e[8]&0x20 != 0 {
			holes++
		}
	}
	if holes != 2 {
		t.Errorf("%d pictures tell of a hole, want the first and the one behind it", holes)
	}
}

// TestPause: pause and go on, seek, other tempos, and backwards by key frames.
func TestPause(t *testing.T) {
	f := newFilm()
	c := dial(t, start(t, f, &gate{}, nil), "/dvr/film")
	c.must("DESCRIBE", "")
	c.setup()
	c.must("PLAY", "", "Speed: 16")
	c.until("two seconds", func() bool { return len(c.walls()) > 50 })
	c.must("PAUSE", "")
	w := c.walls()
	last := w[len(w)-1]
	c.got = nil
	c.must("PLAY", "")
	c.until("a picture", func() bool { return len(c.walls()) > 0 })
	if first := c.walls()[0]; first > last || last.Sub(first) > time.Second {
		t.Errorf("goes on with %v, was at %v", first.Time(), last.Time())
	}
	seek := f.begin.Add(40 * time.Second)
	h, _ := c.must("PLAY", "", clockOf(seek), "Scale: 8")
	if h["Scale"] != "8" || h["Range"] != "clock=20260301T110040.000000Z-" {
		t.Errorf("%v", h)
	}
	c.got, c.all = nil, map[uint8]int{}
	c.until("three pictures", func() bool { return len(c.walls()) >= 3 })
	if w := c.walls(); w[0] != seek || w[1] != seek.Add(time.Second) || c.all[2] > 0 {
		t.Errorf("with a scale of 8: %v, %d packets of sound", w, c.all[2])
	}
	// A second of the recording is an eighth of one of the viewer's.
	if d := c.got[len(c.got)-1].Timestamp - c.got[0].Timestamp; d != 2*90000/8 {
		t.Errorf("RTP time goes on by %d", d)
	}
	h, _ = c.must("PLAY", "", "Range: clock=20260301T110030Z-20260301T110028Z", "Scale: -8")
	c.got = nil
	c.until("a BYE", c.bye)
	w = c.walls()
	if h["Scale"] != "-8" || len(w) != 3 || w[0] != f.begin.Add(30*time.Second) || w[2] != f.begin.Add(28*time.Second) || c.got[len(c.got)-1].Timestamp-c.got[0].Timestamp != 2*90000/8 {
		t.Errorf("backwards: %v %v", h, w)
	}
}

// TestSeeks: whoever seeks again and again is never taken for one who has stopped.
func TestSeeks(t *testing.T) {
	f := newFilm()
	s := New(Options{Source: f, Gate: &gate{}})
	there, here := net.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	c := &conn{s: s, nc: here, ctx: ctx, stop: stop}
	done := make(chan bool)
	go func() { c.serve(); close(done) }()
	cl := &client{t: t, nc: there, br: bufio.NewReader(there), base: "rtsp://h/dvr/film", all: map[uint8]int{}}
	cl.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1")
	look := make(chan bool) // as the sweep does
	go func() {
		defer close(look)
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
				c.idle(time.Now())
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	cl.must("SETUP", "/trackID=2", "Transport: RTP/AVP/TCP;interleaved=2-3")
	for i := range 300 {
		cl.must("PLAY", "", "Rate-Control: no", clockOf(f.begin.Add(time.Duration(i%50)*time.Second)))
		cl.got = nil
		cl.until("a picture", func() bool { return len(cl.got) > 0 })
		if !c.playing.Load() {
			t.Fatalf("it plays, and is taken for idle, after %d seeks", i)
		}
	}
	there.Close()
	<-look
	s.wg.Wait()
}

// TestPlace: who pauses goes on where he was: in the archive, if he was there by way of
// the live URL, and where sound that a Scale leaves out was set up first.
func TestPlace(t *testing.T) {
	f, g := newFilm(), &gate{}
	c := dial(t, start(t, f, g, nil), "/live/film")
	c.must("SETUP", "/trackID=2", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3")
	c.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	last := func() media.Wall { w := c.walls(); return w[len(w)-1] }
	goesOn := func(what string) {
		t.Helper()
		was := last()
		c.got = nil
		c.must("PLAY", "")
		c.until("a picture", func() bool { return len(c.walls()) > 0 })
		if first := c.walls()[0]; first > was || was.Sub(first) > 2*time.Second {
			t.Errorf("%s: goes on with %v, was at %v", what, first.Time(), was.Time())
		}
		c.must("PAUSE", "")
	}
	for _, h := range []string{"Scale: 1", "Scale: 2"} {
		c.got = nil
		c.must("PLAY", "", clockOf(f.begin.Add(20*time.Second)), "Speed: 8", h)
		c.until("four seconds", func() bool { return len(c.walls()) > 100 })
		c.must("PAUSE", "")
		goesOn(h)
	}
	c.must("PLAY", "", "Range: npt=now-")
	c.until("more", func() bool { return len(c.walls()) > 120 })
	c.must("PAUSE", "")
	c.must("PLAY", "")
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.asks[len(g.asks)-1]; !a.Live {
		t.Errorf("live, paused, and then %+v", a)
	}
}

// TestTurns: parameters that change go on in band; tracks that are others end what
// plays, and what is described then plays.
func TestTurns(t *testing.T) {
	f := newFilm()
	f.turns = f.begin.Add(2 * time.Second)
	sized := h264Track
	sized.SPS = []byte{0x67, 0x42, 0, 0x1e, 9}
	f.others = []media.Track{sized, f.tracks[1]}
	address := start(t, f, &gate{}, nil)
	play := func() (pictures int, sets map[string]int) {
		c := dial(t, address, "/dvr/film?from=2026-03-01T11:00:00Z&to=2026-03-01T11:00:04Z")
		c.must("DESCRIBE", "")
		c.setup()
		c.must("PLAY", "", "Rate-Control: no")
		c.until("a BYE", c.bye)
		sets = map[string]int{}
		for _, p := range c.got {
			if p.Payload[0] == 0x67 {
				sets[string(p.Payload)]++
			}
		}
		return len(c.walls()), sets
	}
	if n, sets := play(); n != 100 || sets[string(h264Track.SPS)] != 2 || sets[string(sized.SPS)] != 2 {
		t.Errorf("%d pictures, parameter sets %v", n, sets)
	}
	f.others = []media.Track{{ID: 1, Codec: media.MJPEG, Timescale: 90000}}
	if n, _ := play(); n != 50 {
		t.Errorf("%d pictures before the tracks are others", n)
	}
	c := dial(t, address, "/dvr/film?from=2026-03-01T11:00:00Z&to=2026-03-01T11:00:04Z")
	c.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1")
	if status, _, body := c.do("PLAY", "", "Range: npt=3-"); status != 457 || !strings.Contains(body, "another coding") {
		t.Errorf("PLAY where the tracks are others: %d %s", status, body)
	}
	c.must("PLAY", "", "Rate-Control: no", "Range: npt=0-")
	c.until("a BYE", c.bye)
}

// TestIdle: whoever is silent for longer than a session lasts is cut, unless he plays
// over TCP.
func TestIdle(t *testing.T) {
	s := New(Options{})
	now := time.Now()
	for _, c := range []struct {
		name         string
		tcp, playing bool
		silent       time.Duration
		idle         bool
	}{
		{"no session", false, false, 66 * time.Second, true},
		{"no session yet", false, false, 30 * time.Second, false},
		{"UDP", false, true, 66 * time.Second, true},
		{"UDP, heard", false, true, 50 * time.Second, false},
		{"TCP", true, true, time.Hour, false},
		{"TCP, paused", true, false, 66 * time.Second, true},
	} {
		cn := &conn{s: s}
		if c.playing || c.tcp {
			cn.ss = &session{tcp: c.tcp}
		}
		cn.playing.Store(c.playing)
		cn.lastHeard.Store(int64(now.Add(-c.silent).Sub(s.made)))
		if got := cn.idle(now); got != c.idle {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestRefusals: each has its status, and the connection goes on.
func TestRefusals(t *testing.T) {
	f := newFilm()
	address := start(t, f, &gate{}, nil)
	for _, c := range []struct {
		path, method string
		header       string
		status       int
	}{
		{"/live/nobody", "DESCRIBE", "", 404},
		{"/live/mp4-only", "DESCRIBE", "", 404},
		{"/dvr/film?from=2026-03-01T11:30:00Z", "DESCRIBE", "", 404},
		{"/dvr/film?from=2026-03-01T11:00:10Z&to=2026-03-01T11:00:00Z", "DESCRIBE", "", 400},
		{"/dvr/film?from=2027-03-01T11:00:10Z", "DESCRIBE", "", 457},
		{"/live/film", "DESCRIBE", "Require: backchannel", 551},
		{"/live/film", "DESCRIBE", "Accept: text/html", 400},
		{"/live/film", "PLAY", "", 455},
		{"/live/film", "PAUSE", "", 455},
		{"/live/film", "PLAY", "Session: 12345678", 454},
		{"/live/film", "ANNOUNCE", "", 405},
		{"/live/film", "DANCE", "", 501},
		{"/live/film", "SETUP", "Transport: RTP/AVP/TCP;interleaved=0-1", 404},
		{"/live/film/trackID=9", "SETUP", "Transport: RTP/AVP/TCP;interleaved=0-1", 404},
		{"/live/film/trackID=1", "SETUP", "Transport: RTP/AVP;unicast;client_port=5000-5001", 461},
		{"/live/film/trackID=1", "SETUP", "", 461},
		{"/live/film", "OPTIONS", "", 200},
		{"/live/film", "GET_PARAMETER", "", 200},
		{"/live/film", "TEARDOWN", "", 200},
	} {
		cl := dial(t, address, c.path)
		var headers []string
		if c.header != "" {
			headers = []string{c.header}
		}
		if status, h, body := cl.do(c.method, "", headers...); status != c.status {
			t.Errorf("%s %s %s: %d %v %s, want %d", c.method, c.path, c.header, status, h, body, c.status)
		}
		cl.must("OPTIONS", "")
	}
	cl := dial(t, address, "/dvr/film")
	cl.setup()
	for _, h := range []string{"Range: clock=20260301T113000Z-", "Range: npt=0-0", "Range: x=1", "Range: clock=20260301T130000Z-"} {
		if status, _, _ := cl.do("PLAY", "", h); status != 457 {
			t.Errorf("PLAY %s: %d", h, status)
		}
	}
	cl.must("PLAY", "", "Range: npt=1-")
}

// TestEmptyLines: a client that sends them to keep its connection is heard, and is not
// taken for one that does not finish a request.
func TestEmptyLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		there, here := net.Pipe()
		ctx, stop := context.WithCancel(t.Context())
		c := &conn{s: s, nc: here, ctx: ctx, stop: stop}
		c.heard()
		done := make(chan bool)
		go func() { c.serve(); close(done) }()
		for range 5 {
			time.Sleep(sessionTimeout / 2)
			_, _ = io.WriteString(there, "\r\n")
		}
		synctest.Wait()
		if c.idle(time.Now().Add(sessionTimeout)) {
			t.Error("nobody heard it")
		}
		time.Sleep(sessionTimeout / 2)
		_ = there.SetDeadline(time.Now().Add(time.Second))
		go func() { _, _ = io.WriteString(there, "\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n") }()
		if l, err := bufio.NewReader(there).ReadString('\n'); err != nil || l != "RTSP/1.0 200 OK\r\n" {
			t.Errorf("%q %v", l, err)
		}
		there.Close()
		<-done
	})
}

// TestLogged: of a URL that is written wrongly nothing is logged but the name of a
// stream, if it is one: there may be a token in it.
func TestLogged(t *testing.T) {
	f := newFilm()
	var log lines
	address := start(t, f, &gate{}, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, path := range []string{"/live/nobody?token=secret", "/live/film&token=secret", "/dvr/film&token=secret", "/live/filmtoken=secret/", "/dvr/film?from=1&token=secret&to=secret",
		"/dvr/film?from=token=secret", "/dvr/film?from=2026-03-01T11:00:00Z&duration=token=secret", "/live/secret%00", "/secret/film", "/live/%secret",
		"/live/secret-secret-secret-secret-secret-secret"} {
		for _, method := range []string{"DESCRIBE", "SETUP"} {
			if status, _, _ := dial(t, address, path).do(method, "", "Transport: RTP/AVP/TCP;interleaved=0-1"); status < 400 {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
	}
	c := dial(t, address, "/dvr/film")
	c.setup()
	if status, _, _ := c.do("PLAY", "", "Range: clock=secret-"); status != 457 {
		t.Error(status)
	}
	if text := log.String(); strings.Contains(text, "secret") || strings.Count(text, "refused") < 5 || !strings.Contains(text, "stream=nobody") {
		t.Error(text)
	}
}

// lines are what was logged.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// TestRubbish: whoever does not speak RTSP loses the connection and nothing else.
func TestRubbish(t *testing.T) {
	f := newFilm()
	address := start(t, f, &gate{}, nil)
	watching := dial(t, address, "/live/film")
	watching.setup()
	watching.must("PLAY", "")
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", strings.Repeat("A", 40000), "$\x00\xff\xff", "PLAY rtsp://h/live/film RTSP/1.0\r\nContent-Length: 9999999\r\n\r\n"} {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, text)
		_ = nc.(*net.TCPConn).CloseWrite()
		_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, nc); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.20q: %v", text, err)
		}
		nc.Close()
	}
	n := len(watching.got)
	watching.until("more pictures", func() bool { return len(watching.got) > n+50 })
}

// TestRevoked: a pass that is no longer alive ends the session within two seconds.
func TestRevoked(t *testing.T) {
	f, g := newFilm(), &gate{}
	c := dial(t, start(t, f, g, nil), "/live/film")
	c.setup()
	c.must("PLAY", "")
	c.until("a picture", func() bool { return len(c.got) > 0 })
	g.dead.Store(true)
	_ = c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	for c.packet() {
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Error(err)
	}
	if _, err := c.br.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection goes on: %v", err)
	}
}

// TestWho: tokens, Bearer, Digest, once on a connection and again when it is old.
func TestWho(t *testing.T) {
	f, g := newFilm(), &gate{needs: "t1", since: 7}
	address := start(t, f, g, func(o *Options) { o.Accounts = words{} })
	for _, c := range []struct {
		path, header string
		status       int
		challenge    string
	}{
		{"/live/film", "", 401, "Digest algorithm=SHA-256, stale=falseDigest algorithm=MD5"},
		{"/live/film?token=t1", "", 200, ""},
		{"/live/film?token=t2", "", 401, "Digest algorithm=SHA-256, stale=falseDigest algorithm=MD5"},
		{"/live/film", "Authorization: Bearer t1", 200, ""},
		{"/live/film", "Authorization: Digest right", 200, ""},
		{"/live/film", "Authorization: Digest wrong", 401, "Digest algorithm=SHA-256, stale=falseDigest algorithm=MD5"},
		{"/live/film", "Authorization: Digest old", 401, "Digest algorithm=SHA-256, stale=trueDigest algorithm=MD5"},
		{"/live/film", "Authorization: Digest locked", 403, ""},
		{"/live/film", "Authorization: Digest shut", 503, ""},
		{"/live/film", "Authorization: Basic YTpi", 401, "Digest algorithm=SHA-256, stale=falseDigest algorithm=MD5"},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header}
		}
		if status, h, _ := dial(t, address, c.path).do("DESCRIBE", "", headers...); status != c.status || h["WWW-Authenticate"] != c.challenge {
			t.Errorf("%s %s: %d %v", c.path, c.header, status, h)
		}
	}
	cl := dial(t, address, "/live/film")
	cl.must("DESCRIBE", "", "Authorization: Digest right")
	cl.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1", "Authorization: Digest old")
	cl.must("PLAY", "")
}

// TestOtherPassword: an account that has another password, or was made anew, is not
// the one that was proved on a connection; the client is asked once more.
func TestOtherPassword(t *testing.T) {
	f, g := newFilm(), &gate{needs: "t1", since: 7}
	address := start(t, f, g, func(o *Options) { o.Accounts = words{} })
	for stale, header := range map[string]string{"false": "Accept: */*", "true": "Authorization: Digest old"} {
		c := dial(t, address, "/dvr/film")
		c.must("DESCRIBE", "", "Authorization: Digest right")
		c.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1")
		g.setSince(8)
		status, h, _ := c.do("PLAY", "", header)
		if status != 401 || !strings.Contains(h["WWW-Authenticate"], "stale="+stale) {
			t.Errorf("%s: %d %v", header, status, h)
		}
		g.setSince(7)
		if status, _, _ := c.do("PLAY", ""); status != 401 {
			t.Errorf("%s: what is void is good again: %d", header, status)
		}
		c.must("PLAY", "", "Authorization: Digest right")
	}
}

// TestDigestURL: a client signs the URL that it was given, also where it goes from live
// into the archive, or the other way.
func TestDigestURL(t *testing.T) {
	f, g := newFilm(), &gate{needs: "t1", since: 7}
	address := start(t, f, g, func(o *Options) { o.Accounts = words{} })
	for path, headers := range map[string][]string{
		"/live/film": {"Range: npt=now-", clockOf(f.begin.Add(time.Second))},
		"/dvr/film":  {"Range: npt=0-", "Range: npt=now-"},
	} {
		for _, h := range headers {
			c := dial(t, address, path)
			signed := "Authorization: Digest of " + c.base
			c.must("DESCRIBE", "", signed)
			c.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1", signed)
			c.must("PLAY", "", h, signed)
		}
	}
}

// TestAsks: what is to be played is said to the gate in full, or as not known yet;
// 1970 is no way of not saying it.
func TestAsks(t *testing.T) {
	f, g := newFilm(), &gate{}
	c := dial(t, start(t, f, g, nil), "/dvr/film")
	c.setup()
	for _, h := range []string{"Range: clock=19700101T000000Z-", "Range: clock=19700101T000000.0005Z-", "Range: npt=2208988800.0005-", "Scale: 1"} {
		c.must("PLAY", "", "Speed: 16", h)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, a := range g.asks {
		if describes := i < 2; a.Unknown != describes || !describes && a.From < f.begin || a.To != 0 {
			t.Errorf("question %d: %+v", i, a)
		}
	}
	if len(g.asks) != 6 {
		t.Errorf("%d questions", len(g.asks))
	}
}

// TestUDP: packets come from the two ports to those that the client named.
func TestUDP(t *testing.T) {
	f := newFilm()
	a, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var s *Server
	address := ""
	for port := 20000; port < 40000; port += 2 { // a pair that nobody has
		o := func(o *Options) { o.UDP = fmt.Sprintf("%d-%d", port, port+1) }
		try := Options{Listen: "127.0.0.1:0"}
		o(&try)
		if s = New(try); s.Listen() != nil {
			continue
		}
		s.Close()
		address = start(t, f, &gate{}, o)
		break
	}
	c := dial(t, address, "/dvr/film?from=2026-03-01T11:00:00Z&to=2026-03-01T11:00:01Z")
	port := func(u *net.UDPConn) int { return u.LocalAddr().(*net.UDPAddr).Port }
	h, _ := c.must("SETUP", "/trackID=1", fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", port(a), port(b)))
	if !strings.Contains(h["Transport"], fmt.Sprintf("client_port=%d-%d;server_port=", port(a), port(b))) {
		t.Errorf("%v", h)
	}
	c.must("PLAY", "", "Speed: 16")
	buf := make([]byte, 2048)
	pictures := 0
	for _, u := range []*net.UDPConn{a, b} {
		_ = u.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	for pictures < 25 {
		n, err := a.Read(buf)
		if err != nil {
			t.Fatalf("after %d pictures: %v", pictures, err)
		}
		p := &rtp.Packet{}
		if err := p.Unmarshal(buf[:n]); err != nil {
			t.Fatal(err)
		}
		if p.Payload[0] == 0x41 {
			pictures++
		}
	}
	for bye := false; !bye; {
		n, err := b.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		ps, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		_, bye = ps[len(ps)-1].(*rtcp.Goodbye)
	}
}

// TestMatchTracks: a new run may number its tracks anew.
func TestMatchTracks(t *testing.T) {
	pcma := media.Track{ID: 2, Codec: media.PCMA, SampleRate: 8000, Channels: 1}
	described := []media.Track{h264Track, pcma}
	ms := []*medium{{control: 1}, {control: 2}}
	other, sound := h264Track, pcma
	other.ID, other.SPS, sound.ID = 9, []byte{0x67, 9}, 1
	got := matchTracks(ms, described, []media.Track{sound, other})
	if got[9] != ms[0] || got[1] != ms[1] || len(got) != 2 {
		t.Errorf("%v", got)
	}
	sound.SampleRate = 16000
	if got := matchTracks(ms, described, []media.Track{sound}); len(got) != 0 {
		t.Errorf("another coding goes where G.711 at 8 kHz was promised: %v", got)
	}
}
