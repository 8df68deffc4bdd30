package export

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"media-server/core/media"
)

// mostLines is how many findings are told one by one.
const mostLines = 100

// Lines says line by line what was found; times are told in zone.
func (r *Report) Lines(zone *time.Location) (out []string) {
	name := filepath.Base(r.File)
	say := func(format string, args ...any) { out = append(out, name+": "+fmt.Sprintf(format, args...)) }
	at := func(w media.Wall) string { return w.Time().In(zone).Format("2006-01-02 15:04:05.000 -0700") }
	span := func(s media.Span) string { return "from " + at(s.From) + " to " + at(s.To) }
	if st := r.Statement; st != nil {
		if !r.Sound {
			say("what follows is written in the proof, and nobody vouches for it")
		}
		say("exported by %s on %s, server %s (node %s, %s)", quoted(st.Exporter), at(st.Made), quoted(st.Server), st.Node, st.Program)
		say("reason: %s", quoted(st.Reason))
		say("asked for: stream %s %s %s; the export covers it %s", st.UID, quoted(st.Name), span(st.Asked), span(st.Covers))
		for _, g := range st.Gaps {
			say("nothing was recorded %s: %s", span(g.Span), g.Why)
		}
	}
	for _, s := range r.recording() {
		say("%s", s)
	}
	if r.SHA256 != "" {
		if r.Identical {
			say("byte for byte the file that was exported (SHA-256 %s)", r.SHA256)
		} else {
			say("not byte for byte the file that was exported: judged frame by frame")
		}
	}
	for i := range r.Tracks {
		say("%s", r.Tracks[i].line(span))
	}
	for _, n := range r.Notes {
		say("%s", n)
	}
	for i, f := range r.Findings {
		if i == mostLines {
			say("FOUND %d more; --json has them all", len(r.Findings)-i)
			break
		}
		switch {
		case f.Span.From != 0 && f.Span.To > f.Span.From:
			say("FOUND %s: %s", span(f.Span), f.What)
		case f.Span.From != 0:
			say("FOUND at %s: %s", at(f.Span.From), f.What)
		case f.InFile != "":
			say("FOUND at %s of the file: %s", f.InFile, f.What)
		default:
			say("FOUND %s", f.What)
		}
	}
	return out
}

// recording says what the source files prove.
func (r *Report) recording() (out []string) {
	signed, fragments := 0, 0
	keys := map[string]bool{}
	for _, s := range r.Sources {
		if s.Proven {
			signed++
			fragments += s.Fragments
			keys[s.Key] = true
		}
	}
	if signed > 0 {
		var ids []string
		for k := range keys {
			ids = append(ids, k)
		}
		slices.Sort(ids)
		out = append(out, fmt.Sprintf("its fragments belong to the signed chain of the recording: files %d, fragments %d, key %s", signed, fragments, strings.Join(ids, ", ")))
	}
	for _, s := range r.Sources {
		if s.Stored {
			out = append(out, fmt.Sprintf("file %s of the recording was stored encrypted: that its %d frames had these bytes is the server's statement, their places and times are in the chain", s.File, s.Frames))
		}
		if s.Groomed != "" {
			out = append(out, fmt.Sprintf("file %s keeps the key frames of file %s of the recording, and was signed when it was made of that", s.File, s.Groomed))
		}
		switch s.State {
		case stateUnsealed:
			out = append(out, fmt.Sprintf("file %s of the recording was not closed and signed yet: for its %d frames only the server's statement stands", s.File, s.Frames))
		case stateUnsigned:
			out = append(out, fmt.Sprintf("file %s of the recording was never signed: for its %d frames only the server's statement stands", s.File, s.Frames))
		}
	}
	return out
}

// line sums a track up.
func (t *Track) line(span func(media.Span) string) string {
	switch {
	case t.Raw:
		return t.Kind + ": cut into other units than were recorded, and cannot be compared"
	case t.Recorded == 0:
		return fmt.Sprintf("%s: none is recorded in the export", countOf(t.Frames, t.Kind))
	}
	s := fmt.Sprintf("%s %s are those recorded", countOf(t.Recorded, t.Kind), span(t.Span))
	if bad := t.Frames - t.Recorded; bad == 0 {
		s += "; none foreign"
	} else {
		s += fmt.Sprintf("; %s of %s in the file not", thousands(bad), thousands(t.Frames))
	}
	if n := t.Recorded - t.Signed; n > 0 {
		s += fmt.Sprintf("; of %s the server's statement alone says so", thousands(n))
	}
	if t.Before+t.After > 0 {
		s += fmt.Sprintf("; %s before and %s behind them in the export are not in this file", thousands(t.Before), thousands(t.After))
	}
	return s
}
