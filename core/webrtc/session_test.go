package webrtc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var both = []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio}

// pictures puts what was received together, a slice of Annex B each, with their RTP times.
func (p *player) pictures() (units [][]byte, times []uint32) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var d codecs.H264Packet
	var u []byte
	for i, k := range p.got["video"] {
		if i > 0 && k.SequenceNumber != p.got["video"][i-1].SequenceNumber+1 {
			p.t.Fatalf("packet %d behind %d", k.SequenceNumber, p.got["video"][i-1].SequenceNumber)
		}
		b, err := d.Unmarshal(k.Payload)
		if err != nil {
			p.t.Fatal(err)
		}
		u = append(u, b...)
		if k.Marker {
			units, times = append(units, u), append(times, k.Timestamp)
			u = nil
		}
	}
	return units, times
}

// TestPlays: every picture and packet of sound arrives as it is, from a key frame
// on, in order, and live soon after.
func TestPlays(t *testing.T) {
	src := &shot{clips: []string{clip.H264Plain, clip.Opus}, age: 800 * time.Millisecond}
	s, g := newServer(t, src)
	p := newPlayer(t, both...).play(s)
	p.until("pictures and sound", func() bool { return p.count("video") > 300 && p.count("audio") > 100 })
	if g.in.Load() != 1 || s.Sessions() != 1 || len(p.answer.Notes) != 0 {
		t.Error(g.in.Load(), s.Sessions(), p.answer.Notes)
	}
	units, times := p.pictures()
	c := load(t, clip.H264Plain)
	for i, u := range units {
		var nals [][]byte
		smp := c.Samples[i%len(c.Samples)]
		if smp.Key {
			nals = append(nals, c.Track.SPS, c.Track.PPS)
		}
		eachNAL(smp.Payload, func(n []byte) { nals = append(nals, n) })
		if !bytes.Equal(u, annexB(nals...)) {
			t.Fatalf("picture %d is another one", i)
		}
		if i > 0 && int32(times[i]-times[i-1]) <= 0 {
			t.Fatalf("picture %d at %d behind %d", i, times[i], times[i-1])
		}
		if i > 50 && times[i]-times[i-1] != 3600 {
			t.Errorf("%d ticks before live picture %d", times[i]-times[i-1], i)
		}
	}
	p.mu.Lock()
	sound := p.got["audio"]
	for i := range sound[1:] {
		if d := sound[i+1].Timestamp - sound[i].Timestamp; d != 960 {
			t.Errorf("%d samples before packet %d", d, i+1)
		}
	}
	if !sound[0].Marker || !strings.EqualFold(p.mime["audio"], webrtc.MimeTypeOpus) || !strings.EqualFold(p.mime["video"], webrtc.MimeTypeH264) {
		t.Error(sound[0].Marker, p.mime)
	}
	p.mu.Unlock()
	if strings.Contains(p.answer.SDP, ".local") || !strings.Contains(p.answer.SDP, "a=ice-lite") {
		t.Errorf("%s", p.answer.SDP)
	}
	if err := s.Trickle("gate", p.answer.Session, []byte("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n")); err != nil {
		t.Error(err)
	}
	if r := refusal(t, s.Trickle("gate", p.answer.Session, []byte("a=ice-ufrag:another\r\n"))); r.Status != 422 {
		t.Errorf("%+v", r)
	}
	if r := refusal(t, s.End("yard", p.answer.Session)); r.Status != 404 {
		t.Errorf("ended from another stream's address: %+v", r)
	}
	if err := s.End("gate", p.answer.Session); err != nil {
		t.Fatal(err)
	}
	p.ended(s, g, src)
}

// ended checks that nothing is left of the session.
func (p *player) ended(s *Server, g *openGate, src *shot) {
	p.t.Helper()
	begin := time.Now()
	until(p.t, "the end", func() bool { return s.Sessions() == 0 && g.in.Load() == 0 && src.open.Load() == 0 })
	if d := time.Since(begin); d > 2*time.Second {
		p.t.Errorf("it took %v", d)
	}
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
		p.t.Error("the player was not told")
	}
}

