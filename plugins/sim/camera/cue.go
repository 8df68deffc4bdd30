package camera

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Cue is one act of misbehaviour.
type Cue struct {
	At   time.Duration // since the camera's start
	Verb string
	For  time.Duration // or by how much
}

const cueHelp = "drop=T closes the connection and refuses new ones for T; silence=T says nothing, keeping the connection; " +
	"params changes resolution with a new connection, params-inband without; nokey=T sends no key frames; rubbish=T sends noise as pictures; " +
	"step=T moves the camera's wall clock, jump=T its media clock; motion=T reports motion for T."

// verbs and the duration each has when none is given.
var verbs = map[string]time.Duration{
	"drop":          0,
	"silence":       3 * time.Second,
	"params":        0,
	"params-inband": 0,
	"nokey":         10 * time.Second,
	"rubbish":       time.Second,
	"step":          time.Hour,
	"jump":          time.Hour,
	"motion":        5 * time.Second,
}

// ParseCues reads "10s:drop,20s:silence=3s", in any order of time.
func ParseCues(s string) ([]Cue, error) {
	var cues []Cue
	for f := range strings.SplitSeq(s, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		at, what, ok := strings.Cut(f, ":")
		if !ok {
			return nil, fmt.Errorf("%q has no time", f)
		}
		d, err := parseDuration(at)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("%q does not begin with a time", f)
		}
		c, err := parseVerb(what)
		if err != nil {
			return nil, err
		}
		c.At = d
		cues = append(cues, c)
	}
	slices.SortStableFunc(cues, func(a, b Cue) int { return cmp.Compare(a.At, b.At) })
	return cues, nil
}

func parseVerb(s string) (Cue, error) {
	verb, arg, has := strings.Cut(strings.TrimSpace(s), "=")
	d, ok := verbs[verb]
	if !ok {
		return Cue{}, fmt.Errorf("unknown cue %q", verb)
	}
	if has {
		var err error
		if d, err = parseDuration(arg); err != nil {
			return Cue{}, err
		}
		if d < 0 && verb != "step" && verb != "jump" {
			return Cue{}, fmt.Errorf("%q cannot be negative", s)
		}
	}
	return Cue{Verb: verb, For: d}, nil
}
