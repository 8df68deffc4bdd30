package timeline

import (
	"errors"

	"media-server/core/archive"
	"media-server/core/media"
)

// ErrNoFootage: the stream has nothing in the asked span.
var ErrNoFootage = errors.New("no footage")

// Store is what holds footage. The archive is one; a stream's memory ring is
// another. All methods are safe for concurrent use.
type Store interface {
	Segments(uid string, s media.Span) ([]archive.Segment, error)
	Bounds(uid string) (media.Span, bool)
	Newest(uid string) (media.Wall, bool)
	Tracks(id archive.InitID) ([]media.Track, error)
	Layout(id archive.FileID) (*archive.Layout, error)
	Watch(uid string) (<-chan struct{}, func())
	Stamp(uid string) archive.Stamp
}

// Archive is the store of recorded footage.
type Archive interface {
	Store
	Pin(id archive.FileID) (*archive.Pin, error)
	Ranges(uid string, s media.Span) ([]archive.Range, []archive.Gap, error)
	Extents(uid string, s media.Span) ([]archive.Extent, error)
	Locks(uid string, s media.Span) []archive.Lock
	Readable(ids []archive.FileID) error
	Unreadable(uid string, s media.Span) error
}

// Ring is the store of a stream that is not recorded: its last seconds, in
// memory.
type Ring interface {
	Store
	HoldFile(id archive.FileID) (File, error)
}

// Timeline joins the stores. Safe for concurrent use.
type Timeline struct {
	arch    Archive
	ring    func(uid string) Ring // nil: the stream has none
	missing Missing               // nil: what the archive says is all
	live    Live                  // nil: nothing is captured
}

// Missing completes the gaps gs that the archive lists of a stream in s with
// what only those know who run it: an outage that goes on, which no footage ends
// yet, and hours that its schedule leaves out. It may change gs. Safe for
// concurrent use.
type Missing func(uid string, s media.Span, gs []archive.Gap) []archive.Gap

// New makes a timeline; ring finds the memory ring of a stream, nil for those
// that have none.
func New(a Archive, ring func(uid string) Ring) *Timeline {
	return &Timeline{arch: a, ring: ring}
}

// Complete makes m complete the gaps of Ranges. Call it before the timeline is used.
func (t *Timeline) Complete(m Missing) { t.missing = m }

// RingFiles is the first of the file ids that name memory rings: archives count
// from below.
const RingFiles archive.FileID = 1 << 63

// Segments lists the segments that overlap s in order of takes, archive first.
func (t *Timeline) Segments(uid string, s media.Span) ([]archive.Segment, error) {
	segs, err := t.arch.Segments(uid, s)
	if err != nil {
		return nil, err
	}
	segs = whole(segs, takeOf)
	if r := t.ring(uid); r != nil {
		live, err := r.Segments(uid, s)
		if err != nil {
			return nil, err
		}
		segs = append(segs[:len(segs):len(segs)], behind(segs, live)...)
	}
	return segs, nil
}

func takeOf(g *archive.Segment) take { return take{g.Span, g.Run, g.Zero, g.Number} }

func takeOfFile(e *archive.Extent) take { return take{span: e.Span, run: e.Run, zero: e.Zero} }

// Extents lists the files that overlap s in order of takes, without reading any
// of them; a memory ring's runs count as files.
func (t *Timeline) Extents(uid string, s media.Span) ([]archive.Extent, error) {
	out, err := t.arch.Extents(uid, s)
	if err != nil {
		return nil, err
	}
	out = whole(out, takeOfFile)
	r := t.ring(uid)
	if r == nil {
		return out, nil
	}
	live, err := r.Segments(uid, s)
	if err != nil {
		return nil, err
	}
	if from := least(live); from < endOf(out) { // what ends before says nothing of the ring
		segs, err := t.arch.Segments(uid, media.Span{From: max(s.From, from), To: s.To})
		if err != nil {
			return nil, err
		}
		live = behind(segs, live)
	}
	recorded := len(out)
	for _, g := range live {
		if n := len(out); n > recorded && out[n-1].File == g.File {
			out[n-1].Span.To = max(out[n-1].Span.To, g.Span.To)
			continue
		}
		out = append(out, archive.Extent{File: g.File, Span: g.Span, Run: g.Run, Zero: g.Zero, Init: g.Init, Segment: g.Number})
	}
	return out, nil
}

