package jobs

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/export"
	"media-server/core/media"
	"media-server/test/disk"
)

// TestMade: the file is what record.mp4 gives, its proof proves it, and what is
// told of it is true.
func TestMade(t *testing.T) {
	r, dir := newRecorded(t), t.TempDir()
	s := serve(t, dir, r, nil)
	x := s.ask(Ask{Proof: true, Reason: "case 12"})
	if x.State != Queued || x.File != nameOf("gate", x.Span) || x.Size == 0 || x.Covers.Empty() {
		t.Errorf("%+v", x)
	}
	x = s.over(x.ID)
	if x.State != Done || x.Progress != 1 || x.Bytes != x.Size || x.ExpireAt != x.Ended.Add(7*24*time.Hour) || x.Sealed || len(x.SHA256) != 64 {
		t.Fatalf("%+v %+v", x, x.Why)
	}
	b, err := os.ReadFile(filepath.Join(dir, x.File))
	if err != nil || !bytes.Equal(b, bodyOf(t, r, x.Ask)) {
		t.Errorf("not what record.mp4 gives: %v", err)
	}
	rep, err := (&export.Verifier{Keys: []ed25519.PublicKey{signer{}.public()}}).Verify(t.Context(), filepath.Join(dir, x.File), filepath.Join(dir, x.File+export.Suffix))
	if err != nil || !rep.Identical || !rep.Sound || len(rep.Findings) != 0 || rep.SHA256 != x.SHA256 || rep.Statement.Reason != "case 12" || rep.Statement.Exporter != "anna" {
		t.Errorf("%v %+v", err, rep)
	}
	f, _, err := s.Open(x.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	until(t, "told", func() bool { return s.told() != "started" })
	if got := s.told(); got != "started finished" {
		t.Errorf("told: %s", got)
	}
	if err := s.Remove(x.ID); err != nil || len(files(t, dir)) != 0 || len(s.List()) != 0 {
		t.Errorf("deleted: %v %v %+v", err, files(t, dir), s.List())
	}
}

// TestDiesAnywhere kills the server behind each step of a job: the next one
// makes it, or has made it, and nothing is left over.
func TestDiesAnywhere(t *testing.T) {
	r := newRecorded(t)
	want := []string{"begun", "created", "copied", "synced", "proved", "sealed", "proof published", "published", "named"}
	var walked []string
	for kill := 0; ; kill++ {
		dir := t.TempDir()
		var steps atomic.Int64
		died := make(chan string, 1)
		s := serve(t, dir, r, func(o *Options) {
			o.stop = func(step string) bool {
				if steps.Add(1)-1 != int64(kill) {
					return false
				}
				died <- step
				return true
			}
		})
		x := s.ask(Ask{Proof: true})
		where := ""
		until(t, "killed or done", func() bool {
			select {
			case where = <-died:
			default:
			}
			y, err := s.Get(x.ID)
			return where != "" || err == nil && y.State.Over()
		})
		if where == "" {
			if y, err := s.Get(x.ID); err != nil || y.State != Done {
				t.Fatalf("not killed and not done: %+v %v", y, err)
			}
			break
		}
		s.stop()
		walked = append(walked, where)
		again := serve(t, dir, r, nil).opened()
		y := again.over(x.ID)
		if y.State != Done || y.File != x.File || y.Size != x.Size {
			t.Fatalf("killed behind %s: %+v %+v", where, y, y.Why)
		}
		if sealed := kill >= slices.Index(want, "sealed"); (y.Attempts == 1) != sealed {
			t.Errorf("killed behind %s: begun %d times", where, y.Attempts)
		}
		if got := files(t, dir); !slices.Equal(got, []string{x.File, x.File + export.Suffix}) {
			t.Errorf("killed behind %s: left are %v", where, got)
		}
		rep, err := (&export.Verifier{Keys: []ed25519.PublicKey{signer{}.public()}}).Verify(t.Context(), filepath.Join(dir, x.File), filepath.Join(dir, x.File+export.Suffix))
		if err != nil || !rep.Identical || len(rep.Findings) != 0 || rep.SHA256 != y.SHA256 {
			t.Errorf("killed behind %s: %v %+v", where, err, rep)
		}
		if len(again.List()) != 1 {
			t.Errorf("killed behind %s: %+v", where, again.List())
		}
		again.stop()
		if got := serve(t, dir, r, nil).opened().over(x.ID); got.State != Done || got.SHA256 != y.SHA256 || got.Ended != y.Ended {
			t.Errorf("killed behind %s, after another restart: %+v", where, got)
		}
	}
	if !slices.Equal(walked, want) {
		t.Errorf("killed behind %q, want %q", walked, want)
	}
}

// TestInterrupted: a job that takes the server with it each time is given up.
func TestInterrupted(t *testing.T) {
	dir, src := t.TempDir(), &drawn{size: 3 << 20}
	var id string
	for n := range mostAttempts {
		died := make(chan struct{})
		s := serve(t, dir, src, func(o *Options) {
			o.stop = func(step string) bool {
				if step == "copied" {
					close(died)
				}
				return step == "copied"
			}
		})
		if n == 0 {
			id = s.ask(Ask{}).ID
		}
		<-died
		s.stop()
	}
	if x := serve(t, dir, src, nil).opened().over(id); x.State != Failed || x.Why.Code != "interrupted" || len(files(t, dir)) != 0 {
		t.Errorf("%+v %+v %v", x, x.Why, files(t, dir))
	}
	if src.open != 0 {
		t.Errorf("%d movies hold files", src.open)
	}
}

// TestStopped: a server that is stopped leaves nothing half made, and the next
// goes on, as often as it likes.
func TestStopped(t *testing.T) {
	dir, src := t.TempDir(), &drawn{size: 64 << 20}
	var id string
	for n := range mostAttempts + 2 {
		reached, release := make(chan struct{}), make(chan struct{})
		s := serve(t, dir, src, func(o *Options) {
			once := false
			o.stop = func(step string) bool {
				if step == "step" && !once {
					once = true
					close(reached)
					<-release
				}
				return false
			}
		})
		if n == 0 {
			id = s.ask(Ask{}).ID
		}
		<-reached
		s.cancel()
		close(release)
		s.stop()
		if got := files(t, dir); len(got) != 0 {
			t.Fatalf("left: %v", got)
		}
	}
	if x := serve(t, dir, src, nil).opened().over(id); x.State != Done || x.Attempts != 1 {
		t.Errorf("%+v", x)
	}
}

// TestCancel: what waits and what runs is cancelled at once.
func TestCancel(t *testing.T) {
	dir, src := t.TempDir(), &drawn{size: 1 << 40} // hours of work
	s := serve(t, dir, src, func(o *Options) { o.Disk = func(string) (int64, int64, error) { return 1 << 50, 1 << 50, nil } })
	a, b := s.ask(Ask{Name: "a"}), s.ask(Ask{Name: "a"})
	if a.File != "a.mp4" || b.File != "a-1.mp4" {
		t.Errorf("%s %s", a.File, b.File)
	}
	until(t, "written", func() bool { x, _ := s.Get(a.ID); return x.Bytes > step && x.Progress > 0 })
	for _, id := range []string{b.ID, a.ID} {
		begun := time.Now()
		if err := s.Remove(id); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		if x, err := s.Get(id); err != nil || x.State != Canceled {
			t.Errorf("%+v %v", x, err)
		}
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if _, _, err := s.Open(a.ID, false); failureOf(err).Code != CodeNotDone {
		t.Error(err)
	}
	s.stop()
	again := serve(t, dir, src, nil).opened()
	if x, err := again.Get(a.ID); err != nil || x.State != Canceled {
		t.Errorf("after a restart: %+v %v", x, err)
	}
	if err := again.Remove(a.ID); err != nil {
		t.Error(err)
	}
	if _, err := again.Get(a.ID); !errors.Is(err, ErrNoJob) || !errors.Is(again.Remove(a.ID), ErrNoJob) {
		t.Errorf("deleted: %v", err)
	}
}

// TestKeep: files go after their time, also where the server dies over it; that
// they did is told for a while.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, src := t.TempDir(), &drawn{size: 1 << 20}
		dying := func(at string) func(*Options) {
			return func(o *Options) {
				o.Config.Keep = 24 * time.Hour
				o.stop = func(step string) bool { return step == at }
			}
		}
		s := serve(t, dir, src, dying(""))
		synctest.Wait()
		ids := []string{s.ask(Ask{}).ID, s.ask(Ask{}).ID, s.ask(Ask{UID: "gate"}).ID}
		for _, id := range ids {
			if x := s.over(id); x.State != Done {
				t.Fatalf("%+v", x)
			}
		}
		time.Sleep(23 * time.Hour)
		if len(files(t, dir)) != 3 {
			t.Fatalf("gone early: %v", files(t, dir))
		}
		time.Sleep(59 * time.Minute)
		for _, kill := range []string{"expiring", "deleted", ""} {
			s.stop()
			s = serve(t, dir, src, dying(kill))
			time.Sleep(5 * time.Minute)
		}
		for _, id := range ids {
			if x, err := s.Get(id); err != nil || x.State != Expired || !x.Gone {
				t.Errorf("%+v %v", x, err)
			}
			if _, _, err := s.Open(id, false); err == nil || failureOf(err).Code != CodeExpired {
				t.Error(err)
			}
		}
		if len(files(t, dir)) != 0 {
			t.Errorf("left: %v", files(t, dir))
		}
		time.Sleep(3 * time.Hour)
		if len(s.List()) != 0 {
			t.Errorf("still listed: %+v", s.List())
		}
		s.stop()
	})
}

