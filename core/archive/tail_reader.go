package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openAll opens the media files among es: many in one question where the
// backend can (Opener).
func (s *space) openAll(ctx context.Context, es []Entry) []Opened {
	files := make([]Opened, len(es))
	names, at := make([]string, 0, len(es)), make([]int, 0, len(es))
	for i, e := range es {
		if isMedia(e.Name) {
			names, at = append(names, e.Name), append(at, i)
		}
	}
	o, ok := s.st.(Opener)
	if !ok {
		for k, name := range names {
			f, err := s.st.File(ctx, name)
			files[at[k]] = Opened{f, err}
		}
	} else {
		for k, f := range o.Files(ctx, names) {
			files[at[k]] = f
		}
	}
	return files
}

func closeFiles(files []Opened) {
	for _, f := range files {
		if f.File != nil {
			f.File.Close()
		}
	}
}

func isMedia(name string) bool {
	return strings.HasSuffix(name, ".mp4") && !strings.HasPrefix(name, ledgerPrefix)
}

const (
	tailPage  = 4 << 10
	tailLeast = 16 << 10 // the index of a minute of pictures and sound
)

// tailReader reads index boxes. It remembers how long the last was: files that
// follow each other are alike, and a copy of 64 kB takes longer than all else
// that is done about a file of 60 s.
type tailReader struct {
	buf   []byte
	last  int64
	reads int
}

// guess is how much is read of a tail at first.
func (t *tailReader) guess() int64 {
	if t.last == 0 {
		return tailRead
	}
	return max(t.last+t.last/4, tailLeast)
}

// expect tells the kernel which tails will be read, so that a disk has all of
// them to order. That it was told so in vain costs nothing.
func (t *tailReader) expect(files []Opened, es []Entry) {
	for i := range files {
		if files[i].File == nil {
			continue
		}
		if c, err := files[i].File.SyscallConn(); err == nil {
			from := tailFrom(es[i].Size, t.guess())
			_ = c.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), from, es[i].Size-from, unix.FADV_WILLNEED) })
		}
	}
}

// box reads the index box of a file, in one read where it is no longer than
// guessed. It is good until the next call.
func (t *tailReader) box(r io.ReaderAt, size, guess int64) ([]byte, error) {
	if err := t.read(r, size, guess); err != nil {
		return nil, err
	}
	n, err := TrailerLength(t.buf)
	if err != nil {
		return nil, err
	}
	if n > size {
		return nil, fmt.Errorf("index: %w", errShort)
	}
	t.last = min(n, tailRead)
	if n > int64(len(t.buf)) {
		if err := t.read(r, size, n); err != nil {
			return nil, err
		}
	}
	return t.buf[int64(len(t.buf))-n:], nil
}

// read fills the buffer with at least the last n bytes of a file.
func (t *tailReader) read(r io.ReaderAt, size, n int64) error {
	from := tailFrom(size, n)
	n = size - from
	if int64(cap(t.buf)) < n || cap(t.buf) > maxKept {
		t.buf = make([]byte, max(n, tailRead+tailPage))
	}
	t.buf = t.buf[:n]
	t.reads++
	if k, err := r.ReadAt(t.buf, from); k < len(t.buf) {
		return fmt.Errorf("read index: %w", err)
	}
	return nil
}

// tailFrom is where the page begins that the last n bytes begin in.
func tailFrom(size, n int64) int64 { return max(0, size-n) &^ (tailPage - 1) }

// maxKept is the longest buffer that is kept for the next file.
const maxKept = 1 << 20

// ReadAt reads through the backend, just what is asked for.
func (s *storedFile) ReadAt(p []byte, off int64) (int, error) {
	return s.st.ReadAt(s.ctx, s.name, off, p)
}

// storedFile is a file without a descriptor.
type storedFile struct {
	ctx  context.Context
	st   Storage
	name string
}

// readRow reads what the catalogue needs of one stored file; nil is a file that
// is no footage, or not there any more.
func (a *Archive) readRow(ctx context.Context, s *space, e Entry) (*row, error) {
	files := s.openAll(ctx, []Entry{e})
	defer closeFiles(files)
	return a.readEntry(ctx, s, &tailReader{}, e, &files[0])
}

// readEntry is readRow of a file that has been opened: one read of its tail,
// and its head where the track parameters are not known yet.
func (a *Archive) readEntry(ctx context.Context, s *space, t *tailReader, e Entry, o *Opened) (*row, error) {
	switch {
	case !isMedia(e.Name):
		return nil, nil // the backend's own: its marker
	case errors.Is(o.Err, os.ErrNotExist):
		return nil, nil // deleted by rule since it was listed
	}
	var f io.ReaderAt = o.File
	guess := t.guess()
	if o.Err != nil { // through the backend; one that is far away is not asked twice
		f, guess = &storedFile{ctx, s.st, e.Name}, tailRead
	}
	f = marked{f}
	b, err := t.box(f, e.Size, guess)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	x, err := scanIndex(b)
	if err != nil {
		return nil, err
	}
	if len(x.Segs) == 0 || !validName(x.UID) {
		return nil, fmt.Errorf("index names no stream or no segment")
	}
	if _, err := a.cat.tracks(x.Init); err != nil {
		t.reads++
		h, init, _, err := parseHead(f, e.Size)
		if err != nil {
			return nil, err
		}
		x.Init = init
		a.cat.init(init, h.Tracks)
	}
	return x.row(s.cfg.Name, e), nil
}

// row is what the catalogue keeps of the file e.
func (x *indexSum) row(space string, e Entry) *row {
	r := &row{ID: x.File, UID: x.UID, Space: space, Size: e.Size, Init: x.Init, Zero: x.Zero, Run: x.Run, Name: e.Name, Rules: x.Rules.text(), Shape: x.Shape, Enc: x.Enc}
	if x.Groomed {
		r.Flags |= rowGroomed
	}
	r.fill(x.Segs)
	return r
}
