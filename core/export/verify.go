package export

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"media-server/core/media"
)

// Suffix is what the name of an export's proof has behind that of the export.
const Suffix = ".proof"

// Report is the outcome of a verification.
type Report struct {
	File      string     `json:"file"`
	Proof     string     `json:"proof"`
	Statement *Statement `json:"statement,omitempty"`
	AskedFrom int64      `json:"asked_from_ms,omitempty"`
	AskedTo   int64      `json:"asked_to_ms,omitempty"`
	From      int64      `json:"covers_from_ms,omitempty"`
	To        int64      `json:"covers_to_ms,omitempty"`
	Made      int64      `json:"made_ms,omitempty"`
	Gaps      []Missing  `json:"gaps"`
	Sound     bool       `json:"proof_is_sound"`      // its own signature is good: what it states is what the server said
	Identical bool       `json:"identical_to_export"` // byte for byte
	SHA256    string     `json:"sha256"`
	Sources   []Source   `json:"sources"`
	Tracks    []Track    `json:"tracks"`
	Notes     []string   `json:"notes"`
	Findings  []Finding  `json:"findings"`
}

// Missing is a stretch of which the server stated that nothing was recorded.
type Missing struct {
	From int64  `json:"from_ms"`
	To   int64  `json:"to_ms"`
	Why  string `json:"why"`
}

// Source is a file of the recording that the export is made of.
type Source struct {
	File      string `json:"file"`
	State     string `json:"state"`                      // signed, unsealed, unsigned
	Stored    bool   `json:"stored_otherwise,omitempty"` // the chain is over other bytes than the export holds
	Groomed   string `json:"groomed_from,omitempty"`     // it keeps the key frames of this file, and was signed anew
	Proven    bool   `json:"proven"`                     // its chain leads to its signature
	Key       string `json:"key,omitempty"`
	Signed    int64  `json:"signed_ms,omitempty"`
	Fragments int    `json:"fragments"` // of the whole file, where it is signed
	Frames    int    `json:"frames"`    // exported
}

// Verifier verifies exports with public keys. It needs neither settings nor a
// server.
type Verifier struct {
	Keys []ed25519.PublicKey
}

// Verify compares file with the proof of an export: the export itself, or a clip
// cut out of it. The error says that one of them cannot be read at all.
func (v *Verifier) Verify(ctx context.Context, file, proof string) (*Report, error) {
	f, size, err := open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, _, err := open(proof)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	r := &Report{File: file, Proof: proof, Gaps: []Missing{}, Sources: []Source{}, Tracks: []Track{}, Notes: []string{}, Findings: []Finding{}}
	pub := map[[8]byte]ed25519.PublicKey{}
	for _, k := range v.Keys {
		h := sha256.Sum256(k)
		pub[[8]byte(h[:8])] = k
	}
	e, err := readProof(p, pub)
	r.state(e.st)
	if err != nil {
		r.find(Finding{What: fmt.Sprintf("%s: %v", filepath.Base(proof), err)})
		return r, nil
	}
	r.Sound = e.sound
	if !e.sound {
		r.find(Finding{What: e.why})
	}
	r.sources(e)
	if err := r.compare(ctx, e, f, size); err != nil {
		return r, err
	}
	in := &stoppingAt{ctx, f}
	m, err := readMovie(in, size)
	switch {
	case errors.Is(err, errMovie):
		r.find(Finding{What: err.Error()})
		return r, nil
	case err != nil:
		return r, fmt.Errorf("%s: %w", file, err)
	}
	if err = r.movie(e, m, in, size); errors.Is(err, errMovie) {
		r.find(Finding{What: err.Error()})
		err = nil
	}
	return r, err
}

