package webrtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// MaxOffer bounds an offer, bytes. Browsers send 5 to 10 kB.
const MaxOffer = 64 << 10

// Bounds of an offer's parts.
const (
	maxSections = 4
	maxFormats  = 128
	maxLine     = 512 // of a value that is passed on
)

// offer is what was understood of a player's SDP.
type offer struct {
	ufrag, pwd  string
	fingerprint string
	setup       string // actpass, active or passive
	sections    []section
}

// section is one m= line.
type section struct {
	kind    string // audio, video
	mid     string
	takes   bool // the player wants to receive
	formats []format
}

// format is one payload type.
type format struct {
	pt       uint8
	name     string // upper case
	clock    int
	channels int
	fmtp     string
	feedback []string
}

// parseOffer reads an offer. It fails with a Refusal for whatever a session
// could not be made of.
func parseOffer(text []byte) (*offer, error) {
	if len(text) > MaxOffer {
		return nil, &Refusal{413, "offer_too_long", fmt.Sprintf("the offer is longer than %d kB", MaxOffer>>10), ""}
	}
	var d sdp.SessionDescription
	if err := d.Unmarshal(text); err != nil {
		return nil, badOffer("the offer is not SDP", "send what RTCPeerConnection.createOffer gives, as application/sdp")
	}
	o := &offer{}
	for _, m := range d.MediaDescriptions {
		if len(o.sections) == maxSections {
			return nil, badOffer("the offer has too many media sections", "offer one video and one audio to receive")
		}
		s, err := parseSection(m)
		if err != nil {
			return nil, err
		}
		for _, have := range o.sections {
			if have.kind == s.kind || have.mid == s.mid {
				return nil, badOffer("the offer has two sections of "+s.kind+", or two of one mid", "offer one video and one audio to receive")
			}
		}
		o.sections = append(o.sections, s)
		pick := func(have *string, name string) {
			v, ok := m.Attribute(name)
			if !ok {
				v, ok = d.Attribute(name)
			}
			if *have == "" && ok {
				*have = v
			}
		}
		pick(&o.ufrag, "ice-ufrag")
		pick(&o.pwd, "ice-pwd")
		pick(&o.fingerprint, "fingerprint")
		pick(&o.setup, "setup")
	}
	return o, o.check()
}

func (o *offer) check() error {
	switch {
	case len(o.sections) == 0:
		return badOffer("the offer has no media", "offer to receive video, audio or both")
	case !iceText(o.ufrag, 4) || !iceText(o.pwd, 22):
		return badOffer("the offer has no usable ice-ufrag and ice-pwd", "send what RTCPeerConnection.createOffer gives")
	case !fingerprintOK(o.fingerprint):
		return badOffer("the offer has no usable fingerprint of a certificate", "send what RTCPeerConnection.createOffer gives")
	}
	if o.setup != "actpass" && o.setup != "active" && o.setup != "passive" {
		return badOffer("the offer's a=setup is none of actpass, active, passive", "send what RTCPeerConnection.createOffer gives")
	}
	return nil
}

// iceText tells whether s is ice-char of a length that RFC 8445 5.3 allows.
func iceText(s string, least int) bool {
	return len(s) >= least && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' ||
			r == '-' || r == '_' || r == '=') // the last three no ice-char, but seen
	})
}

// fingerprintOK wants a hash that is still good, and hex (RFC 8122 5).
func fingerprintOK(s string) bool {
	name, hex, ok := strings.Cut(s, " ")
	size := map[string]int{"sha-256": 32, "sha-384": 48, "sha-512": 64}[strings.ToLower(name)]
	return ok && size > 0 && len(hex) == 3*size-1 && !strings.ContainsFunc(hex, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F' || r == ':')
	})
}

func parseSection(m *sdp.MediaDescription) (section, error) {
	s := section{kind: m.MediaName.Media, takes: true}
	if s.kind != "audio" && s.kind != "video" {
		return s, badOffer(fmt.Sprintf("the offer has a section of %q", cut(s.kind)), "only audio and video are sent; create no data channel")
	}
	s.mid, _ = m.Attribute("mid")
	if !token(s.mid) {
		return s, badOffer("a section of the offer has no usable mid", "send what RTCPeerConnection.createOffer gives")
	}
	if len(m.MediaName.Formats) > maxFormats {
		return s, badOffer("a section of the offer has too many formats", "")
	}
	if !slices.Contains(m.MediaName.Protos, "SAVPF") {
		return s, badOffer("the media of the offer is not encrypted", "the protocol must be UDP/TLS/RTP/SAVPF")
	}
	for _, a := range []string{"sendonly", "inactive"} {
		if _, ok := m.Attribute(a); ok {
			s.takes = false
		}
	}
	if m.MediaName.Port.Value == 0 {
		s.takes = false
	}
	for _, f := range m.MediaName.Formats {
		if n, err := strconv.ParseUint(f, 10, 7); err == nil {
			s.formats = append(s.formats, static(uint8(n)))
		}
	}
	for _, a := range m.Attributes {
		s.attribute(a)
	}
	return s, nil
}

// static is what a payload type means without a rtpmap (RFC 3551 6).
func static(pt uint8) format {
	switch pt {
	case 0:
		return format{pt: pt, name: "PCMU", clock: 8000, channels: 1}
	case 8:
		return format{pt: pt, name: "PCMA", clock: 8000, channels: 1}
	}
	return format{pt: pt}
}

func (s *section) attribute(a sdp.Attribute) {
	if a.Key != "rtpmap" && a.Key != "fmtp" && a.Key != "rtcp-fb" || len(a.Value) > maxLine {
		return
	}
	which, value, _ := strings.Cut(a.Value, " ")
	for i := range s.formats {
		f := &s.formats[i]
		if which != strconv.Itoa(int(f.pt)) && (which != "*" || a.Key != "rtcp-fb") {
			continue
		}
		switch a.Key {
		case "rtpmap":
			f.rtpmap(value)
		case "fmtp":
			f.fmtp = strings.TrimSpace(value)
		default:
			if len(f.feedback) < 16 {
				f.feedback = append(f.feedback, strings.TrimSpace(value))
			}
		}
	}
}

func (f *format) rtpmap(value string) {
	p := strings.Split(strings.TrimSpace(value), "/")
	if len(p) < 2 {
		return
	}
	clock, err := strconv.Atoi(p[1])
	if err != nil {
		return
	}
	f.name, f.clock, f.channels = strings.ToUpper(p[0]), clock, 1
	if len(p) > 2 {
		f.channels, _ = strconv.Atoi(p[2])
	}
}

// parameter reads one of an fmtp's (RFC 6184 8.2.1: name=value;…).
func (f *format) parameter(name string) string {
	for p := range strings.SplitSeq(f.fmtp, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// token tells whether s is a token of RFC 8866 9, and short.
func token(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]`, r)
	})
}

func cut(s string) string {
	if len(s) > 20 {
		return s[:20] + "…"
	}
	return s
}
