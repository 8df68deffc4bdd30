package webrtc

import (
	"math/rand/v2"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"media-server/core/media"
)

// out is one RTP stream of a session. One goroutine sends.
type out struct {
	line   *line
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender
	clock  clock
	seq    uint16
	id     int // of the track in the stream, as long as its Tracks stand

	packets, bytes uint32 // for reports
	packet         rtp.Packet
}

func (l *line) kind() webrtc.RTPCodecType {
	if l.track.Kind() == media.Video {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// mime is the name that pion knows a format by.
func (f *format) mime(l *line) string {
	kind := "audio/"
	if l.track.Kind() == media.Video {
		kind = "video/"
	}
	switch f.name {
	case "OPUS":
		return kind + "opus"
	case "RTX":
		return kind + "rtx"
	}
	return kind + f.name
}

func (f *format) parameters(l *line) webrtc.RTPCodecParameters {
	c := webrtc.RTPCodecCapability{MimeType: f.mime(l), ClockRate: uint32(f.clock), SDPFmtpLine: f.fmtp}
	if l.track.Kind() == media.Audio && f.channels > 1 {
		c.Channels = uint16(f.channels)
	}
	for _, v := range f.feedback {
		typ, parameter, _ := strings.Cut(v, " ")
		c.RTCPFeedback = append(c.RTCPFeedback, webrtc.RTCPFeedback{Type: typ, Parameter: parameter})
	}
	return webrtc.RTPCodecParameters{RTPCodecCapability: c, PayloadType: webrtc.PayloadType(f.pt)}
}

// newOut adds a track to the connection; nil for a nil line.
func newOut(pc *webrtc.PeerConnection, l *line, uid string) (*out, error) {
	if l == nil {
		return nil, nil
	}
	f := l.formats()[0]
	o := &out{line: l, seq: uint16(rand.Uint32()), id: l.track.ID}
	o.clock = clock{rate: int64(f.clock), base: rand.Uint32()}
	var err error
	if o.track, err = webrtc.NewTrackLocalStaticRTP(f.parameters(l).RTPCodecCapability, l.track.Kind().String(), uid); err != nil {
		return nil, err
	}
	t, err := pc.AddTransceiverFromTrack(o.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	o.sender = t.Sender()
	return o, nil
}

// write sends one packet.
func (o *out) write(payload []byte, ts uint32, marker bool) error {
	o.packet.Header = rtp.Header{Version: 2, Marker: marker, SequenceNumber: o.seq, Timestamp: ts}
	o.packet.Payload = payload
	o.seq++
	o.packets++
	o.bytes += uint32(len(payload))
	return o.track.WriteRTP(&o.packet)
}

// ssrc is what the player knows the stream by.
func (o *out) ssrc() uint32 {
	if e := o.sender.GetParameters().Encodings; len(e) > 0 {
		return uint32(e[0].SSRC)
	}
	return 0
}