// TestRoom: no export takes what recordings keep free, or more than max-size.
func TestRoom(t *testing.T) {
	const size = 20 << 20
	var free atomic.Int64
	for _, c := range []struct {
		name    string
		free    int64
		max     config.Size
		during  int64 // free from the first step on
		refused string
		failed  string
	}{
		{"room", plenty, config.Size{}, plenty, "", ""},
		{"just so", 100<<20 + size, config.Size{}, 100<<20 + size, "", ""},
		{"one byte less", 100<<20 + size - 1, config.Size{}, 0, CodeNoRoom, ""},
		{"others fill the disk meanwhile", plenty, config.Size{}, 101 << 20, "", CodeNoRoom},
		{"max-size", plenty, config.Size{Bytes: size - 1}, 0, CodeMaxSize, ""},
		{"max-size, a share", plenty, config.Size{Percent: 1}, plenty, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, src := t.TempDir(), &drawn{size: size}
			free.Store(c.free)
			s := serve(t, dir, src, func(o *Options) {
				o.Config.MaxSize = c.max
				o.Reserve = func(int64) int64 { return 100 << 20 }
				o.Disk = func(string) (int64, int64, error) { return free.Load(), plenty, nil }
				o.stop = func(step string) bool {
					if step == "created" {
						free.Store(c.during)
					}
					return false
				}
			})
			x, err := s.opened().Create(Ask{UID: "gate", Span: media.Span{From: 1, To: 2}})
			if c.refused != "" {
				if f := new(Failure); !errors.As(err, &f) || f.Code != c.refused || f.Hint == "" || len(s.List()) != 0 {
					t.Errorf("%v %+v", err, s.List())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			x = s.over(x.ID)
			s.stop()
			switch {
			case c.failed == "" && x.State != Done:
				t.Errorf("%+v %+v", x, x.Why)
			case c.failed != "" && (x.State != Failed || x.Why.Code != c.failed || x.Why.Hint == "" || len(files(t, dir)) != 0 || s.told() != "started failed"):
				t.Errorf("%+v %+v %v %s", x, x.Why, files(t, dir), s.told())
			}
		})
	}
}

// TestQueue: what waits is counted, with what it will take.
func TestQueue(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, t.TempDir(), &drawn{size: 1 << 20}, func(o *Options) {
		o.Config.MaxSize = config.Size{Bytes: 102 << 20}
		o.stop = func(step string) bool {
			if step == "begun" {
				<-hold
			}
			return false
		}
	})
	first := s.ask(Ask{})
	until(t, "running", func() bool { x, _ := s.Get(first.ID); return x.State == Running })
	for range mostQueued {
		s.ask(Ask{})
	}
	if _, err := s.Create(first.Ask); err == nil || failureOf(err).Code != CodeTooMany {
		t.Errorf("one too many: %v", err)
	}
	if err := s.Remove(s.List()[0].ID); err != nil {
		t.Error(err)
	}
	s.ask(Ask{})
	if err := s.Remove(s.List()[0].ID); err != nil {
		t.Error(err)
	}
	s.Jobs.mu.Lock()
	s.Jobs.o.Config.MaxSize.Bytes = 100 << 20
	s.Jobs.mu.Unlock()
	if _, err := s.Create(first.Ask); err == nil || failureOf(err).Code != CodeMaxSize {
		t.Errorf("beyond max-size with those that wait: %v", err)
	}
	close(hold)
	until(t, "all done", func() bool {
		return !slices.ContainsFunc(s.List(), func(x Job) bool { return !x.State.Over() })
	})
}

