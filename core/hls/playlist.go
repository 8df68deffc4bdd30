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
	UID   string
	Span  media.Span // Live: ignored. To = 0: until now and on
	Live  bool
	Carry string
	Scrub string // URI of the scrub playlist, which the multivariant playlist names; "" = it does not
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

// mediaPlaylist writes the media playlist of es; pictures: of their pictures only.
func mediaPlaylist(es []entry, req Request, ended, pictures bool) []byte {
	var b bytes.Buffer
	target := 10.0
	for i := range es {
		target = math.Max(target, math.Round(seconds(es[i].to-es[i].from)))
	}
	b.Grow(256 + 160*len(es))
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:%d\n", int(target))
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
	carry, mark := "", ""
	if pictures {
		mark = picturesOnly
	}
	if req.Carry != "" {
		carry = "?" + req.Carry
	}
	var date dates
	for i := range es {
		e := &es[i]
		if i > 0 && e.discontinuity != es[i-1].discontinuity {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if i == 0 || e.init != es[i-1].init {
			e.writeMap(&b, mark, carry)
		}
		e.write(&b, &date, mark, carry)
	}
	if ended {
		b.WriteString("#EXT-X-ENDLIST\n")
	}
	return b.Bytes()
}

func (e *entry) writeMap(b *bytes.Buffer, mark, carry string) {
	fmt.Fprintf(b, "#EXT-X-MAP:URI=\"init-%s%s.mp4%s\"\n", e.init, mark, carry)
}

// write adds the lines of an entry; mark tells what is served under its name.
func (e *entry) write(b *bytes.Buffer, date *dates, mark, carry string) {
	b.WriteString("#EXT-X-PROGRAM-DATE-TIME:")
	b.Write(date.append(b.AvailableBuffer(), e.from))
	b.WriteString("\n#EXTINF:")
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
	b.WriteString(".m4s")
	b.WriteString(carry)
	b.WriteByte('\n')
}

func seconds(w media.Wall) float64 {
	if w <= 0 {
		return 0.001
	}
	return float64(w) / 1e9
}

// window cuts entries to what a live playlist offers.
func window(es []entry) []entry {
	for i := len(es) - liveSegments; i > 0; i-- {
		if es[len(es)-1].to-es[i].from >= media.Wall(liveSpan) {
			return es[i:]
		}
	}
	return es
}

// parseName reads the names of segments: "<from ms>-<number>" behind prefix
// and before ".m4s".
func parseName(name string) (from media.Wall, number uint64, gap, ok bool) {
	s, ok := strings.CutSuffix(name, ".m4s")
	if !ok {
		return 0, 0, false, false
	}
	s, gap = strings.CutPrefix(s, "gap-")
	ms, num, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, false, false
	}
	m, err1 := strconv.ParseInt(ms, 10, 64)
	n, err2 := strconv.ParseUint(num, 10, 64)
	if err1 != nil || err2 != nil || m < 0 || m > 1<<43 {
		return 0, 0, false, false
	}
	return media.WallMilli(m), n, gap, true
}
