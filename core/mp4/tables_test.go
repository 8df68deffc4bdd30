package mp4

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

// TestFirstTablesComeEarly: the first bytes of a table of a long movie take one
// index, not thirty-two; and every file's entries are made once.
func TestFirstTablesComeEarly(t *testing.T) {
	for n := range 3 * block {
		at, most := 0, 0
		blocks(n, func(lo, hi int) {
			if lo != at || hi <= lo || lo == 0 && hi != 1 {
				t.Fatalf("%d files: a block of %d to %d, %d done", n, lo, hi, at)
			}
			at, most = hi, max(most, hi-lo)
		})
		if at != n || most > block {
			t.Fatalf("%d files: blocks end at %d, the largest has %d", n, at, most)
		}
	}
	m := newMinutes(300)
	mv, err := New(m).Record("cam", media.Span{From: media.WallOf(t0), To: media.WallOf(t0.Add(200 * time.Minute))})
	if err != nil {
		t.Fatal(err)
	}
	defer mv.Body.Release()
	m.read = 0
	for p := range mv.Body.Pieces(0, mv.Body.Size()) {
		if p.Make == nil {
			continue
		}
		if _, err := p.Load(); err != nil {
			t.Fatal(err)
		}
		if m.read > 1 {
			t.Fatalf("%d indexes were read for the first entries", m.read)
		}
		break
	}
}

// head plans a movie and gives its bytes before the first picture.
func head(t *testing.T, src Source, span media.Span, room int) (*plan, *Movie, []byte) {
	t.Helper()
	p := New(src).plan("cam")
	p.room = room
	if err := p.select_(span); err != nil {
		t.Fatal(err)
	}
	if err := p.count(); err != nil {
		t.Fatal(err)
	}
	m, err := p.build()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for piece := range m.Body.Pieces(0, m.Body.Size()) {
		if piece.File != nil {
			break
		}
		x, err := piece.Load()
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
	}
	return p, m, b
}

// TestIndexesAreReadThrice: a movie's tables take three passes over its files,
// not one for each table, and nothing of them is kept when they have been sent.
// Where there is no room to keep them they are the same.
func TestIndexesAreReadThrice(t *testing.T) {
	const files = 300
	m := newMinutes(files + 2)
	span := media.Span{From: media.WallOf(t0), To: media.WallOf(t0.Add(files * time.Minute))}
	p, _, want := head(t, m, span, keepMost)
	if most := 3*files + 20; m.read > most {
		t.Errorf("%d files were read %d times", files, m.read)
	}
	if p.kept != 0 {
		t.Errorf("%d bytes of tables are still held", p.kept)
	}
	for _, room := range []int{0, 10_000, 100_000} {
		p, _, got := head(t, m, span, room)
		if !bytes.Equal(got, want) {
			t.Errorf("with room for %d bytes of tables they are others", room)
		}
		if p.kept != 0 {
			t.Errorf("with room for %d bytes %d are still held", room, p.kept)
		}
	}
}

// TestTablesForSeveralReaders: a body may be read by several at a time, and
// again when its tables have been let go of.
func TestTablesForSeveralReaders(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 40*time.Second, clip.H264, clip.AAC)
	s.record(t, 2, t0.Add(42*time.Second), 30*time.Second, clip.H265, clip.AAC)
	s.shapes = true
	span := media.Span{From: media.WallOf(t0.Add(3 * time.Second)), To: media.WallOf(t0.Add(65 * time.Second))}
	_, m, want := head(t, s, span, keepMost)
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			for k := range 20 {
				off := (i*7919 + k*104_729) % len(want)
				n := min(5000, len(want)-off)
				b := make([]byte, n)
				if _, err := m.Body.ReadAt(b, int64(off)); err != nil || !bytes.Equal(b, want[off:off+n]) {
					t.Errorf("bytes %d+%d differ, %v", off, n, err)
				}
			}
		})
	}
	readers.Wait()
}
