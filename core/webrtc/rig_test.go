package webrtc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

// shot is a source that shows clips in real time, as if they had begun age ago.
type shot struct {
	clips []string
	age   time.Duration // of the key frame that a reader begins with
	every int           // so many pictures from one key frame to the next; 0 = as the clip
	away  time.Duration // nothing has come for so long
	stop  atomic.Bool   // the camera is away
	open  atomic.Int32
}

type shotReader struct {
	s      *shot
	tracks []media.Track
	clips  []*clip.Clip
	at     []int // next sample of each
	zero   time.Time
	first  bool
}

func (s *shot) Live(string) (Reader, error) {
	if len(s.clips) == 0 {
		return nil, timeline.ErrNoFootage
	}
	r := &shotReader{s: s, zero: time.Now().Add(-s.age), first: true}
	for i, name := range s.clips {
		c, err := clip.Load(name)
		if err != nil {
			return nil, err
		}
		t := c.Track
		t.ID = i + 1
		r.tracks = append(r.tracks, t)
		r.clips = append(r.clips, c)
		r.at = append(r.at, 0)
	}
	s.open.Add(1)
	return r, nil
}

func (s *shot) Newest(string) (media.Wall, bool) {
	return media.WallOf(time.Now().Add(-s.away)), len(s.clips) > 0
}

func (r *shotReader) Close() { r.s.open.Add(-1) }

func (r *shotReader) Next(ctx context.Context) (*media.Frame, error) {
	best := 0
	var due time.Time
	for i, c := range r.clips {
		at := r.zero.Add(media.DurationOf(int64(r.at[i])*c.Step, c.Track.Timescale))
		if due.IsZero() || at.Before(due) {
			best, due = i, at
		}
	}
	if d := time.Until(due); d > 0 || r.s.stop.Load() {
		if r.s.stop.Load() {
			d = time.Hour
		}
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c := r.clips[best]
	n := r.at[best]
	r.at[best]++
	smp := c.Samples[n%len(c.Samples)]
	place := int64(n - n%len(c.Samples) + int(smp.PTS))
	f := &media.Frame{Tracks: r.tracks, Track: best + 1, DTS: media.WallOf(due), PTS: media.WallOf(r.zero.Add(media.DurationOf(place*c.Step, c.Track.Timescale))),
		Key: smp.Key, Break: r.first, Payload: smp.Payload}
	r.first = false
	if r.s.every > 0 && r.tracks[best].Kind() == media.Video {
		f.Key = n%r.s.every == 0
	}
	return f, nil
}

// open admits everybody until it is shut.
type openGate struct {
	shut   atomic.Bool
	refuse error
	in     atomic.Int32
}

func (g *openGate) Play(Ask) (Pass, error) {
	if g.refuse != nil {
		return nil, g.refuse
	}
	g.in.Add(1)
	return openPass{g}, nil
}

type openPass struct{ g *openGate }

func (p openPass) Alive() bool { return !p.g.shut.Load() }
func (p openPass) Close()      { p.g.in.Add(-1) }

func newServer(t *testing.T, src Source) (*Server, *openGate) {
	t.Helper()
	g := &openGate{}
	c := DefaultConfig()
	c.Listen = "127.0.0.1:0"
	s, err := New(Options{Config: c, Source: src, Gate: g, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, g
}

// player is a client of pion's.
type player struct {
	t      *testing.T
	pc     *webrtc.PeerConnection
	udp    net.PacketConn
	answer *Answer

	mu   sync.Mutex
	got  map[string][]rtp.Packet // by kind
	when map[string][]time.Time
	mime map[string]string
	gone chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

func newPlayer(t *testing.T, kinds ...webrtc.RTPCodecType) *player {
	t.Helper()
	var e webrtc.SettingEngine
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: quiet.NewLogger("ice"), UDPConn: udp})
	t.Cleanup(func() { _ = mux.Close() })
	e.SetICEUDPMux(mux)
	p := newPlayerOf(t, e, kinds...)
	p.udp = udp
	return p
}

func newPlayerOf(t *testing.T, e webrtc.SettingEngine, kinds ...webrtc.RTPCodecType) *player {
	t.Helper()
	e.SetIncludeLoopbackCandidate(true)
	e.LoggerFactory = quiet
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, pc: pc, got: map[string][]rtp.Packet{}, when: map[string][]time.Time{}, mime: map[string]string{}, gone: make(chan struct{})}
	for _, k := range kinds {
		if _, err := pc.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.wg.Go(func() { p.read(tr) }) })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateDisconnected {
			p.once.Do(func() { close(p.gone) })
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *player) close() {
	if err := p.pc.GracefulClose(); err != nil {
		p.t.Error(err)
	}
	p.wg.Wait()
}

func (p *player) read(tr *webrtc.TrackRemote) {
	kind := tr.Kind().String()
	for {
		k, _, err := tr.ReadRTP()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.mime[kind] = tr.Codec().MimeType
		p.got[kind] = append(p.got[kind], *k)
		p.when[kind] = append(p.when[kind], time.Now())
		p.mu.Unlock()
	}
}

// offer is a whole one.
func (p *player) offer() string {
	p.t.Helper()
	o, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(o); err != nil {
		p.t.Fatal(err)
	}
	<-done
	return p.pc.LocalDescription().SDP
}

func (p *player) play(s *Server) *player {
	p.t.Helper()
	a, err := s.Open(context.Background(), Ask{UID: "gate"}, []byte(p.offer()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.answer = a
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.SDP}); err != nil {
		p.t.Fatalf("%v\n%s", err, a.SDP)
	}
	return p
}

func (p *player) count(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got[kind])
}

func (p *player) until(what string, ok func() bool) {
	p.t.Helper()
	until(p.t, what, ok)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(fmt.Sprint("waited in vain for ", what))
		}
	}
}
