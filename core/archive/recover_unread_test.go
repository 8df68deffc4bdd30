package archive_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// badPlace is a disk that cannot be read from some byte of a growing file on,
// or is away as a whole.
type badPlace struct {
	*storagetest.Dir
	uid  string
	from int64
	to   int64 // 0 = up to the end
	away atomic.Bool
	fail atomic.Int64 // so many reads fail
	part bool         // and give what lies in front of the bad place
}

func (d *badPlace) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if strings.HasPrefix(name, "open/"+d.uid) && off+int64(len(p)) > d.from && (d.to == 0 || off < d.to) && d.fail.Add(-1) >= 0 {
		n := 0
		if d.part && off < d.from {
			n, _ = d.Dir.ReadAt(ctx, name, off, p[:d.from-off])
		}
		return n, &os.PathError{Op: "read", Path: name, Err: syscall.EIO}
	}
	return d.Dir.ReadAt(ctx, name, off, p)
}

func (d *badPlace) Stat(ctx context.Context, name string) (archive.Entry, error) {
	if d.away.Load() {
		return archive.Entry{}, syscall.ENOTCONN
	}
	return d.Dir.Stat(ctx, name)
}

// growing is the oldest growing file of the stream.
func (d *badPlace) growing(t *testing.T) (name string, content []byte) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(d.Root, "open", d.uid+"*.mp4"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%v %v", found, err)
	}
	content, err = os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return found[0], content
}

// TestRecoverUnread: what cannot be read of a growing file is not cut off. The
// others go on, the stream too, and a start that can read it lists all of it.
func TestRecoverUnread(t *testing.T) {
	for name, from := range map[string]int64{"head": 0, "middle": 60_000, "end": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			dir, data := newDir(t), t.TempDir()
			gate, yard := newCamera("gate", 1), newCamera("yard", 2)
			synctest.Test(t, func(t *testing.T) {
				gate.born, yard.born = 946684800_000000000, 946684800_000000000 // the bubble's clock
				killed(t, options(data, 1, dir), 200, gate, yard)
				dir.Descriptors = false
				bad := &badPlace{Dir: dir, uid: "gate"}
				file, was := bad.growing(t)
				bad.from = min(from, int64(len(was))-10)
				bad.fail.Store(1 << 40)
				h := open(t, away(data, 2, bad))
				if err := h.a.Opened(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := h.saw("archive.unreadable"); n != 1 || h.saw("archive.torn_tail")+h.saw("archive.set_aside") > 0 {
					t.Errorf("%d notices, %+v", n, h.notices)
				}
				if c, err := h.a.Contents(t.Context(), "s0"); err != nil || !slices.ContainsFunc(c.Streams, func(s archive.StreamContents) bool { return s.UID == "gate" && s.Bytes == int64(len(was)) }) {
					t.Errorf("what is left of it is not among what the space holds: %+v %v", c, err)
				}
				f := goOn(t, h, yard, 300)
				f.flush()
				later := newCamera("gate", 3)
				later.born = gate.born.Add(time.Minute)
				rec, err := h.a.Recorder("gate", archive.Rules{})
				if err != nil {
					t.Fatal(err)
				}
				l := start(t, later, rec, archive.GapServerDown)
				if err := errors.Join(l.feed(100), l.flush()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				h.close()
				if _, is := bad.growing(t); !bytes.Equal(is, was) {
					t.Errorf("%s was touched", file)
				}
				h = open(t, options(data, 3, dir))
				defer h.close()
				eventually(t, "all to be listed", func() bool { b, ok := h.a.Bounds("gate"); return ok && b.From == gate.born })
				if h.saw("archive.unreadable")+h.saw("archive.torn_tail")+h.saw("archive.set_aside") > 0 {
					t.Errorf("%+v", h.notices)
				}
				ranges, _, err := h.a.Ranges("gate", all)
				if err != nil {
					t.Fatal(err)
				}
				var sum time.Duration
				for _, r := range ranges {
					sum += r.Span.To.Sub(r.Span.From)
				}
				if want := 12 * time.Second; sum < want-100*time.Millisecond || sum > want+100*time.Millisecond {
					t.Errorf("%v are listed", ranges)
				}
				audit(t, h.a, yard, 0, 300)
			})
		})
	}
}

