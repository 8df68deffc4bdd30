package hls

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// liveSpan is how much a live playlist offers at least: three target
// durations behind the edge (RFC 8216 6.2.2) for ordinary GOPs, without
// letting a player that starts at the front lag for long.
const (
	liveSegments = 6
	liveSpan     = 20 * time.Second
)

// Request says what a playlist is asked for. Carry is a query string (without
// "?") that is appended to every URI in it: token, session.
type Request struct {
	UID    string
	Span   media.Span // Live: ignored. To = 0: until now and on
	Live   bool
	Parts  bool // low latency: with parts, for a player that may wait for the next one
	Skip   bool // what such a player has already may be left out (EXT-X-SKIP)
	Carry  string
	FLAC   bool       // with G.711, as FLAC (Converts)
	TS     bool       // segments of MPEG-TS; without FLAC and parts
	Other  *Variant   // with parts: the other rendition, of which the playlist tells how far it is
	Within media.Span // what may be seen: segments that share no time with it are left out; zero = all
	Scrub  string     // URI of the scrub playlist, which the multivariant playlist names; "" = it does not
}

// entry is a segment as a playlist shows it: stored ones that share a number
// (a segment continued in a second file) are one entry.
type entry struct {
	number, discontinuity uint64
	from, to              media.Wall
	stored                media.Wall // where it is found, which names it
	init                  archive.InitID
	run                   media.RunID
	independent           bool
	gap                   bool
}

// entries folds segments to entries and puts gap entries into the holes for
// which numbers were left free. stored is where each begins in the archive.
func entries(segs []archive.Segment, stored []media.Wall) []entry {
	out := make([]entry, 0, len(segs))
	for i, s := range segs {
		if n := len(out); n > 0 {
			prev := &out[n-1]
			if prev.number == s.Number && !prev.gap {
				prev.to = max(prev.to, s.Span.To)
				continue
			}
			hole := s.Span.From - prev.to
			if prev.run == s.Run && prev.discontinuity == s.Discontinuity && s.Number == prev.number+1 &&
				hole < media.Wall(time.Second) && hole > -media.Wall(time.Second) {
				prev.to = s.Span.From // no rounding adds up along a run
			}
			out = append(out, gaps(*prev, s)...)
		}
		out = append(out, entry{
			number: s.Number, discontinuity: s.Discontinuity, from: s.Span.From, to: s.Span.To, stored: stored[i],
			init: s.Init, run: s.Run, independent: s.Independent,
		})
	}
	return out
}

// gapMost is the longest gap entry: the target duration never grows by one.
const gapMost = 10 * time.Second

// mostFree is the longest row of numbers that gap entries stand for: those left
// free for a hole, or those of a few hours of files that somebody removed.
const mostFree = 5000

// unbroken cuts off what lies before the last jump of numbers that no gap
// entries bridge: a player counts entries on from the first one's number, and a
// list that is loaded again must give each the number it had.
func unbroken(es []entry) []entry {
	for i := len(es) - 1; i > 0; i-- {
		if es[i].number != es[i-1].number+1 {
			return es[i:]
		}
	}
	return es
}

func gaps(prev entry, next archive.Segment) []entry {
	free := int64(next.Number) - int64(prev.number) - 1
	hole := next.Span.From - prev.to
	if free <= 0 || hole <= 0 || free > mostFree {
		return nil
	}
	out := make([]entry, free)
	for i := range out {
		e := prev
		e.gap, e.number = true, prev.number+1+uint64(i)
		if d := next.Discontinuity; d > prev.discontinuity+1 {
			// More than one lay in files that are gone: a player counts them one by one.
			e.discontinuity = min(prev.discontinuity+uint64(i), d-1)
		}
		e.from = prev.to + hole*media.Wall(i)/media.Wall(free)
		e.to = prev.to + hole*media.Wall(i+1)/media.Wall(free)
		// The numbers were left free when the first unit came; if the first key
		// frame then took its time the hole is longer, and what is over is told by
		// the next program date time, behind the discontinuity.
		e.to = min(e.to, e.from+media.Wall(gapMost))
		e.stored = e.from
		out[i] = e
	}
	return out
}

