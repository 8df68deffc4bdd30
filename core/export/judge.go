package export

import (
	"crypto/sha256"
	"fmt"
	"io"
	"sort"
	"time"

	"media-server/core/media"
)

// Track is what was found of one track of a file.
type Track struct {
	Kind     string     `json:"kind"`
	Frames   int        `json:"frames"`   // in the file
	Recorded int        `json:"recorded"` // of them those that were recorded, in their order
	Signed   int        `json:"signed"`   // of those: in a signed chain; for the others the server's statement alone stands
	Altered  int        `json:"altered"`  // not the one that was recorded at its place
	Foreign  int        `json:"foreign"`  // recorded nowhere in the export
	Moved    int        `json:"moved"`    // recorded, and at another place
	Missing  int        `json:"missing"`  // recorded between frames that are there
	Late     int        `json:"wrong_time"`
	Before   int        `json:"before"` // frames of the export in front of the first one that is there
	After    int        `json:"after"`  // and behind the last
	Raw      bool       `json:"not_comparable,omitempty"`
	Span     media.Span `json:"-"` // of those recorded
	From     int64      `json:"from_ms,omitempty"`
	To       int64      `json:"to_ms,omitempty"`
}

// Finding is something that is not as it was recorded or exported.
type Finding struct {
	Span   media.Span `json:"-"`
	From   int64      `json:"from_ms,omitempty"` // Unix ms; 0 = not known
	To     int64      `json:"to_ms,omitempty"`
	InFile string     `json:"in_file,omitempty"` // where in the file, when the recorded time is not known
	What   string     `json:"what"`
}

// lateBy is how much a frame may be shown off its place: rounding of other
// programs' time scales is far below, what an eye sees above.
const lateBy = 50 * time.Millisecond

// trackCheck is the verification of one track of a file.
type trackCheck struct {
	e    *evidence
	r    io.ReaderAt
	t    *movieTrack
	lane *lane
	have [][32]byte // what each sample is
	gone int        // samples behind the end of the file
	zero media.Wall // when the file's time 0 was, by its picture; 0 = not known
	pos  []int32    // unit of each sample
	out  Track
	find func(Finding)
}

// hash reads the samples.
func (c *trackCheck) hash(size int64) error {
	var buf []byte
	left := size
	for i := range c.t.samples {
		s := &c.t.samples[i]
		if s.at < 0 || s.at > size-int64(s.size) {
			c.gone++
			c.have = append(c.have, [32]byte{})
			continue
		}
		if left -= int64(s.size); left < 0 { // read for ever, they would be
			return fmt.Errorf("%w: its samples overlap", errMovie)
		}
		b, err := read(c.r, s, &buf)
		if err != nil {
			return err
		}
		c.have = append(c.have, sha256.Sum256(b))
	}
	return nil
}

func read(r io.ReaderAt, s *sample, buf *[]byte) ([]byte, error) {
	if s.size > mostSample {
		return nil, fmt.Errorf("%w: a sample of %d bytes", errMovie, s.size)
	}
	if cap(*buf) < int(s.size) {
		*buf = make([]byte, s.size, 2*int(s.size))
	}
	b := (*buf)[:s.size]
	if n, err := r.ReadAt(b, s.at); n < len(b) {
		return nil, fmt.Errorf("read %d bytes at %d: %w", s.size, s.at, err)
	}
	return b, nil
}

// choose finds the lane that the track is of: the one that has most of it.
func (c *trackCheck) choose() {
	most := 0
	for _, l := range c.e.lanes {
		n := 0
		for i := range c.have {
			if len(l.find(&c.have[i])) > 0 {
				n++
			}
		}
		if n > most {
			most, c.lane = n, l
		}
	}
}

