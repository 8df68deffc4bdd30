package timeline

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"media-server/core/archive"
	"media-server/core/media"
)

// memory is a file in memory that counts how often it is held.
type memory struct {
	b    []byte
	held *int
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (m *memory) File() (*os.File, int64, bool) { return nil, 0, false }
func (m *memory) Release()                      { *m.held-- }

// TestBody: any range of any plan is the bytes that its pieces are made of.
func TestBody(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		held := 0
		var files []*memory
		for range 3 {
			b := make([]byte, 300)
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			files = append(files, &memory{b, &held})
		}
		body, want := new(Body), []byte(nil)
		for _, f := range files {
			held++
			body.Hold(f)
		}
		at := 0 // behind the last range of a file, for adjacent ones
		for range rnd.IntN(12) {
			f := files[rnd.IntN(len(files))]
			n := rnd.IntN(40)
			switch rnd.IntN(4) {
			case 0:
				body.Add(f.b[:n])
				want = append(want, f.b[:n]...)
			case 1:
				body.AddLater(int64(n), func() ([]byte, error) { return f.b[10 : 10+n], nil })
				want = append(want, f.b[10:10+n]...)
			case 2:
				at = rnd.IntN(200)
				fallthrough
			default:
				at = min(at, len(f.b)-n)
				body.AddFile(f, int64(at), int64(n))
				want = append(want, f.b[at:at+n]...)
				at += n
			}
		}
		if body.Size() != int64(len(want)) {
			t.Fatalf("seed %d: size %d, want %d", seed, body.Size(), len(want))
		}
		for range 20 {
			off := rnd.IntN(len(want) + 2)
			p := make([]byte, rnd.IntN(len(want)+2))
			n, err := body.ReadAt(p, int64(off))
			exp := want[min(off, len(want)):min(off+len(p), len(want))]
			if !bytes.Equal(p[:n], exp) || (err == io.EOF) != (n < len(p)) || err != nil && err != io.EOF {
				t.Fatalf("seed %d: %d bytes at %d: %d, %v", seed, len(p), off, n, err)
			}
			var sum int64
			for piece := range body.Pieces(int64(off), int64(len(p))) {
				sum += piece.Size()
			}
			if sum != int64(len(exp)) {
				t.Fatalf("seed %d: pieces of %d bytes, want %d", seed, sum, len(exp))
			}
		}
		body.Release()
		body.Release()
		if held != 0 {
			t.Fatalf("seed %d: %d files are held", seed, held)
		}
	}
}

func TestBodyErrors(t *testing.T) {
	held := 1
	b := new(Body)
	b.AddFile(&memory{make([]byte, 10), &held}, 5, 10)
	if _, err := b.ReadAt(make([]byte, 10), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that is shorter than its index says: %v", err)
	}
	b = new(Body)
	b.AddLater(10, func() ([]byte, error) { return make([]byte, 9), nil })
	if _, err := b.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("fewer bytes than were promised")
	}
	if _, err := b.ReadAt(nil, -1); err == nil {
		t.Error("a negative offset")
	}
	(*Body)(nil).Release()
}

// TestLazy: a response holds a few of its files at a time, and none in the end.
func TestLazy(t *testing.T) {
	held, most, opened := 0, 0, 0
	l := NewLazyOf(func(id archive.FileID) (File, error) {
		if id == 13 {
			return nil, archive.ErrGone
		}
		held, opened = held+1, opened+1
		most = max(most, held)
		return &memory{bytes.Repeat([]byte{byte(id)}, 100), &held}, nil
	})
	b := new(Body)
	for id := range archive.FileID(12) {
		f := l.File(id)
		b.Hold(f)
		b.AddFile(f, 0, 100)
	}
	if opened != 0 {
		t.Error("opened before anything is read")
	}
	p := make([]byte, 1200)
	if _, err := b.ReadAt(p, 0); err != nil || p[0] != 0 || p[1199] != 11 {
		t.Error(err)
	}
	if most > lazyPins+1 || opened != 12 {
		t.Errorf("%d files at once, %d in all", most, opened)
	}
	if _, err := b.ReadAt(p[:10], 5); err != nil || p[0] != 0 { // back to one that was let go
		t.Error(err)
	}
	b.Release()
	if held != 0 {
		t.Errorf("%d files are still held", held)
	}
	gone := l.File(13)
	if _, err := gone.ReadAt(p, 0); !errors.Is(err, archive.ErrGone) {
		t.Error(err)
	}
	if _, _, ok := gone.File(); ok {
		t.Error("a descriptor of a file that is gone")
	}
	gone.Release()
}

// store is footage of one uid: segments of two seconds.
type store struct {
	Archive
	segs []archive.Segment
}

