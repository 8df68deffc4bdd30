package timeline

import (
	"cmp"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Where the server's clock was set back, two takes lie at the same time: what was
// recorded before, and what was recorded when the clock showed that time again. In
// order of time their segments would alternate. A list of a span therefore has takes
// whole, in the order in which they begin:
//
//	recorded   ──1──2──3──4──5──6      clock set back by 2½, then 7 ──8──9──
//	by time          1  2  3  7  4  8  5  9  6
//	listed           1  2  3  4  5  6  7  8  9
//
// A take ends where its time map ends or where there is a hole, in which another may
// lie. Within a take the numbers tell the order: where pictures come later than the
// sound of their time, the first segment that has any begins before the last one
// without them. All else is in order of time.

// holeOf is from when on what lies behind is a take of its own. Takes overlap by less
// where sound of the one reaches into the other.
const holeOf = media.Wall(time.Second)

// take says what piece of an archive something is of.
type take struct {
	span   media.Span
	run    media.RunID
	zero   media.Wall
	number uint64 // of a segment; 0 = files, which are as they come
}

func (t *take) key() take { return take{run: t.run, zero: t.zero} }

// inOrder tells whether the order of time is that of takes.
func inOrder[T any](xs []T, of func(*T) take) bool {
	var prev take
	var end media.Wall
	seen := map[take]bool{} // keys of takes before prev's
	for i := range xs {
		t := of(&xs[i])
		same := t.key() == prev.key()
		switch {
		case i == 0:
		case same && t.number < prev.number, t.span.From < end-holeOf:
			return false
		case !same && seen[t.key()]:
			return false
		case !same:
			seen[prev.key()] = true
		}
		end, prev = max(end, t.span.To), t
	}
	return true
}

// whole puts what comes in order of time in order of takes: xs itself, where that is
// the same, as nearly always.
func whole[T any](xs []T, of func(*T) take) []T {
	if inOrder(xs, of) {
		return xs
	}
	type piece struct {
		take
		at []int
	}
	var pieces []*piece
	last := map[take]*piece{} // of a run and zero
	for i := range xs {
		t := of(&xs[i])
		key := t.key()
		p := last[key]
		if p == nil || t.span.From > p.span.To+holeOf {
			p = &piece{take: t}
			pieces, last[key] = append(pieces, p), p
		}
		p.span.To = max(p.span.To, t.span.To)
		p.at = append(p.at, i)
	}
	slices.SortStableFunc(pieces, func(a, b *piece) int { return cmp.Compare(a.span.From, b.span.From) })
	out := make([]T, 0, len(xs))
	for _, p := range pieces {
		slices.SortStableFunc(p.at, func(i, j int) int { return cmp.Compare(of(&xs[i]).number, of(&xs[j]).number) })
		for _, i := range p.at {
			out = append(out, xs[i])
		}
	}
	return out
}

// behind gives what of a ring comes behind what is recorded: what both hold, since
// recording was switched off a moment ago, counts once, and what the ring alone has from
// before is not shown.
func behind(recorded, live []archive.Segment) []archive.Segment {
	if len(live) == 0 {
		return nil
	}
	var end media.Wall
	var number uint64
	ends := map[take]media.Wall{} // of each take
	for i := range recorded {
		g := &recorded[i]
		t := takeOf(g)
		ends[t.key()] = max(ends[t.key()], g.Span.To)
		end, number = max(end, g.Span.To), max(number, g.Number)
	}
	var out []archive.Segment
	for i := range live {
		g := &live[i]
		t := takeOf(g)
		// Behind all that is recorded; or it was recorded later than that, with the
		// clock set back between.
		if g.Span.From >= end || g.Number > number && g.Span.From >= ends[t.key()] {
			out = append(out, *g)
		}
	}
	return out
}

// least is where what a ring has begins.
func least(live []archive.Segment) media.Wall {
	from := media.Wall(1<<63 - 1)
	for i := range live {
		from = min(from, live[i].Span.From)
	}
	return from
}

func endOf(files []archive.Extent) (end media.Wall) {
	for i := range files {
		end = max(end, files[i].Span.To)
	}
	return end
}