// Last lists the last n complete segments, and the one that is growing. Last is what
// was recorded last, whatever time the clock showed before.
func (t *Timeline) Last(uid string, n int) ([]archive.Segment, error) {
	end, has := t.Newest(uid)
	if !has {
		return nil, ErrNoFootage
	}
	for back := media.Wall(60e9); ; back *= 4 {
		segs, err := t.Segments(uid, media.Span{From: end - back, To: end + 1})
		if err != nil {
			return nil, err
		}
		segs = upTo(segs, end)
		if len(segs) > n {
			return segs[len(segs)-n-1:], nil
		}
		// Where footage begins is asked only where that is near: a live playlist is made
		// many times a second.
		if b, ok := t.Bounds(uid); !ok {
			return nil, ErrNoFootage
		} else if end-back <= b.From || back > 24*3600e9 {
			return segs, nil
		}
	}
}

// upTo cuts off what lies behind the segment recorded last, which reaches to end at
// least and may have grown since that was asked.
func upTo(segs []archive.Segment, end media.Wall) []archive.Segment {
	last := len(segs) - 1
	for i := last - 1; i >= 0; i-- {
		if g := &segs[i]; g.Span.From < end && g.Span.To >= end && g.Number > segs[last].Number {
			last = i
		}
	}
	return segs[:last+1]
}

// Newest is the end of what was recorded last; it lies before that of Bounds where
// the clock was set back.
func (t *Timeline) Newest(uid string) (media.Wall, bool) {
	if r := t.ring(uid); r != nil {
		if end, ok := r.Newest(uid); ok {
			return end, true
		}
	}
	return t.arch.Newest(uid)
}

// Bounds is the span from the first to the last footage.
func (t *Timeline) Bounds(uid string) (media.Span, bool) {
	b, ok := t.arch.Bounds(uid)
	if r := t.ring(uid); r != nil {
		if live, has := r.Bounds(uid); has {
			if !ok {
				return live, true
			}
			b.From, b.To = min(b.From, live.From), max(b.To, live.To)
		}
	}
	return b, ok
}

// Ranges lists what is recorded and what is missing; memory rings do not count
// as recorded. An outage that goes on is the last gap, until now; where it is
// over the archive lists it, from the same instant on.
func (t *Timeline) Ranges(uid string, s media.Span) ([]archive.Range, []archive.Gap, error) {
	rs, gs, err := t.arch.Ranges(uid, s)
	if err == nil && t.missing != nil {
		gs = t.missing(uid, s, gs)
	}
	return rs, gs, err
}

// Locks lists the locks in force that share time with s.
func (t *Timeline) Locks(uid string, s media.Span) []archive.Lock { return t.arch.Locks(uid, s) }

// Tracks gives the parameters behind an init id of the stream.
func (t *Timeline) Tracks(uid string, id archive.InitID) ([]media.Track, error) {
	if r := t.ring(uid); r != nil {
		if tr, err := r.Tracks(id); err == nil {
			return tr, nil
		}
	}
	return t.arch.Tracks(id)
}

// Layout gives the sample table of a file of the stream.
func (t *Timeline) Layout(uid string, id archive.FileID) (*archive.Layout, error) {
	if id >= RingFiles {
		if r := t.ring(uid); r != nil {
			return r.Layout(id)
		}
		return nil, archive.ErrGone
	}
	return t.arch.Layout(id)
}

// Readable tells why one of the files cannot be read for want of its key.
func (t *Timeline) Readable(ids []archive.FileID) error {
	stored := make([]archive.FileID, 0, len(ids))
	for _, id := range ids {
		if id < RingFiles {
			stored = append(stored, id)
		}
	}
	return t.arch.Readable(stored)
}

// Unreadable tells of footage in a span whose key was destroyed; nil: there is none.
func (t *Timeline) Unreadable(uid string, s media.Span) error { return t.arch.Unreadable(uid, s) }

// Pin holds a file of the stream for reading.
func (t *Timeline) Pin(uid string, id archive.FileID) (File, error) {
	if id >= RingFiles {
		if r := t.ring(uid); r != nil {
			return r.HoldFile(id)
		}
		return nil, archive.ErrGone
	}
	p, err := t.arch.Pin(id)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Stamp stands for what the stores say of a stream (archive.Stamp).
type Stamp struct{ Stored, Ring archive.Stamp }

// Stamp is that of a stream at this moment. What was asked behind it is true while it is
// the same: live playlists and their segments are asked for by hundreds.
func (t *Timeline) Stamp(uid string) Stamp {
	s := Stamp{Stored: t.arch.Stamp(uid)}
	if r := t.ring(uid); r != nil {
		s.Ring = r.Stamp(uid)
	}
	return s
}

// Watch signals when the live edge of the stream has moved. Call the returned
// function to end the watch.
func (t *Timeline) Watch(uid string) (<-chan struct{}, func()) {
	if r := t.ring(uid); r != nil {
		return r.Watch(uid)
	}
	return t.arch.Watch(uid)
}
