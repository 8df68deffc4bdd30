package accept

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/disk"
	"media-server/test/ledger"
)

// told looks whether something is said of a space.
func told(s *harness.Server, space string) (string, bool) {
	for _, p := range s.Problems() {
		if p.Where == "space "+space {
			return p.String(), true
		}
	}
	return "", false
}

// TestDiskError: writing to a disk, or making it durable, fails.
func TestDiskError(t *testing.T) {
	t.Parallel()
	for name, ops := range map[string]disk.Op{"write": disk.Write, "sync": disk.Fsync | disk.FsyncDir} {
		t.Run("elsewhere/"+name, func(t *testing.T) {
			t.Parallel()
			bad := disk.Fuse(t, 1)
			takenOver(t, "a disk fails to "+name, filepath.Join(bad.Dir(), "space"), func() func() {
				return bad.Inject(disk.Fault{Ops: ops, Err: syscall.EIO})
			})
		})
		t.Run("alone/"+name, func(t *testing.T) {
			t.Parallel()
			bad := disk.Fuse(t, 1)
			alone(t, "the only disk fails to "+name, filepath.Join(bad.Dir(), "space"), func(*harness.Server) func() {
				return bad.Inject(disk.Fault{Ops: ops, Err: syscall.EIO})
			})
		})
	}
	t.Run("elsewhere/device", func(t *testing.T) {
		t.Parallel()
		bad := disk.BrokenExt4(t, 512<<20)
		takenOver(t, "the device under an ext4 fails", filepath.Join(bad.Dir, "space"), func() func() {
			bad.Break()
			return nil
		})
		if bad.Hits() == 0 {
			t.Error("nothing has failed")
		}
	})
	t.Run("alone/system calls", func(t *testing.T) {
		t.Parallel()
		alone(t, "the storage process is answered EIO by the kernel", filepath.Join(t.TempDir(), "space"), func(s *harness.Server) func() {
			return injectEIO(s)
		})
	})
}

// takenOver: the pool's other space takes over, and nothing is lost. fail gives
// the function that mends, nil where nothing can.
func takenOver(t *testing.T, what, bad string, fail func() func()) {
	good := filepath.Join(t.TempDir(), "good") // the smaller one: footage goes to the bad one as long as that works
	s := harness.New(t, harness.Options{Ini: "[space.bad]\npath = " + bad + "\n[space.good]\npath = " + good + "\nsize-limit = 150M\n[pool.default]\nspaces = bad, good\n[space.apart]\npath = " +
		filepath.Join(t.TempDir(), "apart") + "\n[pool.apart]\nspaces = apart\n"})
	cams := []harness.Camera{{UID: "one", Sent: s.Sim("one", "audio=pcma", "dvr-chunk = 2s")}, {UID: "two", Sent: s.Sim("two", "codec=none", "dvr-chunk = 1m")},
		{UID: "apart", Sent: s.Sim("apart", "", "dvr-chunk = 2s", "dvr-pool = apart")}}
	uids := []string{"one", "two", "apart"}
	s.Start()
	footage(s, uids...)
	time.Sleep(3 * time.Second) // real cameras take real time
	if said, is := told(s, "bad"); is {
		t.Fatalf("trouble before any: %s", said)
	}
	mend := fail()
	broken := time.Now()
	said := ""
	s.Until("the disk's trouble to be told", func() (is bool) { said, is = told(s, "bad"); return is })
	s.Until("the other space to take over", func() bool { return len(harness.Files(good)) > 1 })
	s.Past(broken.UnixMilli()+harness.Pick[int64](60000, 4000), uids...)
	s.Until("it to be an event", func() bool { return len(s.Events("storage.failed")) > 0 })
	if mend != nil && harness.Full() { // a space is tried again after a minute
		mend()
		s.Until("the disk's trouble to be over", func() bool { _, is := told(s, "bad"); return !is })
		s.Until("that it is over to be an event", func() bool { return len(s.Events("storage.ok")) > 0 })
	}
	to := s.Close(uids...)
	if mend != nil {
		mend() // what lies there must be readable to be judged
	}
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
	}
	judge(t, s, fmt.Sprintf("%s, the pool has another; says %q", what, said), 0, cams, "mp4")
}

