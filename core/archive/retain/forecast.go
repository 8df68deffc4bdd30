package retain

import (
	"slices"
	"time"
)

// PoolFacts is what a forecast needs to know of a pool.
type PoolFacts struct {
	Name      string
	Usable    int64 // bytes that its streams may take: total less what is kept free
	Left      int64 // bytes of Usable that are not taken yet
	Locked    int64 // bytes of Usable that locks keep beyond their time
	Overwrite bool
}

// StreamFacts is what a forecast needs to know of a stream.
type StreamFacts struct {
	UID      string
	Stops    []Stop // the pools that its footage passes through, by age
	PerDay   int64  // bytes that come in a day
	Limit    time.Duration
	By       Why // rule behind Limit
	Capacity int64

	GroomAfter time.Duration // age at which a file keeps its key frames only; 0 = never
	Stays      float64       // share of the bytes that is left of it then
	Gain       int64         // bytes of what is old enough and not groomed yet that will go
}

// Stop is a pool that footage lies in from an age on, until its next stop.
type Stop struct {
	Pool string
	From time.Duration // 0 where it is recorded
}

// Outlook is how long footage of a stream will be kept when everything goes on
// as it does.
type Outlook struct {
	UID  string
	Kept time.Duration // 0 with By "" = nothing limits it, or nothing comes
	By   Why           // what limits it
}

// PoolOutlook is how a pool will do.
type PoolOutlook struct {
	Name   string
	PerDay int64         // bytes that come in a day
	Kept   time.Duration // footage older than that goes for want of room; 0 = the streams' own rules are shorter
	Full   time.Duration // of a pool that may not overwrite: until it is full; 0 = never
}

// Forecast tells what becomes of streams and pools. Under pressure the oldest
// footage of a pool goes, whosever it is: all that lies there is cut at the same
// age, but for that of streams whose own rules are shorter. What is cut in one
// pool never comes to the next.
func Forecast(pools []PoolFacts, streams []StreamFacts) ([]Outlook, []PoolOutlook) {
	cut := make([]time.Duration, len(streams)) // age at which some pool lets go of a stream
	for i := range cut {
		cut[i] = forever
	}
	outPools := make([]PoolOutlook, len(pools))
	for _, n := range byDepth(pools, streams) {
		p, here := &pools[n], visits(pools[n].Name, streams, cut)
		o := PoolOutlook{Name: p.Name}
		var gain int64
		for _, v := range here {
			o.PerDay += int64(v.of.need(v.from+day) - v.of.need(v.from))
			gain += v.gain()
		}
		room := max(p.Usable-p.Locked, 0)
		switch age := ageOf(room, here); {
		case age < 0:
		case p.Overwrite:
			o.Kept = age
			for _, v := range here {
				if age < v.to {
					cut[v.n] = max(age, v.from)
				}
			}
		case o.PerDay > 0:
			if d := fullIn(max(p.Left+gain, 0), here); d >= 0 {
				o.Full = max(d, 1)
			}
		}
		outPools[n] = o
	}
	var out []Outlook
	for i := range streams {
		s := &streams[i]
		o := Outlook{UID: s.UID}
		if own, by := s.own(); own > 0 {
			o.Kept, o.By = own, by
		}
		if cut[i] < forever && s.PerDay > 0 && (o.By == "" || cut[i] < o.Kept) {
			o.Kept, o.By = cut[i], SpaceFree
		}
		out = append(out, o)
	}
	return out, outPools
}

// byDepth orders pools so that footage comes to one behind all that it comes
// from. They form no circle: the settings see to that.
func byDepth(pools []PoolFacts, streams []StreamFacts) []int {
	depth := map[string]int{}
	for i := range streams {
		for k, stop := range streams[i].Stops {
			depth[stop.Pool] = max(depth[stop.Pool], k)
		}
	}
	order := make([]int, len(pools))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return depth[pools[a].Name] - depth[pools[b].Name] })
	return order
}

// visit is the part of a stream's footage that lies in one pool: from an age to
// another.
type visit struct {
	of       *StreamFacts
	n        int           // of the stream
	from, to time.Duration // to: where its own rules, or a pool before, let it go, or it moves on
	moves    time.Duration // where it moves on, whatever the rules; forever in its last pool
}

