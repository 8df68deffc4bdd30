package accept

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/disk"
)

// syncEvery is the time between two rounds of syncs where nobody sets another.
const syncEvery = 500 * time.Millisecond

// syncCall is a call that the kernel saw.
type syncCall struct {
	at   float64 // Unix seconds
	what string  // fsync, fdatasync or syncfs
	path string
}

var syncLine = regexp.MustCompile(`^\d+ +(\d+\.\d+) (fsync|fdatasync|syncfs)\(\d+<([^>]*)>`)

// traceSyncs notes every sync call of the storage process, until end.
func traceSyncs(s *harness.Server) (end func() []syncCall) {
	s.T.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		s.T.Skip("strace is missing: install the Debian package strace")
	}
	log, pid := filepath.Join(s.Dir, "syncs.log"), s.Plugin("local")
	cmd := exec.Command("strace", "-f", "-qq", "-y", "-ttt", "-o", log, "-e", "trace=fsync,fdatasync,syncfs", "-p", fmt.Sprint(pid))
	if err := cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	ended := false
	stop := func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the process
			_ = cmd.Wait()
		}
	}
	s.T.(*testing.T).Cleanup(stop)
	s.Until("every thread to be traced", func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, f := range tasks {
			if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
				return false
			}
		}
		return len(tasks) > 0
	})
	return func() (out []syncCall) {
		stop()
		for l := range strings.Lines(text(s.T.(*testing.T), log)) {
			if m := syncLine.FindStringSubmatch(l); m != nil {
				at, err := strconv.ParseFloat(m[1], 64)
				if err != nil {
					s.T.Fatal(err)
				}
				out = append(out, syncCall{at, m[2], m[3]})
			}
		}
		return out
	}
}

// intervals are how many rounds there may be from one call to another.
func intervals(first, last float64) int {
	return int(math.Ceil((last-first)/syncEvery.Seconds())) + 1
}

// TestSyncCalls counts, with the kernel's word, what durability costs. A space
// that is a mount of its own makes at most one call an interval and one more for
// each file that it closes, folders included: one syncfs makes all of it durable.
// One in a folder of a larger disk must not sync what is others': there it is one
// call for each file that grows an interval, one for each that is closed, and
// those of the folders that changed.
func TestSyncCalls(t *testing.T) {
	t.Parallel()
	own, sub := disk.Ext4(t, harness.Pick[int64](8<<30, 1<<30)), filepath.Join(t.TempDir(), "space")
	if err := os.RemoveAll(filepath.Join(own, "lost+found")); err != nil {
		t.Fatal(err)
	}
	s := harness.New(t, harness.Options{Ini: "[space.own]\npath = " + own + "\n[space.sub]\npath = " + sub + "\n[pool.default]\nspaces = own\n[pool.second]\nspaces = sub\n"})
	s.Start()
	s.Serving()
	end := traceSyncs(s)
	n := harness.Pick(20, 4)
	var uids []string
	for i := range n {
		for _, pool := range []string{"default", "second"} {
			uid := fmt.Sprintf("%s-%d", pool, i)
			uids = append(uids, uid)
			s.Sim(uid, "bitrate=1M", fmt.Sprintf("dvr-chunk = %v", harness.Pick("10s", "2s")), "dvr-pool = "+pool)
		}
	}
	footage(s, uids...)
	time.Sleep(harness.Pick(2*time.Minute, 8*time.Second))
	s.Close(uids...)
	told := map[string]int{}
	for _, name := range []string{"own", "sub"} {
		told[name] = int(s.Metric("mediaserver_sync_calls_total", `space="`+name+`"`))
	}
	calls := end()

	in := func(dir string) (of []syncCall) {
		for _, c := range calls {
			if c.path == dir || strings.HasPrefix(c.path, dir+"/") {
				of = append(of, c)
			}
		}
		return of
	}
	closed := func(dir string) (files int) {
		for _, f := range harness.Files(dir) {
			if !strings.HasPrefix(f, "open/") {
				files++
			}
		}
		return files
	}
	kinds := func(of []syncCall) string {
		m := map[string]int{}
		for _, c := range of {
			m[c.what]++
		}
		return fmt.Sprintf("%d syncfs, %d of files, %d of folders", m["syncfs"], m["fdatasync"], m["fsync"])
	}
	a, b := in(own), in(sub)
	if len(a) < 8 || len(b) < 8 || closed(own) < 2*n || closed(sub) < 2*n {
		t.Fatalf("%d and %d calls, %d and %d files closed: too little was tried", len(a), len(b), closed(own), closed(sub))
	}
	// Each stream's and each day's folder is made once, beside what intervals and closed
	// files bring.
	made := 0
	for _, c := range a {
		if c.what == "fsync" {
			made++
		}
	}
	most := intervals(a[0].at, a[len(a)-1].at) + closed(own)
	if len(a)-made > most || made > 2*n {
		t.Errorf("a mount of its own: %d calls (%s), and %d intervals with %d files closed", len(a), kinds(a), most-closed(own), closed(own))
	}

	// In a folder: each file by itself, from its first call to its last.
	type life struct {
		first, last float64
		calls       int
	}
	files, folders := map[string]*life{}, 0
	for _, c := range b {
		switch {
		case c.what == "syncfs":
			t.Errorf("syncfs of %s, which is not the space's alone", c.path)
		case c.what == "fsync":
			folders++
		case files[c.path] == nil:
			files[c.path] = &life{c.at, c.at, 1}
		default:
			f := files[c.path]
			f.last, f.calls = c.at, f.calls+1
		}
	}
	grown := 0
	for path, f := range files {
		if may := intervals(f.first, f.last) + 1; f.calls > may {
			t.Errorf("%s: %d calls in %d intervals and at its end", path, f.calls, may-1)
		}
		grown += f.calls
	}
	// A file is made in one folder and closed into another one; each stream's and
	// each day's is made once.
	if may := len(files) + 2*closed(sub) + 2*n; folders > may {
		t.Errorf("in a folder: %d calls for folders, and %d changes of folders", folders, may)
	}
	// The server counts what the kernel sees, and tells with the next bytes that are
	// durable: what closed the last files is not in it yet.
	for name, seen := range map[string]int{"own": len(a), "sub": len(b)} {
		if told[name] > seen || told[name] < seen-3*n-1 {
			t.Errorf("space %s: the kernel saw %d calls, the server tells of %d", name, seen, told[name])
		}
	}
	harness.Row(t, "sync calls of a mount and of a folder", 0, "%d streams each. A mount of its own: %d calls (%s) in %d intervals with %d files closed. In a folder: %d calls, %d of them for %d files, at most one an interval and file and one at its end, %d for folders that changed",
		n, len(a), kinds(a), most-closed(own), closed(own), len(b), grown, len(files), folders)
}
