package ledger

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"
)

// Rules say what is allowed. The zero value takes the defaults named.
type Rules struct {
	// Ignore leaves tracks out, such as those that HLS cannot carry; nil = none.
	Ignore func(ID) bool
	// From and To bound what is judged, by time of capture, Unix nanoseconds;
	// 0 = all that was sent.
	From, To int64
	// Head and Tail are how much may be missing at the beginning (connecting,
	// waiting for the first key frame) and at the end (not yet stored).
	// Default 3 s; negative = nothing.
	Head, Tail time.Duration
	// Off is how far a unit may be misplaced; default 50 ms.
	Off time.Duration
	// Delay is taken off each unit's error, by camera: what the way from
	// capture to arrival takes for certain.
	Delay map[string]time.Duration
	// Gaps are what the server reports, by camera; "" counts for all.
	Gaps map[string][]Gap
	// GapSlack widens each gap on both sides; default 50 ms, since a gap's ends
	// are times of the server.
	GapSlack time.Duration
}

func (r Rules) filled() Rules {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
		*d = max(*d, 0)
	}
	def(&r.Head, 3*time.Second)
	def(&r.Tail, 3*time.Second)
	def(&r.Off, 50*time.Millisecond)
	def(&r.GapSlack, 50*time.Millisecond)
	return r
}

// Range is a row of consecutive numbers.
type Range struct {
	From, To uint64 // both included
	Start    int64  // time of capture of From
	Count    int    // units sent among them
	Why      string // of a reported gap
}

// Track is the account of one track.
type Track struct {
	ID      ID
	Sent    int
	Present int

	Lost      int // failures from here …
	Doubled   int
	Disorder  int
	Misplaced int
	Unsent    int // present, but in no sent-ledger
	Forged    int // the token's time is not what the sent-ledger says; … to here

	InGaps    int // missing, and the server says so
	BeforeKey int // missing between such a gap and the next key frame
	Head      int // missing before the first unit present
	Tail      int // missing after the last

	Missing  []Range // of Lost, InGaps and BeforeKey alike; Why = "" for Lost
	Timed    int
	Error    struct{ Min, Median, Max time.Duration } // shown - captured - delay
	Examples []string                                 // of failures, at most 20
}

// Failures is the number of units that are not as they must be.
func (t *Track) Failures() int {
	return t.Lost + t.Doubled + t.Disorder + t.Misplaced + t.Unsent + t.Forged
}

func (t *Track) note(format string, args ...any) {
	if len(t.Examples) < 20 {
		t.Examples = append(t.Examples, fmt.Sprintf(format, args...))
	}
}

// Report is the account of all tracks.
type Report struct {
	Tracks  []*Track
	Unnamed int // packets that bear no token and match no hash
	Packets int
}

// Failures sums those of all tracks. A report without a single unit present
// fails too.
func (r *Report) Failures() int {
	n, present := 0, 0
	for _, t := range r.Tracks {
		n += t.Failures()
		present += t.Present
	}
	if present == 0 {
		n++
	}
	return n
}