// visits lists what lies in a pool, as far as it gets there.
func visits(pool string, streams []StreamFacts, cut []time.Duration) (out []visit) {
	for i := range streams {
		s := &streams[i]
		for k, stop := range s.Stops {
			if stop.Pool != pool {
				continue
			}
			v := visit{of: s, n: i, from: stop.From, moves: forever}
			if k+1 < len(s.Stops) {
				v.moves = min(s.Stops[k+1].From, forever)
			}
			v.to = min(v.moves, limitOf(s), cut[i])
			if v.from < v.to {
				out = append(out, v)
			}
		}
	}
	return out
}

// takes is how many bytes the visit's footage takes up to an age.
func (v *visit) takes(age time.Duration) float64 {
	return v.of.need(max(min(age, v.to), v.from)) - v.of.need(v.from)
}

// gain is what grooming frees here.
func (v *visit) gain() int64 {
	if g := v.of.GroomAfter; g > 0 && g >= v.from && g < v.moves {
		return v.of.Gain
	}
	return 0
}

// own is how long the stream's own rules keep footage, 0 = for ever.
func (s *StreamFacts) own() (time.Duration, Why) {
	limit, by := s.Limit, s.By
	if s.Capacity > 0 && s.PerDay > 0 {
		if d := s.lasts(float64(s.Capacity)); limit <= 0 || d < limit {
			limit, by = d, Capacity
		}
	}
	return limit, by
}

const day = 24 * time.Hour

// forever is more than anybody keeps anything, and not near an overflow.
const forever = 200 * 365 * day

// grooms tells whether footage of the stream gets smaller as it ages.
func (s *StreamFacts) grooms() bool { return s.GroomAfter > 0 && s.Stays > 0 && s.Stays < 1 }

// need is how many bytes the footage of the last d takes.
func (s *StreamFacts) need(d time.Duration) float64 {
	groomed := time.Duration(0)
	if s.grooms() && d > s.GroomAfter {
		groomed = d - s.GroomAfter
	}
	return float64(s.PerDay) * (float64(d-groomed) + s.Stays*float64(groomed)) / float64(day)
}

// lasts is how long footage may be kept that takes so many bytes.
func (s *StreamFacts) lasts(bytes float64) time.Duration {
	d := bytes / float64(s.PerDay) * float64(day)
	if s.grooms() && d > float64(s.GroomAfter) {
		d = float64(s.GroomAfter) + (d-float64(s.GroomAfter))/s.Stays
	}
	return time.Duration(min(d, float64(forever)))
}

// fullIn is how long it takes until what comes from now on has filled room
// bytes, nothing being deleted; −1 = never, as footage moves on before.
func fullIn(room int64, here []visit) time.Duration {
	later := make([]visit, len(here))
	for i, v := range here { // as if all came from now on, at the age that it has then
		later[i] = visit{of: &StreamFacts{PerDay: v.of.PerDay, Stays: v.of.Stays}, to: forever}
		switch g := v.of.GroomAfter; {
		case !v.of.grooms():
		case g > v.from:
			later[i].of.GroomAfter = g - v.from
		default: // it comes groomed
			later[i].of.PerDay = int64(float64(v.of.PerDay) * v.of.Stays)
		}
		if v.moves < forever {
			later[i].to = v.moves - v.from
		}
	}
	return ageOf(room, later)
}

// ageOf is the age up to which footage of a pool takes room bytes; −1 when it
// never takes so much. What is needed grows with the age in straight pieces,
// between the ages at which a stream comes, is groomed and goes.
func ageOf(room int64, here []visit) time.Duration {
	corners := []time.Duration{forever}
	for i := range here {
		v := &here[i]
		corners = append(corners, v.from, v.to)
		if v.of.grooms() {
			corners = append(corners, min(v.of.GroomAfter, forever))
		}
	}
	slices.Sort(corners)
	var from time.Duration
	var had float64
	for _, to := range slices.Compact(corners) {
		need := 0.0
		for i := range here {
			need += here[i].takes(to)
		}
		if need > float64(room) {
			return max(from+time.Duration((float64(room)-had)/(need-had)*float64(to-from)), 0)
		}
		from, had = to, need
	}
	return -1
}

func limitOf(s *StreamFacts) time.Duration {
	if own, _ := s.own(); own > 0 {
		return min(own, forever)
	}
	return forever
}
