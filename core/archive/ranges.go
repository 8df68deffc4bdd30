package archive

import (
	"slices"
	"sort"
	"time"

	"media-server/core/media"
)

// inMemory lists the files of a stream that only memory knows, oldest first.
func (a *Archive) inMemory(uid string) []*file {
	st := a.known(uid)
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return append([]*file(nil), st.files...)
}

// segmentsOf lists a file's segments that share time with s.
func segmentsOf(out []Segment, base Segment, segs []segRow, s media.Span) []Segment {
	for i := range segs {
		r := &segs[i]
		if !r.Span.Overlaps(s) {
			continue
		}
		g := base
		g.Number, g.Discontinuity, g.Span, g.Index = r.Number, r.Discontinuity, r.Span, i
		g.Independent, g.Complete, g.Size = r.Independent, r.Complete, r.Size
		out = append(out, g)
	}
	return out
}

// Segments lists the segments that overlap s, in order; the last may be
// growing.
func (a *Archive) Segments(uid string, s media.Span) ([]Segment, error) {
	// Memory first: a file that moves to the catalogue meanwhile shows twice
	// rather than not at all.
	seen := map[FileID]bool{}
	var out []Segment
	for _, f := range a.inMemory(uid) {
		l := f.layout()
		if len(l.Segments) == 0 {
			continue
		}
		seen[f.id] = true
		out = segmentsOf(out, Segment{Run: l.Run, Zero: l.Zero, Init: l.Init, File: l.File}, rowsOf(l), s)
	}
	dead, err := a.destroyed(uid)
	if err != nil {
		return nil, err
	}
	var segs []segRow
	err = a.cat.segTables(uid, s, func(f Segment, table []byte) (err error) {
		if seen[f.File] || dead[f.File] {
			return nil
		}
		if segs, err = addSegTable(segs[:0], table, f.Span.From); err != nil {
			return err
		}
		if out == nil { // all files of a stream are about alike
			part := float64(min(s.Duration(), mostAlike)) / float64(max(f.Span.Duration(), time.Second))
			out = make([]Segment, 0, 8+int(part*float64(len(segs))))
		}
		out = segmentsOf(out, f, segs, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !slices.IsSortedFunc(out, bySegment) {
		slices.SortStableFunc(out, bySegment)
	}
	return out, nil
}

// mostAlike is how much of an answer room is made for at once.
const mostAlike = 2 * time.Hour

func bySegment(x, y Segment) int {
	if x.Span.From != y.Span.From {
		return compare(x.Span.From, y.Span.From)
	}
	return compare(x.Number, y.Number)
}

func compare[T int64 | uint64 | media.Wall | FileID](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// merge joins spans that touch, within the tolerance, after sorting them.
func merge(spans []media.Span) []media.Span {
	if !slices.IsSortedFunc(spans, byFrom) {
		slices.SortFunc(spans, byFrom)
	}
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.From-out[n-1].To <= holeTolerance {
			out[n-1].To = max(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

func byFrom(a, b media.Span) int { return compare(a.From, b.From) }

// spans lists what is recorded of s, merged, not clipped, and which of it keeps
// key frames only.
func (a *Archive) spans(uid string, s media.Span) (all, groomed []media.Span, err error) {
	seen := map[FileID]bool{}
	var out []media.Span
	for _, f := range a.inMemory(uid) {
		l := f.layout()
		if len(l.Segments) == 0 {
			continue
		}
		seen[f.id] = true
		for i := range l.Segments {
			if l.Segments[i].Span.Overlaps(s) {
				out = append(out, l.Segments[i].Span)
			}
		}
	}
	var holed []FileID
	var stored []media.Span
	dead, err := a.destroyed(uid)
	if err != nil {
		return nil, nil, err
	}
	hour := func(sp media.Span, kept bool) {
		if kept {
			groomed = lengthen(groomed, sp)
		} else {
			stored = lengthen(stored, sp)
		}
	}
	if len(dead) > 0 {
		hour = nil // each file is asked for
	}
	err = a.cat.spans(uid, s, hour, func(id FileID, sp media.Span, flags int64) {
		if flags&rowGroomed != 0 && !dead[id] {
			groomed = lengthen(groomed, sp)
		}
		switch {
		case seen[id], dead[id]:
		case flags&rowHoles != 0:
			holed = append(holed, id)
		default:
			stored = lengthen(stored, sp)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for _, id := range holed {
		r, err := a.cat.get(id)
		if err != nil {
			continue // deleted meanwhile
		}
		segs, err := parseSegTable(r.Segs, r.Span.From)
		if err != nil {
			return nil, nil, err
		}
		for i := range segs {
			if segs[i].Span.Overlaps(s) {
				stored = append(stored, segs[i].Span)
			}
		}
	}
	return merge(append(stored, out...)), groomed, nil
}

// lengthen adds a span to merged ones that come in order.
func lengthen(spans []media.Span, sp media.Span) []media.Span {
	if n := len(spans); n > 0 && sp.From-spans[n-1].To <= holeTolerance && sp.From >= spans[n-1].From {
		spans[n-1].To = max(spans[n-1].To, sp.To)
		return spans
	}
	return append(spans, sp)
}

// Ranges lists what is recorded of s and what is missing in it, between the
// first footage of the stream and the last, clipped to s; in front of the very
// first footage also what was missing since the stream was to be recorded.
func (a *Archive) Ranges(uid string, s media.Span) ([]Range, []Gap, error) {
	rs, gs, err := a.ranges(uid, s)
	if err != nil {
		return rs, gs, err
	}
	before, err := a.unborn(uid, s)
	return rs, append(before, gs...), err
}

func (a *Archive) ranges(uid string, s media.Span) ([]Range, []Gap, error) {
	spans, groomed, err := a.spans(uid, s)
	if err != nil {
		return nil, nil, err
	}
	recorded := func(spans []media.Span) (ranges []Range) {
		for _, sp := range spans {
			if c := sp.Intersect(s); !c.Empty() {
				ranges = append(ranges, Range{Span: c, Kind: "recorded"})
			}
		}
		return ranges
	}
	bounds, ok := a.Bounds(uid)
	if ok && (s.From < bounds.From || s.To > bounds.To) {
		if bounds, err = a.before(uid, s, bounds); err != nil {
			return recorded(spans), nil, err
		}
	}
	window := s.Intersect(bounds)
	if !ok || window.Empty() {
		return recorded(spans), nil, nil
	}
	marks, err := a.Events(uid, window)
	if err != nil {
		return recorded(spans), nil, err
	}
	facts, err := a.state.facts(uid, window)
	if err != nil {
		return recorded(spans), nil, err
	}
	gs, err := a.expired(uid, gaps(window, spans, facts))
	if err != nil {
		return recorded(spans), nil, err
	}
	return markGroomed(kinds(recorded(without(spans, gs)), marks), groomed), gs, nil
}

// markGroomed tells which ranges, or which stretches of them, keep key frames
// only.
func markGroomed(rs []Range, groomed []media.Span) []Range {
	if len(groomed) == 0 {
		return rs
	}
	var out []Range
	k := 0
	for _, r := range rs {
		for k < len(groomed) && groomed[k].To <= r.Span.From {
			k++
		}
		at := r.Span.From
		add := func(to media.Wall, is bool) {
			if to > at {
				out = append(out, Range{Span: media.Span{From: at, To: to}, Kind: r.Kind, Groomed: is})
				at = to
			}
		}
		for i := k; i < len(groomed) && groomed[i].From < r.Span.To; i++ {
			add(groomed[i].From, false)
			add(min(groomed[i].To, r.Span.To), true)
		}
		add(r.Span.To, false)
	}
	return out
}

// before widens the span from the first footage to the last by what was there
// before and behind it until somebody took it. What a rule has let go since ends
// the row.
func (a *Archive) before(uid string, s, bounds media.Span) (media.Span, error) {
	facts, err := a.state.facts(uid, s)
	if err != nil {
		return bounds, err
	}
	facts = slices.DeleteFunc(facts, func(f fact) bool { return f.Type != factGap || !f.Cause.taken() })
	for i := range facts { // oldest first
		if f := &facts[i]; f.At <= bounds.To+near {
			bounds.To = max(bounds.To, f.Until)
		}
	}
	for _, f := range slices.Backward(facts) {
		if f.Until >= bounds.From-near {
			bounds.From = min(bounds.From, f.At)
		}
	}
	return bounds, nil
}

// without cuts gaps out of the spans they lie in: what was lost inside a run is
// bridged by the sample before it, but it is not recorded. Gaps shorter than a
// frame or two leave the range whole.
func without(spans []media.Span, gs []Gap) []media.Span {
	var out []media.Span
	k := 0
	for _, sp := range spans {
		for k < len(gs) && gs[k].Span.To <= sp.From {
			k++
		}
		for i := k; i < len(gs) && gs[i].Span.From < sp.To; i++ {
			g := gs[i].Span
			if g.From <= sp.From || g.To >= sp.To || g.To-g.From < holeTolerance {
				continue
			}
			out = append(out, media.Span{From: sp.From, To: g.From})
			sp.From = g.To
		}
		out = append(out, sp)
	}
	return out
}

// gaps names the holes between spans. A mark or a gap record tells why from
// its time on; records of losses inside a span are gaps of their own.
func gaps(window media.Span, spans []media.Span, facts []fact) []Gap {
	var out []Gap
	at := window.From
	hole := func(from, to media.Wall) {
		if to-from > holeTolerance {
			out = append(out, explain(media.Span{From: from, To: to}, facts)...)
			out[len(out)-1].Span.To = min(out[len(out)-1].Span.To, window.To)
		}
	}
	for _, sp := range spans {
		hole(at, min(sp.From, window.To))
		at = max(at, sp.To)
	}
	hole(at, window.To)
	for i := range facts {
		f := &facts[i]
		g := media.Span{From: f.At, To: f.Until}.Intersect(window)
		if f.Cause.taken() {
			continue // whole files, and this one is there again
		}
		if f.Type == factGap && !g.Empty() && covered(spans, g) {
			out = append(out, Gap{Span: g, State: "open", Why: f.Cause})
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Span.From < out[j].Span.From })
	return out
}

func covered(spans []media.Span, g media.Span) bool {
	for _, sp := range spans {
		if sp.From <= g.From && g.To <= sp.To {
			return true
		}
	}
	return false
}

// near is how far the time of a fact may lie from the edge it explains.
const near = media.Wall(1000 * 1000 * 1000)

// explain cuts a hole where its cause changes.
func explain(h media.Span, facts []fact) []Gap {
	out := []Gap{{Span: h, State: "open", Why: GapUnknown}}
	for i := range facts {
		f := &facts[i]
		last := &out[len(out)-1]
		switch {
		case f.Type != factMark && f.Type != factGap || f.At >= h.To-near/10:
		case f.Type == factGap && f.Until <= h.From+near/10:
		case f.At <= h.From+near:
			if f.Type == factMark && f.At < h.From-near {
				continue // of an earlier hole
			}
			last.Why = f.Cause
			if f.Type == factGap && f.At < h.From && f.At > h.From-near && len(out) == 1 {
				last.Span.From = f.At // a track that ended earlier than the others
			}
			if f.Type == factGap && f.Until > h.To+holeTolerance && f.Until < h.To+near {
				last.Span.To = f.Until // or begins later
			}
		case f.Cause != last.Why:
			last.Span.To = f.At
			out = append(out, Gap{Span: media.Span{From: f.At, To: h.To}, State: "open", Why: f.Cause})
		}
	}
	return out
}

// Bounds is the span from the first to the last footage of a stream.
func (a *Archive) Bounds(uid string) (media.Span, bool) {
	var b media.Span
	ok := false
	add := func(s media.Span) {
		if !ok {
			b, ok = s, true
			return
		}
		b.From, b.To = min(b.From, s.From), max(b.To, s.To)
	}
	for _, f := range a.inMemory(uid) {
		f.mu.Lock()
		if len(f.segs) > 0 {
			add(f.spanLocked())
		}
		f.mu.Unlock()
	}
	if s, have := a.cat.bounds(uid); have {
		add(s)
	}
	return b, ok
}

// Newest is the end of what was recorded last of a stream. It lies before the end of
// its Bounds where the server's clock was set back since, until that is caught up with.
func (a *Archive) Newest(uid string) (media.Wall, bool) {
	b, ok := a.Bounds(uid)
	if !ok {
		return 0, false
	}
	if st := a.known(uid); st != nil {
		st.mu.Lock()
		end := st.last.end
		st.mu.Unlock()
		if b.From < end && end < b.To {
			return end, true
		}
	}
	return b.To, true
}

// Streams lists every uid with footage, also of streams without settings.
func (a *Archive) Streams() ([]string, error) {
	seen := map[string]bool{}
	a.cat.mu.Lock()
	for uid := range a.cat.streams {
		seen[uid] = true
	}
	a.cat.mu.Unlock()
	a.mu.Lock()
	for uid := range a.streams {
		seen[uid] = true
	}
	a.mu.Unlock()
	var out []string
	for uid := range seen {
		if _, ok := a.Bounds(uid); ok {
			out = append(out, uid)
		}
	}
	slices.Sort(out)
	return out, nil
}
