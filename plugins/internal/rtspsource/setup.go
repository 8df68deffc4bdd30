package rtspsource

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

// Transports a source may be asked for.
const (
	Auto = "auto" // TCP, and UDP where the device refuses TCP
	TCP  = "tcp"
	UDP  = "udp"
)

// setup asks for all tracks that can be captured. A track that the device does
// not give is left out, unless it is the video.
func (s *session) setup(ctx context.Context) error {
	s.udp = s.cfg.Transport == UDP
	if s.udp && s.addr.tls {
		return sdk.Fail(pb.Cause_SETTINGS, "rtsps carries its media over TCP only", "set driver-transport = tcp, or use rtsp://")
	}
	for _, o := range s.offers {
		if err := s.setupTrack(ctx, o); err != nil {
			var f *sdk.Failure
			if !errors.As(err, &f) || o.track.Kind() == media.Video || f.Cause == pb.Cause_LOST || f.Cause == pb.Cause_SILENT {
				return err
			}
			s.left = append(s.left, sdk.LeftOut{Name: o.track.Kind().String(), Reason: f.What})
		}
	}
	if len(s.tracks) == 0 {
		return nothing(s.addr.host, s.left)
	}
	for i, t := range s.tracks {
		t.track.ID = i + 1
	}
	s.wire.known = func(c byte) bool { return s.routes[c].t != nil }
	return nil
}

func (s *session) setupTrack(ctx context.Context, o offer) error {
	u, err := s.trackURL(o.control)
	if err != nil || u == nil {
		return nonsense(s.addr.host, "gives a track an address that cannot be read")
	}
	for {
		var pair *ports
		transport := fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", 2*len(s.tracks), 2*len(s.tracks)+1)
		if s.udp {
			if pair, err = listenPair(s.wire.nc); err != nil {
				return sdk.Fail(pb.Cause_UNREACHABLE, "no UDP ports for "+s.addr.host, "check the limits of this machine")
			}
			transport = fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", pair.port, pair.port+1)
		}
		m, err := s.request(ctx, base.Setup, u, base.Header{"Transport": {transport}})
		if err != nil {
			pair.close()
			return err
		}
		if m.code != 200 {
			pair.close()
			if m.code == 461 && !s.udp && s.cfg.Transport != TCP && len(s.tracks) == 0 && !s.addr.tls {
				s.udp = true
				continue
			}
			return refusedBy(s.addr.host, "SETUP", m.code, s.addr.hasUser)
		}
		t := s.newTrack(o)
		if err := s.accept(t, pair, m.get("transport")); err != nil {
			pair.close()
			return err
		}
		s.tracks = append(s.tracks, t)
		return nil
	}
}

// accept takes what the device made of our Transport header. Devices may choose
// other channels than those proposed.
func (s *session) accept(t *track, pair *ports, transport string) error {
	var channels, server [2]int
	channels = [2]int{2 * len(s.tracks), 2*len(s.tracks) + 1}
	var source string
	tcp := false
	for p := range strings.SplitSeq(transport, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(k) {
		case "rtp/avp/tcp":
			tcp = true
		case "interleaved":
			channels = pairOf(v)
		case "server_port":
			server = pairOf(v)
		case "source":
			source = strings.Trim(v, `"`)
		}
	}
	if pair == nil {
		for i, c := range channels {
			if c < 0 || c > 255 || s.routes[c].t != nil {
				return nonsense(s.addr.host, "gives two tracks the same channel")
			}
			defer func() { s.routes[c] = route{t: t, rtcp: i == 1} }()
		}
		return nil
	}
	if tcp {
		return sdk.Fail(pb.Cause_UNSUPPORTED, s.addr.host+" gives TCP where UDP was asked for", "set driver-transport = tcp")
	}
	peer := s.wire.nc.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	pair.peer[0] = peer
	pair.peer[1] = peer
	if a, err := netip.ParseAddr(source); err == nil && !a.IsUnspecified() {
		pair.peer[1] = a.Unmap()
	}
	pair.server = server
	t.ports = pair
	return nil
}

func pairOf(v string) [2]int {
	a, b, two := strings.Cut(v, "-")
	x, err := strconv.Atoi(strings.TrimSpace(a))
	if err != nil {
		return [2]int{-1, -1}
	}
	y := x + 1
	if two {
		if n, err := strconv.Atoi(strings.TrimSpace(b)); err == nil {
			y = n
		}
	}
	return [2]int{x, y}
}

// play starts the media.
func (s *session) play(ctx context.Context) error {
	for _, t := range s.tracks {
		if t.ports != nil {
			t.ports.punch()
		}
	}
	m, err := s.request(ctx, base.Play, s.base, base.Header{"Range": {"npt=0.000-"}})
	if err != nil {
		return err
	}
	if m.code == 457 || m.code == 400 { // some refuse any range on a live stream
		if m, err = s.request(ctx, base.Play, s.base, nil); err != nil {
			return err
		}
	}
	if m.code != 200 {
		return refusedBy(s.addr.host, "PLAY", m.code, s.addr.hasUser)
	}
	return nil
}
