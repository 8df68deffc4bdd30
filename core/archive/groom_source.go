package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"media-server/core/media"
	"media-server/core/mux"
)

// damagedError: the original is not as it was recorded. It is never replaced.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

func damaged(format string, args ...any) error { return &damagedError{fmt.Errorf(format, args...)} }

// errWhole: there is nothing to gain in the file, or it cannot be read by this
// version: it stays whole.
var errWhole = errors.New("the file stays whole")

// original is a file that is groomed, once it has been read and found sound.
type original struct {
	header   *FileHeader
	index    *Index
	indexSum [32]byte
	infos    []mux.FragmentInfo // one for each of index.Layout.Fragments
	kept     [][]int            // of each the units that stay
	sig      *Signature         // nil: not signed
	proof    *Proof             // likewise
}

// readOriginal reads a file from its first byte to its last. Every unit must be
// what its hash says, every part where the index says; of a signed file the
// chain must be whole and, where it was this server's key, the signature good.
func readOriginal(r io.ReaderAt, size int64, signer Signer) (*original, error) {
	h, _, first, err := parseHead(r, size)
	if err != nil {
		return nil, unread("its head", err)
	}
	if h.Unreadable || h.Optional&featureGroomed != 0 {
		return nil, errWhole
	}
	o := &original{header: h}
	x, box, err := readIndex(r, size)
	if err != nil {
		return nil, unread("its index", err)
	}
	o.index, o.indexSum = x, sha256.Sum256(box)
	if x.First != first || x.End > size-int64(len(box)) {
		return nil, damaged("its index says that parts begin at %d and end at %d", x.First, x.End)
	}
	if !groomable(ShapeOf(&x.Layout).Tracks, h.Tracks) {
		return nil, errWhole
	}
	c := chainReader{}
	if h.Optional&featureSigned != 0 {
		head := make([]byte, first)
		if _, err := r.ReadAt(head, 0); err != nil {
			return nil, unread("its head", err)
		}
		c.link = beginChain(head).link
		o.proof = &Proof{File: h.ID, Index: o.indexSum, Begin: c.link}
	}
	if err := o.readFragments(r, first, &c); err != nil {
		return nil, err
	}
	if o.proof == nil {
		return o, nil
	}
	return o, o.readSignature(r, size-int64(len(box)), c.link, signer)
}

// chainReader is where the chain stands.
type chainReader struct{ link [32]byte }

func (o *original) readFragments(r io.ReaderAt, at int64, c *chainReader) error {
	video := videoTracks(o.header.Tracks)
	for i := range o.index.Layout.Fragments {
		fr := &o.index.Layout.Fragments[i]
		x, next, err := mux.ParseFragment(r, at, o.index.End)
		if err != nil {
			return unread(fmt.Sprintf("the part at byte %d", at), err)
		}
		if x.Header.Encrypted {
			return errWhole
		}
		if fr.Offset != at || x.Header.Track != fr.Track || x.PayloadAt != fr.DataOffset || x.BaseTime != fr.BaseTime || len(x.Samples) != len(fr.Samples) {
			return damaged("the part at byte %d is not what the index says", at)
		}
		payload, err := unitsOfFragment(r, &x)
		if err != nil {
			return err
		}
		var kept []int
		if video[fr.Track] {
			for u := range x.Samples {
				if x.Samples[u].Key {
					kept = append(kept, u)
				}
			}
		}
		if o.proof != nil {
			if err := o.chained(r, &x, payload, kept, c); err != nil {
				return err
			}
		}
		o.infos, o.kept = append(o.infos, x), append(o.kept, kept)
		at = next
	}
	if at != o.index.End {
		return damaged("its parts end at byte %d, not at %d", at, o.index.End)
	}
	return nil
}

// chained takes a fragment into the chain, and into the proof.
func (o *original) chained(r io.ReaderAt, x *mux.FragmentInfo, payload []byte, kept []int, c *chainReader) error {
	if !x.Header.HasChain || x.Header.Chain != c.link {
		return damaged("the chain is broken in front of the part at byte %d", x.HeaderAt)
	}
	head := make([]byte, x.HeaderLen+x.MoofLen)
	if n, err := r.ReadAt(head, x.HeaderAt); n < len(head) {
		return unread("a part", err)
	}
	u := units{track: x.Header.Track, first: x.Header.FirstSeq, seqs: x.Header.Seqs, base: x.BaseTime, samples: x.Samples}
	leaves := u.leaves(payload)
	f := ProofFragment{Track: x.Header.Track, Units: len(leaves), Kept: kept, Head: sha256.Sum256(head)}
	k := 0
	for i := range leaves {
		if k < len(kept) && kept[k] == i {
			k++
			continue
		}
		f.Leaves = append(f.Leaves, leaves[i])
	}
	o.proof.Fragments = append(o.proof.Fragments, f)
	c.link = NextLink(c.link, f.Head, rootOf(leaves))
	return nil
}