// TestFootageGoes: footage that goes before or while it is exported fails the
// job, and no file is left that would hide it.
func TestFootageGoes(t *testing.T) {
	for _, step := range []string{"begun", "created", "synced"} {
		t.Run(step, func(t *testing.T) {
			r, dir := newRecorded(t), t.TempDir()
			s := serve(t, dir, r, func(o *Options) {
				o.stop = func(at string) bool {
					if at == step {
						until(t, "deleted", func() bool { return r.a.DeleteFootage(context.Background(), "gate") == nil })
					}
					return false
				}
			})
			x := s.over(s.ask(Ask{Proof: true}).ID)
			if x.State != Failed || x.Why.Code != CodeDeleted || x.Why.Hint == "" || len(files(t, dir)) != 0 {
				t.Errorf("%+v %+v %v", x, x.Why, files(t, dir))
			}
			if _, _, err := s.Open(x.ID, false); err == nil || failureOf(err).Code != CodeNoFile {
				t.Error(err)
			}
		})
	}
	t.Run("part of it", func(t *testing.T) {
		src := &drawn{size: 1 << 20}
		hold := make(chan struct{})
		s := serve(t, t.TempDir(), src, func(o *Options) {
			o.stop = func(string) bool { <-hold; return false }
		})
		x := s.ask(Ask{})
		src.mu.Lock()
		src.less = 3 * time.Second
		src.mu.Unlock()
		close(hold)
		if x = s.over(x.ID); x.State != Failed || x.Why.Code != CodeDeleted || !strings.Contains(x.Why.What, "3s") {
			t.Errorf("%+v %+v", x, x.Why)
		}
	})
	for name, c := range map[string]struct {
		cut  [2]time.Duration
		want State
	}{
		"of memory, the beginning": {[2]time.Duration{3 * time.Second, 0}, Failed},
		"of memory, the end":       {[2]time.Duration{0, 3 * time.Second}, Failed},
		"of memory, more of it":    {[2]time.Duration{-3 * time.Second, -3 * time.Second}, Done},
		"edges":                    {[2]time.Duration{time.Second, time.Second}, Done},
	} {
		t.Run(name, func(t *testing.T) {
			src, dir, hold := &drawn{size: 1 << 20}, t.TempDir(), make(chan struct{})
			s := serve(t, dir, src, func(o *Options) {
				o.stop = func(string) bool { <-hold; return false }
			})
			x := s.ask(Ask{})
			src.mu.Lock()
			src.cut = c.cut
			src.mu.Unlock()
			close(hold)
			x = s.over(x.ID)
			if x.State != c.want || c.want == Failed && (x.Why.Code != CodeDeleted || !strings.Contains(x.Why.What, "3s") || len(files(t, dir)) != 0) {
				t.Errorf("%+v %+v", x, x.Why)
			}
		})
	}
	for want, err := range map[string]error{"no_room": unix.ENOSPC, "no_key": archive.ErrNoKey, "key_destroyed": archive.ErrKeyDestroyed, "damaged": archive.ErrDamaged, "deleted": archive.ErrGone, "storage": errors.New("EIO")} {
		src := &drawn{size: 3 << 20, gone: func(off int64) error {
			if off > 1<<20 {
				return fmt.Errorf("file 7: %w", err)
			}
			return nil
		}}
		dir := t.TempDir()
		s := serve(t, dir, src, nil)
		if x := s.over(s.ask(Ask{}).ID); x.State != Failed || x.Why.Code != want || len(files(t, dir)) != 0 {
			t.Errorf("%s: %+v %+v", want, x, x.Why)
		}
	}
}

