package camera

import (
	"fmt"
	"hash/fnv"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"media-server/plugins/internal/stamp"
)

// Settings say what a camera is. Equal settings are the same camera.
type Settings struct {
	Name     string // in tokens and on the control socket
	Codec    string // h264, h265, mjpeg, none
	Audio    string // aac, opus, pcma, none
	Metadata bool

	MilliFPS int64         // thousandths of a picture a second; 0 = the clip's own
	GOP      time.Duration // 1s or 30s
	NoB      bool          // h264 without B-frames
	Bitrate  int64         // bit/s of video, reached by filling up; 0 = as it is

	ClockOffset time.Duration // of the camera's wall clock
	DriftPPM    int64         // the camera's clock runs faster by this
	Reports     bool          // the camera tells its wall clock

	Loss, Reorder float64 // share of units, 0 to 1
	Seed          uint64

	Ledger  string // CSV file
	Control string // unix socket
	Cues    string // as written, for comparison
	cues    []Cue
}

// Key documents one setting; it may stand in the URL's query or as driver-KEY,
// the URL's counts.
type Key struct{ Name, Type, Default, Help, Allowed string }

// Keys are all settings.
var Keys = []Key{
	{"name", "string", "", "The camera's name in frame tokens; by default the stream's uid. Like a camera that takes one connection only: of two streams with one name the later has it.", ""},
	{"codec", "enum", "h264", "Coding of the picture.", "h264 h265 mjpeg none"},
	{"audio", "enum", "aac", "Coding of the sound.", "aac opus pcma none"},
	{"metadata", "bool", "off", "Whether there is an ONVIF metadata track, one document a second.", ""},
	{"fps", "string", "", "Pictures a second, 0.1 to 120; under 5 every picture is a key frame. Default: the clip's own, 25 (mjpeg 5).", ""},
	{"gop", "enum", "1s", "Distance of key frames at 25 pictures a second; 30s only with h264.", "1s 30s"},
	{"b-frames", "bool", "on", "Whether pictures refer to later ones, as in most footage; off = as WebRTC wants it, only with h264.", ""},
	{"bitrate", "size", "0", "Bits a second of video, such as 2M, reached by filling units up (h264 and h265); 0 = as the clip is.", ""},
	{"clock-offset", "duration", "0s", "How far the camera's wall clock is ahead of the host's; may be negative.", ""},
	{"clock-drift", "int", "0", "Parts per million by which the camera's clock runs too fast, -100000 to 100000.", ""},
	{"sr", "bool", "on", "Whether the camera tells its wall clock, as RTCP sender reports do.", ""},
	{"loss", "string", "0%", "Share of units lost on the way, such as 0.5%.", ""},
	{"reorder", "string", "0%", "Share of units whose packets come in the wrong order, such as 1%; they are late, not lost.", ""},
	{"seed", "int", "0", "Makes loss and reordering repeatable; 0 = from the name.", ""},
	{"ledger", "string", "", "CSV file to which every unit sent is added; an absolute path.", ""},
	{"control", "string", "", "Unix socket that takes lines such as \"NAME drop=2s\", * for every camera; an absolute path.", ""},
	{"cue", "string", "", "Misbehaviour by time since the camera's start: 10s:drop,20s:silence=3s. " + cueHelp, ""},
}

// Problem is a setting that cannot be used.
type Problem struct{ Key, What, Hint string }

func (p Problem) Error() string { return p.Key + ": " + p.What + "; " + p.Hint }

