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
		var taken int64
		for _, s := range streams {
			if s.Pool == p.Name {
				own = append(own, s)
				o.PerDay += s.PerDay
				taken += s.Bytes
			}
		}
		room := max(p.Usable-p.Locked, 0)
		switch age := cutAge(room, own); {
		case age < 0:
		case p.Overwrite:
			o.Kept = age
			kept[p.Name] = age
		case o.PerDay > 0:
			o.Full = max(days(max(p.Usable-taken, 0), o.PerDay), 1)
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
		if d := days(s.Capacity, s.PerDay); limit <= 0 || d < limit {
			limit, by = d, Capacity
		}
	}
	return limit, by
}

const day = 24 * time.Hour

// forever is more than anybody keeps anything, and not near an overflow.
const forever = 200 * 365 * day

// days is how long bytes last at perDay.
func days(bytes, perDay int64) time.Duration {
	return time.Duration(min(float64(bytes)/float64(perDay)*float64(day), float64(forever)))
}

// cutAge is the age at which a pool of room bytes has to cut its streams, −1
// when their own rules need less.
func cutAge(room int64, streams []StreamFacts) time.Duration {
	slices.SortStableFunc(streams, func(a, b StreamFacts) int { return int(min(max(limitOf(&a)-limitOf(&b), -1), 1)) })
	var need float64
	var perDay int64
	for i := range streams {
		perDay += streams[i].PerDay
		need += float64(streams[i].PerDay) * float64(limitOf(&streams[i])) / float64(day)
	}
	if perDay == 0 || need <= float64(room) {
		return -1
	}
	// Streams with the shortest limits keep them; the rest shares what is left.
	left, rest := float64(room), perDay
	for i := range streams {
		age := time.Duration(left / float64(rest) * float64(day))
		l := limitOf(&streams[i])
		if l >= age {
			return max(age, 0)
		}
		left -= float64(streams[i].PerDay) * float64(l) / float64(day)
		rest -= streams[i].PerDay
		if rest <= 0 {
			break
		}
	}
	return -1
}

func limitOf(s *StreamFacts) time.Duration {
	if own, _ := s.own(); own > 0 {
		return min(own, forever)
	}
	return forever
}