func open(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

func (r *Report) find(f Finding) {
	if f.Span.From != 0 {
		f.From, f.To = f.Span.From.Milli(), f.Span.To.Milli()
	}
	r.Findings = append(r.Findings, f)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *Report) state(st *Statement) {
	if st == nil {
		return
	}
	r.Statement = st
	for _, g := range st.Gaps {
		r.Gaps = append(r.Gaps, Missing{g.Span.From.Milli(), g.Span.To.Milli(), string(g.Why)})
	}
	r.AskedFrom, r.AskedTo, r.From, r.To, r.Made = st.Asked.From.Milli(), st.Asked.To.Milli(), st.Covers.From.Milli(), st.Covers.To.Milli(), st.Made.Milli()
}

// sources judges the recording's own files, and what lies between them.
func (r *Report) sources(e *evidence) {
	for i, s := range e.files {
		x := Source{File: s.header.ID.String(), State: s.state, Stored: s.over == overStored, Proven: s.proven, Fragments: s.fragments, Frames: s.units}
		if g := s.header.Groomed; g != nil {
			x.Groomed = g.File.String()
		}
		if s.sig != nil {
			x.Key, x.Signed = fmt.Sprintf("%x", s.sig.Key), s.sig.At.Milli()
		}
		r.Sources = append(r.Sources, x)
		switch {
		case s.why != "":
			r.find(Finding{Span: s.span, What: fmt.Sprintf("file %s of the recording: %s", s.header.ID, s.why)})
		case i == 0 || s.sig == nil:
		case !e.files[i-1].is(s.sig.Previous):
			r.note("between %s and %s the recording had other files (the last is %s), which are not in the export: they were deleted, or hold another time",
				clock(e.files[i-1].span.To), clock(s.span.From), s.sig.Previous)
		case e.files[i-1].sig != nil && s.sig.Previous == e.files[i-1].header.ID && s.sig.PreviousLink != e.files[i-1].sig.Link:
			r.find(Finding{Span: s.span, What: fmt.Sprintf("file %s of the recording followed another one than that in the export", s.header.ID)})
		}
	}
}

// compare tells whether the file is the export byte for byte, and if so whether
// the fragments' own headers in it are those of the chain.
func (r *Report) compare(ctx context.Context, e *evidence, f io.ReaderAt, size int64) error {
	h := sha256.New()
	if _, err := io.Copy(h, bufio.NewReaderSize(&stopping{ctx, io.NewSectionReader(f, 0, size)}, 1<<20)); err != nil {
		return err
	}
	sum := h.Sum(nil)
	r.SHA256 = fmt.Sprintf("%x", sum)
	r.Identical = size == e.st.Size && bytes.Equal(sum, e.end.export[:])
	if !r.Identical {
		return nil
	}
	var b []byte
	for _, x := range e.heads {
		if x.n > size || x.at > size-x.n {
			r.find(Finding{What: "the proof names fragments outside of the export"})
			return nil
		}
		if int64(cap(b)) < x.n {
			b = make([]byte, x.n)
		}
		b = b[:x.n]
		if n, err := f.ReadAt(b, x.at); n < len(b) {
			return err
		}
		if sha256.Sum256(b) != x.hash {
			r.find(Finding{What: fmt.Sprintf("the header of the fragment at byte %d is not that of the chain", x.at)})
		}
	}
	return nil
}

// stopping ends a long read when nobody waits for it any more.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

func (s *stopping) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// stoppingAt does so for reads here and there.
type stoppingAt struct {
	ctx context.Context
	r   io.ReaderAt
}

func (s *stoppingAt) ReadAt(p []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.ReadAt(p, off)
}

// apart is how far sound may run beside the picture before it is said.
const apart = 200 * time.Millisecond

// movie judges the file track by track, pictures first: they are told from each
// other best.
func (r *Report) movie(e *evidence, m *movie, f io.ReaderAt, size int64) error {
	used := map[*lane]bool{}
	slices.SortStableFunc(m.tracks, func(a, b movieTrack) int { return cmp.Compare(a.kind, b.kind) })
	var zero media.Wall
	for i := range m.tracks {
		c := &trackCheck{e: e, r: f, t: &m.tracks[i], find: r.find, zero: zero}
		if err := c.run(size); err != nil {
			return err
		}
		r.Tracks = append(r.Tracks, c.out)
		if c.lane == nil {
			continue
		}
		used[c.lane] = true
		c.parameters()
		switch off := c.start().Sub(zero); {
		case zero == 0:
			zero = c.start()
		case off.Abs() > apart:
			r.note("the %s is shown %v beside the picture it was recorded with", c.lane.kind, off.Round(time.Millisecond))
		}
	}
	for _, l := range e.lanes {
		if !used[l] && len(l.units) > 0 {
			r.note("the %s of the export is not in this file", l.kind)
		}
	}
	if r.recorded() == 0 && len(r.Findings) == 0 {
		r.find(Finding{What: "no frame of it can be compared with the recording"})
	}
	return nil
}

func (r *Report) recorded() (n int) {
	for i := range r.Tracks {
		n += r.Tracks[i].Recorded
	}
	return n
}

// parameters compares what the decoder of the track is told with the parameter
// sets that were recorded: they lie outside of the frames.
func (c *trackCheck) parameters() {
	if c.lane.kind != media.Video {
		return
	}
	none, seen := true, map[[2]int]bool{}
	for _, p := range c.pos {
		if p < 0 {
			continue
		}
		u := &c.lane.units[p]
		k := [2]int{int(u.file), int(u.track)}
		if seen[k] {
			continue
		}
		seen[k] = true
		t := c.e.files[u.file].tracks[int(u.track)]
		if bytes.Contains(c.t.entries, t.SPS) && bytes.Contains(c.t.entries, t.PPS) {
			none = false
		}
	}
	if none && len(seen) > 0 {
		c.find(Finding{Span: c.out.Span, What: "the parameters of the decoder are not those that were recorded: the frames are, but may be shown otherwise"})
	}
}

// Proves tells whether a proof is whole and is that of the export of this size
// and hash. It judges no signature: who has just been given one by the server
// wants to know that all of it has come.
func Proves(proof string, size int64, sum [32]byte) error {
	p, _, err := open(proof)
	if err != nil {
		return err
	}
	defer p.Close()
	e, err := readProof(p, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", proof, err)
	}
	if e.st.Size != size || e.end.export != sum {
		return fmt.Errorf("%s is the proof of another export", proof)
	}
	return nil
}
