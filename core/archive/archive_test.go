package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

func TestMain(m *testing.M) {
	if arg := os.Getenv(groomChildEnv); arg != "" {
		groomChild(arg)
		return
	}
	if arg := os.Getenv(moveChildEnv); arg != "" {
		moveChild(arg)
		return
	}
	if arg := os.Getenv(rebuildChildEnv); arg != "" {
		rebuildChild(arg)
		return
	}
	goleak.VerifyTestMain(m)
}

var all = media.Span{From: 0, To: 1 << 62}

func newDir(t testing.TB) *storagetest.Dir {
	d := storagetest.New(t.TempDir())
	d.SyncEvery = 3 * time.Millisecond
	return d
}

func TestRecordAndReadBack(t *testing.T) {
	for _, descriptors := range []bool{true, false} {
		t.Run(fmt.Sprintf("descriptors %v", descriptors), func(t *testing.T) {
			dir, cam := newDir(t), newCamera("gate", 1)
			dir.Descriptors = descriptors
			data := t.TempDir()
			h := open(t, options(data, 1, dir))
			rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			var durable media.RunPosition
			pos := make(chan media.RunPosition, 1000)
			rec.OnDurable(func(p media.RunPosition) { pos <- p })
			f := start(t, cam, rec, archive.GapNone)
			if err := f.feed(25 * 23); err != nil {
				t.Fatal(err)
			}
			f.flush()
			audit(t, h.a, cam, 0, 25*23) // part of it still in memory
			eventually(t, "all durable", func() bool {
				select {
				case durable = <-pos:
				default:
				}
				return durable.Next(1) == 25*23 && durable.Next(2) == 25*23
			})
			audit(t, h.a, cam, 0, 25*23)
			rec.End(archive.GapDisabled)
			eventually(t, "files sealed", func() bool { return h.saw("record.file") == 6 })
			eventually(t, "rows", func() bool { return len(rowsIn(t, h.a)) == 1 })
			audit(t, h.a, cam, 0, 25*23)
			rec.Close()
			h.close()

			h = open(t, options(data, 2, dir))
			defer h.close()
			audit(t, h.a, cam, 0, 25*23)
			ranges, gaps, err := h.a.Ranges("gate", all)
			if err != nil || len(ranges) != 1 || len(gaps) != 0 {
				t.Fatalf("ranges %v gaps %v err %v", ranges, gaps, err)
			}
			if d := ranges[0].Span.Duration(); d != 23*time.Second {
				t.Fatalf("recorded %s", d)
			}
			rec, err = h.a.Recorder("gate", archive.Rules{})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := rec.Resume(); ok {
				t.Fatal("an ended run can be resumed")
			}
			if n, _ := rec.NextSegment(); n == 0 {
				t.Fatal("segment numbers begin anew")
			}
		})
	}
}

// rowsIn lists the streams with footage in the catalogue.
func rowsIn(t testing.TB, a *archive.Archive) []string {
	t.Helper()
	s, err := a.Streams()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestResumeAfterKilledCore(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	at := uint64(0)
	for epoch := uint64(1); epoch <= 6; epoch++ {
		h := open(t, options(data, epoch, dir))
		rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 4 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, cam, rec, archive.GapServerDown)
		if f.next[1] > at || at > 0 && f.next[1] == 0 {
			t.Fatalf("epoch %d: resumes at %d of %d", epoch, f.next[1], at)
		}
		at += 25*3 + 7*epoch
		if err := f.feed(at); err != nil {
			t.Fatal(err)
		}
		if epoch == 6 {
			f.flush()
			audit(t, h.a, cam, 0, at)
		} else if epoch%2 == 0 {
			dir.Kill() // what is not sent yet never lands
		}
		rec.Close()
		h.close()
		dir.Revive()
	}
	h := open(t, options(data, 7, dir))
	defer h.close()
	audit(t, h.a, cam, 0, at)
}

