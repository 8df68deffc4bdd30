package jobs

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/export"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/mux"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

// signer signs with a key made of nothing.
type signer struct{}

func (signer) key() ed25519.PrivateKey     { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }
func (s signer) Sign(m []byte) []byte      { return ed25519.Sign(s.key(), m) }
func (s signer) public() ed25519.PublicKey { return s.key().Public().(ed25519.PublicKey) }
func (s signer) KeyID() [8]byte {
	h := sha256.Sum256(s.public())
	return [8]byte(h[:8])
}

var born = time.Now().Add(-time.Hour).Truncate(time.Second)

func at(d time.Duration) media.Wall { return media.WallOf(born.Add(d)) }

// recorded is an archive with 12 s of pictures of stream gate in files of about 3 s.
type recorded struct {
	a  *archive.Archive
	tl *timeline.Timeline
}

func newRecorded(t testing.TB) *recorded {
	t.Helper()
	dir := storagetest.New(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	a, err := archive.Open(ctx, archive.Options{DataDir: t.TempDir(), Epoch: 1, Program: "test", Signer: signer{},
		Spaces: []archive.Space{{Name: "s0", Storage: dir, Create: true}},
		Pools:  []archive.Pool{{Name: "default", Overwrite: true, Spaces: []string{"s0"}, Sign: true}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.Close()
	})
	r := &recorded{a, timeline.New(a, func(string) timeline.Ring { return nil })}
	r.record(t)
	until(t, "sealed", func() bool {
		open, _ := filepath.Glob(filepath.Join(dir.Root, "open", "*.mp4"))
		return len(open) == 0
	})
	return r
}

func (r *recorded) record(t testing.TB) {
	t.Helper()
	c, err := clip.Load(clip.H264)
	if err != nil {
		t.Fatal(err)
	}
	tr := c.Track
	tr.ID = 1
	rec, err := r.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	zero := mux.Zero(media.WallOf(born))
	seg, disc := rec.NextSegment()
	w := mux.NewWriter(mux.Config{Chain: true, Epoch: 1}, mux.Start{Run: media.RunID{1, 1}, Zero: zero, Tracks: []media.Track{tr}, Segment: seg, Discontinuity: disc})
	if err := rec.Begin(media.RunID{1, 1}, zero, []media.Track{tr}, archive.GapNone); err != nil {
		t.Fatal(err)
	}
	put := func(ps []*media.Part) {
		for _, p := range ps {
			if err := rec.Append(p); err != nil {
				t.Fatal(err)
			}
			p.Release()
		}
	}
	for n := int64(0); media.DurationOf(n*c.Step, tr.Timescale) < 12*time.Second; n++ {
		sm := c.Samples[n%int64(len(c.Samples))]
		pts := (n - n%int64(len(c.Samples)) + sm.PTS) * c.Step
		ps, _, err := w.Write(media.AccessUnit{Track: 1, Seq: uint64(n), PTS: pts, DTS: (n - c.Behind) * c.Step, HasDTS: true, Key: sm.Key, Payload: stamped(sm.Payload, n)},
			media.WallOf(born).Add(media.DurationOf(pts, tr.Timescale)), func() []byte { return nil })
		if err != nil {
			t.Fatal(err)
		}
		put(ps)
	}
	put(w.Flush())
	rec.End(archive.GapNone)
}

// stamped puts a user-data SEI in front of a picture, so that no two are alike.
func stamped(payload []byte, n int64) []byte {
	text := fmt.Sprintf("%012d", n)
	sei := append([]byte{6, 5, byte(16 + len(text))}, bytes.Repeat([]byte{0x5a}, 16)...)
	sei = append(append(sei, text...), 0x80)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(sei))), sei...), payload...)
}

// Layout and the others implement Source.
func (r *recorded) Layout(uid string, id archive.FileID) (*archive.Layout, error) {
	return r.tl.Layout(uid, id)
}
func (r *recorded) Pin(uid string, id archive.FileID) (timeline.File, error) {
	return r.tl.Pin(uid, id)
}
func (r *recorded) Record(uid string, s media.Span) (*mp4.Movie, error) {
	return mp4.New(r.tl).Record(uid, s)
}
func (r *recorded) Recorded(uid string, s media.Span) (all, whole time.Duration, err error) {
	rs, _, err := r.a.Ranges(uid, s)
	for _, x := range rs {
		all += x.Span.Intersect(s).Duration()
	}
	return all, all, err
}
func (r *recorded) Statement(x Job) (export.Statement, archive.Signer, error) {
	return export.Statement{Server: "s", Node: strings.Repeat("01", 16), Program: "test", UID: x.UID, Name: x.UID, Asked: x.Span, Exporter: x.Who, Reason: x.Reason, Made: now()}, signer{}, nil
}