// mediaPlaylist writes the media playlist of es in their forms. live are its newest
// parts, nil where it has none; carry stands behind the name in each URI.
func mediaPlaylist(es []entry, req Request, ended bool, forms map[archive.InitID]form, live *edge, carry string) []byte {
	var b bytes.Buffer
	target := 10.0
	for i := range es {
		target = math.Max(target, math.Round(seconds(es[i].to-es[i].from)))
	}
	b.Grow(256 + 160*len(es))
	version := 8
	if live != nil {
		version = 9
	}
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-TARGETDURATION:%d\n", version, int(target))
	if live != nil {
		fmt.Fprintf(&b, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=%.3f,CAN-SKIP-UNTIL=%.1f\n#EXT-X-PART-INF:PART-TARGET=%.3f\n",
			3*partMost.Seconds(), max(skipWithin.Seconds(), 6*target), seconds(live.target()))
	}
	if len(es) > 0 {
		fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", es[0].number, es[0].discontinuity)
	}
	switch {
	case ended:
		b.WriteString("#EXT-X-PLAYLIST-TYPE:VOD\n")
	case !req.Live:
		// Not of type EVENT, which may only grow: retention takes segments away at
		// the front. Players begin at the asked time all the same.
		b.WriteString("#EXT-X-START:TIME-OFFSET=0\n")
	}
	ext := ".m4s"
	if req.TS {
		ext = tsExt
	}
	var date dates
	skipped := 0
	if live != nil && req.Skip {
		skipped = skippable(es, media.Wall(max(skipWithin.Seconds(), 6*target)*1e9))
	}
	if skipped > 0 {
		fmt.Fprintf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", skipped)
	}
	for i := skipped; i < len(es); i++ {
		e := &es[i]
		if i > 0 && e.discontinuity != es[i-1].discontinuity {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if !req.TS && (i == 0 || e.init != es[i-1].init) {
			e.writeMap(&b, string(forms[e.init]), carry)
		}
		var ps []part
		if live != nil && !e.gap {
			ps = live.parts[e.number]
		}
		e.write(&b, &date, ps, string(forms[e.init]), ext, carry)
	}
	if live != nil {
		b.WriteString(live.report)
	}
	if live != nil && live.open != nil {
		writeEdge(&b, es, live, &date, string(forms[live.open.init]), carry)
	}
	if ended {
		b.WriteString("#EXT-X-ENDLIST\n")
	}
	return b.Bytes()
}

// skippable is how many entries a player that has them need not be told again: those
// that end so long before the last. RFC 8216bis 6.2.5.1.
func skippable(es []entry, within media.Wall) (n int) {
	if len(es) == 0 {
		return 0
	}
	edge := es[len(es)-1].to - within
	for n < len(es) && es[n].to <= edge {
		n++
	}
	return n
}

// writeEdge adds the parts of the segment that grows, and names the next one.
func writeEdge(b *bytes.Buffer, es []entry, live *edge, date *dates, mark, carry string) {
	next := 0
	e := live.open
	last := &es[len(es)-1]
	if e.discontinuity != last.discontinuity {
		b.WriteString("#EXT-X-DISCONTINUITY\n")
	}
	if e.init != last.init {
		e.writeMap(b, mark, carry)
	}
	ps := live.parts[e.number]
	if len(ps) > 0 {
		e.writeDate(b, date)
		e.writeParts(b, ps, mark, carry)
		next = ps[len(ps)-1].index + 1
	}
	b.WriteString("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"")
	e.writePartName(b, next, mark, carry)
	b.WriteString("\"\n")
}

func (e *entry) writeMap(b *bytes.Buffer, mark, carry string) {
	fmt.Fprintf(b, "#EXT-X-MAP:URI=\"init-%s%s.mp4%s\"\n", e.init, mark, carry)
}

// write adds the lines of an entry, and of its parts if they are listed; mark and ext
// tell what is served under its name.
func (e *entry) write(b *bytes.Buffer, date *dates, ps []part, mark, ext, carry string) {
	e.writeDate(b, date)
	e.writeParts(b, ps, mark, carry)
	b.WriteString("#EXTINF:")
	b.Write(appendSeconds(b.AvailableBuffer(), e.to-e.from))
	b.WriteString(",\n")
	if e.gap {
		b.WriteString("#EXT-X-GAP\ngap-")
		mark = ""
	}
	b.Write(strconv.AppendInt(b.AvailableBuffer(), e.stored.Milli(), 10))
	b.WriteByte('-')
	b.Write(strconv.AppendUint(b.AvailableBuffer(), e.number, 10))
	b.WriteString(mark)
	b.WriteString(ext)
	b.WriteString(carry)
	b.WriteByte('\n')
}

func (e *entry) writeDate(b *bytes.Buffer, date *dates) {
	b.WriteString("#EXT-X-PROGRAM-DATE-TIME:")
	b.Write(date.append(b.AvailableBuffer(), e.from))
	b.WriteByte('\n')
}

func seconds(w media.Wall) float64 {
	if w <= 0 {
		return 0.001
	}
	return float64(w) / 1e9
}

// longHole is a hole that no entries stand for (media.GapSegments): what lies before it
// is not live.
const longHole = media.Wall(media.MaxGapSegments * 10 * time.Second)

// window cuts entries to what a live playlist offers. Who begins to watch a camera that
// was away for an hour, or is captured on demand, sees what is now.
func window(es []entry) []entry {
	for i := len(es) - 1; i > 0; i-- {
		if es[i].from-es[i-1].to > longHole {
			es = es[i:]
			break
		}
	}
	for i := len(es) - liveSegments; i > 0; i-- {
		if es[len(es)-1].to-es[i].from >= media.Wall(liveSpan) {
			return es[i:]
		}
	}
	return es
}

// parseName reads the names of segments: "<from ms>-<number>" behind prefix and before
// ".m4s", and ".<part>" behind the number of one of its parts; part is -1 without.
func parseName(name string) (from media.Wall, number uint64, part int, gap, ok bool) {
	s, ok := strings.CutSuffix(name, ".m4s")
	if !ok {
		return 0, 0, 0, false, false
	}
	s, gap = strings.CutPrefix(s, "gap-")
	ms, num, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, 0, false, false
	}
	part = -1
	if n, p, has := strings.Cut(num, "."); has {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil || gap {
			return 0, 0, 0, false, false
		}
		num, part = n, int(v)
	}
	m, err1 := strconv.ParseInt(ms, 10, 64)
	n, err2 := strconv.ParseUint(num, 10, 64)
	if err1 != nil || err2 != nil || m < 0 || m > 1<<43 {
		return 0, 0, 0, false, false
	}
	return media.WallMilli(m), n, part, gap, true
}