func (s *store) Segments(_ string, span media.Span) (out []archive.Segment, err error) {
	for _, x := range s.segs {
		if x.Span.Overlaps(span) {
			out = append(out, x)
		}
	}
	return out, nil
}

func (s *store) Bounds(string) (media.Span, bool) {
	if len(s.segs) == 0 {
		return media.Span{}, false
	}
	return media.Span{From: s.segs[0].Span.From, To: s.segs[len(s.segs)-1].Span.To}, true
}

// Newest is the end of the segment with the greatest number.
func (s *store) Newest(string) (end media.Wall, ok bool) {
	last := uint64(0)
	for _, x := range s.segs {
		if !ok || x.Number > last {
			end, last, ok = x.Span.To, x.Number, true
		}
	}
	return end, ok
}

func (s *store) HoldFile(archive.FileID) (File, error) { return nil, archive.ErrGone }

func footage(numbers uint64, from, to int) *store {
	s := &store{}
	for k := from; k < to; k += 2 {
		s.segs = append(s.segs, archive.Segment{Number: numbers + uint64(k), Span: media.Span{From: media.Wall(k) * 1e9, To: media.Wall(k+2) * 1e9}})
	}
	return s
}

func (s *store) Ranges(string, media.Span) ([]archive.Range, []archive.Gap, error) {
	if len(s.segs) == 0 {
		return nil, nil, archive.ErrGone
	}
	b, _ := s.Bounds("")
	return []archive.Range{{Span: b, Kind: "recorded"}}, nil, nil
}

// TestOutageInRanges: what the node knows to be missing is told with what the
// archive knows, and nothing is made up where that cannot be read.
func TestOutageInRanges(t *testing.T) {
	none := func(string) Ring { return nil }
	missing := func(uid string, s media.Span, gs []archive.Gap) []archive.Gap {
		return append(gs, archive.Gap{Span: s, State: "open", Why: archive.GapCameraLost})
	}
	w := media.Span{From: 0, To: 500e9}
	for _, c := range []struct {
		name string
		arch *store
		m    Missing
		gaps int
		fail bool
	}{{"alone", footage(0, 100, 120), nil, 0, false}, {"with an outage", footage(0, 100, 120), missing, 1, false}, {"unreadable", footage(0, 0, 0), missing, 0, true}} {
		tl := New(c.arch, none)
		tl.Complete(c.m)
		if _, gs, err := tl.Ranges("cam", w); len(gs) != c.gaps || (err != nil) != c.fail {
			t.Errorf("%s: %v %v", c.name, gs, err)
		}
		if segs, err := tl.Segments("cam", w); err != nil || len(segs) != len(c.arch.segs) {
			t.Errorf("%s: %d segments, %v", c.name, len(segs), err)
		}
	}
}

// TestArchiveAndRing: what both hold counts once; without either there is
// nothing; a long hole before the newest footage hides nothing.
func TestArchiveAndRing(t *testing.T) {
	for _, c := range []struct {
		name     string
		arch     *store
		ring     *store
		segments int
		bounds   media.Span
		last     int // of Last(5)
	}{
		{"archive alone", footage(0, 100, 120), nil, 10, media.Span{From: 100e9, To: 120e9}, 6},
		{"ring alone", footage(0, 0, 0), footage(500, 100, 106), 3, media.Span{From: 100e9, To: 106e9}, 3},
		{"ring behind the archive", footage(0, 100, 120), footage(500, 130, 134), 12, media.Span{From: 100e9, To: 134e9}, 6},
		{"both hold some of it", footage(0, 100, 120), footage(500, 116, 124), 12, media.Span{From: 100e9, To: 124e9}, 6},
		{"ring long behind", footage(0, 100, 120), footage(500, 60000, 60004), 12, media.Span{From: 100e9, To: 60004e9}, 6},
		{"nothing", footage(0, 0, 0), nil, 0, media.Span{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			tl := New(c.arch, func(string) Ring {
				if c.ring == nil {
					return nil
				}
				return c.ring
			})
			segs, err := tl.Segments("cam", media.Span{From: 0, To: 1<<63 - 1})
			if err != nil || len(segs) != c.segments {
				t.Errorf("%d segments, %v", len(segs), err)
			}
			for i := 1; i < len(segs); i++ {
				if segs[i].Span.From < segs[i-1].Span.To {
					t.Errorf("segment %d overlaps the one before", i)
				}
			}
			if b, _ := tl.Bounds("cam"); b != c.bounds {
				t.Errorf("bounds %v", b)
			}
			if segs, err := tl.Last("cam", 5); len(segs) != c.last || (err != nil) != (c.last == 0) {
				t.Errorf("last: %d, %v", len(segs), err)
			}
		})
	}
}
