package export

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

// broken is footage of which a file is gone from some moment on.
type broken struct {
	*timeline.Timeline
	after int // files that can still be read
	pins  int // held just now
}

type stored = timeline.File

type counted struct {
	stored
	b *broken
}

func (c counted) Release() { c.b.pins--; c.stored.Release() }

func (b *broken) Pin(uid string, id archive.FileID) (timeline.File, error) {
	if b.after--; b.after < 0 {
		return nil, archive.ErrGone
	}
	f, err := b.Timeline.Pin(uid, id)
	if err == nil {
		b.pins++
		f = counted{f, b}
	}
	return f, err
}

// TestMaking: the same export gives the same proof however it is read; one that
// cannot be finished, or is stopped, ends in an error and holds nothing.
func TestMaking(t *testing.T) {
	r := newRig(t, true)
	r.record(1, 0, 10*time.Second, false, clip.H264, clip.AAC)
	x := r.export(time.Second, 9*time.Second)
	want, err := os.ReadFile(x.proof)
	if err != nil {
		t.Fatal(err)
	}
	e, err := readProof(bytes.NewReader(want), pub1())
	if err != nil {
		t.Fatal(err)
	}
	span := media.Span{From: at(time.Second), To: at(9 * time.Second)}
	movie := func(t *testing.T) *mp4.Movie {
		m, err := mp4.New(r.tl).Record("gate", span)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Body.Release)
		return m
	}
	st := statement(span)
	st.Made = e.st.Made
	start := func(ctx context.Context, t *testing.T, after int) (*Proof, *broken) {
		b := &broken{Timeline: r.tl, after: after}
		p, err := Make(ctx, st, movie(t), b, signerOf(1))
		if err != nil {
			t.Fatal(err)
		}
		return p, b
	}
	t.Run("byte by byte", func(t *testing.T) {
		p, b := start(t.Context(), t, 99)
		defer p.Close()
		if got, err := io.ReadAll(iotest.OneByteReader(p)); err != nil || !bytes.Equal(got, want) || b.pins != 0 {
			t.Errorf("%d bytes instead of %d, %v, %d files held", len(got), len(want), err, b.pins)
		}
		if n, err := p.Read([]byte{0}); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d %v", n, err)
		}
	})
	t.Run("a file is deleted meanwhile", func(t *testing.T) {
		p, b := start(t.Context(), t, 2)
		defer p.Close()
		got, err := io.ReadAll(p)
		if !errors.Is(err, archive.ErrGone) || b.pins != 0 {
			t.Errorf("%v, %d files held", err, b.pins)
		}
		if _, err := readProof(bytes.NewReader(got), pub1()); !errors.Is(err, errDamaged) {
			t.Errorf("what came is taken for a proof: %v", err)
		}
	})
	t.Run("the reader goes", func(t *testing.T) {
		p, b := start(t.Context(), t, 99)
		if _, err := io.ReadFull(p, bytes.Clone(want[:len(want)/2])); err != nil {
			t.Fatal(err)
		}
		p.Close()
		if b.pins != 0 {
			t.Errorf("%d files held", b.pins)
		}
	})
	t.Run("the server ends", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p, b := start(ctx, t, 99)
		defer p.Close()
		if _, err := io.ReadFull(p, bytes.Clone(want[:100])); err != nil {
			t.Fatal(err)
		}
		stop()
		if _, err := io.ReadAll(p); !errors.Is(err, context.Canceled) || b.pins != 0 {
			t.Errorf("%v, %d files held", err, b.pins)
		}
	})
	t.Run("as it has come", func(t *testing.T) {
		b, err := os.ReadFile(x.file)
		if err != nil {
			t.Fatal(err)
		}
		sum := e.end.export
		if err := Proves(x.proof, int64(len(b)), sum); err != nil {
			t.Error(err)
		}
		sum[0] ^= 1
		if Proves(x.proof, int64(len(b)), sum) == nil || Proves(x.file, int64(len(b)), sum) == nil || Proves(x.proof+"x", 0, sum) == nil {
			t.Error("another export is proven")
		}
	})
}

// TestMemoryOnly: a stream that is not recorded has nothing to prove.
func TestMemoryOnly(t *testing.T) {
	r := newRig(t, true)
	r.record(1, 0, 4*time.Second, false, clip.H264)
	m, err := mp4.New(ringed{r.tl}).Record("gate", media.Span{From: at(0), To: at(3 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Body.Release()
	if _, err := Make(t.Context(), statement(media.Span{}), m, r.tl, signerOf(1)); !errors.Is(err, ErrMemory) {
		t.Errorf("%v", err)
	}
}

// ringed calls files of the archive files of a memory ring.
type ringed struct{ *timeline.Timeline }

func (r ringed) Extents(uid string, s media.Span) ([]archive.Extent, error) {
	out, err := r.Timeline.Extents(uid, s)
	for i := range out {
		out[i].File |= timeline.RingFiles
		out[i].Shape = nil
	}
	return out, err
}

func (r ringed) Layout(uid string, id archive.FileID) (*archive.Layout, error) {
	return r.Timeline.Layout(uid, id&^timeline.RingFiles)
}

// BenchmarkMake makes the proof of a minute; a byte is one of the export. Beside
// it the same bytes are only read.
func BenchmarkMake(b *testing.B) {
	r := newRig(b, true)
	r.record(1, 0, time.Minute, false, clip.H264, clip.AAC)
	span := media.Span{From: at(0), To: at(time.Minute)}
	m, err := mp4.New(r.tl).Record("gate", span)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Body.Release()
	b.Run("proof", func(b *testing.B) {
		b.SetBytes(m.Body.Size())
		b.ReportAllocs()
		for b.Loop() {
			p, err := Make(b.Context(), statement(span), m, r.tl, signerOf(1))
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, p)
			if err != nil {
				b.Fatal(err)
			}
			p.Close()
			b.ReportMetric(float64(n)/float64(m.Body.Size()), "proof/export")
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(m.Body.Size())
		for b.Loop() {
			if _, err := io.Copy(io.Discard, io.NewSectionReader(m.Body, 0, m.Body.Size())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
