package webrtc

import (
	"fmt"
	"strings"
)

// trimmed writes the offer as pion gets it: the chosen formats alone, nothing
// that could make it resolve a name or dial.
func (o *offer) trimmed(p *plan) string {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE")
	for _, s := range o.sections {
		b.WriteString(" " + s.mid)
	}
	b.WriteString("\r\n")
	for _, s := range o.sections {
		l := p.line(s.kind)
		fs := []format{{pt: 127, name: "NONE", clock: 90000}} // of a section that gets nothing
		direction := "inactive"
		if l != nil {
			fs, direction = l.formats(), "recvonly"
		}
		b.WriteString("m=" + s.kind + " 9 UDP/TLS/RTP/SAVPF")
		for _, f := range fs {
			fmt.Fprintf(&b, " %d", f.pt)
		}
		fmt.Fprintf(&b, "\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:%s\r\na=setup:%s\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=%s\r\n",
			s.mid, o.ufrag, o.pwd, o.fingerprint, o.setup, direction)
		for _, f := range fs {
			f.write(&b)
		}
	}
	return b.String()
}

func (f *format) write(b *strings.Builder) {
	name := f.name
	if name == "OPUS" || name == "RTX" {
		name = strings.ToLower(name) // as everybody writes them
	}
	fmt.Fprintf(b, "a=rtpmap:%d %s/%d", f.pt, name, f.clock)
	if f.channels > 1 {
		fmt.Fprintf(b, "/%d", f.channels)
	}
	b.WriteString("\r\n")
	for _, v := range f.feedback {
		fmt.Fprintf(b, "a=rtcp-fb:%d %s\r\n", f.pt, v)
	}
	if f.fmtp != "" {
		fmt.Fprintf(b, "a=fmtp:%d %s\r\n", f.pt, f.fmtp)
	}
}
