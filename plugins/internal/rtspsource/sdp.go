package rtspsource

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// section is one media of an SDP as far as RTSP needs it. The parser takes
// lines as they come and ignores what it does not know: a strict one refuses
// cameras over a comma.
type section struct {
	media    string // video, audio, application
	formats  []string
	control  string
	rtpmap   map[string]string
	fmtp     map[string]map[string]string
	attrs    map[string]string
	inactive bool // sendonly or inactive: a back channel, or nothing at all
}

type sdp struct {
	title    string
	tool     string
	control  string
	sections []*section
}

// maxSections bounds what a hostile description can make us keep.
const maxSections = 32

func parseSDP(body []byte) (d sdp) {
	var m *section
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n \t")
		if len(line) < 2 || line[1] != '=' {
			continue
		}
		v := strings.TrimSpace(line[2:])
		switch line[0] {
		case 's':
			d.title = v
		case 'm':
			f := strings.Fields(v)
			if len(f) < 4 || len(d.sections) == maxSections {
				m = &section{} // what follows belongs to something unreadable
				continue
			}
			m = &section{
				media: strings.ToLower(f[0]), formats: f[3:],
				rtpmap: map[string]string{}, fmtp: map[string]map[string]string{}, attrs: map[string]string{},
			}
			d.sections = append(d.sections, m)
		case 'a':
			key, val, _ := strings.Cut(v, ":")
			key, val = strings.ToLower(key), strings.TrimSpace(val)
			if m == nil {
				switch key {
				case "control":
					d.control = val
				case "tool":
					d.tool = val
				}
				continue
			}
			m.attribute(key, val)
		}
	}
	return d
}

func (m *section) attribute(key, val string) {
	if m.rtpmap == nil {
		return
	}
	switch key {
	case "control":
		m.control = val
	case "sendonly", "inactive":
		m.inactive = true
	case "rtpmap":
		if pt, v, ok := strings.Cut(val, " "); ok {
			m.rtpmap[pt] = strings.TrimSpace(v)
		}
	case "fmtp":
		if pt, v, ok := strings.Cut(val, " "); ok {
			m.fmtp[pt] = parameters(v)
		}
	default:
		m.attrs[key] = val
	}
}

func parameters(s string) map[string]string {
	out := map[string]string{}
	for kv := range strings.SplitSeq(s, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(kv), "="); ok {
			out[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
		}
	}
	return out
}

// encoding is an rtpmap taken apart: name in lower case, clock, parameter.
func encoding(rtpmap string) (name string, clock, param int) {
	f := strings.Split(rtpmap, "/")
	name = strings.ToLower(strings.TrimSpace(f[0]))
	if len(f) > 1 {
		clock, _ = strconv.Atoi(strings.TrimSpace(f[1]))
	}
	if len(f) > 2 {
		param, _ = strconv.Atoi(strings.TrimSpace(f[2]))
	}
	return name, clock, param
}

// parameterSets decodes a comma-separated list of base64 NAL units; padding is
// optional and Annex B start codes, which some cameras put in front, go.
func parameterSets(list string) (sets [][]byte) {
	for s := range strings.SplitSeq(list, ",") {
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(s), "="))
		if err != nil {
			continue
		}
		for len(b) > 0 && b[0] == 0 {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == 1 && len(b) < 4096 { // the end of a start code: no NAL header is 1 for SPS, PPS or VPS
			b = b[1:]
		}
		if len(b) > 0 && len(b) < 4096 {
			sets = append(sets, b)
		}
	}
	return sets
}