// drawn is footage that nobody recorded: bytes that are told by their place.
type drawn struct {
	size int64
	gone func(off int64) error // may fail a read
	less time.Duration
	cut  [2]time.Duration // of both ends, which storage knows nothing of
	mu   sync.Mutex
	open int // bodies that were not released
}

func (*drawn) Layout(string, archive.FileID) (*archive.Layout, error) { return nil, archive.ErrGone }
func (*drawn) Pin(string, archive.FileID) (timeline.File, error)      { return nil, archive.ErrGone }
func (*drawn) Statement(Job) (s export.Statement, k archive.Signer, err error) {
	return s, signer{}, nil
}
func (d *drawn) Recorded(_ string, s media.Span) (all, whole time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.Duration() - d.less, s.Duration() - d.less, nil
}
func (d *drawn) Record(uid string, s media.Span) (*mp4.Movie, error) {
	if uid == "none" {
		return nil, timeline.ErrNoFootage
	}
	d.mu.Lock()
	d.open++
	d.mu.Unlock()
	b := new(timeline.Body)
	b.Hold(holder{d})
	b.Add(pattern(0, 100))
	b.AddLater(1000, func() ([]byte, error) { return pattern(100, 1000), nil })
	b.AddFile(drawnFile{d}, 1100, d.size-1100)
	d.mu.Lock()
	s.From, s.To = s.From.Add(d.cut[0]), s.To.Add(-d.cut[1])
	d.mu.Unlock()
	return &mp4.Movie{Body: b, Span: s, Start: s.From}, nil
}

type holder struct{ d *drawn }

func (h holder) Release() {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.d.open--
}

type drawnFile struct{ d *drawn }

func (f drawnFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.gone != nil {
		if err := f.d.gone(off); err != nil {
			return 0, err
		}
	}
	return copy(p, pattern(off, int64(len(p)))), nil
}
func (drawnFile) File() (*os.File, int64, bool) { return nil, 0, false }
func (drawnFile) Release()                      {}

func pattern(off, n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((off + int64(i)) * 7 >> 3)
	}
	return b
}

// server is Jobs that run.
type server struct {
	*Jobs
	t      testing.TB
	cancel context.CancelFunc
	stop   func()
	mu     sync.Mutex
	tells  []Notice
}

const plenty = 1 << 40

// serve runs the jobs of a folder until stop or the end of the test.
func serve(t testing.TB, dir string, src Source, with func(*Options)) *server {
	t.Helper()
	s := &server{t: t}
	o := Options{Dir: dir, Config: DefaultConfig(), Source: src,
		Disk: func(string) (int64, int64, error) { return plenty, plenty, nil },
		Notify: func(n Notice) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.tells = append(s.tells, n)
		}}
	if with != nil {
		with(&o)
	}
	s.Jobs = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.cancel = cancel
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// opened waits until the folder has been read.
func (s *server) opened() *server {
	s.t.Helper()
	until(s.t, "opened", func() bool {
		s.Jobs.mu.Lock()
		defer s.Jobs.mu.Unlock()
		return s.Jobs.open
	})
	return s
}

func (s *server) ask(a Ask) Job {
	s.t.Helper()
	if a.UID == "" {
		a.UID = "gate"
	}
	if a.Span.Empty() {
		a.Span = media.Span{From: at(time.Second), To: at(9 * time.Second)}
		if t := now(); t < a.Span.To { // the clock of a bubble
			a.Span = media.Span{From: t.Add(-time.Hour), To: t.Add(-time.Minute)}
		}
	}
	a.Who = "anna"
	x, err := s.opened().Create(a)
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

// over waits until a job is over.
func (s *server) over(id string) (x Job) {
	s.t.Helper()
	until(s.t, "over", func() bool {
		var err error
		if x, err = s.Get(id); err != nil {
			s.t.Fatal(err)
		}
		return x.State.Over()
	})
	return x
}

func (s *server) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, n := range s.tells {
		out = append(out, n.Data["state"].(string))
	}
	return strings.Join(out, " ")
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

// files lists what lies in the folder, records apart.
func files(t testing.TB, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Name() != recordsDir {
			out = append(out, e.Name())
		}
	}
	return out
}

func bodyOf(t testing.TB, src Source, a Ask) []byte {
	t.Helper()
	m, err := src.Record(a.UID, a.Span)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Body.Release()
	b := make([]byte, m.Body.Size())
	if _, err := m.Body.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}