// Parse reads a stream's URL and settings. uid may be empty (validation).
func Parse(rawURL, uid string, keys map[string]string) (Settings, []Problem) {
	p := parser{values: map[string]string{}}
	for k, v := range keys {
		p.put(k, v)
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "sim" {
		p.bad("url", "not a sim:// URL", "sim:// alone is complete; sim://?codec=h265&audio=none sets more")
		return Settings{}, p.problems
	}
	for f := range strings.SplitSeq(u.RawQuery, "&") {
		if k, v, _ := strings.Cut(f, "="); f != "" {
			if plain, err := url.QueryUnescape(v); err == nil {
				v = plain // else as it stands: loss=2% is what one writes
			}
			p.put(k, v)
		}
	}
	s := p.settings(u.Host, uid)
	slices.SortFunc(p.problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return s, p.problems
}

type parser struct {
	values   map[string]string
	problems []Problem
}

func (p *parser) bad(key, what, hint string) {
	p.problems = append(p.problems, Problem{key, what, hint})
}

func (p *parser) put(key, value string) {
	if !slices.ContainsFunc(Keys, func(k Key) bool { return k.Name == key }) {
		p.bad(key, "unknown setting of sim", "it takes "+keyNames())
		return
	}
	p.values[key] = value
}

func keyNames() string {
	var n []string
	for _, k := range Keys {
		n = append(n, k.Name)
	}
	return strings.Join(n, ", ")
}

func (p *parser) settings(host, uid string) Settings {
	s := Settings{Name: p.name(host, uid)}
	s.Codec = p.enum("codec")
	s.Audio = p.enum("audio")
	s.Metadata = p.boolean("metadata")
	s.Reports = p.boolean("sr")
	s.GOP = p.duration("gop", p.enum("gop"))
	s.NoB = !p.boolean("b-frames")
	s.MilliFPS = p.fps()
	s.Bitrate = p.bits()
	s.ClockOffset = p.duration("clock-offset", p.value("clock-offset"))
	s.DriftPPM = p.integer("clock-drift", -100000, 100000)
	s.Loss, s.Reorder = p.share("loss"), p.share("reorder")
	s.Seed = uint64(p.integer("seed", 0, 1<<62))
	if s.Seed == 0 {
		h := fnv.New64a()
		h.Write([]byte(s.Name))
		s.Seed = h.Sum64()
	}
	s.Ledger, s.Control = p.path("ledger"), p.path("control")
	s.Cues = p.value("cue")
	var err error
	if s.cues, err = ParseCues(s.Cues); err != nil {
		p.bad("cue", err.Error(), "write it as 10s:drop,20s:silence=3s. "+cueHelp)
	}
	if s.Codec == "none" && s.Audio == "none" && !s.Metadata {
		p.bad("codec", "neither picture nor sound nor metadata", "let one of codec and audio be something")
	}
	if s.GOP > time.Second && s.Codec != "h264" {
		p.bad("gop", "only h264 has key frames 30 s apart", "use codec=h264")
	}
	if s.NoB && (s.Codec != "h264" || s.GOP > time.Second) {
		p.bad("b-frames", "only h264 with key frames 1 s apart is there without B-frames", "use codec=h264 and gop=1s")
	}
	for _, c := range s.cues {
		if (c.Verb == "params" || c.Verb == "params-inband") && (s.Codec != "h264" || s.NoB) {
			p.bad("cue", "only h264 with B-frames has a second set of parameters", "use codec=h264 and b-frames=on")
		}
	}
	return s
}

// name is the setting, the URL's host, or the uid brought into a token's form.
func (p *parser) name(host, uid string) string {
	n := p.value("name")
	if n == "" {
		n = host
	}
	if n == "" {
		n = strings.Trim(strings.ReplaceAll(strings.ToLower(uid), "_", "-"), "-")
		for strings.Contains(n, "--") {
			n = strings.ReplaceAll(n, "--", "-")
		}
		if !stamp.ValidCamera(n) {
			n = "camera"
		}
	}
	if !stamp.ValidCamera(n) {
		p.bad("name", fmt.Sprintf("%q cannot be a camera's name", n), "use a-z, 0-9 and single -, at most 36")
	}
	return n
}

func (p *parser) value(key string) string {
	if v, ok := p.values[key]; ok {
		return v
	}
	for _, k := range Keys {
		if k.Name == key {
			return k.Default
		}
	}
	return ""
}

func (p *parser) enum(key string) string {
	v := p.value(key)
	for _, k := range Keys {
		if k.Name == key && !slices.Contains(strings.Fields(k.Allowed), v) {
			p.bad(key, fmt.Sprintf("%q is not known", v), "use one of: "+k.Allowed)
			return k.Default
		}
	}
	return v
}

func (p *parser) boolean(key string) bool {
	switch v := strings.ToLower(p.value(key)); v {
	case "on", "true", "yes":
		return true
	case "off", "false", "no":
	default:
		p.bad(key, fmt.Sprintf("%q is neither on nor off", v), "use on or off")
	}
	return false
}

func (p *parser) duration(key, v string) time.Duration {
	d, err := parseDuration(v)
	if err != nil {
		p.bad(key, err.Error(), "write it as 500ms, 10s, 2m or 1h")
	}
	return d
}

func parseDuration(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil || d > 10000*time.Hour || d < -10000*time.Hour {
		return 0, fmt.Errorf("%q is not a duration", v)
	}
	return d, nil
}

func (p *parser) integer(key string, low, high int64) int64 {
	n, err := strconv.ParseInt(p.value(key), 10, 64)
	if err != nil || n < low || n > high {
		p.bad(key, fmt.Sprintf("%q is not a number from %d to %d", p.value(key), low, high), "write it in digits")
		return 0
	}
	return n
}

func (p *parser) fps() int64 {
	v := p.value("fps")
	if v == "" {
		return 0
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0.1 && f <= 120) {
		p.bad("fps", fmt.Sprintf("%q is not a rate", v), "use a number from 0.1 to 120")
		return 0
	}
	return int64(f*1000 + 0.5)
}

func (p *parser) bits() int64 {
	v := p.value("bitrate")
	unit := int64(1)
	switch {
	case strings.HasSuffix(v, "M"):
		unit = 1000000
	case strings.HasSuffix(v, "k"), strings.HasSuffix(v, "K"):
		unit = 1000
	}
	n, err := strconv.ParseInt(strings.TrimRight(v, "MkK"), 10, 64)
	if err != nil || n < 0 || n*unit > 200000000 {
		p.bad("bitrate", fmt.Sprintf("%q is not a bitrate", v), "write it as 500k or 2M, at most 200M")
		return 0
	}
	return n * unit
}

func (p *parser) share(key string) float64 {
	v := p.value(key)
	f, err := strconv.ParseFloat(strings.TrimSuffix(v, "%"), 64)
	if err != nil || !(f >= 0 && f <= 100) {
		p.bad(key, fmt.Sprintf("%q is not a share", v), "write it as 0.5%")
		return 0
	}
	return f / 100
}

func (p *parser) path(key string) string {
	v := p.value(key)
	if v != "" && !filepath.IsAbs(v) {
		p.bad(key, "the path is not absolute", "begin it with /")
		return ""
	}
	return v
}
