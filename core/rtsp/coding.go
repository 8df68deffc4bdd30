package rtsp

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"media-server/core/media"
)

// coding is how a track travels in RTP.
type coding struct {
	kind  string // m= of SDP
	pt    uint8
	clock uint32
	name  string // of rtpmap
	fmtp  string
	pack  packer
}

// packer puts a frame into packets; rest is the frame's payload, key whether it is
// a key frame.
type packer func(s *sender, m *medium, f *media.Frame, ts uint32)

const firstDynamic = 96

// codingOf says how a track is sent; false: RTP has no form of it here. index
// numbers the tracks of a stream.
func codingOf(t *media.Track, index int) (c coding, ok bool) {
	c = coding{kind: t.Kind().String(), pt: uint8(firstDynamic + index), clock: 90000}
	if !t.Ready() {
		return c, false
	}
	switch t.Codec {
	case media.H264: // RFC 6184
		c.name, c.pack = "H264/90000", packH264
		c.fmtp = "packetization-mode=1"
		if len(t.SPS) >= 4 {
			c.fmtp += "; profile-level-id=" + strings.ToUpper(hex.EncodeToString(t.SPS[1:4]))
		}
		c.fmtp += "; sprop-parameter-sets=" + base64Text(t.SPS) + "," + base64Text(t.PPS)
	case media.H265: // RFC 7798
		c.name, c.pack = "H265/90000", packH265
		c.fmtp = "sprop-vps=" + base64Text(t.VPS) + "; sprop-sps=" + base64Text(t.SPS) + "; sprop-pps=" + base64Text(t.PPS)
	case media.MJPEG: // RFC 2435
		c.pt, c.name, c.pack = 26, "JPEG/90000", packJPEG
	case media.AAC: // RFC 3640, 3.3.6
		c.clock = uint32(t.SampleRate)
		c.name, c.pack = fmt.Sprintf("mpeg4-generic/%d/%d", t.SampleRate, max(t.Channels, 1)), packAAC
		c.fmtp = "streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; indexlength=3; indexdeltalength=3; config=" + hex.EncodeToString(t.Config)
	case media.Opus: // RFC 7587: always 48 kHz and two channels
		c.clock, c.name, c.pack = 48000, "opus/48000/2", packWhole
		if t.Channels == 2 {
			c.fmtp = "sprop-stereo=1"
		}
	case media.PCMA, media.PCMU: // RFC 3551, 4.5.14
		c.clock, c.pack = uint32(t.SampleRate), packSamples
		c.name = fmt.Sprintf("%s/%d", strings.ToUpper(string(t.Codec)), t.SampleRate)
		switch {
		case t.Channels > 1:
			c.name += fmt.Sprintf("/%d", t.Channels)
		case t.SampleRate == 8000 && t.Codec == media.PCMA:
			c.pt = 8
		case t.SampleRate == 8000:
			c.pt = 0
		}
	case media.Metadata: // ONVIF Streaming Specification, 5.1.2.1.1
		c.kind, c.name, c.pack = "application", "vnd.onvif.metadata/90000", packDocument
	default:
		return c, false
	}
	return c, c.clock > 0
}

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// sameCoding tells whether frames of one can go where the other was promised:
// parameters of pictures travel in band.
func sameCoding(a, b *media.Track) bool {
	return a.Codec == b.Codec && a.SampleRate == b.SampleRate && a.Channels == b.Channels && string(a.Config) == string(b.Config)
}

// description is what DESCRIBE has told of a target.
type description struct {
	t      target
	title  string
	tracks []media.Track // those that can be sent; a control number is 1 + index
	origin media.Wall    // npt=0; 0 = of live
}

// sdp writes the description (RFC 4566; RFC 2326, C.1). host is the address that
// the client has reached, uri what it has asked for: the tracks' URLs are whole,
// because clients put a relative one behind a query in different ways.
func (d *description) sdp(host, uri string) []byte {
	family := "IP4"
	if strings.Contains(host, ":") {
		family = "IP6"
	}
	any := map[string]string{"IP4": "0.0.0.0", "IP6": "::"}[family]
	title := plain(d.title)
	if title == "" {
		title = d.t.uid
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- %d 1 IN %s %s\r\ns=%s\r\nc=IN %s %s\r\nt=0 0\r\na=tool:media-server\r\na=control:*\r\n", d.origin.Milli(), family, host, title, family, any)
	switch {
	case d.t.live:
		b.WriteString("a=range:npt=now-\r\n")
	case d.t.to != 0: // both forms: ONVIF wants the first, players read the second
		fmt.Fprintf(&b, "a=range:clock=%s-%s\r\na=range:npt=0-%s\r\n", clockText(d.origin), clockText(d.t.to), nptText(d.t.to.Sub(d.origin)))
	default:
		fmt.Fprintf(&b, "a=range:clock=%s-\r\na=range:npt=0-\r\n", clockText(d.origin))
	}
	for i := range d.tracks {
		c, _ := codingOf(&d.tracks[i], i)
		fmt.Fprintf(&b, "m=%s 0 RTP/AVP %d\r\na=rtpmap:%d %s\r\n", c.kind, c.pt, c.pt, c.name)
		if c.fmtp != "" {
			fmt.Fprintf(&b, "a=fmtp:%d %s\r\n", c.pt, c.fmtp)
		}
		fmt.Fprintf(&b, "a=recvonly\r\na=control:%s\r\n", controlURL(uri, i+1))
	}
	return []byte(b.String())
}

// sendable are those of the tracks that RTP has a form of.
func sendable(tracks []media.Track) (out []media.Track) {
	for i := range tracks {
		if _, ok := codingOf(&tracks[i], len(out)); ok {
			out = append(out, tracks[i])
		}
	}
	return out
}
