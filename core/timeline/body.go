package timeline

import (
	"errors"
	"fmt"
	"io"
	"os"
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

// Piece is a run of bytes of a response: either Bytes, or Len bytes of File
// from Off.
type Piece struct {
	Bytes []byte
	File  File
	Off   int64
	Len   int64
}

// Size is the piece's length in bytes.
func (p *Piece) Size() int64 {
	if p.File == nil {
		return int64(len(p.Bytes))
	}
	return p.Len
}

// Body is the plan of a response: pieces in order, none of them read yet. It
// is immutable once built; Release lets go of its files and is called once.
// Reads may run concurrently, Release only after the last of them.
type Body struct {
	pieces []Piece
	ends   []int64 // cumulative sizes
	files  []File
}

// Add appends bytes, which the body keeps and nobody changes any more.
func (b *Body) Add(p []byte) {
	if len(p) > 0 {
		b.push(Piece{Bytes: p})
	}
}

// AddFile appends n bytes of f from off. Adjacent ranges of one file become
// one piece, so that they leave in one sendfile.
func (b *Body) AddFile(f File, off, n int64) {
	if n <= 0 {
		return
	}
	if k := len(b.pieces); k > 0 {
		if last := &b.pieces[k-1]; last.File == f && last.Off+last.Len == off {
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

// Hold makes the body the owner of f: Release releases it.
func (b *Body) Hold(f File) { b.files = append(b.files, f) }

// Release releases every held file. Safe to call on a nil body.
func (b *Body) Release() {
	if b == nil {
		return
	}
	for _, f := range b.files {
		f.Release()
	}
	b.files = nil
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
			if p.File == nil {
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
			done += copy(p[done:], piece.Bytes)
			continue
		}
		n, err := piece.File.ReadAt(p[done:done+int(piece.Len)], piece.Off)
		done += n
		if int64(n) < piece.Len {
			if err == nil || err == io.EOF {
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
