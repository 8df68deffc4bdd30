package archive

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
)

// plainCacheSize bounds what is kept decrypted: a segment is asked for in small
// pieces, by a player, and often by several.
const plainCacheSize = 16 << 20

// plainCache keeps fragments whose payload was authenticated and decrypted,
// those used last.
type plainCache struct {
	mu    sync.Mutex
	limit int
	size  int
	order *list.List // of *plainFragment, newest first
	byKey map[plainKey]*list.Element
}

type plainKey struct {
	file FileID
	off  int64
}

type plainFragment struct {
	key plainKey
	b   []byte // the whole fragment, never changed
}

func newPlainCache(limit int) *plainCache {
	return &plainCache{limit: limit, order: list.New(), byKey: map[plainKey]*list.Element{}}
}

func (c *plainCache) get(k plainKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[k]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*plainFragment).b
}

// put keeps a fragment; false: it is too large, a few such would turn out all
// others.
func (c *plainCache) put(k plainKey, b []byte) bool {
	if len(b) > c.limit/4 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[k] != nil {
		return true
	}
	c.byKey[k] = c.order.PushFront(&plainFragment{k, b})
	c.size += len(b)
	for c.size > c.limit {
		old := c.order.Remove(c.order.Back()).(*plainFragment)
		delete(c.byKey, old.key)
		c.size -= len(old.b)
	}
	return true
}

func (c *plainCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Init()
	clear(c.byKey)
	c.size = 0
}

// readPlain reads an encrypted file as if it were clear: a fragment is fetched
// whole, authenticated, decrypted, and only then are bytes of it given out.
// Lengths and offsets are those of the stored file.
func (p *Pin) readPlain(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		at := off + int64(done)
		fr, next, err := p.fragmentAt(at)
		if err != nil {
			return done, err
		}
		if fr == nil { // head, signature or index: nothing secret
			n := len(b) - done
			if next > at {
				n = int(min(int64(n), next-at))
			}
			k, err := p.readRaw(b[done:done+n], at)
			if done += k; err != nil {
				return done, err
			}
			continue
		}
		whole, err := p.plainFragment(fr)
		if err != nil {
			return done, err
		}
		done += copy(b[done:], whole[at-fr.Offset:])
	}
	return done, nil
}

// fragmentAt finds the fragment that holds a byte; nil when none does, and then
// where the next one begins, 0 = there is none.
func (p *Pin) fragmentAt(off int64) (*Fragment, int64, error) {
	f, _ := p.where()
	var frags []Fragment
	if f != nil {
		f.mu.Lock()
		frags = f.frags[:len(f.frags):len(f.frags)]
		f.mu.Unlock()
	} else {
		l, err := p.a.Layout(p.id)
		if err != nil {
			return nil, 0, err
		}
		frags = l.Fragments
	}
	i := sort.Search(len(frags), func(i int) bool { return frags[i].End() > off })
	switch {
	case i == len(frags):
		return nil, 0, nil
	case off < frags[i].Offset:
		return nil, frags[i].Offset, nil
	}
	return &frags[i], 0, nil
}

// plainFragment gives a fragment with its payload decrypted. Nobody changes it.
func (p *Pin) plainFragment(fr *Fragment) ([]byte, error) {
	key := plainKey{p.id, fr.Offset}
	c, err := p.a.cipher(p.enc) // asked each time: a key may be destroyed meanwhile
	if err != nil {
		return nil, p.keyError(err)
	}
	if b := p.a.plain.get(key); b != nil {
		return b, nil
	}
	p.mu.Lock()
	large := p.large
	p.mu.Unlock()
	if large != nil && large.key == key {
		return large.b, nil
	}
	n := fr.End() - fr.Offset
	b := make([]byte, n, n+16)
	if k, err := p.readRaw(b, fr.Offset); k < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if _, err := c.open(b[:fr.DataOffset-fr.Offset], b[fr.DataOffset-fr.Offset:]); err != nil {
		return nil, p.damaged(fr, err)
	}
	if !p.a.plain.put(key, b) {
		p.mu.Lock()
		p.large = &plainFragment{key, b}
		p.mu.Unlock()
	}
	return b, nil
}

func (p *Pin) fileName() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.f != nil {
		return p.f.final
	}
	return p.name
}

func (p *Pin) keyError(err error) error {
	return &KeyError{File: p.fileName(), UID: p.uid, Day: p.enc.Day, Err: err}
}

// damaged reports a part that is not what was encrypted; once a part.
func (p *Pin) damaged(fr *Fragment, err error) error {
	name := p.fileName()
	if p.a.firstDamage(plainKey{p.id, fr.Offset}) {
		p.a.notify(Notice{Type: "archive.damaged", UID: p.uid, Level: "error",
			Message: fmt.Sprintf("bytes %d to %d of %s were changed: nothing of them is given out", fr.Offset, fr.End(), name),
			Data:    map[string]any{"file": name, "from": fr.Offset, "to": fr.End()}})
	}
	return fmt.Errorf("bytes %d to %d of %s: %w", fr.Offset, fr.End(), name, err)
}

// mostDamage bounds how many damaged parts are remembered as told.
const mostDamage = 4096

func (a *Archive) firstDamage(k plainKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.damage[k] || len(a.damage) >= mostDamage {
		return false
	}
	if a.damage == nil {
		a.damage = map[plainKey]bool{}
	}
	a.damage[k] = true
	return true
}
