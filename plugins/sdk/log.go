package sdk

import (
	"math"
	"time"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

// entry is one unit that waits to be sent or acknowledged.
type entry struct {
	u     media.AccessUnit
	order uint64    // of writing, over all streams of the process
	at    time.Time // of writing, for the bound in seconds
}

// overhead is what an entry costs beside its payload; without it a buffer of
// 160-byte audio units would take twice its bound.
const overhead = 160

func (e *entry) cost() int { return len(e.u.Payload) + overhead }

// trackLog holds the units of one track of a run that are not acknowledged, in
// order: q[head] has sequence number first.
type trackLog struct {
	id    int
	first uint64
	q     []entry
	head  int
}

func (t *trackLog) len() int           { return len(t.q) - t.head }
func (t *trackLog) end() uint64        { return t.first + uint64(t.len()) }
func (t *trackLog) at(n uint64) *entry { return &t.q[t.head+int(n-t.first)] }

func (t *trackLog) push(e entry) {
	if t.head > 64 && t.head > len(t.q)/2 {
		n := copy(t.q, t.q[t.head:])
		clear(t.q[n:])
		t.q, t.head = t.q[:n], 0
	}
	t.q = append(t.q, e)
}

// dropTo forgets all units before sequence number n and says what that freed.
func (t *trackLog) dropTo(n uint64) (units, bytes int) {
	for t.first < n && t.len() > 0 {
		e := &t.q[t.head]
		bytes += e.cost()
		units++
		*e = entry{}
		t.head++
		t.first++
	}
	if t.len() == 0 && cap(t.q) > 1024 {
		t.q, t.head = nil, 0 // after a backlog
	}
	return units, bytes
}

// split moves what lies behind sequence number n to a log of its own, which
// counts from 0. Its units have never been sent.
func (t *trackLog) split(n uint64) trackLog {
	n = max(n, t.first)
	cut := t.head + int(n-t.first)
	tail := trackLog{id: t.id, q: append([]entry(nil), t.q[cut:]...)}
	clear(t.q[cut:])
	t.q = t.q[:cut]
	return tail
}

// runLog is what is kept of a run.
type runLog struct {
	id       media.RunID
	serial   uint64     // order of runs of a stream, with room between for those split off
	opened   *pb.Opened // without handle and first
	tracks   []trackLog
	closed   *pb.Closed // without handle; nil while the run lives
	reported bool       // a core was told of its end
}

func (r *runLog) track(id int) *trackLog {
	for i := range r.tracks {
		if r.tracks[i].id == id {
			return &r.tracks[i]
		}
	}
	return nil
}

func (r *runLog) empty() bool {
	for i := range r.tracks {
		if r.tracks[i].len() > 0 {
			return false
		}
	}
	return true
}

// oldest returns the track whose first unit was written before the others',
// or nil. skipLast leaves the newest unit of each track out.
func (r *runLog) oldest(skipLast bool) *trackLog {
	var best *trackLog
	order := uint64(math.MaxUint64)
	for i := range r.tracks {
		t := &r.tracks[i]
		if n := t.len(); n == 0 || skipLast && n == 1 {
			continue
		}
		if o := t.q[t.head].order; o < order {
			best, order = t, o
		}
	}
	return best
}
