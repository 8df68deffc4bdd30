package webrtc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// Times of a session.
const (
	connectWithin = 15 * time.Second // from the answer to the first packet
	askEvery      = 500 * time.Millisecond
	iceSilent     = 4 * time.Second // nothing was heard of the player, which says something every second
	iceGone       = 2 * time.Second // and still nothing
)

// Answer is what a POST of an offer gives.
type Answer struct {
	Session string   // its name, which nobody can guess
	SDP     string   //
	Notes   []string // what is not sent, or not as it should be
}

// session is one player.
type session struct {
	server *Server
	id     string
	uid    string
	place  place
	ufrag  string // of the player
	plan   *plan
	pass   Pass
	pc     *webrtc.PeerConnection

	video, audio *out // nil = not sent
	refresh      chan struct{}
	up           chan struct{} // closed once connected
	upOnce       sync.Once
	ctx          context.Context
	end          context.CancelFunc
	sent         atomic.Int64 // bytes not told yet
}

// Open makes a session of an offer. The error is a *Refusal. ctx is the request's.
func (s *Server) Open(ctx context.Context, ask Ask, text []byte) (*Answer, error) {
	o, err := parseOffer(text)
	if err != nil {
		return nil, err
	}
	p := placeOf(ask)
	id, err := s.reserve(p)
	if err != nil {
		return nil, err
	}
	ask.Session = id
	ses := &session{server: s, id: id, uid: ask.UID, place: p, ufrag: o.ufrag, refresh: make(chan struct{}, 1), up: make(chan struct{})}
	ses.ctx, ses.end = context.WithCancel(s.ctx)
	answer, err := ses.open(ctx, ask, o)
	if err != nil {
		ses.close()
		s.release(id, true, p)
		return nil, err
	}
	s.mu.Lock()
	s.sessions[id] = ses
	s.mu.Unlock()
	s.opt.Log.Debug("a WebRTC session begins", "stream", ask.UID, "who", ask.Who, "notes", answer.Notes)
	go ses.run()
	return answer, nil
}

func (s *session) open(ctx context.Context, ask Ask, o *offer) (*Answer, error) {
	var err error
	if s.pass, err = s.server.opt.Gate.Play(ask); err != nil {
		s.pass = nil
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // the server ends
	l, err := probe(ctx, s.server.opt.Source, s.uid)
	if err != nil {
		return nil, err
	}
	if s.plan, err = choose(l.tracks, o, l.b); err != nil {
		return nil, err
	}
	sdp, err := s.negotiate(ctx, o)
	if err != nil {
		if r := (*Refusal)(nil); errors.As(err, &r) {
			return nil, err
		}
		return nil, badOffer("no session can be made of the offer: "+err.Error(), "send what RTCPeerConnection.createOffer gives")
	}
	addr := s.server.Addr()
	sdp = announce(sdp, s.server.opt.Config.Addresses, addr.Port(), ask.Address)
	return &Answer{Session: s.id, SDP: sdp, Notes: s.plan.notes}, nil
}

// negotiate answers the offer.
func (s *session) negotiate(ctx context.Context, o *offer) (string, error) {
	api, err := s.server.api(s.plan)
	if err != nil {
		return "", err
	}
	if s.pc, err = api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.server.cert}}); err != nil {
		return "", err
	}
	s.pc.OnConnectionStateChange(s.state)
	if s.video, err = newOut(s.pc, s.plan.video, s.uid); err != nil {
		return "", err
	}
	if s.audio, err = newOut(s.pc, s.plan.audio, s.uid); err != nil {
		return "", err
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.trimmed(s.plan)}); err != nil {
		return "", err
	}
	a, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	done := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(a); err != nil {
		return "", err
	}
	select {
	case <-done: // at once: the candidates are the port's addresses
	case <-ctx.Done():
		return "", closing()
	}
	return s.pc.LocalDescription().SDP, nil
}

// api is pion with the codecs of one session and nothing that it could do by itself.
func (s *Server) api(p *plan) (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	for _, l := range []*line{p.video, p.audio} {
		if l == nil {
			continue
		}
		for _, f := range l.formats() {
			if err := m.RegisterCodec(f.parameters(l), l.kind()); err != nil {
				return nil, err
			}
		}
	}
	var e webrtc.SettingEngine
	s.mu.Lock()
	if s.udp == nil {
		s.mu.Unlock()
		return nil, closing()
	}
	e.SetICEUDPMux(s.udpMux)
	e.SetICETCPMux(s.tcpMux)
	s.mu.Unlock()
	e.LoggerFactory = quiet
	e.SetLite(true) // players come to us; we look for nobody
	e.DisableActiveTCP(true)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetIncludeLoopbackCandidate(true) // announce leaves it out where it is of no use
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	e.SetICETimeouts(iceSilent, iceGone, time.Second)
	// What is sent again on request: 1024 packets are 1.2 MB, a second of 10 Mbit/s.
	// Reports are ours (send.go): pion's go by the time of sending.
	again, err := nack.NewResponderInterceptor(nack.ResponderSize(1024), nack.ResponderLog(quiet.NewLogger("nack")))
	if err != nil {
		return nil, err
	}
	r := &interceptor.Registry{}
	r.Add(again)
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e), webrtc.WithInterceptorRegistry(r)), nil
}

func (s *session) state(st webrtc.PeerConnectionState) {
	switch st {
	case webrtc.PeerConnectionStateConnected:
		s.upOnce.Do(func() { close(s.up) })
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		s.end()
	}
}

// run is the session's life.
func (s *session) run() {
	waiting := true
	defer func() {
		s.end()
		s.close()
		s.tell()
		s.server.opt.Log.Debug("a WebRTC session has ended", "stream", s.uid, "connected", !waiting)
		s.server.release(s.id, waiting, s.place)
	}()
	late := time.NewTimer(connectWithin)
	defer late.Stop()
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.end() // before wg.Wait
	for _, o := range []*out{s.video, s.audio} {
		if o != nil {
			wg.Go(func() { s.listen(o.sender) })
		}
	}
	// Reading RTCP ends with the connection alone.
	defer func() { _ = s.pc.Close() }()
	up := s.up
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-late.C:
			if waiting {
				return
			}
		case <-up:
			up, waiting = nil, false
			s.server.came(s.place)
			wg.Go(func() { defer s.end(); s.send() })
		case <-ask.C:
			if !s.pass.Alive() {
				return
			}
			s.tell()
		}
	}
}

func (s *session) tell() {
	if n := s.sent.Swap(0); n > 0 && s.server.opt.Served != nil {
		s.server.opt.Served(s.uid, n)
	}
}

func (s *session) close() {
	s.end()
	if s.pc != nil {
		_ = s.pc.GracefulClose()
	}
	if s.pass != nil {
		s.pass.Close()
	}
}

// listen reads what the player reports: lost packets (pion sends them again), and
// that it needs a key frame.
func (s *session) listen(sender *webrtc.RTPSender) {
	for {
		ps, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range ps {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				select {
				case s.refresh <- struct{}{}:
				default:
				}
			}
		}
	}
}

// Trickle takes candidates of a player, which are not needed: it comes to us. An
// ICE restart is refused.
func (s *Server) Trickle(uid, id string, fragment []byte) error {
	ses, err := s.find(uid, id)
	switch {
	case err != nil:
		return err
	case len(fragment) > MaxOffer:
		return &Refusal{413, "offer_too_long", "the fragment is too long", ""}
	case !sameFragment(string(fragment), ses.ufrag):
		return &Refusal{422, "no_ice_restart", "ICE cannot be restarted in a session", "end it and begin a new one"}
	}
	return nil
}