func TestStorageKilledAndStalled(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	h := open(t, options(t.TempDir(), 1, dir))
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	defer rec.Close()
	f := start(t, cam, rec, archive.GapNone)
	at := uint64(0)
	step := func() {
		at += 60
		if err := f.feed(at); err != nil {
			t.Fatal(err)
		}
	}
	step()
	dir.Kill()
	step()
	dir.Revive()
	step()
	resume := dir.Stall()
	step()
	resume()
	dir.FailSyncs(2)
	step()
	f.flush()
	audit(t, h.a, cam, 0, at)
	rec.End(archive.GapCameraLost)
	eventually(t, "everything stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
	audit(t, h.a, cam, 0, at)
}

func TestBehind(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	o := options(t.TempDir(), 1, dir)
	o.WriteBufferMax = 100_000
	h := open(t, o)
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{})
	defer rec.Close()
	resume := dir.Stall()
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 60); err == nil {
		t.Fatal("everything was taken")
	}
	resume()
	for {
		f = start(t, cam, rec, archive.GapNone)
		if f.next[1] == 0 {
			t.Fatal("cannot resume")
		}
		if f.feed(25*60) == nil && f.flush() == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	audit(t, h.a, cam, 0, 25*60)
}

func TestFailOver(t *testing.T) { failOver(t, options) }

func failOver(t *testing.T, options optioned) {
	one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	h := open(t, options(data, 1, one, two))
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(110); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some of it durable", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
	one.FailAppends(func(archive.AppendData) archive.FailReason { return archive.FailReadOnly })
	if err := f.feed(400); err != nil {
		t.Fatal(err)
	}
	f.flush()
	eventually(t, "moved", func() bool { return h.saw("storage.moved") > 0 && h.a.Metrics().Spaces[0].QueueBytes == 0 })
	audit(t, h.a, cam, 0, 400)
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "everything stored", func() bool { return h.a.Metrics().Spaces[1].QueueBytes == 0 })
	h.close()
	one.FailAppends(nil)
	h = open(t, options(data, 2, one, two))
	defer h.close()
	eventually(t, "old file sealed", func() bool { return h.saw("record.file") > 0 })
	audit(t, h.a, cam, 0, 400)
}

func TestFullSpace(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	dir.Limit(1_500_000)
	h := open(t, options(t.TempDir(), 1, dir))
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	defer rec.Close()
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 120); err != nil {
		t.Fatal(err)
	}
	f.flush()
	eventually(t, "everything stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
	if len(dir.Deleted) == 0 || h.saw("storage.full") == 0 {
		t.Fatalf("deleted %d, told %d times", len(dir.Deleted), h.saw("storage.full"))
	}
	segs, err := h.a.Segments("gate", all)
	if err != nil || len(segs) == 0 {
		t.Fatal(segs, err)
	}
	last := segs[len(segs)-1]
	if d := last.Span.To.Sub(cam.born); d != 120*time.Second {
		t.Fatalf("footage ends after %s", d)
	}
	filepath.WalkDir(dir.Root, func(p string, e os.DirEntry, err error) error {
		if info, _ := e.Info(); !e.IsDir() && info.Size() == 0 {
			t.Errorf("%s is empty", p)
		}
		return nil
	})
}

// TestRetentionByAge: by the clock of a bubble no more files become due while the
// test waits for those that are.
func TestRetentionByAge(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		cam.born = cam.born.Add(-time.Hour)
		h := open(t, options(data, 1, dir))
		defer h.close()
		rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second, Duration: 30 * 24 * time.Hour})
		f := start(t, cam, rec, archive.GapNone)
		f.feed(25 * 20)
		f.flush()
		rec.End(archive.GapNone)
		rec.Close()
		eventually(t, "sealed", func() bool { return h.saw("record.file") >= 6 })
		segs, _ := h.a.Segments("gate", all)
		pin, err := h.a.Pin(segs[0].File)
		if err != nil {
			t.Fatal(err)
		}
		// Let everything before the middle of it go.
		age := time.Since(cam.born.Time()) - 10*time.Second
		rec, _ = h.a.Recorder("gate", archive.Rules{Duration: age})
		rec.Close()
		go func() { time.Sleep(50 * time.Millisecond); pin.Release() }()
		eventually(t, "old files gone", func() bool {
			if _, err := h.a.Retain(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			b, ok := h.a.Bounds("gate")
			return ok && b.From > cam.born.Add(5*time.Second) && b.From < cam.born.Add(11*time.Second)
		})
		if _, err := h.a.Pin(segs[0].File); err == nil {
			t.Fatal("a deleted file can be pinned")
		}
	})
}