// readSignature compares the chain with what was signed.
func (o *original) readSignature(r io.ReaderAt, end int64, link [32]byte, signer Signer) error {
	b := make([]byte, end-o.index.End)
	if len(b) != signSize {
		return damaged("its signature is missing")
	}
	if n, err := r.ReadAt(b, o.index.End); n < len(b) {
		return unread("its signature", err)
	}
	sig, err := parseSignature(b)
	switch {
	case err != nil:
		return unread("its signature", err)
	case sig.Link != link || int(sig.Count) != len(o.infos) || sig.Index != o.indexSum || sig.File != o.header.ID:
		return damaged("it is not what was signed")
	case signer != nil && signer.KeyID() == sig.Key && !bytes.Equal(signer.Sign(signedBytes(b)), sig.Sig[:]): // Ed25519 signs the same bytes alike
		return damaged("its signature is wrong")
	}
	o.sig, o.proof.Signature = sig, b
	return nil
}

// unitsOfFragment reads the units of a stored fragment, as they were recorded,
// and compares them with their hashes. Grooming reads media here and nowhere
// else: what is stored encrypted has to come out of here in the clear.
func unitsOfFragment(r io.ReaderAt, x *mux.FragmentInfo) ([]byte, error) {
	b := make([]byte, x.PayloadLen)
	if n, err := r.ReadAt(b, x.PayloadAt); n < len(b) {
		return nil, unread(fmt.Sprintf("the part at byte %d", x.HeaderAt), err)
	}
	rest := b
	for i, h := range x.Header.Hashes {
		n := int(x.Samples[i].Size)
		if xxhash.Sum64(rest[:n]) != h {
			return nil, damaged("unit %d of the part at byte %d was changed", i, x.HeaderAt)
		}
		rest = rest[n:]
	}
	return b, nil
}

// unread tells damage from what storage did not give.
func unread(what string, err error) error {
	var io *storageError
	var own *sourceError
	if errors.As(err, &io) || errors.As(err, &own) {
		return err
	}
	return damaged("%s cannot be read: %w", what, err)
}

// storageError came from the space, not from what lies there.
type storageError struct{ err error }

func (e *storageError) Error() string { return e.err.Error() }
func (e *storageError) Unwrap() error { return e.err }

// pacedFile reads a stored file, mostly forward, not faster than its pace. One
// goroutine at a time.
type pacedFile struct {
	ctx   context.Context
	s     *space
	f     readerAtCloser
	pace  *pace
	size  int64
	block int64
	tell  func(n int64) // bytes read from storage; may be nil

	off int64
	buf []byte
}

// Blocks that are read at once: all of a file, or some of its key frames.
const (
	blockAll  = 1 << 20
	blockSome = 64 << 10
)

// ReadAt implements io.ReaderAt. What storage does not give is a sourceError.
func (p *pacedFile) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		at := off + int64(done)
		if at >= p.size {
			return done, io.EOF
		}
		if at < p.off || at >= p.off+int64(len(p.buf)) {
			if err := p.fill(at); err != nil {
				return done, err
			}
		}
		done += copy(b[done:], p.buf[at-p.off:])
	}
	return done, nil
}

func (p *pacedFile) fill(at int64) error {
	n := min(p.block, p.size-at)
	if err := p.pace.wait(p.ctx, int(n)); err != nil {
		return &storageError{err}
	}
	ctx, cancel := context.WithTimeout(p.ctx, readTime)
	defer cancel()
	release, err := p.s.slot(ctx)
	if err != nil {
		return &storageError{err}
	}
	defer release()
	if int64(cap(p.buf)) < n {
		p.buf = make([]byte, n)
	}
	p.off, p.buf = at, p.buf[:n]
	got, err := p.f.ReadAt(p.buf, at)
	if p.tell != nil {
		p.tell(int64(got))
	}
	p.buf = p.buf[:got]
	if got > 0 {
		goesOn(p.ctx)
	}
	switch {
	case got == int(n):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.EOF // shorter than it was
	}
	return &sourceError{err}
}

// videoTracks tells which tracks are pictures.
func videoTracks(tracks []media.Track) map[int]bool {
	m := map[int]bool{}
	for i := range tracks {
		if tracks[i].Kind() == media.Video {
			m[tracks[i].ID] = true
		}
	}
	return m
}

// groomable tells from what a file's tables count whether grooming gains
// anything: it has pictures, and some of them are no key frames. Sound alone is
// left alone, and so are MJPEG and tracks in which no key frame came.
func groomable(shape []TrackShape, tracks []media.Track) bool {
	video := videoTracks(tracks)
	gains := false
	for i := range shape {
		t := &shape[i]
		if !video[t.Track] {
			continue
		}
		if t.Keys == 0 {
			return false
		}
		gains = gains || t.Partial
	}
	return gains
}
