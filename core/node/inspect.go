package node

import (
	"cmp"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/inspect"
	"media-server/core/journal"
	"media-server/core/media"
	"media-server/core/web/api"
)

// footageOf is what there is of a stream in a window, and what it lived of it.
func (b backend) footageOf(uid string, w media.Span) (f inspect.Footage, bounds media.Span, err error) {
	bounds, ok := b.n.archive.Bounds(uid)
	if !ok {
		return f, media.Span{}, nil
	}
	f.Life = bounds
	if b.n.streams.get(uid).isRecorded() {
		f.Life.To = max(bounds.To, media.WallOf(now()))
	}
	if f.Ranges, f.Gaps, err = b.n.archive.Ranges(uid, w); err != nil {
		return f, bounds, err
	}
	if len(f.Gaps) > 0 && f.Gaps[0].Why != archive.GapDeleted && f.Gaps[0].Why != archive.GapDamaged { // it should have been seen before it was
		f.Life.From = min(f.Life.From, f.Gaps[0].Span.From)
	}
	tail := b.tail(uid, end(bounds, f.Gaps), w)
	f.Gaps = append(b.leftOut(uid, f.Gaps), tail...)
	return f, bounds, nil
}

// Inspected implements api.Inspector.
func (b backend) Inspected() ([]string, error) {
	uids, err := b.n.archive.Streams()
	for _, r := range b.n.streams.list() {
		if r.isRecorded() && !slices.Contains(uids, r.set.UID) {
			uids = append(uids, r.set.UID)
		}
	}
	slices.Sort(uids)
	return uids, err
}

// Inspect implements api.Inspector.
func (b backend) Inspect(t time.Time, month bool, uids []string) (*api.Inspection, error) {
	edges := inspect.Hours(t)
	if month {
		edges = inspect.Days(t)
	}
	w := media.Span{From: edges[0], To: edges[len(edges)-1]}
	out := &api.Inspection{From: w.From.Milli(), To: w.To.Milli(), Zone: zoneName(b.n.current.Load()), Streams: []api.InspectionStream{}}
	for _, uid := range uids {
		f, bounds, err := b.footageOf(uid, w)
		if err != nil {
			return nil, err
		}
		if bounds.Empty() {
			f = b.neverSeen(uid, w)
		}
		s := api.InspectionStream{UID: uid, Causes: map[string]float64{}}
		for _, k := range inspect.Sum(f, edges) {
			s.Expected += k.Expected.Seconds()
			s.Recorded += k.Recorded.Seconds()
			s.Missing += k.Missing.Seconds()
			for c, d := range k.Causes {
				s.Causes[string(c)] += d.Seconds()
			}
			s.Buckets = append(s.Buckets, api.InspectionBucket{From: k.Span.From.Milli(), To: k.Span.To.Milli(),
				Expected: k.Expected.Seconds(), Recorded: k.Recorded.Seconds(), Missing: k.Missing.Seconds()})
		}
		out.Streams = append(out.Streams, s)
	}
	return out, nil
}

const around = 12 * time.Hour // how far from an instant the nearest footage is looked for first

// Why implements api.Inspector.
func (b backend) Why(uid string, at media.Wall) (*api.Reason, error) {
	w := media.Span{From: at.Add(-around), To: at.Add(around)}
	f, bounds, err := b.footageOf(uid, w)
	if err != nil {
		return nil, err
	}
	s := inspect.Stream{Bounds: bounds, Now: media.WallOf(now())}
	if r := b.n.streams.get(uid); r != nil && r.str != nil {
		s.Live = r.str.Status().Recording
	}
	if plan, err := b.n.archive.Outlook(); err == nil {
		for _, p := range plan.Streams {
			if p.UID == uid {
				s.Kept, s.By = p.Kept, p.By
			}
		}
	}
	if k, ok := b.n.known.get(uid); ok {
		s.Added = media.WallMilli(k.Added)
	}
	x := inspect.Why(at, f, s, b.n.zone())
	if !bounds.Empty() && x.Cut(w, bounds) { // what the instant lies in goes on outside the window
		if f, _, err = b.footageOf(uid, media.Span{From: bounds.From, To: max(bounds.To, s.Now)}); err != nil {
			return nil, err
		}
		x = inspect.Why(at, f, s, b.n.zone())
	}
	out := &api.Reason{At: at.Milli(), Recorded: x.Recorded, State: x.State, Why: string(x.Why), Text: x.Text, Hint: x.Hint, Events: []api.Event{}}
	if !x.Span.Empty() {
		out.From, out.To = x.Span.From.Milli(), x.Span.To.Milli()
	}
	if x.Before != 0 {
		out.Before = x.Before.Milli()
	}
	if x.After != 0 {
		out.After = x.After.Milli()
	}
	out.Events, err = b.eventsAround(uid, at, x.Span)
	return out, err
}

// eventsAround lists what the journal has of a stream, and of the server as a
// whole, from a minute before what is asked about to a minute behind it.
func (b backend) eventsAround(uid string, at media.Wall, sp media.Span) ([]api.Event, error) {
	from, to := at.Add(-time.Minute), at.Add(time.Minute)
	if !sp.Empty() && sp.Duration() < time.Hour {
		from, to = min(from, sp.From.Add(-time.Minute)), max(to, sp.To.Add(time.Minute))
	}
	out := []api.Event{}
	items, _, err := b.n.journal.List(b.n.web.ctx, journal.Filter{FromMS: from.Milli(), ToMS: to.Milli(), Limit: 200})
	for _, e := range items {
		if (e.UID == uid || e.UID == "") && len(out) < 20 {
			out = append(out, apiEvent(e))
		}
	}
	slices.Reverse(out) // the journal gives the newest first; what happened reads the other way
	return out, err
}

// OpenGaps implements api.Inspector.
func (b backend) OpenGaps(s media.Span) (out []api.GapItem, err error) {
	uids, err := b.Inspected()
	if err != nil {
		return nil, err
	}
	for _, uid := range uids {
		f, bounds, err := b.footageOf(uid, s)
		if err != nil {
			return nil, err
		}
		if bounds.Empty() {
			f = b.neverSeen(uid, s)
		}
		for _, g := range f.Gaps {
			if inspect.Open(g) {
				out = append(out, api.GapItem{UID: uid, From: g.Span.From.Milli(), To: g.Span.To.Milli(), State: g.State, Why: string(g.Why)})
			}
		}
	}
	slices.SortFunc(out, func(x, y api.GapItem) int { return cmp.Or(cmp.Compare(y.From, x.From), cmp.Compare(x.UID, y.UID)) })
	return out, nil
}
