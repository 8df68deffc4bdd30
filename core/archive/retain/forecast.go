package retain

import (
	"slices"
	"time"
)

// PoolFacts is what a forecast needs to know of a pool.
type PoolFacts struct {
	Name      string
	Usable    int64 // bytes that its streams may take: total less what is kept free
	Locked    int64 // bytes of Usable that locks keep beyond their time
	Overwrite bool
}

// StreamFacts is what a forecast needs to know of a stream.
type StreamFacts struct {
	UID      string
	Pool     string
	PerDay   int64 // bytes that come in a day
	Bytes    int64 // taken now
	Limit    time.Duration
	By       Why // rule behind Limit
	Capacity int64

	GroomAfter time.Duration // age at which a file keeps its key frames only; 0 = never
	Stays      float64       // share of the bytes that is left of it then
	Gain       int64         // bytes of what is old enough and not groomed yet that will go
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
// footage of a pool goes, whosever it is: all its streams are cut at the same
// age, but for those whose own rules are shorter.
func Forecast(pools []PoolFacts, streams []StreamFacts) ([]Outlook, []PoolOutlook) {
	kept := map[string]time.Duration{}
	var outPools []PoolOutlook
	for _, p := range pools {
		var own []StreamFacts
		o := PoolOutlook{Name: p.Name}
		var taken, gain int64
		for _, s := range streams {
			if s.Pool == p.Name {
				own = append(own, s)
				o.PerDay += s.PerDay
				taken += s.Bytes
				gain += s.Gain
			}
		}
		room := max(p.Usable-p.Locked, 0)
		switch age := cutAge(room, own); {
		case age < 0:
		case p.Overwrite:
			o.Kept = age
			kept[p.Name] = age
		case o.PerDay > 0:
			o.Full = max(fullIn(max(p.Usable-taken+gain, 0), own), 1)
		}
		outPools = append(outPools, o)
	}
	var out []Outlook
	for _, s := range streams {
		o := Outlook{UID: s.UID}
		if own, by := s.own(); own > 0 {
			o.Kept, o.By = own, by
		}
		if k, cut := kept[s.Pool]; cut && s.PerDay > 0 && (o.By == "" || k < o.Kept) {
			o.Kept, o.By = k, SpaceFree
		}
		out = append(out, o)
	}
	return out, outPools
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

// cutAge is the age at which a pool of room bytes has to cut its streams, −1
// when their own rules need less. Streams with a shorter limit keep that; the
// rest shares what is left.
func cutAge(room int64, streams []StreamFacts) time.Duration {
	limits := make([]time.Duration, len(streams))
	for i := range streams {
		limits[i] = limitOf(&streams[i])
	}
	return ageOf(room, streams, limits)
}

// fullIn is how long it takes until what comes from now on has filled room
// bytes, nothing being deleted.
func fullIn(room int64, streams []StreamFacts) time.Duration {
	limits := make([]time.Duration, len(streams))
	for i := range limits {
		limits[i] = forever
	}
	return ageOf(room, streams, limits)
}

// ageOf is the age up to which footage of all streams takes room bytes, that of
// each up to its limit; −1 when it never takes so much. What is needed grows
// with the age in straight pieces, between the ages at which a stream reaches
// its limit or is groomed.
func ageOf(room int64, streams []StreamFacts, limits []time.Duration) time.Duration {
	corners := []time.Duration{forever}
	for i := range streams {
		corners = append(corners, limits[i])
		if streams[i].grooms() {
			corners = append(corners, min(streams[i].GroomAfter, forever))
		}
	}
	slices.Sort(corners)
	var from time.Duration
	var had float64
	for _, to := range slices.Compact(corners) {
		need := 0.0
		for i := range streams {
			need += streams[i].need(min(to, limits[i]))
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
