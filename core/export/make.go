package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"

	"media-server/core/archive"
	"media-server/core/mp4"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// Footage is what a proof is made from; a timeline is one.
type Footage interface {
	Layout(uid string, id archive.FileID) (*archive.Layout, error)
	Pin(uid string, id archive.FileID) (timeline.File, error)
}

// ErrMemory: part of the export lies only in memory.
var ErrMemory = errors.New("the range reaches into footage that is not recorded: there is nothing on disk to prove it with")

// Proof is one being made: its bytes come as it is read, and an error instead
// of the end when it cannot be finished. Close ends it at any time.
type Proof struct {
	next func() ([]byte, error, bool)
	stop func()
	rest []byte
	err  error
}

// Make proves the movie m, of which st says what only the asker knows; the rest
// of st is filled in. The movie's body stays the caller's, and must not be
// released before the proof is closed.
func Make(ctx context.Context, st Statement, m *mp4.Movie, src Footage, sign archive.Signer) (*Proof, error) {
	taken := m.Taken()
	for _, t := range taken {
		if t.File >= timeline.RingFiles {
			return nil, ErrMemory
		}
	}
	st.Covers, st.Key, st.Size, st.Files = m.Span, sign.KeyID(), m.Body.Size(), len(taken)
	k := &maker{ctx: ctx, st: &st, m: m, src: src, sign: sign, export: sha256.New(), all: sha256.New()}
	p := new(Proof)
	p.next, p.stop = iter.Pull2(k.run(taken))
	return p, nil
}

// Read implements io.Reader.
func (p *Proof) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		chunk, err, more := p.next()
		switch {
		case !more:
			p.err = io.EOF
		case err != nil:
			p.err = err
		}
		p.rest = chunk
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Close ends the making.
func (p *Proof) Close() error {
	p.stop()
	return nil
}

// maker writes a proof.
type maker struct {
	ctx    context.Context
	st     *Statement
	m      *mp4.Movie
	src    Footage
	sign   archive.Signer
	export hash.Hash // of the export's bytes so far
	at     int64     // how many those are
	all    hash.Hash // of the proof so far
	out    bytes.Buffer
	frames int
	buf    []byte // a fragment
	raw    []byte // its payload as it is stored, where that is something else
	put    func([]byte, error) bool
}

// flushAt is how much of the proof is held back before it is handed on.
const flushAt = 32 << 10

// flush hands on what was written; false = nobody wants it any more.
func (k *maker) flush() bool {
	k.all.Write(k.out.Bytes())
	ok := k.put(k.out.Bytes(), nil)
	k.out.Reset()
	return ok
}

var errStopped = errors.New("the reader has gone")

func (k *maker) run(taken []mp4.Taken) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		k.put = yield
		if err := k.write(taken); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

func (k *maker) write(taken []mp4.Taken) error {
	k.out.Write(k.st.text())
	if !k.flush() {
		return errStopped
	}
	for i := range taken {
		if err := k.copyTo(taken[i].At); err != nil {
			return err
		}
		if err := k.file(&taken[i]); err != nil {
			return fmt.Errorf("file %s: %w", taken[i].File, err)
		}
	}
	if err := k.copyTo(k.st.Size); err != nil {
		return err
	}
	fmt.Fprintf(&k.out, "end %d %d %s\n", k.st.Files, k.frames, hex.EncodeToString(k.export.Sum(nil)))
	k.all.Write(k.out.Bytes())
	sig := k.sign.Sign(append([]byte(message), k.all.Sum(nil)...))
	fmt.Fprintf(&k.out, "signature %s\n", b64(sig))
	if !k.put(k.out.Bytes(), nil) {
		return errStopped
	}
	return nil
}

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// copyTo hashes the export's own bytes (its head) up to an offset.
func (k *maker) copyTo(to int64) error {
	b := make([]byte, min(max(to-k.at, 0), 256<<10))
	for k.at < to {
		n := min(int64(len(b)), to-k.at)
		if _, err := k.m.Body.ReadAt(b[:n], k.at); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the export: %w", err)
		}
		k.export.Write(b[:n])
		k.at += n
	}
	if k.at != to {
		return fmt.Errorf("the export is not in order at byte %d", to)
	}
	return nil
}

// fragment is a stored fragment in memory.
type fragment struct {
	mux.FragmentInfo
	head, payload []byte // part header and moof; payload as the export holds it
	mdat          []byte // the eight bytes between them
	stored        []byte // payload as it lies in storage, which leaves are over
}

// storing is a file that can be read as it lies in storage, too.
type storing interface {
	StoredAt(p []byte, off int64) (int, error)
}

// read reads the stored fragment fr. This is the one place that knows how
// footage lies in storage: where that is not how it is exported (encryption),
// its units keep their sizes, and what leaves are over is read as well.
func (k *maker) read(f io.ReaderAt, fr *archive.Fragment) (*fragment, error) {
	n := fr.End() - fr.Offset
	if int64(cap(k.buf)) < n {
		k.buf = make([]byte, n)
	}
	b := k.buf[:n]
	if got, err := f.ReadAt(b, fr.Offset); int64(got) < n {
		return nil, fmt.Errorf("read fragment at %d: %w", fr.Offset, err)
	}
	info, _, err := mux.ParseFragment(shifted{bytes.NewReader(b), fr.Offset}, fr.Offset, fr.End())
	if err != nil {
		return nil, fmt.Errorf("fragment at %d: %w", fr.Offset, err)
	}
	head := info.HeaderLen + info.MoofLen
	x := &fragment{info, b[:head], b[head+8:], b[head : head+8], b[head+8:]}
	if !info.Header.Encrypted {
		return x, nil
	}
	s, ok := f.(storing)
	if !ok {
		return nil, fmt.Errorf("fragment at %d: it is encrypted, and cannot be read as it is stored", fr.Offset)
	}
	if cap(k.raw) < len(x.payload) {
		k.raw = make([]byte, len(x.payload))
	}
	x.stored = k.raw[:len(x.payload)]
	if got, err := s.StoredAt(x.stored, info.PayloadAt); got < len(x.stored) {
		return nil, fmt.Errorf("read fragment at %d: %w", fr.Offset, err)
	}
	return x, nil
}

// shifted reads bytes of a file that begin at an offset of it.
type shifted struct {
	r  *bytes.Reader
	at int64
}

func (s shifted) ReadAt(p []byte, off int64) (int, error) { return s.r.ReadAt(p, off-s.at) }

// What leaves are over.
const (
	overExported = "exported" // the bytes of the export are those that were stored
	overStored   = "stored"   // the export holds them in another form
)
