package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/backup"
	"media-server/core/fault"
)

// home is the data folder held by this process: the lock that keeps a second
// server out, the node's id, and the core's epoch.
type home struct {
	dir   string
	lock  *os.File
	node  [16]byte
	epoch uint64
	gives *Settings // whose folders go back to their owner in the end; nil = not
}

// takeHome locks dir, making it first when it is missing, and counts the epoch
// up. The new epoch is durable before takeHome returns: plugins refuse what an
// older core sends as soon as they have seen a newer one, so an epoch must
// never be given out twice.
func takeHome(dir string) (*home, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fault.Wrap(err, "data-dir", "the data folder cannot be made", "set [server] data-dir to a folder this user may write to")
	}
	f, err := lockData(dir)
	if err != nil {
		return nil, err
	}
	// A restore that was asked for, or was cut short, comes before anything is read.
	if _, err := backup.Finish(dir); err != nil {
		f.Close()
		return nil, fault.Wrap(err, "data-dir", "a restore could not be finished", "free space or mend the disk and start again: it goes on where it stopped")
	}
	h := &home{dir: dir, lock: f}
	if err := errors.Join(h.readNode(), h.nextEpoch()); err != nil {
		f.Close()
		return nil, err
	}
	return h, nil
}

// lookHome locks dir and changes nothing in it, for a verb that only looks: a
// restore that waits for the next start goes on waiting, and no epoch is used up.
// The last one is given again, which is enough to read by.
func lookHome(dir string) (*home, error) {
	f, err := lockData(dir)
	if err != nil {
		return nil, err
	}
	h := &home{dir: dir, lock: f}
	if err := errors.Join(h.knownNode(), h.lastEpoch()); err != nil {
		f.Close()
		return nil, err
	}
	h.epoch = max(h.epoch, 1) // where no server has run yet
	return h, nil
}

func lockData(dir string) (*os.File, error) {
	return lockIn(dir, "data-dir", "the data folder")
}

// takeRunDir locks the folder of the sockets, making it when it is missing: the
// plugins that serve there belong to one server, and a second one, though with
// a data folder of its own, would take them over.
func takeRunDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, "run-dir", "the folder for sockets cannot be made", "set [server] run-dir to a folder this user may write to")
	}
	return lockIn(dir, "run-dir", "the folder for sockets")
}

// lockWait is how long a folder that another process holds is asked for again. A
// server that is killed while it starts a process leaves its lock, for that moment,
// to the child, which closes it only by becoming another program; systemd may have
// started the next server by then.
const lockWait = 2 * time.Second

// lockIn locks a folder, which must exist, for as long as the file stays open.
// key is the setting that names the folder, and what is what people call it.
func lockIn(dir, key, what string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, key, what+" cannot be written to", "check its owner and mode")
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || !time.Now().Before(end) {
			break
		}
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fault.New(key, "another server uses "+dir, "stop it, or give this one a "+key+" of its own")
	default:
		err = fault.Wrap(err, key, what+" cannot be locked", "a file system that supports flock is needed")
	}
	f.Close()
	return nil, err
}

// Close lets the next server in.
func (h *home) Close() error {
	var err error
	if h.gives != nil {
		err = h.gives.GiveBack()
	}
	return errors.Join(err, h.lock.Close())
}

// nodeName is the id as hex.
func (h *home) nodeName() string { return hex.EncodeToString(h.node[:]) }

// readNode reads the node's id, or makes one.
func (h *home) readNode() error {
	path := filepath.Join(h.dir, "node-id")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		rand.Read(h.node[:])
		return writeDurably(path, []byte(h.nodeName()+"\n"), 0o644)
	}
	return h.knownNode()
}

// knownNode reads the node's id; zero = there is none yet.
func (h *home) knownNode() error {
	path := filepath.Join(h.dir, "node-id")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, path, "the node's id cannot be read", "check the file's mode")
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(raw) != len(h.node) {
		return fault.New(path, "the node's id is damaged", "restore it from a backup, or remove the file: a new id is then made and older footage counts as another node's")
	}
	copy(h.node[:], raw)
	return nil
}

// epochStep is how far the epoch moves when its file is unreadable: beyond
// anything plugins can have seen.
const epochStep = 1 << 20

func (h *home) nextEpoch() error {
	if err := h.lastEpoch(); err != nil {
		return err
	}
	h.epoch++
	return writeDurably(filepath.Join(h.dir, "epoch"), []byte(strconv.FormatUint(h.epoch, 10)+"\n"), 0o600)
}

// lastEpoch reads the epoch that was given out last; 0 = there was none.
func (h *home) lastEpoch() error {
	path := filepath.Join(h.dir, "epoch")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fault.Wrap(err, path, "the epoch cannot be read", "check the file's mode")
	default:
		n, perr := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 31)
		if perr != nil {
			return fault.New(path, "the epoch is damaged", fmt.Sprintf("write a number into it that is larger than it ever was, for instance %d", epochStep))
		}
		h.epoch = n
	}
	return nil
}

// writeDurably replaces path: temporary name, sync, rename, sync of the folder.
func writeDurably(path string, b []byte, mode fs.FileMode) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
