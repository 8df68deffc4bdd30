package export

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/mux"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

// testSigner is an Ed25519 key made of a number.
type testSigner struct{ priv ed25519.PrivateKey }

func signerOf(n byte) testSigner {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return testSigner{ed25519.NewKeyFromSeed(seed)}
}

func (s testSigner) public() ed25519.PublicKey { return s.priv.Public().(ed25519.PublicKey) }
func (s testSigner) Sign(m []byte) []byte      { return ed25519.Sign(s.priv, m) }
func (s testSigner) KeyID() [8]byte {
	h := sha256.Sum256(s.public())
	return [8]byte(h[:8])
}

// rig is an archive with footage of real pictures and sound.
type rig struct {
	t    testing.TB
	dir  string
	a    *archive.Archive
	tl   *timeline.Timeline
	stop func()

	signer testSigner // of proofs
}

var born = time.Now().Add(-time.Hour).Truncate(time.Second)

func newRig(t testing.TB, sign bool) *rig {
	t.Helper()
	return newRigWith(t, sign, nil)
}

// newRigWith changes the archive's options, if with is given.
func newRigWith(t testing.TB, sign bool, with func(*archive.Options)) *rig {
	t.Helper()
	dir := storagetest.New(t.TempDir())
	o := archive.Options{DataDir: t.TempDir(), Epoch: 1, Program: "test",
		Spaces: []archive.Space{{Name: "s0", Storage: dir, Create: true}},
		Pools:  []archive.Pool{{Name: "default", Overwrite: true, Spaces: []string{"s0"}, Sign: sign}}}
	o.Signer = signerOf(1)
	if with != nil {
		with(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := archive.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r := &rig{t: t, signer: signerOf(1), dir: dir.Root, a: a, tl: timeline.New(a, func(string) timeline.Ring { return nil })}
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.Close()
	}
	t.Cleanup(r.stop)
	return r
}

// stamped puts a user-data SEI in front of a picture, so that no two are alike.
func stamped(payload []byte, run byte, n int64) []byte {
	text := fmt.Sprintf("%02d%012d", run, n)
	sei := append([]byte{6, 5, byte(16 + len(text))}, bytes.Repeat([]byte{0x5a}, 16)...)
	sei = append(append(sei, text...), 0x80)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(sei))), sei...), payload...)
}

// record records a run of clips from a moment of the test's hour on, in files of
// about 3 s; leave leaves the newest file growing.
func (r *rig) record(run byte, from, length time.Duration, leave bool, names ...string) {
	r.t.Helper()
	start := born.Add(from)
	var tracks []media.Track
	var clips []*clip.Clip
	for i, n := range names {
		c, err := clip.Load(n)
		if err != nil {
			r.t.Fatal(err)
		}
		tr := c.Track
		tr.ID = i + 1
		tracks, clips = append(tracks, tr), append(clips, c)
	}
	rec, err := r.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	zero := mux.Zero(media.WallOf(start))
	seg, disc := rec.NextSegment()
	id := media.RunID{run, 1}
	w := mux.NewWriter(mux.Config{Chain: true, Epoch: 1}, mux.Start{Run: id, Zero: zero, Tracks: tracks, Segment: seg, Discontinuity: disc})
	if err := rec.Begin(id, zero, tracks, archive.GapNone); err != nil {
		r.t.Fatal(err)
	}
	put := func(ps []*media.Part) {
		for _, p := range ps {
			if err := rec.Append(p); err != nil {
				r.t.Fatal(err)
			}
			p.Release()
		}
	}
	next := make([]int64, len(clips))
	for {
		k, least := -1, length
		for i, c := range clips {
			if at := media.DurationOf(next[i]*c.Step, c.Track.Timescale); at < least {
				k, least = i, at
			}
		}
		if k < 0 {
			break
		}
		c, n := clips[k], next[k]
		sm := c.Samples[n%int64(len(c.Samples))]
		pts := (n - n%int64(len(c.Samples)) + sm.PTS) * c.Step
		payload := sm.Payload
		if c.Track.Codec == media.H264 {
			payload = stamped(payload, run, n)
		}
		ps, ev, err := w.Write(media.AccessUnit{Track: k + 1, Seq: uint64(n), PTS: pts, DTS: (n - c.Behind) * c.Step, HasDTS: true, Key: sm.Key, Payload: payload},
			media.WallOf(start).Add(media.DurationOf(pts, c.Track.Timescale)), func() []byte { return nil })
		if err != nil || ev.Dropped != mux.Stored {
			r.t.Fatalf("unit %d of track %d: %v %v", n, k+1, err, ev.Dropped)
		}
		put(ps)
		next[k]++
	}
	put(w.Flush())
	if leave {
		r.t.Cleanup(rec.Close) // before the archive ends
		return
	}
	rec.End(archive.GapNone)
	rec.Close()
	r.until("sealed", func() bool { return len(r.files("open")) == 0 })
}

func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("never %s", what)
		}
	}
}

// files lists the media files below a folder of the space.
func (r *rig) files(below string) (out []string) {
	_ = filepath.WalkDir(filepath.Join(r.dir, below), func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".mp4") {
			out = append(out, p)
		}
		return nil
	})
	return out
}

func at(d time.Duration) media.Wall { return media.WallOf(born.Add(d)) }

// exported is an export with its proof in a folder of their own.
type exportedFile struct {
	dir, file, proof string
	movie            *mp4.Movie
}

func statement(span media.Span) Statement {
	return Statement{Server: "accept", Node: strings.Repeat("01", 16), Program: "media-server test", UID: "gate", Name: "North gate",
		Asked: span, Exporter: "anna", Reason: "theft of a \"bicycle\",\nsecond line", Made: media.WallOf(time.Now())}
}

func (r *rig) export(from, to time.Duration) *exportedFile {
	r.t.Helper()
	span := media.Span{From: at(from), To: at(to)}
	m, err := mp4.New(r.tl).Record("gate", span)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(m.Body.Release)
	x := &exportedFile{dir: r.t.TempDir(), movie: m}
	x.file = filepath.Join(x.dir, "export.mp4")
	x.proof = x.file + Suffix
	b := make([]byte, m.Body.Size())
	if _, err := m.Body.ReadAt(b, 0); err != nil && err != io.EOF {
		r.t.Fatal(err)
	}
	p, err := Make(context.Background(), statement(span), m, r.tl, r.signer)
	if err != nil {
		r.t.Fatal(err)
	}
	defer p.Close()
	text, err := io.ReadAll(p)
	if err != nil {
		r.t.Fatal(err)
	}
	write(r.t, x.file, b)
	write(r.t, x.proof, text)
	return x
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, file, proof string, keys ...ed25519.PublicKey) *Report {
	t.Helper()
	if keys == nil {
		keys = []ed25519.PublicKey{signerOf(1).public()}
	}
	v := Verifier{Keys: keys}
	r, err := v.Verify(context.Background(), file, proof)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