// Compare accounts for every unit sent.
func Compare(sent Sent, m *Media, rules Rules) *Report {
	rules = rules.filled()
	r := &Report{Packets: m.Packets, Unnamed: m.Unnamed}
	found := map[ID][]Found{}
	for _, f := range m.Found {
		found[f.ID] = append(found[f.ID], f)
	}
	r.hashed(sent, m, found)
	ids := map[ID]bool{}
	for id := range sent {
		ids[id] = true
	}
	for id := range found {
		ids[id] = true
	}
	for id := range ids {
		if rules.Ignore != nil && rules.Ignore(id) {
			continue
		}
		a := account{t: &Track{ID: id}, rules: rules, sent: sent[id], found: found[id], video: pictures(sent, found, id)}
		a.run()
		r.Tracks = append(r.Tracks, a.t)
	}
	slices.SortFunc(r.Tracks, func(a, b *Track) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return r
}

// hashed finds units that bear no token by what they hold.
func (r *Report) hashed(sent Sent, m *Media, found map[ID][]Found) {
	type key struct {
		id ID
		u  Unit
	}
	by := map[string]key{}
	for id, units := range sent {
		for _, u := range units {
			if u.SHA1 != "" {
				by[u.SHA1] = key{id, u}
			}
		}
	}
	for _, h := range m.Hashed {
		if k, ok := by[h.SHA1]; ok {
			h.ID, h.Number, h.Token = k.id, k.u.Number, k.u.Time
			found[k.id] = append(found[k.id], h)
			r.Unnamed--
		}
	}
}

// pictures lists capture times of a camera's video that is present: sound
// starts with it.
func pictures(sent Sent, found map[ID][]Found, id ID) []int64 {
	v := ID{id.Camera, 'v'}
	if id == v || len(sent[v]) == 0 {
		return nil
	}
	times := []int64{}
	for _, f := range found[v] {
		times = append(times, f.Token)
	}
	slices.Sort(times)
	return times
}

// account is the work on one track.
type account struct {
	t     *Track
	rules Rules
	sent  []Unit
	found []Found
	video []int64 // nil = no video beside it
	have  map[uint64]int
}

func (a *account) run() {
	a.bound()
	a.order()
	a.times()
	a.missing()
	for number, n := range a.have {
		if n > 1 {
			a.t.Doubled += n - 1
			a.t.note("%d: present %d times", number, n)
		}
	}
	sort.Strings(a.t.Examples)
}

// bound leaves out what is not judged.
func (a *account) bound() {
	in := func(t int64) bool {
		return t >= a.rules.From && (a.rules.To == 0 || t < a.rules.To)
	}
	a.sent = keep(a.sent, func(u Unit) bool { return in(u.Time) })
	a.found = keep(a.found, func(f Found) bool { return in(f.Token) })
}

func keep[T any](s []T, f func(T) bool) []T {
	var out []T
	for _, v := range s {
		if f(v) {
			out = append(out, v)
		}
	}
	return out
}

// order counts what is present and what stands before a smaller number.
func (a *account) order() {
	known := make(map[uint64]int64, len(a.sent))
	for _, u := range a.sent {
		known[u.Number] = u.Time
	}
	a.t.Sent = len(known)
	if len(known) < len(a.sent) {
		a.t.note("the sent-ledger names %d numbers twice", len(a.sent)-len(known))
	}
	a.have = make(map[uint64]int, len(a.found))
	highest := int64(-1)
	for _, f := range a.found {
		a.have[f.Number]++
		time, ok := known[f.Number]
		switch {
		case !ok:
			a.t.Unsent++
			a.t.note("%d: was never sent", f.Number)
		case time != f.Token:
			a.t.Forged++
			a.t.note("%d: token of %d, sent at %d", f.Number, f.Token, time)
		case a.have[f.Number] == 1:
			a.t.Present++
			if int64(f.Number) < highest {
				a.t.Disorder++
				a.t.note("%d: after %d", f.Number, highest)
			}
		}
		highest = max(highest, int64(f.Number))
	}
}

// times judges when each unit is shown.
func (a *account) times() {
	var errs []time.Duration
	for _, f := range a.found {
		if f.Shown == 0 {
			continue
		}
		e := time.Duration(f.Shown-f.Token) - a.rules.Delay[f.ID.Camera]
		errs = append(errs, e)
		if e.Abs() > a.rules.Off {
			a.t.Misplaced++
			a.t.note("%d: misplaced by %v", f.Number, e)
		}
	}
	if a.t.Timed = len(errs); len(errs) == 0 {
		return
	}
	slices.Sort(errs)
	a.t.Error.Min, a.t.Error.Max = errs[0], errs[len(errs)-1]
	a.t.Error.Median = errs[len(errs)/2]
}

// missing puts what is absent in its class.
func (a *account) missing() {
	first, last := len(a.sent), -1
	for i, u := range a.sent {
		if a.have[u.Number] > 0 {
			first, last = min(first, i), i
		}
	}
	behindGap := false // only waiting for a key frame since a reported gap
	for i, u := range a.sent {
		if a.have[u.Number] > 0 {
			behindGap = false
			continue
		}
		why := a.gap(u.Time)
		switch {
		case why != "":
			a.t.InGaps++
			behindGap = true
		case i < first && u.Time-a.sent[0].Time < int64(a.rules.Head):
			a.t.Head++
			continue
		case i > last && a.sent[len(a.sent)-1].Time-u.Time < int64(a.rules.Tail):
			a.t.Tail++
			continue
		case behindGap && a.waits(u):
			a.t.BeforeKey++
			why = "waiting for a key frame"
		default:
			behindGap = false
			a.t.Lost++
		}
		a.row(i, u, why)
	}
}

// waits tells whether a unit right behind a gap cannot be stored, for want of
// a key frame. Reordered pictures may follow the key frame in number and be
// captured before it; they are not excused, being decodable or after it.
func (a *account) waits(u Unit) bool {
	if a.t.ID.Track == 'v' {
		return !u.Key
	}
	if a.video == nil {
		return false // sound alone begins at once
	}
	i, _ := slices.BinarySearch(a.video, u.Time-int64(a.rules.Off))
	return i == len(a.video) || a.video[i] > u.Time
}

func (a *account) gap(t int64) string {
	s := int64(a.rules.GapSlack)
	for _, key := range []string{a.t.ID.Camera, ""} {
		for _, g := range a.rules.Gaps[key] {
			if t >= g.From-s && t < g.To+s {
				return "gap: " + g.Why
			}
		}
	}
	return ""
}

// row adds to the list of missing ranges.
func (a *account) row(i int, u Unit, why string) {
	if n := len(a.t.Missing); n > 0 && i > 0 {
		if m := &a.t.Missing[n-1]; m.Why == why && m.To == a.sent[i-1].Number {
			m.To = u.Number
			m.Count++
			return
		}
	}
	a.t.Missing = append(a.t.Missing, Range{From: u.Number, To: u.Number, Start: u.Time, Count: 1, Why: why})
}

// Write prints the report for a person.
func (r *Report) Write(w io.Writer) {
	fmt.Fprintf(w, "%-24s %7s %7s %5s %5s %5s %5s %5s %5s %5s %5s %4s %4s  %s\n", "camera:track",
		"sent", "present", "lost", "twice", "order", "place", "alien", "gaps", "key", "head", "tail", "", "off by min / median / max")
	for _, t := range r.Tracks {
		verdict := "ok"
		if t.Failures() > 0 {
			verdict = "FAIL"
		}
		off := "-"
		if t.Timed > 0 {
			off = fmt.Sprintf("%v / %v / %v", t.Error.Min.Round(100*time.Microsecond), t.Error.Median.Round(100*time.Microsecond), t.Error.Max.Round(100*time.Microsecond))
		}
		fmt.Fprintf(w, "%-24s %7d %7d %5d %5d %5d %5d %5d %5d %5d %5d %4d %4s  %s\n", t.ID, t.Sent, t.Present, t.Lost, t.Doubled,
			t.Disorder, t.Misplaced, t.Unsent+t.Forged, t.InGaps, t.BeforeKey, t.Head, t.Tail, verdict, off)
		for _, m := range t.Missing {
			why := m.Why
			if why == "" {
				why = "LOST"
			}
			fmt.Fprintf(w, "    missing %d-%d (%d units) from %s: %s\n", m.From, m.To, m.Count,
				time.Unix(0, m.Start).UTC().Format("15:04:05.000"), why)
		}
		for _, e := range t.Examples {
			fmt.Fprintf(w, "    %s\n", e)
		}
	}
	fmt.Fprintf(w, "%d packets, %d of them without a name; %d failures\n", r.Packets, r.Unnamed, r.Failures())
}
