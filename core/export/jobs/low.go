package jobs

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Scheduling of a thread's reads and writes (ioprio_set(2)): best effort, last.
const (
	ioprioWhoProcess = 1
	ioprioBestEffort = 2 << 13
	ioprioLast       = 7
	niceness         = 10
)

// low makes the calling goroutine one whose disk access and computing come
// behind that of everything else here. Its thread ends with it. Where the system
// refuses, the steps of syncRange are what holds it back.
func low() {
	runtime.LockOSThread() // never unlocked: the thread is not to be used by others
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioBestEffort|ioprioLast)
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness)
}

// step is how much is written before it is handed to the disk and looked whether
// there is room: never more than that lies in front of a sync of the recording.
const step = 4 << 20

// syncRange waits until bytes of f are on the disk, and drops them from the page
// cache: players read newer ones. It is a matter of pace alone; the sync at the end
// is what counts.
func syncRange(f *os.File, off, n int64) {
	const now = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	_ = unix.SyncFileRange(int(f.Fd()), off, n, now)
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
}

// Where the recording's disk is behind, a step waits for it, at most busyMost:
// an export must come to an end on a disk that is always busy, too.
const (
	busyMost = time.Second
	busyLook = 100 * time.Millisecond
)

func (w *work) giveWay() error {
	for end := time.Now().Add(busyMost); w.j.o.Busy != nil && w.j.o.Busy() && time.Now().Before(end); {
		t := time.NewTimer(busyLook)
		select {
		case <-w.ctx.Done():
			t.Stop()
			return w.ctx.Err()
		case <-t.C:
		}
	}
	return w.ctx.Err()
}
