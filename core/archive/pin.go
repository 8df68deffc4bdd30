package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// pinGrace is how long a pin holds a file whose deletion is decided.
const pinGrace = 60 * time.Second

// pinned counts the pins of one file.
type pinned struct {
	pins map[*Pin]struct{}
	none chan struct{} // closed when the last pin goes; made by a waiting delete
}

// Pin holds a file: its bytes stay readable until Release, or until 60 s after
// its deletion was decided. Safe for concurrent use.
type Pin struct {
	a   *Archive
	id  FileID
	enc *Encryption // nil: clear
	uid string

	mu   sync.Mutex
	f    *file // nil: sealed and in the catalogue
	sp   *space
	name string
	fd   *descriptor // nil: not opened yet
	over bool        // released
	cut  bool        // deleted under the reader

	large *plainFragment // the decrypted one read last, where it is too large for all to keep
}

// Pin holds a file for reading.
func (a *Archive) Pin(id FileID) (*Pin, error) {
	p := &Pin{a: a, id: id}
	a.mu.Lock()
	p.f = a.files[id]
	if g := a.pins[id]; g == nil {
		a.pins[id] = &pinned{pins: map[*Pin]struct{}{p: {}}}
	} else if g.none != nil {
		a.mu.Unlock()
		return nil, ErrGone // its deletion is decided
	} else {
		g.pins[p] = struct{}{}
	}
	a.mu.Unlock()
	err := p.locate()
	if err == nil && p.enc != nil {
		if _, err = a.cipher(p.enc); err != nil {
			err = p.keyError(err)
		}
	}
	if err != nil {
		p.Release()
		return nil, err
	}
	return p, nil
}

// locate finds where the file lies. The pin is listed already: a move of the
// file waits for p.mu, so that it is seen by one of the two.
func (p *Pin) locate() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.f != nil {
		p.sp, p.uid, p.enc = p.f.sp, p.f.header.UID, p.f.header.Encryption
		return nil
	}
	r, err := p.a.cat.get(p.id)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && r.gone():
		return ErrGone
	case err != nil:
		return err
	}
	if p.sp, p.name = p.a.space(r.Space), r.Name; p.sp == nil {
		return fmt.Errorf("space %s: %w", r.Space, ErrNoSpace)
	}
	p.uid = r.UID
	if r.Flags&rowEncrypted != 0 {
		p.enc, err = p.a.cat.cipherOf(p.id)
	}
	return err
}

// moved lets readers of a file go on where it lies now; the bytes are the same.
// A descriptor that one of them holds stays good, also when the name goes.
func (a *Archive) moved(id FileID, to *space, name string) {
	a.mu.Lock()
	var ps []*Pin
	if g := a.pins[id]; g != nil {
		for p := range g.pins {
			ps = append(ps, p)
		}
	}
	a.mu.Unlock()
	a.open.drop(id)
	for _, p := range ps {
		p.mu.Lock()
		p.f, p.sp, p.name = nil, to, name
		p.mu.Unlock()
	}
}

// where is what reads go by just now.
func (p *Pin) where() (f *file, sp *space) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.f, p.sp
}

// names are where the file may lie just now, to be tried in this order: while
// it is being sealed the backend renames it at some instant, and may have
// failed to. p.mu is held.
func (p *Pin) names() []string {
	if p.f == nil {
		return []string{p.name}
	}
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	switch p.f.state {
	case sealed:
		return []string{p.f.final}
	case sealing:
		return []string{p.f.openName, p.f.final, p.f.openName}
	}
	return []string{p.f.openName, p.f.openName, p.f.final}
}

// ReadAt implements io.ReaderAt; what is not yet in storage comes from memory.
// An encrypted file reads as if it were clear.
func (p *Pin) ReadAt(b []byte, off int64) (int, error) {
	if p.enc != nil {
		return p.readPlain(b, off)
	}
	return p.readRaw(b, off)
}

// StoredAt reads the bytes as they lie in storage: what the chain of a signed
// file is over, also of an encrypted one.
func (p *Pin) StoredAt(b []byte, off int64) (int, error) { return p.readRaw(b, off) }