// TestReadLater: a growing file that could not be read at a start is taken up by the
// same process as soon as it can be, though its stream has gone on meanwhile.
func TestReadLater(t *testing.T) {
	for name, born := range map[string]time.Duration{"the stream went on": time.Minute, "its camera is off": 0} {
		t.Run(name, func(t *testing.T) {
			dir, data, gate := newDir(t), t.TempDir(), newCamera("gate", 1)
			synctest.Test(t, func(t *testing.T) {
				gate.born = 946684800_000000000 // the bubble's clock
				killed(t, options(data, 1, dir), 200, gate)
				dir.Descriptors = false
				bad := &badPlace{Dir: dir, uid: "gate", from: 60_000}
				bad.growing(t)
				bad.fail.Store(1 << 40)
				h := open(t, away(data, 2, bad))
				if err := h.a.Opened(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := 8 * time.Second
				if born > 0 {
					later := newCamera("gate", 3)
					later.born = gate.born.Add(born)
					rec, err := h.a.Recorder("gate", archive.Rules{})
					if err != nil {
						t.Fatal(err)
					}
					l := start(t, later, rec, archive.GapServerDown)
					if err := errors.Join(l.feed(100), l.flush()); err != nil {
						t.Error(err)
					}
					rec.End(archive.GapDisabled)
					rec.Close()
					want += 4 * time.Second
				}
				time.Sleep(2 * time.Minute)
				if n := h.saw("archive.unreadable"); n != 1 || h.saw("archive.recovered") > 0 {
					t.Errorf("told %d times, %+v", n, h.notices)
				}
				bad.fail.Store(0)
				time.Sleep(10 * time.Minute)
				if n := h.saw("archive.recovered"); n != 1 || h.saw("archive.torn_tail")+h.saw("archive.set_aside") > 0 {
					t.Errorf("told %d times, %+v", n, h.notices)
				}
				segs, err := h.a.Segments("gate", all)
				var sum time.Duration
				for i, s := range segs {
					sum += s.Span.Duration()
					if i > 0 && (s.Number <= segs[i-1].Number || s.Span.From < segs[i-1].Span.To) {
						t.Errorf("segment %+v follows %+v", s, segs[i-1])
					}
				}
				if err != nil || len(segs) == 0 || segs[0].Span.From != gate.born || sum < want-100*time.Millisecond || sum > want+100*time.Millisecond {
					t.Errorf("%s are listed, want %s: %+v %v", sum, want, segs, err)
				}
				if n := openFiles(dir); n != 0 || !archive.Listed(h.a, "gate") {
					t.Errorf("%d files are left growing", n)
				}
				// What is recorded now follows on both, in this process and in the next.
				for epoch := uint64(3); epoch < 5; epoch++ {
					next := newCamera("gate", byte(epoch+1))
					next.born = media.WallOf(time.Now())
					rec, err := h.a.Recorder("gate", archive.Rules{})
					if err != nil {
						t.Fatal(err)
					}
					l := start(t, next, rec, archive.GapDisabled)
					if err := errors.Join(l.feed(100), l.flush()); err != nil {
						t.Error(err)
					}
					rec.End(archive.GapDisabled)
					rec.Close()
					time.Sleep(time.Minute)
					h.close()
					h = open(t, options(data, epoch, dir))
				}
				again, err := h.a.Segments("gate", all)
				if err != nil || len(again) <= len(segs) {
					t.Errorf("%d segments, %d before: %v", len(again), len(segs), err)
				}
				for i := range again {
					if i > 0 && again[i].Number <= again[i-1].Number {
						t.Errorf("segment %d follows %d", again[i].Number, again[i-1].Number)
					}
				}
				h.close()
			})
		})
	}
}

// TestRecoverAway: the backend goes while a space is recovered. All of it is
// recovered when it is back.
func TestRecoverAway(t *testing.T) {
	dir, data, gate := newDir(t), t.TempDir(), newCamera("gate", 1)
	synctest.Test(t, func(t *testing.T) {
		gate.born = 946684800_000000000
		killed(t, options(data, 1, dir), 200, gate)
		dir.Descriptors = false
		bad := &badPlace{Dir: dir, uid: "gate"}
		bad.fail.Store(1)
		bad.away.Store(true)
		h := open(t, away(data, 2, bad))
		defer h.close()
		time.Sleep(3 * time.Second)
		bad.away.Store(false)
		time.Sleep(30 * time.Second)
		audit(t, h.a, gate, 0, 200)
		if h.saw("archive.unreadable")+h.saw("archive.torn_tail")+h.saw("archive.set_aside") > 0 || !archive.Listed(h.a, "gate") {
			t.Errorf("%+v", h.notices)
		}
	})
}

func away(data string, epoch uint64, d *badPlace) archive.Options {
	o := options(data, epoch, d.Dir)
	o.Spaces[0].Storage = d
	return o
}
