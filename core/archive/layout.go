package archive

import (
	"container/list"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"media-server/core/media"
)

// tailRead is the first read of a sealed file: most index boxes fit.
const tailRead = 64 << 10

// readTime bounds a read of an index by a viewer or a rebuild.
const readTime = 20 * time.Second

// readIndex reads and parses the index box at the end of a file.
func readIndex(r io.ReaderAt, size int64) (*Index, []byte, error) {
	b, err := readIndexBox(r, size)
	if err != nil {
		return nil, nil, err
	}
	x, err := ParseIndex(b, true)
	return x, b, err
}

// tails are buffers of tailRead bytes.
var tails = sync.Pool{New: func() any { return new([tailRead]byte) }}

// parseTail reads and parses the index box for one who does not want its bytes.
func parseTail(r io.ReaderAt, size int64) (*Index, error) {
	buf := tails.Get().(*[tailRead]byte)
	defer tails.Put(buf)
	b, err := readIndexInto(buf[:min(size, tailRead)], r, size)
	if err != nil {
		return nil, err
	}
	return ParseIndex(b, true)
}

func readIndexBox(r io.ReaderAt, size int64) ([]byte, error) {
	return readIndexInto(make([]byte, min(size, tailRead)), r, size)
}

// readIndexInto reads the end of a file into buf, or the whole index box into
// a larger one.
func readIndexInto(buf []byte, r io.ReaderAt, size int64) ([]byte, error) {
	if n, err := r.ReadAt(buf, size-int64(len(buf))); n < len(buf) {
		return nil, fmt.Errorf("read index: %w", readError{err})
	}
	n, err := TrailerLength(buf)
	if err != nil {
		return nil, err
	}
	if n > size {
		return nil, fmt.Errorf("index: %w", errShort)
	}
	if n > int64(len(buf)) {
		buf = make([]byte, n)
		if k, err := r.ReadAt(buf, size-n); k < len(buf) {
			return nil, fmt.Errorf("read index: %w", readError{err})
		}
	}
	return buf[int64(len(buf))-n:], nil
}

// Layout gives the sample table of a file. Those of sealed files are cached.
func (a *Archive) Layout(id FileID) (*Layout, error) {
	if f := a.file(id); f != nil {
		return f.layout(), nil
	}
	if l := a.layouts.get(id); l != nil {
		return l, nil
	}
	x, err := a.indexOf(id)
	if err != nil {
		return nil, err
	}
	a.layouts.put(&x.Layout)
	return &x.Layout, nil
}

// indexOf reads the index of a sealed file.
func (a *Archive) indexOf(id FileID) (*Index, error) {
	r, err := a.cat.get(id)
	if errors.Is(err, sql.ErrNoRows) || err == nil && r.gone() {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	return a.indexOfRow(r)
}

func (a *Archive) indexOfRow(r *row) (*Index, error) {
	s := a.space(r.Space)
	if s == nil {
		return nil, fmt.Errorf("space %s: %w", r.Space, ErrNoSpace)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	release, err := s.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	f, err := s.open(ctx, r.Name)
	if err != nil {
		if cur := a.movedTo(r); cur != nil {
			return a.indexOfRow(cur)
		}
		return nil, a.gone(r, err)
	}
	defer f.Close()
	x, err := parseTail(f, r.Size)
	if err != nil {
		if cur := a.movedTo(r); cur != nil {
			return a.indexOfRow(cur)
		}
		return nil, a.unreadable(r, err)
	}
	x.Layout.File, x.Layout.UID, x.Layout.Run, x.Layout.Init = r.ID, r.UID, r.Run, r.Init
	return x, nil
}

// movedTo is the present row of a file that could not be read where it was;
// nil when it has not been moved meanwhile.
func (a *Archive) movedTo(r *row) *row {
	cur, err := a.cat.get(r.ID)
	if err != nil || cur.Flags&rowGoing != 0 || cur.Space == r.Space && cur.Name == r.Name {
		return nil
	}
	return cur
}

// slot takes one of the space's 16 places for reading.
func (s *space) slot(ctx context.Context) (func(), error) {
	select {
	case s.reads <- struct{}{}:
		return func() { <-s.reads }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// layoutCache keeps the sample tables used last, bounded in bytes.
type layoutCache struct {
	mu    sync.Mutex
	limit int64
	size  int64
	order *list.List // of *Layout, newest first
	byID  map[FileID]*list.Element
}

func newLayoutCache(limit int64) *layoutCache {
	return &layoutCache{limit: limit, order: list.New(), byID: map[FileID]*list.Element{}}
}

// weight is about what a layout takes in memory.
func (l *Layout) weight() int64 {
	n := int64(len(l.Segments))*80 + int64(len(l.Fragments))*136 + 256
	for i := range l.Fragments {
		n += int64(len(l.Fragments[i].Samples)) * 16
	}
	return n
}

func (c *layoutCache) get(id FileID) *Layout {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*Layout)
}

func (c *layoutCache) put(l *Layout) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[l.File] != nil {
		return
	}
	c.byID[l.File] = c.order.PushFront(l)
	c.size += l.weight()
	for c.size > c.limit && c.order.Len() > 1 {
		c.removeLocked(c.order.Back())
	}
}

func (c *layoutCache) drop(id FileID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.removeLocked(e)
	}
}

func (c *layoutCache) removeLocked(e *list.Element) {
	l := c.order.Remove(e).(*Layout)
	delete(c.byID, l.File)
	c.size -= l.weight()
}

// Tracks gives the parameters behind an InitID. The slice is shared.
func (a *Archive) Tracks(id InitID) ([]media.Track, error) {
	a.mu.Lock()
	for _, f := range a.files {
		if f.init == id {
			a.mu.Unlock()
			return f.header.Tracks, nil
		}
	}
	a.mu.Unlock()
	return a.cat.tracks(id)
}
