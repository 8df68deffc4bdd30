package mp4

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// formatVersion is part of every ETag: raise it when the same files give other
// bytes.
const formatVersion = 1

// A sample's duration is 32 bits of ticks. Holes above coarseHole are bridged
// at coarseScale, which takes holes up to maxHole; a longer range is refused.
const (
	coarseHole  = 12 * time.Hour
	coarseScale = 1000
	maxHole     = 49 * 24 * time.Hour
)

// ErrHole: the range spans a hole too long for one file.
var ErrHole = errors.New("the range spans a hole of more than 49 days; ask for what lies before and behind it apart")

// ErrTooLong: planning the movie would take too long.
var ErrTooLong = errors.New("the range is too long for one file")

// mostFiles bounds a movie: a year of ten-minute files. mostRead bounds the
// files whose sample tables are read while planning, a millisecond each: those
// without a known shape, and all of them where a hole asks for another scale.
const (
	mostFiles = 60_000
	mostRead  = 3_000
)

// movieScale is the timescale of mvhd and edit lists: the common 90 kHz.
const movieScale = 90000

// Source is what this room needs of the timeline.
type Source interface {
	Segments(uid string, s media.Span) ([]archive.Segment, error)
	Extents(uid string, s media.Span) ([]archive.Extent, error)
	Tracks(uid string, id archive.InitID) ([]media.Track, error)
	Layout(uid string, id archive.FileID) (*archive.Layout, error)
	NewLazy(uid string) *timeline.Lazy
	// Readable tells why one of the files cannot be read for want of its key.
	Readable(ids []archive.FileID) error
}

// Server plans movies. Safe for concurrent use; it keeps nothing.
type Server struct{ src Source }

// New makes a server over src.
func New(src Source) *Server { return &Server{src} }

// Movie is a planned MP4.
type Movie struct {
	Body  *timeline.Body
	ETag  string
	Start media.Wall // presentation time of the first frame, server clock
	Span  media.Span // covered

	plan *plan
}

// Record plans the MP4 of a span. The error wraps timeline.ErrNoFootage when
// nothing is there.
func (s *Server) Record(uid string, span media.Span) (*Movie, error) {
	p := s.plan(uid)
	if err := p.select_(span); err != nil {
		return nil, err
	}
	if err := p.count(); err != nil {
		return nil, err
	}
	return p.build()
}

func (s *Server) plan(uid string) *plan {
	return &plan{src: s.src, uid: uid, lazy: s.src.NewLazy(uid), room: keepMost}
}

// plan is a movie being planned.
type plan struct {
	src    Source
	uid    string
	lazy   *timeline.Lazy
	files  []*fileCut
	slab   slab
	tracks []*outTrack
	start  media.Wall // presentation time zero of the movie
	to     media.Wall // asked for
	end    media.Wall
	scale  uint32 // of all tracks; 0 = each its own

	mu   sync.Mutex // a body may be read by several at a time
	kept int        // bytes of all fileCut.kept
	room int        // for them
}

// outTrack is one track of the movie: the n-th of its kind in every file.
type outTrack struct {
	id      int
	kind    media.Kind
	scale   uint32 // of the first file that has it
	entries []media.Track
	keys    map[entryKey]int // sample entry by init and track
	total   counts
	edits   []mux.Edit
	media   int64 // ticks, all samples
}

type entryKey struct {
	init  archive.InitID
	track int
}

// build lays out the movie. What cannot be read for want of a key is said now:
// once the answer has begun it can only be cut.
func (p *plan) build() (*Movie, error) {
	ids := make([]archive.FileID, len(p.files))
	for i, f := range p.files {
		ids[i] = f.file
	}
	if err := p.src.Readable(ids); err != nil {
		return nil, err
	}
	duration := uint64(media.TicksOf(p.end.Sub(p.start), movieScale))
	var heads [][]byte
	var traks int64
	next := 1
	for _, t := range p.tracks {
		h, err := mux.AppendTrak(nil, mux.TrackHead{ID: t.id, Entries: t.entries, Timescale: t.scale, Created: p.start, MovieDuration: duration,
			MediaDuration: uint64(t.media), Edits: t.edits}, t.total.tables())
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
		traks += int64(len(h)) + t.total.tables()
		next = max(next, t.id+1)
	}
	head, err := mux.AppendMovieHead(nil, p.start, movieScale, duration, next, traks)
	if err != nil {
		return nil, err
	}
	var data int64
	for _, f := range p.files {
		f.at = data
		data += f.to - f.from
	}
	mdat := int64(len(head)) + traks + 16
	for _, f := range p.files {
		f.at += mdat
	}
	body := new(timeline.Body)
	body.Grow(len(p.files) + 2 + len(p.tracks)*(1+len(tables)*(8+len(p.files)/block)))
	body.Add(head)
	for i, t := range p.tracks {
		body.Add(heads[i])
		p.addTables(body, i, t)
	}
	box := binary.BigEndian.AppendUint32(nil, 1) // 64-bit size follows
	box = append(box, "mdat"...)
	body.Add(binary.BigEndian.AppendUint64(box, uint64(data)+16))
	body.Hold(p.lazy)
	for _, f := range p.files {
		body.AddFile(p.lazy.File(f.file), f.from, f.to-f.from)
	}
	return &Movie{Body: body, ETag: p.etag(body.Size()), Start: p.start, Span: media.Span{From: p.start, To: p.end}, plan: p}, nil
}

// etag is a hash of everything the bytes depend on.
func (p *plan) etag(size int64) string {
	h := sha256.New()
	b := append(make([]byte, 0, 4096), p.uid...)
	put := func(vs ...int64) {
		if len(b)+8*len(vs) > cap(b) {
			h.Write(b)
			b = b[:0]
		}
		for _, v := range vs {
			b = be.AppendUint64(b, uint64(v))
		}
	}
	put(formatVersion, size)
	for _, f := range p.files {
		put(int64(f.file), f.from, f.to)
		for i := range f.tracks {
			c := &f.tracks[i]
			put(int64(c.track), int64(c.first), int64(c.last), c.base, c.lastTicks)
		}
	}
	h.Write(b)
	return `"` + hex.EncodeToString(h.Sum(nil)[:12]) + `"`
}