func TestRebuildGivesTheSame(t *testing.T) {
	dir := newDir(t)
	data := t.TempDir()
	h := open(t, options(data, 1, dir))
	for i, name := range []string{"gate", "yard"} {
		cam := newCamera(name, byte(i+1))
		rec, _ := h.a.Recorder(name, archive.Rules{Chunk: 3 * time.Second, Duration: 48 * time.Hour})
		for run := range 3 {
			cam.run = media.RunID{byte(i + 1), byte(run)}
			f := start(t, cam, rec, archive.GapNone)
			if err := f.feed(25 * 8); err != nil {
				t.Fatal(err)
			}
			f.flush()
			rec.End([]archive.GapCause{archive.GapCameraLost, archive.GapDisabled, archive.GapNone}[run])
			cam.born = cam.born.Add(20 * time.Second)
		}
		rec.Close()
	}
	eventually(t, "sealed", func() bool { return h.saw("record.file") >= 24 })
	before := picture(t, h.a)
	if !bytes.Contains([]byte(before), []byte("camera_lost")) || !bytes.Contains([]byte(before), []byte("disabled")) {
		t.Fatalf("no causes in %s", before)
	}
	h.close()
	for _, name := range []string{"catalogue.db", "catalogue.db-wal", "catalogue.db-shm", "state.db", "state.db-wal", "state.db-shm"} {
		os.Remove(filepath.Join(data, name))
	}
	h = open(t, options(data, 2, dir))
	// Recording goes on meanwhile.
	cam := newCamera("new", 9)
	rec, _ := h.a.Recorder("new", archive.Rules{Chunk: 3 * time.Second})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 8); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 && h.saw("record.file") == 4 })
	audit(t, h.a, cam, 0, 25*8)
	eventually(t, "the same picture", func() bool { return before == picture(t, h.a) })
	// A damaged catalogue is rebuilt as well.
	h.close()
	if err := os.WriteFile(filepath.Join(data, "catalogue.db"), bytes.Repeat([]byte("rubbish "), 4000), 0o600); err != nil {
		t.Fatal(err)
	}
	h = open(t, options(data, 3, dir))
	defer h.close()
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 })
	if got := picture(t, h.a); got != before {
		t.Fatalf("after:\n%s\nbefore:\n%s", got, before)
	}
	audit(t, h.a, cam, 0, 25*8)
}

func TestDeleteFootage(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	h := open(t, options(data, 1, dir))
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	f := start(t, cam, rec, archive.GapNone)
	f.feed(25 * 20)
	f.flush()
	if err := h.a.DeleteFootage(context.Background(), "gate"); err == nil {
		t.Fatal("footage that is being recorded was deleted")
	}
	rec.Close()
	eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
	if err := h.a.DeleteFootage(context.Background(), "gate"); err != nil {
		t.Fatal(err)
	}
	if s, ok := h.a.Bounds("gate"); ok {
		t.Fatalf("%v is left", s)
	}
	h.close()
	h = open(t, options(data, 2, dir))
	rec, err := h.a.Recorder("gate", archive.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := rec.NextSegment(); n < 9 {
		t.Fatalf("segment numbers begin again at %d", n)
	}
	rec.Close()
}

// picture is everything the archive says of gate and yard, as text.
func picture(t testing.TB, a *archive.Archive) string {
	t.Helper()
	var b bytes.Buffer
	for _, uid := range []string{"gate", "yard"} {
		segs, err := a.Segments(uid, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segs {
			fmt.Fprintf(&b, "%+v\n", s)
			tracks, err := a.Tracks(s.Init)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, tracks)
		}
		ranges, gaps, err := a.Ranges(uid, all)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, ranges, gaps)
	}
	return b.String()
}
