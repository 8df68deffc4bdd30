package harness

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Moment is an instant of a server's life at which a process may be killed.
type Moment string

// Moments of reliability.md. Those of files are seen with inotify, from
// outside: what happened last when the process died.
const (
	PartWrite Moment = "part write"  // bytes have just come to an open file
	RollOver  Moment = "roll-over"   // a new file has just been made
	Sync      Moment = "sync"        // the storage process is inside fdatasync or syncfs
	Seal      Moment = "seal"        // a file has just been renamed
	Retention Moment = "retention"   // a file has just been deleted
	Reload    Moment = "reload"      // settings are being read again
	StartUp   Moment = "start-up"    // the core is not ready yet
	Reattach  Moment = "re-attach"   // the core has just taken a plugin over
	AnyMoment Moment = "any instant" // drawn
)

// Watch sees the file events of a server's space and run-dir.
type Watch struct {
	s     *Server
	space string
	fd    int
	dirs  map[int32]string
	sub   map[string]bool
}

// Watch begins to watch the space at dir. Close ends it.
func (s *Server) Watch(dir string) *Watch {
	s.T.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		s.T.Fatal(err)
	}
	w := &Watch{s: s, space: dir, fd: fd, dirs: map[int32]string{}, sub: map[string]bool{}}
	w.refresh()
	return w
}

// Close ends it.
func (w *Watch) Close() { unix.Close(w.fd) }

const watchMask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE

// refresh takes folders in that have come since.
func (w *Watch) refresh() {
	days, _ := filepath.Glob(filepath.Join(w.space, "*", "*"))
	for _, d := range append(days, filepath.Join(w.space, "open"), filepath.Join(w.s.Run, "plugins")) {
		if fi, err := os.Stat(d); err != nil || !fi.IsDir() || w.sub[d] {
			continue
		}
		if wd, err := unix.InotifyAddWatch(w.fd, d, watchMask); err == nil {
			w.dirs[int32(wd)], w.sub[d] = d, true
		}
	}
}

// Await blocks until a moment of the kinds that files show comes, at most
// within; false = it did not come.
func (w *Watch) Await(m Moment, within time.Duration) bool {
	w.refresh()
	w.drain(func(string, string, uint32) bool { return false }) // what is past does not count
	end := time.Now().Add(within)
	for time.Now().Before(end) {
		if m == Sync {
			if w.syncing() {
				return true
			}
			continue // busy: a sync takes a fraction of a millisecond
		}
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, 50)
		if w.drain(func(dir, name string, mask uint32) bool { return w.is(m, dir, name, mask) }) {
			return true
		}
	}
	return false
}

func (w *Watch) is(m Moment, dir, name string, mask uint32) bool {
	open, media := strings.HasSuffix(dir, "/open"), strings.HasSuffix(name, ".mp4")
	switch m {
	case PartWrite:
		return open && mask&unix.IN_MODIFY != 0
	case RollOver:
		return open && mask&unix.IN_CREATE != 0
	case Seal:
		return open && media && mask&unix.IN_MOVED_FROM != 0
	case Retention:
		return !open && media && mask&unix.IN_DELETE != 0
	case Reattach:
		return strings.HasSuffix(dir, "/plugins") && strings.HasSuffix(name, ".json") && mask&unix.IN_MOVED_TO != 0
	}
	return false
}

func (w *Watch) drain(is func(dir, name string, mask uint32) bool) (hit bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(w.fd, buf)
		if err != nil || n < unix.SizeofInotifyEvent {
			return hit
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			wd := int32(binary.NativeEndian.Uint32(buf[at:]))
			mask := binary.NativeEndian.Uint32(buf[at+4:])
			size := int(binary.NativeEndian.Uint32(buf[at+12:]))
			name := strings.TrimRight(string(buf[at+16:at+16+size]), "\x00")
			hit = is(w.dirs[wd], name, mask) || hit
			at += 16 + size
		}
	}
}

// syncing tells whether a thread of the storage process is inside a sync.
func (w *Watch) syncing() bool {
	pid := w.s.Plugin("local")
	for range 2000 {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		if len(tasks) == 0 {
			return false
		}
		for _, f := range tasks {
			b, _ := os.ReadFile(f)
			nr, _, _ := strings.Cut(string(b), " ")
			switch nr {
			case fmt.Sprint(unix.SYS_FDATASYNC), fmt.Sprint(unix.SYS_FSYNC), fmt.Sprint(unix.SYS_SYNCFS):
				return true
			}
		}
	}
	return false
}
