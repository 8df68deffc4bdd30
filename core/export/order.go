package export

import (
	"fmt"

	"media-server/core/archive"
	"media-server/core/media"
)

func (u *unit) asLeaf() archive.Unit {
	return archive.Unit{Track: int(u.track), Seq: u.seq, PTS: u.pts, Size: u.size}
}

// order tells what lies between the samples that found their unit: frames that
// were changed, put in, left out or moved.
func (c *trackCheck) order() {
	g := gap{c: c, claimed: c.elsewhere()}
	last, lastPos := -1, int32(-1)
	for i, p := range c.pos {
		if p < 0 {
			continue
		}
		if last < 0 {
			c.out.Before, c.out.Span = int(p), media.Span{From: c.at(p), To: c.at(p)}
			g.between(0, i, max(0, p-int32(i)), p)
		} else {
			g.between(last+1, i, lastPos+1, p)
		}
		c.out.Recorded++ // in order of decoding: the first shown may come later
		c.out.Span.From, c.out.Span.To = min(c.out.Span.From, c.at(p)), max(c.out.Span.To, c.at(p))
		last, lastPos = i, p
	}
	end := int32(len(c.lane.units))
	c.out.After = int(end - lastPos - 1)
	behind := len(c.pos) - last - 1
	g.between(last+1, len(c.pos), lastPos+1, min(end, lastPos+1+int32(behind)))
	g.tell()
	// What stands in place of units at the ends is told as altered.
	c.out.Before -= g.head
	c.out.After -= g.tail
	c.out.From, c.out.To = c.out.Span.From.Milli(), c.out.Span.To.Milli()
}

// elsewhere finds, for samples that were recorded and are not where they
// belong, the units that they are.
func (c *trackCheck) elsewhere() map[int32]bool {
	taken, claimed := make([]bool, len(c.lane.units)), map[int32]bool{}
	for _, p := range c.pos {
		if p >= 0 {
			taken[p] = true
		}
	}
	for i, p := range c.pos {
		if p >= 0 {
			continue
		}
		for _, q := range c.lane.find(&c.have[i]) {
			if !taken[q] && !claimed[q] {
				claimed[q] = true
				break
			}
		}
	}
	return claimed
}

// gap gathers what is wrong between aligned samples, and tells of runs of it at
// once.
type gap struct {
	c          *trackCheck
	claimed    map[int32]bool // units of samples that were moved
	run        trouble
	head, tail int
}

// trouble is a run of frames with the same fault.
type trouble struct {
	kind   string
	n      int
	span   media.Span
	inFile [2]int
	timed  bool
}

const (
	wasAltered = "altered"
	wasForeign = "foreign"
	wasMoved   = "moved"
	wasMissing = "missing"
	wasCut     = "cut"
)

// between judges samples [i, j), which found no unit, and units [p, q), which no
// sample is, both between the same neighbours.
func (g *gap) between(i, j int, p, q int32) {
	c := g.c
	var open []int32
	for ; p < q; p++ {
		if !g.claimed[p] {
			open = append(open, p)
		}
	}
	first, atEnd := i == 0, j == len(c.pos)
	if first && len(open) > 0 { // the nearest ones, from behind
		n := 0
		for k := i; k < j; k++ {
			if len(c.lane.find(&c.have[k])) == 0 {
				n++
			}
		}
		open = open[max(0, len(open)-n):]
	}
	for ; i < j; i++ {
		switch {
		case c.have[i] == [32]byte{}:
			g.add(wasCut, i, open, &c.out.Missing)
		case len(c.lane.find(&c.have[i])) > 0:
			g.add(wasMoved, i, nil, &c.out.Moved)
			continue
		case len(open) == 0:
			g.add(wasForeign, i, nil, &c.out.Foreign)
			continue
		default:
			g.add(wasAltered, i, open, &c.out.Altered)
		}
		if len(open) > 0 {
			open = open[1:]
			if first {
				g.head++
			}
			if atEnd {
				g.tail++
			}
		}
	}
	if first || atEnd {
		g.tell()
		return // what lies outside was cut away, and that is said
	}
	for _, p := range open {
		c.out.Missing++
		g.join(wasMissing, -1, c.at(p), true)
	}
	g.tell()
}

// add takes in a sample at fault; the first of open is the unit in its place.
func (g *gap) add(kind string, i int, open []int32, n *int) {
	*n++
	var at media.Wall
	if len(open) > 0 {
		at = g.c.at(open[0])
	}
	g.join(kind, i, at, len(open) > 0)
}

func (g *gap) join(kind string, i int, at media.Wall, timed bool) {
	if g.run.kind != kind || g.run.timed != timed {
		g.tell()
		g.run = trouble{kind: kind, timed: timed, span: media.Span{From: at, To: at}, inFile: [2]int{i, i}}
	}
	g.run.n++
	g.run.span.From, g.run.span.To = min(g.run.span.From, at), max(g.run.span.To, at)
	g.run.inFile[1] = i
}

// tell ends a run.
func (g *gap) tell() {
	r, c := g.run, g.c
	g.run = trouble{}
	if r.n == 0 {
		return
	}
	what := map[string]string{
		wasAltered: "%s: altered, not what was recorded then",
		wasForeign: "%s: recorded nowhere in the export",
		wasMoved:   "%s: recorded, but at another place than here, or repeated",
		wasMissing: "%s: missing, though recorded between what is there",
		wasCut:     "%s: cut off, the file ends before them",
	}[r.kind]
	f := Finding{What: fmt.Sprintf(what, c.count(r.n))}
	if r.timed {
		f.Span = r.span
	}
	if r.inFile[0] >= 0 && !r.timed {
		f.InFile = c.inFile(r.inFile[0], r.inFile[1])
	}
	c.find(f)
}
