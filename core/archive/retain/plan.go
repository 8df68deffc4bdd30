package retain

import (
	"cmp"
	"slices"
	"time"

	"media-server/core/media"
)

// File is a sealed media file.
type File struct {
	ID     uint64
	Stream string
	Space  string
	Span   media.Span
	Size   int64
	Locked bool
}

// Stream is what is known of a stream's footage. Limits of 0 do not apply.
type Stream struct {
	UID      string
	Duration time.Duration // longest time kept (dvr-duration)
	Days     time.Duration // longest time kept in its pool
	Keep     time.Duration // promised minimum
	Capacity int64         // most bytes
	Bytes    int64         // taken now
	Oldest   []File        // oldest first; as many as may have to go now
}

// Pressure is a space in which room is wanted.
type Pressure struct {
	Space  string
	Want   int64
	Oldest []File // of all streams, oldest first
}

// Why says which rule lets a file go.
type Why string

// Reasons of deletion.
const (
	Age       Why = "dvr-duration"
	PoolDays  Why = "days"
	Capacity  Why = "dvr-capacity"
	SpaceFree Why = "overwrite-free"
)

// Deletion is one file that goes.
type Deletion struct {
	File
	Why Why
}

// Result is a plan.
type Result struct {
	Delete []Deletion
	Short  map[string]int64 // bytes that pressure could not be given, by space
	Broken []string         // streams whose promised minimum (Keep) this plan breaks
}

// Plan applies the rules at the time now.
func Plan(now media.Wall, streams []Stream, pressure []Pressure) Result {
	p := planner{gone: map[uint64]bool{}, keep: map[string]media.Wall{}, broken: map[string]bool{}}
	for i := range streams {
		s := &streams[i]
		if s.Keep > 0 {
			p.keep[s.UID] = now.Add(-s.Keep)
		}
		p.stream(now, s)
	}
	short := map[string]int64{}
	for i := range pressure {
		if left := p.space(&pressure[i]); left > 0 {
			short[pressure[i].Space] = left
		}
	}
	r := Result{Delete: p.out, Short: short}
	for uid := range p.broken {
		r.Broken = append(r.Broken, uid)
	}
	slices.Sort(r.Broken)
	return r
}

type planner struct {
	out    []Deletion
	gone   map[uint64]bool
	keep   map[string]media.Wall
	broken map[string]bool
}

func (p *planner) remove(f File, why Why) {
	p.gone[f.ID] = true
	p.out = append(p.out, Deletion{f, why})
	if limit, ok := p.keep[f.Stream]; ok && f.Span.To > limit {
		p.broken[f.Stream] = true
	}
}

// stream applies age, days and capacity. A file goes when all of it is too old.
func (p *planner) stream(now media.Wall, s *Stream) {
	limit, why := s.Duration, Age
	if s.Days > 0 && (limit <= 0 || s.Days < limit) {
		limit, why = s.Days, PoolDays
	}
	files := ordered(s.Oldest)
	left := s.Bytes
	for _, f := range files {
		if limit > 0 && f.Span.To <= now.Add(-limit) && !f.Locked {
			p.remove(f, why)
			left -= f.Size
		}
	}
	if s.Capacity <= 0 {
		return
	}
	for _, f := range files {
		if left <= s.Capacity {
			return
		}
		if !f.Locked && !p.gone[f.ID] {
			p.remove(f, Capacity)
			left -= f.Size
		}
	}
}

// space frees what is wanted and returns what is still short. What the other
// rules take from the same space counts.
func (p *planner) space(s *Pressure) int64 {
	left := s.Want
	for i := range p.out {
		if p.out[i].Space == s.Space {
			left -= p.out[i].Size
		}
	}
	for _, f := range ordered(s.Oldest) {
		if left <= 0 {
			return 0
		}
		if !f.Locked && !p.gone[f.ID] {
			p.remove(f, SpaceFree)
			left -= f.Size
		}
	}
	return max(left, 0)
}

// ordered sorts a copy by age, so that a plan depends on facts only.
func ordered(files []File) []File {
	out := slices.Clone(files)
	slices.SortStableFunc(out, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Span.From, b.Span.From), cmp.Compare(a.ID, b.ID))
	})
	return out
}
