package rtspsource

import (
	"encoding/binary"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/plugins/sdk"
)

func FuzzRTCP(f *testing.F) {
	f.Add(srBytes(1, time.Unix(sec2025, 0), 7))
	f.Add([]byte{0x81, 203, 0, 1, 0, 0, 0, 1})
	f.Add([]byte{0x80, 200, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		tl := timeline{rate: 90000}
		tl.extend(1, 1)
		readRTCP(b, func(r senderReport) {
			if tl.setReport(r, 1, stamp{wall: sec2025 * 1e9, mono: 2}) {
				tl.ntp(3)
			}
		}, func(uint32) {})
	})
}

func FuzzSDP(f *testing.F) {
	f.Add([]byte(fakeSDP + fakeAudio))
	f.Add([]byte("m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\na=fmtp:96 sprop-sps=QgEBAWAAAAMAkAAAAwAAAwBdoAKAgC0WWVmkkyuAQAAA+kAAF3AC; sprop-vps=QAEMAf; sprop-pps=RAHgdrAmQA==\n"))
	f.Add([]byte("m=audio 0 RTP/AVP 97\na=rtpmap:97 MP4A-LATM/48000\na=fmtp:97 cpresent=0;config=40002320adca00\n"))
	f.Add([]byte("m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/48000/2\na=fmtp:97 config=1190;sizelength=13;indexlength=3;indexdeltalength=3\n"))
	f.Add([]byte("m=application 0 RTP/AVP 98\na=rtpmap:98 vnd.onvif.metadata/90000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		offers, left := choose(parseSDP(b), func(media.Kind) bool { return true })
		for _, o := range offers {
			if o.track.Timescale == 0 || o.track.Kind() == media.KindUnknown || o.unpack == nil {
				t.Fatalf("offer %+v", o.track)
			}
			d := o.unpack((&collect{}).port())
			d.push(&packet{marker: true, payload: b}, false, stamp{})
		}
		for _, l := range left {
			if l.Reason == "" || len(l.Name) > 60 {
				t.Fatalf("left out %+v", l)
			}
		}
	})
}

// FuzzTrack throws RTP packets at every depacketiser, through the receiver and
// the timeline. The input is a list of packets: flags, length, bytes.
func FuzzTrack(f *testing.F) {
	var seed []byte
	for _, p := range fu(append([]byte{0x65, 0x88}, make([]byte, 300)...), 100) {
		seed = append(append(seed, 1, byte(len(p))), p...)
	}
	for kind := range byte(8) {
		f.Add(kind, seed)
		f.Add(kind, []byte{0x0f, 4, 24, 0, 2, 9, 1, 8, 0, 0, 0, 0, 1, 1, 16, 32})
	}
	sdps := []string{
		fakeSDP,
		"m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n",
		"m=video 0 RTP/AVP 26\n",
		"m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/48000/2\na=fmtp:97 config=1190;sizelength=13;indexlength=3;indexdeltalength=3\n",
		"m=audio 0 RTP/AVP 97\na=rtpmap:97 MP4A-LATM/48000\na=fmtp:97 cpresent=0;config=40002320adca00\n",
		"m=audio 0 RTP/AVP 97\na=rtpmap:97 MP4A-LATM/48000\na=fmtp:97 cpresent=1;config=40002320adca00\n",
		"m=audio 0 RTP/AVP 0\n",
		"m=application 0 RTP/AVP 98\na=rtpmap:98 vnd.onvif.metadata/90000\n",
	}
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		offers, _ := choose(parseSDP([]byte(sdps[int(kind)%len(sdps)])), func(media.Kind) bool { return true })
		m := newMemory(nil)
		s := &session{sink: m, udp: kind&0x80 != 0}
		tr := s.newTrack(offers[0])
		tr.track.ID = 1
		s.tracks = []*track{tr}
		m.Open([]media.Track{tr.track}, "", []sdk.LeftOut{}...)
		s.opened = true
		seq, ts, mono := uint16(0), uint32(0), int64(1)
		for len(in) >= 2 {
			flags, n := in[0], min(int(in[1]), len(in)-2)
			b := in[2 : 2+n]
			in = in[2+n:]
			seq++
			if flags&8 != 0 {
				seq += uint16(int8(flags))
			}
			if flags&2 != 0 {
				ts += 3600
			}
			if flags&0x40 != 0 && len(b) >= 4 {
				ts = binary.BigEndian.Uint32(b)
			}
			mono += int64(flags) * 1e5
			tr.packet(rtpBytes(tr.pt, flags&1 != 0, seq, ts, uint32(flags>>7), b...), stamp{wall: 1, mono: mono})
		}
		s.flush()
		last := int64(-1 << 62)
		for i, u := range m.units {
			if len(u.Payload) == 0 || u.HasDTS && (u.DTS > u.PTS) {
				t.Fatalf("unit %d: %+v", i, u)
			}
			if c := tr.track.Codec; c == media.H264 || c == media.H265 {
				if err := sampleForm(u.Payload); err != nil {
					t.Fatal(err)
				}
			}
			if u.HasDTS && tr.line.Jumps == 0 && kind&0x80 == 0 && u.DTS <= last && !restarts(m.units) {
				t.Fatalf("unit %d: DTS %d after %d", i, u.DTS, last)
			}
			if u.HasDTS {
				last = u.DTS
			}
		}
	})
}

// restarts tells whether PTS run back at all, after which DTS begin anew.
func restarts(u []media.AccessUnit) bool {
	for i := 1; i < len(u); i++ {
		if u[i].PTS < u[i-1].PTS {
			return true
		}
	}
	return false
}

// FuzzWire feeds the splitter of frames and messages in two reads.
func FuzzWire(f *testing.F) {
	f.Add([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc$\x00\x00\x02ab"), 9)
	f.Add([]byte("OPTIONS * RTSP/1.0\r\n\r\n"), 3)
	f.Add([]byte("RTSP/1.0 200\n\nRTSP/1.0 999999 x\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		w := &wire{buf: make([]byte, len(b))}
		cut = max(0, min(cut, len(b)))
		for _, part := range [][]byte{b[:cut], b[cut:]} {
			w.w += copy(w.buf[w.w:], part)
			for {
				at := w.r
				_, _, _, ok, err := w.next()
				if !ok || err != nil {
					break
				}
				if w.r <= at || w.r > w.w {
					t.Fatalf("read position %d after %d of %d", w.r, at, w.w)
				}
			}
		}
	})
}

func FuzzAddress(f *testing.F) {
	f.Add("rtsp://user:p#ss@10.0.0.7/main")
	f.Add("rtsps://[::1]:99/%zz?#")
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := parseAddress(s); err == nil && (a.request == nil || a.request.User != nil || a.host == "") {
			t.Fatalf("%+v", a)
		}
	})
}