// run judges the track.
func (c *trackCheck) run(size int64) error {
	c.out.Kind, c.out.Frames = c.t.kind.String(), len(c.t.samples)
	if c.t.raw {
		c.out.Raw = true
		return nil
	}
	if err := c.hash(size); err != nil {
		return err
	}
	if c.choose(); c.lane == nil {
		c.out.Foreign = len(c.have)
		if len(c.have) > 0 {
			c.find(Finding{InFile: c.inFile(0, len(c.have)-1), What: fmt.Sprintf("none of %s is in the export: they were encoded anew, or are of other footage", c.count(len(c.have)))})
		}
		return nil
	}
	c.pos = c.lane.align(c.have, c.near)
	c.order()
	c.shownWhen()
	return c.leaves()
}

func (c *trackCheck) count(n int) string { return countOf(n, c.t.kind.String()) }

func countOf(n int, kind string) string {
	if n == 1 {
		return "1 " + kind + " frame"
	}
	return thousands(n) + " " + kind + " frames"
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// inFile says where samples lie in the file.
func (c *trackCheck) inFile(from, to int) string {
	at := func(i int) time.Duration {
		return media.DurationOf(c.t.samples[i].pts, c.t.scale).Round(time.Millisecond)
	}
	if from == to {
		return at(from).String()
	}
	return fmt.Sprintf("%s to %s", at(from), at(to))
}

// at is when the unit at a place of the lane was recorded.
func (c *trackCheck) at(p int32) media.Wall { return c.e.wall(&c.lane.units[p]) }

// near is the first place of the lane that was not over when sample i was shown.
func (c *trackCheck) near(i int) int32 {
	if c.zero == 0 {
		return 0
	}
	at := c.zero.Add(media.DurationOf(c.t.samples[i].pts, c.t.scale) - 2*lateBy)
	return int32(sort.Search(len(c.lane.units), func(p int) bool { return c.at(int32(p)) >= at }))
}

// start is when the file's time 0 was, by the first sample that was recorded.
func (c *trackCheck) start() media.Wall {
	for i, p := range c.pos {
		if p >= 0 {
			return c.at(p).Add(-media.DurationOf(c.t.samples[i].pts, c.t.scale))
		}
	}
	return 0
}

// shownWhen compares the distances of what is shown with those of what was
// recorded.
func (c *trackCheck) shownWhen() {
	var first time.Duration
	known, from, n := false, -1, 0
	tell := func(behind int) {
		if from >= 0 {
			c.find(c.finding(c.at(c.pos[from]), c.at(c.pos[behind]), "%s: shown %v or more off their time", c.count(n), lateBy))
			from, n = -1, 0
		}
	}
	last := 0
	for i, p := range c.pos {
		if p < 0 {
			continue
		}
		off := time.Duration(c.at(p)) - media.DurationOf(c.t.samples[i].pts, c.t.scale)
		if !known {
			first, known = off, true
		}
		if (off - first).Abs() > lateBy {
			if from < 0 {
				from = i
			}
			n++
			c.out.Late++
		} else {
			tell(last)
		}
		last = i
	}
	tell(last)
}

func (c *trackCheck) finding(from, to media.Wall, format string, args ...any) Finding {
	return Finding{Span: media.Span{From: from, To: to}, What: fmt.Sprintf(format, args...)}
}

// leaves compares each sample with the leaf that the chain has of it.
func (c *trackCheck) leaves() error {
	var buf []byte
	for i, p := range c.pos {
		if p < 0 {
			continue
		}
		u := &c.lane.units[p]
		s := c.e.files[u.file]
		if s.over != overExported {
			continue // its place in the chain is proven, its bytes are the server's word
		}
		if u.chained {
			b, err := read(c.r, &c.t.samples[i], &buf)
			if err != nil {
				return err
			}
			if u.asLeaf().Leaf(b) != u.leaf {
				c.find(c.finding(c.at(p), c.at(p), "the proof gives this %s frame another content or time than the chain of its recording", c.t.kind))
				continue
			}
		}
		if s.proven {
			c.out.Signed++
		}
	}
	return nil
}