func TestEnds(t *testing.T) {
	for name, end := range map[string]func(*Server, *openGate, *player){
		"the pass is revoked": func(_ *Server, g *openGate, _ *player) { g.shut.Store(true) },
		"the server stops":    func(s *Server, _ *openGate, _ *player) { s.Close() },
		"the player goes":     func(_ *Server, _ *openGate, p *player) { _ = p.pc.Close() },
		"the player says so":  func(s *Server, _ *openGate, p *player) { _ = s.End("gate", p.answer.Session) },
		"the settings end Run": func(s *Server, _ *openGate, _ *player) {
			ctx, c := context.WithCancel(context.Background())
			c()
			_ = s.Run(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := &shot{clips: []string{clip.H264Plain}}
			s, g := newServer(t, src)
			p := newPlayer(t, webrtc.RTPCodecTypeVideo).play(s)
			p.until("a picture", func() bool { return p.count("video") > 10 })
			end(s, g, p)
			p.ended(s, g, src)
		})
	}
}

// TestVanished: a player that is heard of no more is given up.
func TestVanished(t *testing.T) {
	src := &shot{clips: []string{clip.H264Plain}}
	s, g := newServer(t, src)
	p := newPlayer(t, webrtc.RTPCodecTypeVideo).play(s)
	p.until("a picture", func() bool { return p.count("video") > 10 })
	begin := time.Now()
	_ = p.udp.Close() // without a word
	until(t, "the end", func() bool { return s.Sessions() == 0 && g.in.Load() == 0 && src.open.Load() == 0 })
	if d := time.Since(begin); d > iceSilent+iceGone+2*time.Second+2*time.Second {
		t.Errorf("it took %v", d)
	} else {
		t.Logf("after %v", d)
	}
}