// alone: without another space there is a gap that says so, and recording goes
// on by itself.
func alone(t *testing.T, what, bad string, fail func(*harness.Server) func()) {
	s := harness.New(t, harness.Options{Buffer: "2s", Ini: "[space.bad]\npath = " + bad + "\n[pool.default]\nspaces = bad\n[limits]\nwrite-buffer = 2s\n"})
	c := harness.Camera{UID: "cam", Sent: s.Sim("cam", "audio=pcma", "dvr-chunk = 2s")}
	s.Start()
	footage(s, "cam")
	time.Sleep(2 * time.Second)
	mend := fail(s)
	said := ""
	s.Until("the disk's trouble to be told", func() (is bool) { said, is = told(s, "bad"); return is })
	time.Sleep(harness.Pick(60*time.Second, 7*time.Second)) // longer than what memory bridges
	mend()
	mended := time.Now()
	s.Until("the disk's trouble to be over", func() bool { _, is := told(s, "bad"); return !is })
	s.Until("recording to go on", func() bool {
		f := s.Footage("cam")
		return len(f.Ranges) > 0 && f.Ranges[len(f.Ranges)-1].To > mended.UnixMilli()+1500
	})
	s.Until("both to be events", func() bool { return len(s.Events("storage.failed")) > 0 && len(s.Events("storage.ok")) > 0 })
	c.Rules.To, c.Rules.Tail, c.Rules.GapSlack = s.Close("cam"), -1, 250*time.Millisecond
	f := s.Footage("cam")
	if len(f.Gaps) == 0 {
		t.Error("no gap is reported")
	}
	for _, g := range f.Gaps {
		if g.Why != "disk_error" {
			t.Errorf("a gap because of %q, not disk_error", g.Why)
		}
	}
	harness.Row(t, what, 0, "says %q, goes on by itself; %s", said, s.Judge("cam", s.Account(c)))
}

// injectEIO lets the kernel answer EIO to all that the storage process writes
// or makes durable, as long as strace is attached.
func injectEIO(s *harness.Server) (mend func()) {
	if _, err := exec.LookPath("strace"); err != nil {
		s.T.Skip("strace is missing: install the Debian package strace")
	}
	log := filepath.Join(s.Dir, "strace.log")
	cmd := exec.Command("strace", "-f", "-qq", "-o", log, "-p", fmt.Sprint(s.Plugin("local")),
		"-e", "trace=pwrite64,fsync,fdatasync,syncfs", "-e", "inject=pwrite64,fsync,fdatasync,syncfs:error=EIO")
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	ended := false
	mend = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the process
		_ = cmd.Wait()
		if b, err := os.ReadFile(log); err != nil || !strings.Contains(string(b), "INJECTED") {
			s.T.Errorf("nothing was injected: %v %s", err, out.String())
		}
	}
	s.T.(*testing.T).Cleanup(mend)
	return mend
}

// TestReadOnlyMount: the server starts on a disk that the kernel has mounted
// read-only: what it holds plays, nothing is recorded and everybody is told, and
// recording begins by itself when the disk can be written to.
func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	mount := disk.Ext4(t, 256<<20)
	s := harness.New(t, harness.Options{Buffer: "2s", Linger: "1s",
		Ini: "[space.disk]\npath = " + filepath.Join(mount, "space") + "\n[pool.default]\nspaces = disk\n[limits]\nwrite-buffer = 2s\n"})
	c := harness.Camera{UID: "cam", Sent: s.Sim("cam", "audio=pcma", "dvr-chunk = 2s")}
	s.Start()
	footage(s, "cam")
	s.Past(time.Now().UnixMilli()+5000, "cam")
	before := s.Footage("cam")
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	if err := disk.Remount(mount, true); err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.Until("the disk to be read-only", func() bool { return spaceOf(s, "disk").State == "read_only" })
	said, is := told(s, "disk")
	if !is || !strings.Contains(said, "read-only") || !strings.Contains(said, "remount") {
		t.Errorf("problems say %q", said)
	}
	if out, _ := verb(t, "status", "-c", s.Conf); !strings.Contains(out, "space disk: read_only") {
		t.Errorf("status says\n%s", out)
	}
	if now := s.Footage("cam"); len(now.Ranges) == 0 || now.Ranges[0].From != before.Ranges[0].From || now.Ranges[0].To < before.Ranges[0].To-2500 {
		t.Errorf("it lists %v, before %v", now.Ranges, before.Ranges)
	}
	if f := fingerprintOf(t, s, "cam"); f.size == 0 {
		t.Error("nothing plays")
	}
	time.Sleep(harness.Pick(30*time.Second, 5*time.Second))
	if err := disk.Remount(mount, false); err != nil {
		t.Fatal(err)
	}
	mended := time.Now()
	s.Until("the disk's trouble to be over", func() bool { _, is := told(s, "disk"); return !is && spaceOf(s, "disk").State == "normal" })
	s.Until("recording to go on", func() bool {
		f := s.Footage("cam")
		return len(f.Ranges) > 0 && f.Ranges[len(f.Ranges)-1].To > mended.UnixMilli()+1500
	})
	c.Rules.To, c.Rules.Tail, c.Rules.GapSlack = s.Close("cam"), -1, 250*time.Millisecond
	why := map[string]bool{}
	for _, g := range s.Footage("cam").Gaps {
		why[g.Why] = true
	}
	if !why["disk_error"] {
		t.Errorf("gaps because of %v", why)
	}
	harness.Row(t, "started on a disk mounted read-only", 0, "says %q, plays what is there, goes on by itself; %s", said, s.Judge("cam", s.Account(c)))
}
