package timeline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// File is a stored media file held open for reading. Pins of the archive and
// of memory rings satisfy it.
type File interface {
	io.ReaderAt
	// File returns a descriptor that may be passed to sendfile with an
	// explicit offset, for bytes up to limit; ok is false where there is none.
	// Nobody seeks or reads through it: its offset is shared.
	File() (f *os.File, limit int64, ok bool)
	// Release ends the hold. The file must not be used afterwards.
	Release()
}

// Piece is a run of bytes of a response: Bytes, or Len bytes of File from Off,
// or the Len bytes that Make makes (Off then counts from their beginning).
type Piece struct {
	Bytes []byte
	File  File
	Make  func() ([]byte, error)
	Off   int64
	Len   int64
}

// Size is the piece's length in bytes.
func (p *Piece) Size() int64 {
	if p.File == nil && p.Make == nil {
		return int64(len(p.Bytes))
	}
	return p.Len
}

// Load returns the bytes of a piece that is not of a file.
func (p *Piece) Load() ([]byte, error) {
	if p.Make == nil {
		return p.Bytes, nil
	}
	b, err := p.Make()
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < p.Off+p.Len {
		return nil, fmt.Errorf("a part of the answer has %d bytes where %d were promised", len(b), p.Off+p.Len)
	}
	return b[p.Off : p.Off+p.Len], nil
}

// Body is the plan of a response: pieces in order, none of them read yet. It
// is immutable once built; Release lets go of its files and is called once.
// Reads may run concurrently, Release only after the last of them.
type Body struct {
	pieces []Piece
	ends   []int64 // cumulative sizes
	held   []Holder
}

// Holder is what a body lets go of when it has been sent: a File, or all the
// files of a Lazy.
type Holder interface{ Release() }

// Grow makes room for n more pieces at once.
func (b *Body) Grow(n int) {
	b.pieces, b.ends = slices.Grow(b.pieces, n), slices.Grow(b.ends, n)
}

// Add appends bytes, which the body keeps and nobody changes any more.
func (b *Body) Add(p []byte) {
	if len(p) > 0 {
		b.push(Piece{Bytes: p})
	}
}

// AddLater appends n bytes that make will make when they are sent: tables of a
// long recording, which nobody wants to wait for or hold in memory. make gives
// the same n bytes each time and may be called more than once, or never.
func (b *Body) AddLater(n int64, make func() ([]byte, error)) {
	if n > 0 {
		b.push(Piece{Make: make, Len: n})
	}
}

// AddFile appends n bytes of f from off. Adjacent ranges of one file become
// one piece, so that they leave in one sendfile.
func (b *Body) AddFile(f File, off, n int64) {
	if n <= 0 {
		return
	}
	if k := len(b.pieces); k > 0 {
		if last := &b.pieces[k-1]; last.File != nil && last.File == f && last.Off+last.Len == off {
			last.Len += n
			b.ends[k-1] += n
			return
		}
	}
	b.push(Piece{File: f, Off: off, Len: n})
}

func (b *Body) push(p Piece) {
	b.pieces = append(b.pieces, p)
	b.ends = append(b.ends, b.Size()+p.Size())
}

// Hold makes the body the owner of h: Release releases it.
func (b *Body) Hold(h Holder) { b.held = append(b.held, h) }

// Release releases everything held. Safe to call on a nil body.
func (b *Body) Release() {
	if b == nil {
		return
	}
	for _, h := range b.held {
		h.Release()
	}
	b.held = nil
}

// Size is the length of the whole body in bytes.
func (b *Body) Size() int64 {
	if len(b.ends) == 0 {
		return 0
	}
	return b.ends[len(b.ends)-1]
}

// Pieces calls yield for the pieces that cover [off, off+n), cut to that
// range, until yield returns false.
func (b *Body) Pieces(off, n int64) func(yield func(Piece) bool) {
	return func(yield func(Piece) bool) {
		for i := b.find(off); i < len(b.pieces) && n > 0; i++ {
			p := b.pieces[i]
			skip := off - (b.ends[i] - p.Size())
			take := min(p.Size()-skip, n)
			if p.File == nil && p.Make == nil {
				p.Bytes = p.Bytes[skip : skip+take]
			} else {
				p.Off += skip
				p.Len = take
			}
			if !yield(p) {
				return
			}
			off += take
			n -= take
		}
	}
}

// find returns the index of the piece that holds byte off.
func (b *Body) find(off int64) int {
	lo, hi := 0, len(b.ends)
	for lo < hi {
		if mid := (lo + hi) / 2; b.ends[mid] <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// ReadAt implements io.ReaderAt over the whole body.
func (b *Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("timeline: negative offset")
	}
	done := 0
	for piece := range b.Pieces(off, int64(len(p))) {
		if piece.File == nil {
			b, err := piece.Load()
			done += copy(p[done:], b)
			if err != nil {
				return done, err
			}
			continue
		}
		n, err := piece.File.ReadAt(p[done:done+int(piece.Len)], piece.Off)
		done += n
		if int64(n) < piece.Len {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return done, fmt.Errorf("read %d bytes at %d: %w", piece.Len, piece.Off, err)
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}
