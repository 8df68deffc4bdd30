package node

import (
	"context"

	"media-server/core/archive"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/stream"
	"media-server/core/web/api"
)

// marks takes what cameras report to streams and to the archive. What a camera
// reports waits in a queue: whoever brings it must not wait for a disk.
type marks struct {
	n     *Node
	queue chan func(context.Context)
	since map[string]archive.EventMark // under way, by uid and kind; of run alone
}

// mostMarks bounds the queue. Beyond it events are dropped, which the log
// tells: a camera that reports thousands has none that matters.
const mostMarks = 4096

func newMarks(n *Node) *marks {
	return &marks{n: n, queue: make(chan func(context.Context), mostMarks), since: map[string]archive.EventMark{}}
}

// device takes an event from a driver; it never blocks.
func (k *marks) device(uid string, e stream.Event) {
	k.later(uid, e.Kind, func(ctx context.Context) { k.take(ctx, uid, e) })
}

func (k *marks) later(uid, kind string, do func(context.Context)) {
	select {
	case k.queue <- do:
	default:
		k.n.log.Warn("an event was dropped: too many wait", "stream", uid, "kind", kind)
	}
}

func (k *marks) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case do := <-k.queue:
			do(ctx)
		}
	}
}

func (k *marks) take(ctx context.Context, uid string, e stream.Event) {
	r := k.n.streams.get(uid)
	if r == nil || r.str == nil {
		return
	}
	key := uid + "\x00" + e.Kind
	m, known := k.since[key]
	if e.Phase == stream.Begins && known {
		return // it goes on
	}
	kept := r.str.Event(e)
	if e.Phase == stream.Begins {
		m = archive.EventMark{UID: uid, Kind: e.Kind, From: e.At, Recorded: kept.Recorded, Pre: kept.Pre, Post: kept.Post}
		k.since[key] = m
	} else {
		if !known { // its beginning was told to an earlier process, or never
			return
		}
		delete(k.since, key)
		m.To = max(e.At, m.From)
	}
	k.keep(ctx, m)
}

func (k *marks) keep(ctx context.Context, m archive.EventMark) {
	if err := k.n.archive.MarkEvent(ctx, m); err != nil && ctx.Err() == nil {
		k.n.log.Warn("the mark of an event could not be kept", "stream", m.UID, "kind", m.Kind, "err", err)
	}
}

// goOn lets a stream that is being started go on with what events had asked an
// earlier process for. One whose end nobody has told ends now: a camera in
// which it goes on reports it again.
func (n *Node) goOn(r *running) {
	if r.rec == nil {
		return
	}
	now := media.WallOf(now())
	ms, err := n.archive.EventsUnderWay(r.set.UID, now)
	if err != nil {
		n.log.Warn("events of an earlier process cannot be read", "stream", r.set.UID, "err", err)
	}
	for _, m := range ms {
		if m.To == 0 {
			m.To = now
			n.marks.later(m.UID, m.Kind, func(ctx context.Context) { n.marks.keep(ctx, m) })
		}
		r.str.GoOn(m)
	}
}

// AddMark implements api.Marks.
func (b backend) AddMark(uid string, m api.NewMark) (api.Mark, error) {
	r := b.n.streams.get(uid)
	if r == nil || r.str == nil {
		return api.Mark{}, fault.New("stream "+uid, "the stream is not being captured", "switch it on with stream-enable = true")
	}
	kept := r.str.Event(stream.Event{Kind: m.Kind, At: m.At})
	mark := archive.EventMark{UID: uid, Kind: m.Kind, From: m.At, To: m.At, Recorded: kept.Recorded, Pre: kept.Pre, Post: kept.Post}
	if err := b.n.archive.MarkEvent(b.n.web.ctx, mark); err != nil {
		return api.Mark{}, err
	}
	data := map[string]any{}
	for k, v := range m.Data {
		data[k] = v
	}
	data["at_ms"], data["who"] = m.At.Milli(), m.Who // whatever was sent along
	b.n.emit(event("camera."+m.Kind, uid, "info", m.Kind+" at "+m.At.Time().In(b.n.zone()).Format("15:04:05")+", told by "+m.Who, data))
	return apiMark(mark), nil
}

// MarksOf implements api.Marks.
func (b backend) MarksOf(uid string, s media.Span) (out []api.Mark, err error) {
	ms, err := b.n.archive.Events(uid, s)
	for _, m := range ms {
		out = append(out, apiMark(m))
	}
	return out, err
}

func apiMark(m archive.EventMark) api.Mark {
	x := api.Mark{UID: m.UID, Kind: m.Kind, At: m.From.Milli(), Recorded: m.Recorded}
	if m.To != 0 {
		x.End = m.To.Milli()
	}
	if m.Recorded {
		x.From = m.From.Add(-m.Pre).Milli()
		if m.To != 0 {
			x.To = m.To.Add(m.Post).Milli()
		}
	}
	return x
}
