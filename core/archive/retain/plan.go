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
	Duration time.Duration            // longest time kept (dvr-duration)
	Days     time.Duration            // longest time kept in its pool
	DaysIn   map[string]time.Duration // in place of Days for files in these spaces: they are of other pools
	Keep     time.Duration            // promised minimum
	Capacity int64                    // most bytes
	Bytes    int64                    // taken now; needed with Capacity and Most
	Oldest   []File                   // oldest first; as many as may have to go now

	// Most is the percent of Bytes that may go at once without being asked for;
	// 0 = all. What merely ages between two passes is not counted.
	Most    float64
	Overdue Amount  // files that should have gone more than Slack ago
	Rate    float64 // bytes a second that come
}

// Slack is how long files may be overdue, or go on coming, before it is no
// ordinary ageing: a few passes.
const Slack = 5 * time.Minute

// Amount is a number of files and their bytes.
type Amount struct {
	Files int
	Bytes int64
}

// Limit is how long footage of the stream is kept, and which rule says so;
// 0 = for ever.
func (s *Stream) Limit() (time.Duration, Why) {
	return shorter(s.Duration, s.Days)
}

// LimitIn is the limit for what lies in a space.
func (s *Stream) LimitIn(space string) (time.Duration, Why) {
	if days, other := s.DaysIn[space]; other {
		return shorter(s.Duration, days)
	}
	return s.Limit()
}

func shorter(duration, days time.Duration) (time.Duration, Why) {
	if days > 0 && (duration <= 0 || days < duration) {
		return days, PoolDays
	}
	return duration, Age
}

// Pressure is a space in which room is wanted.
type Pressure struct {
	Space  string
	Want   int64
	Oldest []File // of all streams, oldest first

	// Most is the percent of Bytes that a threshold or a limit may take at once
	// without being asked for; 0, and 100 or more = all.
	Most  float64
	Asked int64 // of Want: what the threshold or limit asks for
	By    Why   // which of them
	Bytes int64 // of footage in the space
	Took  int64 // what went for it lately and has not come again
	Came  int64 // since the last pass: that much goes with ordinary overwriting
	Need  int64 // goes though the rest waits: recording needs it
}

// Exceeds tells whether the threshold or limit wants more at once than may go
// unasked, others bytes of the space going by other rules. What is wanted is
// measured on the disk, so it may be more than all footage: that may go where
// Most is 100 or more.
func (s *Pressure) Exceeds(others int64) bool {
	return s.Most > 0 && s.Most < 100 && s.Bytes > 0 && s.Asked > others && float64(s.Asked-others-s.Came+s.Took) > float64(s.Bytes+s.Took)*s.Most/100
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

// What a Pressure may be by beside SpaceFree; its deletions are all by that.
const (
	SizeLimit Why = "size-limit"
	Reserve   Why = "reserve"
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
	Held   []Held           // streams whose rules would take more at once than Most: nothing goes by them

	HeldSpaces []HeldSpace // spaces where thresholds or limits would: no more goes for them than recording needs
}

// Held is a stream that somebody has to confirm first.
type Held struct {
	UID   string
	Why   Why
	Goes  Amount // what would go; of capacity the bytes alone are known
	Bytes int64  // of the stream
}

// HeldSpace is a space whose thresholds or limits somebody has to confirm first.
type HeldSpace struct {
	Space string
	Why   Why
	Goes  int64 // bytes that would go
	Bytes int64 // of footage in the space
}

// Plan applies the rules at the time now.
func Plan(now media.Wall, streams []Stream, pressure []Pressure) Result {
	p := planner{gone: map[uint64]bool{}, keep: map[string]media.Wall{}, broken: map[string]bool{}}
	for i := range streams {
		s := &streams[i]
		if s.Keep > 0 {
			p.keep[s.UID] = now.Add(-s.Keep)
		}
		if h, held := s.held(); held {
			p.held = append(p.held, h)
			continue
		}
		p.stream(now, s)
	}
	short := map[string]int64{}
	for i := range pressure {
		if left := p.space(&pressure[i]); left > 0 {
			short[pressure[i].Space] = left
		}
	}
	r := Result{Delete: p.out, Short: short, Held: p.held, HeldSpaces: p.spaces}
	for uid := range p.broken {
		r.Broken = append(r.Broken, uid)
	}
	slices.Sort(r.Broken)
	return r
}

// held tells whether the rules would take more at once than may go unasked.
func (s *Stream) held() (Held, bool) {
	if s.Most <= 0 || s.Bytes <= 0 {
		return Held{}, false
	}
	most := int64(float64(s.Bytes) * s.Most / 100)
	if s.Overdue.Bytes > most {
		_, why := s.Limit()
		return Held{UID: s.UID, Why: why, Goes: s.Overdue, Bytes: s.Bytes}, true
	}
	if over := s.Bytes - s.Capacity; s.Capacity > 0 && over-int64(s.Rate*Slack.Seconds()) > most {
		return Held{UID: s.UID, Why: Capacity, Goes: Amount{Bytes: over}, Bytes: s.Bytes}, true
	}
	return Held{}, false
}

type planner struct {
	out    []Deletion
	gone   map[uint64]bool
	keep   map[string]media.Wall
	broken map[string]bool
	held   []Held
	spaces []HeldSpace
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
	files := ordered(s.Oldest)
	left := s.Bytes
	for _, f := range files {
		if limit, why := s.LimitIn(f.Space); limit > 0 && f.Span.To <= now.Add(-limit) && !f.Locked {
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
	var others int64
	for i := range p.out {
		if p.out[i].Space == s.Space {
			others += p.out[i].Size
		}
	}
	left := s.Want - others
	if s.Exceeds(others) {
		p.spaces = append(p.spaces, HeldSpace{Space: s.Space, Why: s.By, Goes: min(s.Asked-others, s.Bytes), Bytes: s.Bytes})
		left = min(s.Want, s.Need) - others
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