// TestOthersFiles: what the job has not written it neither replaces nor hands out.
func TestOthersFiles(t *testing.T) {
	dir := t.TempDir()
	other := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Error(err)
		}
	}
	other("a.mp4")
	other("a-1.mp4.proof")
	other(".0123456789abcdef.part") // of a job that nobody knows
	other(".mine.part")
	var second atomic.Bool
	s := serve(t, dir, &drawn{size: 1 << 20}, func(o *Options) {
		o.stop = func(step string) bool {
			if step == "synced" && second.Load() {
				other("b.mp4")
			}
			return false
		}
	})
	if x := s.over(s.ask(Ask{Name: "a.mp4"}).ID); x.State != Done || x.File != "a-2.mp4" {
		t.Errorf("%+v", x)
	}
	second.Store(true)
	if x := s.over(s.ask(Ask{Name: "b"}).ID); x.State != Failed || x.Why.Code != "file_exists" {
		t.Errorf("%+v %+v", x, x.Why)
	}
	for _, name := range []string{"a.mp4", "b.mp4", "a-1.mp4.proof", ".mine.part"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	second.Store(false)
	c := s.over(s.ask(Ask{Name: "c"}).ID)
	other("c.mp4")
	if _, _, err := s.Open(c.ID, false); err == nil || failureOf(err).Code != CodeNoFile {
		t.Errorf("a changed file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "c.mp4")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Open(c.ID, false); err == nil || failureOf(err).Code != CodeExpired {
		t.Errorf("a file that was taken away: %v", err)
	}
	if got := files(t, dir); slices.Contains(got, ".0123456789abcdef.part") {
		t.Errorf("left: %v", got)
	}
}

// TestFolderAway: a folder that cannot be used is a problem of exports alone, and
// is tried again.
func TestFolderAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := serve(t, dir, &drawn{size: 1 << 20}, nil)
		synctest.Wait()
		if p := s.Problem(); p == nil || p.Hint == "" {
			t.Errorf("%+v", p)
		}
		if _, err := s.Create(Ask{UID: "gate", Span: media.Span{From: 1, To: 2}}); err == nil || failureOf(err).Code != CodeFolder {
			t.Error(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookMost)
		if p := s.Problem(); p != nil {
			t.Errorf("%+v", p)
		}
		if x := s.over(s.ask(Ask{}).ID); x.State != Done {
			t.Errorf("%+v", x)
		}
		s.stop()
	})
}

