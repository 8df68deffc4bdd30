package webrtc

import (
	_ "embed"
	"errors"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

// chromium is an offer of Chromium's to receive video and audio.
//
//go:embed testdata/chromium.sdp
var chromium string

const fingerprint = "sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99"

// sdpOf is an offer with the sections given.
func sdpOf(sections ...string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:" + fingerprint +
		"\r\na=setup:actpass\r\n" + strings.Join(sections, "")
}

func videoOf(fmtp string) string {
	return "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\na=fmtp:96 " + fmtp +
		"\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
}

const audioAll = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n"
const mode1 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="

func refusal(t *testing.T, err error) *Refusal {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Message == "" || r.Code == "" {
		t.Fatalf("no refusal: %v", err)
	}
	return r
}

func TestOffers(t *testing.T) {
	good := sdpOf(videoOf(mode1+"42e01f"), audioAll)
	if o, err := parseOffer([]byte(good)); err != nil || len(o.sections) != 2 || o.ufrag != "abcd" || o.sections[0].formats[0].name != "H264" || len(o.sections[1].formats) != 3 {
		t.Fatalf("%+v %v", o, err)
	}
	for _, c := range []struct {
		name, text string
		status     int
	}{
		{"empty", "", 400},
		{"rubbish", "\x00\x01\x02", 400},
		{"JSON", `{"type":"offer"}`, 400},
		{"too long", good + strings.Repeat("a=x\r\n", MaxOffer/5), 413},
		{"no media", sdpOf(), 400},
		{"no ufrag", strings.Replace(good, "a=ice-ufrag:abcd\r\n", "", 1), 400},
		{"short password", strings.Replace(good, "0123456789012345678901", "0123", 1), 400},
		{"password with a blank", strings.Replace(good, "0123456789012345678901", "012345678901234 678901", 1), 400},
		{"no fingerprint", strings.Replace(good, "a=fingerprint:"+fingerprint+"\r\n", "", 1), 400},
		{"weak fingerprint", strings.Replace(good, "sha-256", "md5", 1), 400},
		{"torn fingerprint", strings.Replace(good, ":99\r\n", "\r\n", 1), 400},
		{"no setup", strings.Replace(good, "a=setup:actpass\r\n", "", 1), 400},
		{"plain RTP", strings.Replace(good, "UDP/TLS/RTP/SAVPF", "RTP/AVP", 1), 400},
		{"data channel", sdpOf("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n"), 400},
		{"two pictures", sdpOf(videoOf(mode1+"42e01f"), strings.Replace(videoOf(mode1+"42e01f"), "mid:0", "mid:5", 1)), 400},
		{"one mid twice", sdpOf(videoOf(mode1+"42e01f"), strings.Replace(audioAll, "mid:1", "mid:0", 1)), 400},
		{"no mid", strings.Replace(good, "a=mid:0\r\n", "", 1), 400},
		{"a mid that breaks lines", strings.Replace(good, "a=mid:0\r\n", "a=mid:0\va\r\n", 1), 400},
	} {
		_, err := parseOffer([]byte(c.text))
		if err == nil {
			t.Errorf("%s: taken", c.name)
			continue
		}
		if r := refusal(t, err); r.Status != c.status {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func tracksOf(t testing.TB, clips ...string) (out []media.Track) {
	for i, n := range clips {
		tr := load(t, n).Track
		tr.ID = i + 1
		out = append(out, tr)
	}
	return out
}

func TestChoose(t *testing.T) {
	plain, pcma := clip.H264Plain, clip.ALaw
	g711 := func(rate, channels int) []media.Track {
		return []media.Track{{ID: 1, Codec: media.PCMU, Timescale: uint32(rate), SampleRate: rate, Channels: channels}}
	}
	for _, c := range []struct {
		name   string
		tracks []media.Track
		offer  string
		b      bool
		video  int    // payload type, 0 = none
		audio  int    // -1 = none
		note   string // in the notes, or the refusal
		status int
	}{
		{"all", tracksOf(t, plain, clip.Opus), sdpOf(videoOf(mode1+"4d001f"), audioAll), false, 96, 111, "", 0},
		{"G.711 without a rtpmap", tracksOf(t, plain, pcma), sdpOf(videoOf(mode1+"4d001f"), audioAll), false, 96, 8, "", 0},
		{"mu-law", g711(8000, 1), sdpOf(audioAll), false, 0, 0, "", 0},
		{"G.711 of 16 kHz", g711(16000, 1), sdpOf(audioAll), false, 0, -1, "16000 Hz", 415},
		{"G.711 stereo", g711(8000, 2), sdpOf(audioAll), false, 0, -1, "2 channels", 415},
		{"AAC beside pictures", tracksOf(t, plain, clip.AAC), sdpOf(videoOf(mode1+"64001f"), audioAll), false, 96, -1, "AAC is not sent", 0},
		{"AAC alone", tracksOf(t, clip.AAC), sdpOf(audioAll), false, 0, -1, "AAC", 415},
		{"H.265", tracksOf(t, clip.H265), sdpOf(videoOf(mode1 + "4d001f")), false, 0, -1, "H.265", 415},
		{"H.265 beside sound", tracksOf(t, clip.H265, pcma), sdpOf(videoOf(mode1+"4d001f"), audioAll), false, 0, -1, "H.265", 415},
		{"sound of H.265", tracksOf(t, clip.H265, pcma), sdpOf(audioAll), false, 0, 8, "", 0},
		{"MJPEG", tracksOf(t, clip.MJPEG), sdpOf(videoOf(mode1 + "4d001f")), false, 0, -1, "MJPEG", 415},
		{"B-frames", tracksOf(t, plain), sdpOf(videoOf(mode1 + "4d001f")), true, 0, -1, "B-frames", 415},
		{"mode 0 alone", tracksOf(t, plain), sdpOf(videoOf("profile-level-id=4d001f;packetization-mode=0")), false, 0, -1, "packetization-mode 0", 415},
		{"player without H.264", tracksOf(t, plain), sdpOf(strings.ReplaceAll(videoOf("x"), "H264", "VP8")), false, 0, -1, "does not take it", 415},
		{"player of a lesser profile", tracksOf(t, plain), sdpOf(videoOf(mode1 + "42e01f")), false, 96, -1, "profile Main though the player offers Constrained Baseline", 0},
		{"player without Opus", tracksOf(t, plain, clip.Opus), sdpOf(videoOf(mode1+"4d001f"), strings.ReplaceAll(audioAll, "opus", "speex")), false, 96, -1, "Opus is not sent", 0},
		{"sound that nobody asked for", tracksOf(t, plain, clip.AAC), sdpOf(videoOf(mode1 + "4d001f")), false, 96, -1, "", 0},
		{"pictures that are not there", tracksOf(t, clip.Opus), sdpOf(videoOf(mode1+"4d001f"), audioAll), false, 0, 111, "", 0},
		{"nothing in common", tracksOf(t, clip.Opus), sdpOf(videoOf(mode1 + "4d001f")), false, 0, -1, "nothing of what the offer wants", 406},
		{"player that only sends", tracksOf(t, plain), sdpOf(strings.Replace(videoOf(mode1+"4d001f"), "recvonly", "sendonly", 1)), false, 0, -1, "nothing", 406},
		{"Chromium, Main", tracksOf(t, plain, clip.Opus), chromium, false, -2, 111, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := parseOffer([]byte(c.offer))
			if err != nil {
				t.Fatal(err)
			}
			p, err := choose(c.tracks, o, c.b)
			if c.status != 0 {
				if r := refusal(t, err); r.Status != c.status || !strings.Contains(r.Message, c.note) || r.Hint == "" || r.Status == 415 && r.Code != "codec_not_in_webrtc" {
					t.Fatalf("%+v", r)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (p.video != nil) != (c.video != 0) || c.video > 0 && (int(p.video.format.pt) != c.video || p.video.rtx == nil) {
				t.Errorf("video %+v", p.video)
			}
			if (p.audio != nil) != (c.audio >= 0) || p.audio != nil && int(p.audio.format.pt) != c.audio {
				t.Errorf("audio %+v", p.audio)
			}
			if got := strings.Join(p.notes, "; "); (got == "") != (c.note == "") || !strings.Contains(got, c.note) {
				t.Errorf("notes %q", got)
			}
			if c.video == -2 && (p.video.format.profile().name() != mainProfile || p.video.format.parameter("packetization-mode") != "1") {
				t.Errorf("%+v", p.video.format)
			}
		})
	}
}

// seeds are offers to begin with; short, or all the time goes into making them so.
func seeds(f *testing.F) {
	f.Add(sdpOf(videoOf(mode1+"42e01f"), audioAll))
	f.Add(sdpOf(videoOf(mode1+"42e01f\na=candidate:1 1 udp 1 evil.example 1 typ host"), audioAll))
	f.Add(sdpOf("m=audio 0 UDP/TLS/RTP/SAVPF 8\r\na=mid:x\r\na=rtpmap:8 PCMA/8000/1/1\r\n"))
	f.Add(sdpOf("m=video 9 UDP/TLS/RTP/SAVPF 96 96 127\r\na=mid:x\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=rtpmap:127 rtx/90000\r\na=fmtp:127 apt=96\r\na=rtcp-fb:* nack\r\n"))
}

// plans are what several streams send to who made the offer.
func plans(t *testing.T, text string, streams [][]media.Track) (o *offer, ps []*plan) {
	t.Helper()
	o, err := parseOffer([]byte(text))
	if err != nil {
		refusal(t, err)
		return nil, nil
	}
	for _, tracks := range streams {
		p, err := choose(tracks, o, false)
		if err != nil {
			refusal(t, err)
			continue
		}
		ps = append(ps, p)
	}
	return o, ps
}

// FuzzOffer: whatever the offer, it is refused or understood, and what pion gets of
// it is a sound offer of ours without anything that it could resolve or dial. (Faster
// with -fuzzminimizetime 10x.)
func FuzzOffer(f *testing.F) {
	seeds(f)
	streams := [][]media.Track{tracksOf(f, clip.H264Plain, clip.Opus), tracksOf(f, clip.ALaw), {{ID: 1, Codec: media.H264}}}
	f.Fuzz(func(t *testing.T, text string) {
		o, ps := plans(t, text, streams)
		for _, p := range ps {
			text := o.trimmed(p)
			var d sdp.SessionDescription
			if err := d.UnmarshalString(text); err != nil || len(d.MediaDescriptions) != len(o.sections) || strings.Contains(text, "a=candidate") {
				t.Fatalf("%v\n%s", err, text)
			}
		}
	})
}

// FuzzPion: an offer that was understood does pion no harm. Its goroutines make
// coverage differ from run to run: use -fuzzminimizetime 1x.
func FuzzPion(f *testing.F) {
	seeds(f)
	streams := [][]media.Track{tracksOf(f, clip.H264Plain, clip.Opus)}
	f.Fuzz(func(t *testing.T, text string) {
		o, ps := plans(t, text, streams)
		for _, p := range ps {
			through(t, o, p)
		}
	})
}

func through(t *testing.T, o *offer, p *plan) {
	t.Helper()
	m := &webrtc.MediaEngine{}
	for _, l := range []*line{p.video, p.audio} {
		if l == nil {
			continue
		}
		for _, f := range l.formats() {
			if err := m.RegisterCodec(f.parameters(l), l.kind()); err != nil {
				return // a payload type twice
			}
		}
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(webrtc.SettingEngine{LoggerFactory: quiet})).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.GracefulClose()
	for _, l := range []*line{p.video, p.audio} {
		if _, err := newOut(pc, l, "gate"); err != nil {
			t.Fatal(err)
		}
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.trimmed(p)}); err != nil {
		return // refused, which is an answer
	}
	if _, err := pc.CreateAnswer(nil); err != nil {
		return
	}
}