// readRaw reads the bytes as they are stored.
func (p *Pin) readRaw(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		f, sp := p.where()
		if f != nil {
			if n := f.readMemory(b[done:], off+int64(done)); n > 0 {
				done += n
				continue
			}
		}
		n, err := p.readStored(sp, b[done:], off+int64(done))
		done += n
		if errors.Is(err, io.EOF) && n > 0 && f != nil {
			continue // the rest may be in memory still
		}
		if _, now := p.where(); err != nil && now != sp {
			continue // moved while it was read
		}
		if err != nil {
			return done, err
		}
		if n == 0 {
			return done, io.ErrNoProgress
		}
	}
	return done, nil
}

// readStored reads through the descriptor or the backend.
func (p *Pin) readStored(sp *space, b []byte, off int64) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	release, err := sp.slot(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	fd, err := p.descriptor(ctx)
	if err != nil {
		return 0, err
	}
	if fd != nil {
		return fd.ReadAt(b, off)
	}
	p.mu.Lock()
	names, sp := p.names(), p.sp
	p.mu.Unlock()
	n := 0
	for _, name := range names {
		if n, err = sp.st.ReadAt(ctx, name, off, b); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return n, err
}

// descriptor opens the file once; nil without an error where the backend has
// none.
func (p *Pin) descriptor(ctx context.Context) (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.cut:
		return nil, ErrGone
	case p.over:
		return nil, os.ErrClosed
	case p.fd != nil:
		return p.fd.fd, nil
	}
	if p.fd = p.a.open.take(p.id, p.sp); p.fd != nil {
		return p.fd.fd, nil
	}
	var fd *os.File
	var err error
	for _, name := range p.names() {
		if fd, err = p.sp.st.File(ctx, name); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, ErrNoDescriptors) {
		return nil, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, p.gone(err)
	}
	if err != nil || fd == nil {
		return nil, err
	}
	p.fd = p.a.open.add(p.id, p.sp, fd)
	return fd, nil
}

// gone reports a file that a reader found missing, and tells the reader so. p.mu
// is held.
func (p *Pin) gone(err error) error {
	if p.f == nil {
		if r, e := p.a.cat.get(p.id); e == nil && r.Name == p.name && r.Space == p.sp.cfg.Name {
			err = p.a.gone(r, err)
		}
	}
	if errors.Is(err, ErrGone) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// File gives a descriptor for sendfile with explicit offsets, good for the
// bytes below limit; ok is false where there is none. It belongs to the pin.
func (p *Pin) File() (f *os.File, limit int64, ok bool) {
	if p.enc != nil {
		return nil, 0, false // what is stored is not what is asked for
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	limit = 1<<63 - 1
	if growing, _ := p.where(); growing != nil {
		growing.mu.Lock()
		limit = growing.written
		growing.mu.Unlock()
		if limit == 0 {
			return nil, 0, false
		}
	}
	fd, err := p.descriptor(ctx)
	if err != nil || fd == nil {
		return nil, 0, false
	}
	return fd, limit, true
}

// Release ends the hold.
func (p *Pin) Release() {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return
	}
	p.over = true
	if p.fd != nil {
		p.a.open.give(p.id, p.fd)
		p.fd = nil
	}
	p.mu.Unlock()
	p.a.mu.Lock()
	g := p.a.pins[p.id]
	goes := g != nil && g.none != nil // its deletion waits
	if g != nil {
		delete(g.pins, p)
		if len(g.pins) == 0 {
			delete(p.a.pins, p.id)
			if goes {
				defer close(g.none)
			}
		}
	}
	p.a.mu.Unlock()
	if goes {
		p.a.open.drop(p.id) // opened since; first, so that its room is free when it is deleted
	}
}

// unpin waits until nobody reads the file any more, at most for wait; then the
// readers left are cut.
func (a *Archive) unpin(ctx context.Context, id FileID, wait time.Duration) {
	a.open.drop(id)
	a.mu.Lock()
	g := a.pins[id]
	if g == nil {
		a.mu.Unlock()
		return
	}
	if g.none == nil {
		g.none = make(chan struct{})
	}
	none := g.none
	a.mu.Unlock()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-none:
		return
	case <-ctx.Done():
	case <-t.C:
	}
	a.mu.Lock()
	var left []*Pin
	for p := range g.pins {
		left = append(left, p)
	}
	a.mu.Unlock()
	a.open.drop(id) // opened since
	for _, p := range left {
		p.mu.Lock()
		p.cut = true
		if p.fd != nil && !p.over {
			a.open.cut(id, p.fd)
			p.fd = nil
		}
		p.mu.Unlock()
		a.counters.cutResponses.Add(1)
	}
}