// TestNoFootage: what cannot be exported is refused when it is asked for.
func TestNoFootage(t *testing.T) {
	s := serve(t, t.TempDir(), &drawn{size: 1 << 20}, nil).opened()
	if _, err := s.Create(Ask{UID: "none", Span: media.Span{From: 1, To: 2}}); err == nil || len(s.List()) != 0 {
		t.Error(err)
	}
	if _, err := s.Create(Ask{UID: "gate", Span: media.Span{From: 1, To: 2}, Name: "../x"}); err == nil || failureOf(err).Code != CodeBadName {
		t.Error(err)
	}
}

// TestLow: the worker's thread stands behind others, and no other thread does.
func TestLow(t *testing.T) {
	prio := func() (class, nice int) {
		p, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0)
		n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if errno != 0 || err != nil {
			t.Skipf("priorities cannot be read: %v %v", errno, err)
		}
		return int(p), 20 - n // the system call tells 20 less nice
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		low()
		if p, n := prio(); p != ioprioBestEffort|ioprioLast || n < niceness {
			t.Errorf("priority %x, nice %d", p, n)
		}
	}()
	<-done
	if p, _ := prio(); p == ioprioBestEffort|ioprioLast {
		t.Errorf("of another thread: %x", p)
	}
}

// TestDiskFull: where the system has no more room, whatever it said before, the
// job fails, and what is told of it is told, though no record can be written.
func TestDiskFull(t *testing.T) {
	dir := disk.Tmpfs(t, 12<<20)
	s := serve(t, dir, &drawn{size: 30 << 20}, nil)
	x := s.over(s.ask(Ask{}).ID)
	if x.State != Failed || x.Why.Code != CodeNoRoom || x.Why.Hint == "" || len(files(t, dir)) != 0 {
		t.Errorf("%+v %+v %v", x, x.Why, files(t, dir))
	}
	s.stop()
	if y, err := serve(t, dir, &drawn{size: 30 << 20}, nil).opened().Get(x.ID); err != nil || y.State != Failed {
		t.Errorf("behind a restart: %+v %v", y, err)
	}
}

// TestNow: an export until now waits until its end has arrived, and holds up
// nothing that was asked for later.
func TestNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, t.TempDir(), &drawn{size: 1 << 20}, nil)
		synctest.Wait()
		end := time.Now().Add(3 * time.Second)
		x := s.ask(Ask{Span: media.Span{From: now() - 1e9, To: media.WallOf(end)}})
		y := s.ask(Ask{Span: media.Span{From: now() - 1e12, To: now() - 1e11}})
		if y = s.over(y.ID); y.State != Done || time.Now().After(end) {
			t.Errorf("%+v", y)
		}
		if x = s.over(x.ID); x.State != Done || x.Started.Time().Before(end.Add(settle)) || x.Started.Time().After(end.Add(2*settle)) {
			t.Errorf("%+v", x)
		}
		s.stop()
	})
}
