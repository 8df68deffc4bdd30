package webrtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"media-server/core/media"
)

// plan is what a session sends.
type plan struct {
	video, audio *line
	notes        []string // what is not sent, or not as it should be
}

// line is one track and how it goes out.
type line struct {
	track  media.Track
	format format
	rtx    *format // of retransmissions (RFC 4588), nil = on the same SSRC
}

func (p *plan) line(kind string) *line {
	if kind == "video" {
		return p.video
	}
	return p.audio
}

func (l *line) formats() []format {
	f := l.format
	// What we answer: no congestion control that an encoder would have to obey.
	f.feedback = slices.DeleteFunc(slices.Clone(f.feedback), func(v string) bool { return v != "nack" && v != "nack pli" && v != "ccm fir" })
	if l.rtx == nil {
		return []format{f}
	}
	return []format{f, {pt: l.rtx.pt, name: l.rtx.name, clock: l.rtx.clock, channels: 1, fmtp: fmt.Sprintf("apt=%d", f.pt)}}
}

// choose matches a stream's tracks with what a player takes. b: pictures of the
// stream depend on later ones.
func choose(tracks []media.Track, o *offer, b bool) (*plan, error) {
	p := &plan{}
	var cannot []string
	for _, s := range o.sections {
		if !s.takes {
			continue
		}
		l, why := s.choose(tracks, b)
		switch {
		case l == nil && why != "":
			cannot = append(cannot, why)
			p.notes = append(p.notes, why)
			if s.kind == "video" { // who came for a picture is not served with sound alone
				return nil, notCarried(why)
			}
		case s.kind == "video":
			p.video = l
			if l != nil && why != "" {
				p.notes = append(p.notes, why)
			}
		default:
			p.audio = l
		}
	}
	switch {
	case p.video != nil || p.audio != nil:
		return p, nil
	case len(cannot) > 0:
		return nil, notCarried(strings.Join(cannot, "; "))
	}
	return nil, &Refusal{406, "nothing_to_send", "the stream has nothing of what the offer wants", "it has " + names(tracks) + "; offer to receive that"}
}

func names(tracks []media.Track) string {
	var n []string
	for _, t := range tracks {
		n = append(n, t.Kind().String()+" ("+codecName(t.Codec)+")")
	}
	return strings.Join(n, ", ")
}

var shown = map[media.Codec]string{
	media.H264: "H.264", media.H265: "H.265", media.MJPEG: "MJPEG", media.AAC: "AAC", media.Opus: "Opus", media.PCMA: "G.711 A-law", media.PCMU: "G.711 mu-law",
}

func codecName(c media.Codec) string {
	if n := shown[c]; n != "" {
		return n
	}
	return string(c)
}

// choose picks the first track of the section's kind that the player takes.
// Without a track of that kind both answers are empty; with a line, why is what
// should be said beside it.
func (s *section) choose(tracks []media.Track, b bool) (l *line, why string) {
	for _, t := range tracks {
		if t.Kind().String() != s.kind {
			continue
		}
		l, w := s.match(t, b)
		if l != nil {
			return l, w
		}
		if why == "" {
			why = w
		}
	}
	return nil, why
}

func (s *section) match(t media.Track, b bool) (*line, string) {
	switch t.Codec {
	case media.H264:
		return s.h264(t, b)
	case media.Opus:
		if t.Channels > 2 {
			return nil, fmt.Sprintf("Opus of %d channels is not sent: WebRTC carries two", t.Channels)
		}
		return s.find(t, "OPUS", 48000)
	case media.PCMA, media.PCMU:
		if t.SampleRate != 8000 || t.Channels != 1 {
			return nil, fmt.Sprintf("G.711 of %d Hz and %d channels is not sent: WebRTC carries 8000 Hz mono", t.SampleRate, t.Channels)
		}
		return s.find(t, strings.ToUpper(string(t.Codec)), 8000)
	case media.H265, media.MJPEG:
		return nil, codecName(t.Codec) + " is not sent: WebRTC carries H.264"
	}
	return nil, codecName(t.Codec) + " is not sent: WebRTC carries Opus and G.711"
}

func (s *section) find(t media.Track, name string, clock int) (*line, string) {
	for _, f := range s.formats {
		if f.name == name && f.clock == clock {
			return &line{track: t, format: f}, ""
		}
	}
	return nil, codecName(t.Codec) + " is not sent: the player does not take it"
}

// h264 picks the offered format whose profile is the stream's, else one that
// includes it, else any: decoders mostly do more than they offer, and the note
// says what was tried.
func (s *section) h264(t media.Track, b bool) (*line, string) {
	stream, ok := profileOf(t.SPS)
	switch {
	case !ok:
		return nil, "H.264 is not sent: its parameters are not known yet"
	case b:
		return nil, "H.264 with B-frames is not sent: WebRTC shows pictures in the order in which they come (switch B-frames off in the camera)"
	}
	var best *format
	bestFit, any := -1, false
	for i := range s.formats {
		f := &s.formats[i]
		if f.name != "H264" || f.clock != 90000 {
			continue
		}
		any = true
		if f.parameter("packetization-mode") != "1" {
			continue
		}
		if n := f.profile().fit(stream); n > bestFit {
			best, bestFit = f, n
		}
	}
	switch {
	case best == nil && any:
		return nil, "H.264 is not sent: the player takes it in packetization-mode 0 alone"
	case best == nil:
		return nil, "H.264 is not sent: the player does not take it"
	}
	l := &line{track: t, format: *best, rtx: s.retransmission(best.pt)}
	if bestFit == fitNot {
		return l, fmt.Sprintf("H.264 is sent in profile %s though the player offers %s", stream.name(), best.profile().name())
	}
	return l, ""
}

// profile reads profile-level-id; without one it is Baseline (RFC 6184 8.1).
func (f *format) profile() profile {
	if id := f.parameter("profile-level-id"); len(id) == 6 {
		if v, err := strconv.ParseUint(id, 16, 24); err == nil {
			return profile{byte(v >> 16), byte(v >> 8)}
		}
	}
	return profile{66, 0}
}

func (s *section) retransmission(pt uint8) *format {
	for i := range s.formats {
		if f := &s.formats[i]; f.name == "RTX" && f.parameter("apt") == strconv.Itoa(int(pt)) {
			return f
		}
	}
	return nil
}