// TestNeverCame: a session that nobody takes up is given up.
func TestNeverCame(t *testing.T) {
	src := &shot{clips: []string{clip.ALaw}}
	s, g := newServer(t, src)
	p := newPlayer(t, webrtc.RTPCodecTypeAudio)
	_, err := s.Open(context.Background(), Ask{UID: "gate"}, []byte(p.offer()))
	if err != nil {
		t.Fatal(err)
	}
	if s.Sessions() != 1 {
		t.Fatal(s.Sessions())
	}
	// It never comes: the place is free again.
	until(t, "the end of a session that nobody took up", func() bool { return s.Sessions() == 0 && g.in.Load() == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places.all != 0 {
		t.Error(s.places)
	}
}

// TestKeyFrameAgain: a player that asks for a key frame gets the newest group again,
// and one that soon asks once more nothing until the next.
func TestKeyFrameAgain(t *testing.T) {
	src := &shot{clips: []string{clip.H264Plain}, every: 250}
	s, _ := newServer(t, src)
	p := newPlayer(t, webrtc.RTPCodecTypeVideo).play(s)
	keys := func() (n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, k := range p.got["video"] {
			if k.Payload[0]&31 == nalSTAPA {
				n++
			}
		}
		return n
	}
	p.until("the first key frame", func() bool { return keys() == 1 })
	p.mu.Lock()
	ssrc := p.got["video"][0].SSRC
	p.mu.Unlock()
	ask := func() {
		if err := p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
			t.Fatal(err)
		}
	}
	ask() // it is on its way
	time.Sleep(keyOnItsWay + 200*time.Millisecond)
	if keys() != 1 {
		t.Errorf("%d key frames", keys())
	}
	ask()
	p.until("another", func() bool { return keys() == 2 })
	time.Sleep(keyOnItsWay + 200*time.Millisecond)
	ask()
	time.Sleep(300 * time.Millisecond)
	before := p.count("video")
	time.Sleep(time.Second)
	if n := p.count("video"); n != before || keys() != 2 {
		t.Errorf("%d more packets, %d key frames", n-before, keys())
	}
	_, times := p.pictures()
	for i := range times[1:] {
		if int32(times[i+1]-times[i]) <= 0 {
			t.Fatalf("%d behind %d", times[i+1], times[i])
		}
	}
	if n := src.open.Load(); n != 1 {
		t.Errorf("%d readers", n)
	}
}

// TestReports: the player learns which RTP time belongs to which time of the wall clock.
func TestReports(t *testing.T) {
	s, _ := newServer(t, &shot{clips: []string{clip.H264Plain, clip.ALaw}})
	p := newPlayer(t, both...)
	reports := make(chan *rtcp.SenderReport, 64)
	for _, tr := range p.pc.GetTransceivers() {
		p.wg.Go(func() {
			for {
				ps, _, err := tr.Receiver().ReadRTCP()
				if err != nil {
					return
				}
				for _, k := range ps {
					if sr, ok := k.(*rtcp.SenderReport); ok {
						select {
						case reports <- sr:
						default:
						}
					}
				}
			}
		})
	}
	p.play(s)
	seen := map[uint32]bool{}
	for end := time.After(20 * time.Second); len(seen) < 2; {
		select {
		case sr := <-reports:
			p.mu.Lock()
			for kind, rate := range map[string]float64{"video": 90000, "audio": 8000} {
				n := len(p.got[kind]) - 1
				if n < 20 || p.got[kind][n].SSRC != sr.SSRC {
					continue
				}
				// The source's frames are taken when they are sent.
				at := p.when[kind][n].Add(time.Duration(float64(int32(sr.RTPTime-p.got[kind][n].Timestamp)) / rate * float64(time.Second)))
				if d := time.Unix(int64(sr.NTPTime>>32)-2208988800, int64(sr.NTPTime&(1<<32-1)*1e9>>32)).Sub(at); d < -150*time.Millisecond || d > 150*time.Millisecond {
					t.Errorf("%s: the report is off by %v", kind, d)
				}
				seen[sr.SSRC] = true
			}
			p.mu.Unlock()
		case <-end:
			t.Fatalf("reports of %d tracks", len(seen))
		}
	}
}

func TestRefused(t *testing.T) {
	offer := func(t *testing.T) []byte { return []byte(newPlayer(t, both...).offer()) }
	for _, c := range []struct {
		name   string
		src    *shot
		gate   error
		status int
		code   string
	}{
		{"nothing was ever captured", &shot{}, nil, 404, "no_footage"},
		{"B-frames", &shot{clips: []string{clip.H264}}, nil, 415, "codec_not_in_webrtc"},
		{"B-frames, a group that just begins", &shot{clips: []string{clip.H264, clip.AAC}}, nil, 415, "codec_not_in_webrtc"},
		{"H.265", &shot{clips: []string{clip.H265}}, nil, 415, "codec_not_in_webrtc"},
		{"AAC", &shot{clips: []string{clip.AAC}}, nil, 415, "codec_not_in_webrtc"},
		{"the camera has been away", &shot{clips: []string{clip.H264Plain}, age: time.Hour, away: 31 * time.Second}, nil, 404, "no_footage"},
		{"the gate", &shot{clips: []string{clip.H264Plain}}, &Refusal{429, "too_many_viewers", "too many", ""}, 429, "too_many_viewers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := newServer(t, c.src)
			g.refuse = c.gate
			_, err := s.Open(context.Background(), Ask{UID: "gate"}, offer(t))
			if r := refusal(t, err); r.Status != c.status || r.Code != c.code {
				t.Errorf("%+v", r)
			}
			if s.Sessions() != 0 || g.in.Load() != 0 || c.src.open.Load() != 0 || s.places.all != 0 {
				t.Error("something is left", s.Sessions(), g.in.Load(), c.src.open.Load(), s.places.all)
			}
		})
	}
	t.Run("off", func(t *testing.T) {
		s, err := New(Options{Source: &shot{}, Gate: &openGate{}})
		if err != nil || s.Listen() != nil || s.Err() != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, err = s.Open(context.Background(), Ask{UID: "gate"}, offer(t))
		if r := refusal(t, err); r.Status != 503 || r.Code != "webrtc_off" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("the port is another's", func(t *testing.T) {
		first, _ := newServer(t, &shot{})
		c := DefaultConfig()
		c.Listen = first.Addr().String()
		s, err := New(Options{Config: c, Source: &shot{}, Gate: &openGate{}})
		if err != nil || s.Listen() == nil || s.Err() == nil {
			t.Fatal(err, s.Err())
		}
		defer s.Close()
		_, err = s.Open(context.Background(), Ask{UID: "gate"}, offer(t))
		if r := refusal(t, err); r.Status != 503 || !strings.Contains(r.Message, "address already in use") {
			t.Errorf("%+v", r)
		}
	})
}

// TestLongGroup: a stream whose newest key frame is old lives all the same.
func TestLongGroup(t *testing.T) {
	src := &shot{clips: []string{clip.H264Plain, clip.ALaw}, age: 40 * time.Second, every: 1 << 20}
	s, _ := newServer(t, src)
	p := newPlayer(t, both...).play(s)
	p.until("a picture and sound", func() bool { return p.count("video") > 0 && p.count("audio") > 10 })
}

// TestSoundCannot: pictures are sent, and it is said that the sound is not.
func TestSoundCannot(t *testing.T) {
	s, _ := newServer(t, &shot{clips: []string{clip.H264Plain, clip.AAC}})
	p := newPlayer(t, both...).play(s)
	p.until("pictures", func() bool { return p.count("video") > 10 })
	if len(p.answer.Notes) != 1 || !strings.Contains(p.answer.Notes[0], "AAC") || !strings.Contains(p.answer.SDP, "m=audio 0 ") {
		t.Errorf("%q\n%s", p.answer.Notes, p.answer.SDP)
	}
}

// TestTCP: a player whose network lets no UDP through comes over TCP.
func TestTCP(t *testing.T) {
	src := &shot{clips: []string{clip.H264Plain, clip.ALaw}, age: 500 * time.Millisecond}
	s, g := newServer(t, src)
	var e webrtc.SettingEngine
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	p := newPlayerOf(t, e, both...).play(s)
	p.until("pictures and sound", func() bool { return p.count("video") > 100 && p.count("audio") > 50 })
	if _, times := p.pictures(); len(times) < 20 {
		t.Error(len(times))
	}
	pair, err := p.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err == nil && pair != nil && pair.Remote.Protocol != webrtc.ICEProtocolTCP {
		t.Error(pair)
	}
	_ = s.End("gate", p.answer.Session)
	p.ended(s, g, src)
}

// TestStrangers: the port does not answer whoever names no session of ours.
func TestStrangers(t *testing.T) {
	s, _ := newServer(t, &shot{clips: []string{clip.ALaw}})
	c, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("nobody:here"), stun.NewShortTermIntegrity("0123456789012345678901"), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{m.Raw, plain.Raw, {}, {0}, bytes.Repeat([]byte{0x80}, 1400), {22, 0xfe, 0xfd}} {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1500)); err == nil {
		t.Errorf("an answer of %d bytes", n)
	}
	p := newPlayer(t, webrtc.RTPCodecTypeAudio).play(s) // and it still serves
	p.until("sound", func() bool { return p.count("audio") > 10 })
}

// broken is a source whose reader fails at once.
type broken struct{ err error }

func (b broken) Live(string) (Reader, error)                { return b, nil }
func (b broken) Newest(string) (media.Wall, bool)           { return 1 << 62, true }
func (b broken) Next(context.Context) (*media.Frame, error) { return nil, b.err }
func (b broken) Close()                                     {}

func TestBrokenStorage(t *testing.T) {
	for err, status := range map[error]int{errors.New("EIO"): 503, timeline.ErrNoFootage: 404, context.DeadlineExceeded: 404} {
		s, _ := newServer(t, broken{err})
		_, got := s.Open(context.Background(), Ask{UID: "gate"}, []byte(newPlayer(t, both...).offer()))
		if r := refusal(t, got); r.Status != status {
			t.Errorf("%v: %+v", err, r)
		}
	}
}
