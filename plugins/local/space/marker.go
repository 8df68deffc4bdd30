package space

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	markerName    = private + "/marker"
	epochName     = private + "/epoch"
	tmpDir        = private + "/tmp"
	markerFormat  = "media-server space"
	markerVersion = 1
	maxMarker     = 4096
)

// ID is the random name a space gets when it is made.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

type marker struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Node    string    `json:"node,omitempty"`
}

// parseMarker decodes the marker file.
func parseMarker(b []byte) (ID, error) {
	var id ID
	var m marker
	if err := json.Unmarshal(b, &m); err != nil || m.Format != markerFormat {
		return id, &Error{Reason: Unusable, Size: -1, What: "the marker file .space/marker cannot be read",
			Hint: "the folder belongs to something else, or the disk is damaged; restore .space/marker from a backup"}
	}
	if m.Version != markerVersion {
		return id, &Error{Reason: Unusable, Size: -1, What: fmt.Sprintf("the space has format version %d, this storage knows %d", m.Version, markerVersion),
			Hint: "use a newer version of the server"}
	}
	raw, err := hex.DecodeString(m.ID)
	if err != nil || len(raw) != len(id) {
		return id, &Error{Reason: Unusable, Size: -1, What: "the marker file .space/marker has no valid id"}
	}
	copy(id[:], raw)
	return id, nil
}

// readMarker returns fs.ErrNotExist where there is none.
func readMarker(root *os.Root) (ID, error) {
	b, err := readSmall(root, markerName)
	if err != nil {
		return ID{}, err
	}
	return parseMarker(b)
}

func readSmall(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, maxMarker)
	n, err := f.ReadAt(b, 0)
	if n == 0 && err != nil && !isEOF(err) {
		return nil, err
	}
	return b[:n], nil
}

// writeMarker makes an empty folder a space.
func writeMarker(root *os.Root, node string, now time.Time) (ID, error) {
	var id ID
	if err := mustBeEmpty(root); err != nil {
		return id, err
	}
	rand.Read(id[:])
	b, err := json.Marshal(marker{markerFormat, markerVersion, id.String(), now.UTC().Truncate(time.Second), node})
	if err != nil {
		return id, err
	}
	if err := root.MkdirAll(tmpDir, 0o700); err != nil {
		return id, wrap("", "make the folder .space", err)
	}
	if err := replace(realDisk, root, tmpDir+"/marker", markerName, append(b, '\n')); err != nil {
		return id, wrap("", "write the marker", err)
	}
	for _, d := range []string{private, "."} {
		if err := syncDir(realDisk, root, d); err != nil {
			return id, wrap("", "sync the marker", err)
		}
	}
	return id, nil
}

// mustBeEmpty allows what a fresh file system has, and what an initialisation
// that was cut short leaves.
func mustBeEmpty(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return wrap("", "open the folder", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(16)
	if err != nil && !isEOF(err) {
		return wrap("", "read the folder", err)
	}
	for _, n := range names {
		if n != "lost+found" && n != private {
			return &Error{Reason: Unusable, Size: -1, What: fmt.Sprintf("the folder is not empty (%q) and is not a space", n),
				Hint: "name an empty folder, or empty this one; nothing was changed"}
		}
	}
	return nil
}

// replace writes a small file whole. The caller syncs the folder.
func replace(d diskCalls, root *os.Root, tmp, name string, b []byte) error {
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = d.pwrite(f, b, 0)
	if err == nil {
		err = d.fsync(f)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		root.Remove(tmp)
	}
	return err
}

func syncDir(d diskCalls, root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.fsync(f)
}

// lockMarker takes the folder for this process. A predecessor that is being
// killed keeps its lock until its last system call has ended, so a while is
// waited for it.
func lockMarker(ctx context.Context, root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(markerName, os.O_RDWR, 0)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		f, err = root.Open(markerName)
	}
	if err != nil {
		return nil, wrap("", "open the marker", err)
	}
	wait := time.NewTimer(5 * time.Second)
	defer wait.Stop()
	for {
		err := control(f, func(fd int) error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			// File systems without locks (some network ones): go on without.
			if errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
				return f, nil
			}
			f.Close()
			return nil, wrap("", "lock the marker", err)
		}
		retry := time.NewTimer(20 * time.Millisecond)
		select {
		case <-retry.C:
			continue
		case <-ctx.Done():
		case <-wait.C:
		}
		retry.Stop()
		f.Close()
		return nil, &Error{Reason: Unusable, Size: -1, What: "the folder is in use by another space or process",
			Hint: "each space needs a folder of its own; end the other server first"}
	}
}

// readEpoch gives the newest epoch ever opened by node; 0 where another node,
// or nobody, opened it last.
func readEpoch(root *os.Root, node string) (uint64, error) {
	b, err := readSmall(root, epochName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, wrap("", "read the epoch", err)
	}
	return parseEpoch(b, node), nil
}

// parseEpoch takes a damaged line for none: the file is replaced atomically,
// so damage means a broken disk, and refusing to record would be worse.
func parseEpoch(b []byte, node string) uint64 {
	who, n, ok := strings.Cut(strings.TrimSuffix(string(b), "\n"), " ")
	if !ok || who != epochNode(node) {
		return 0
	}
	e, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return 0
	}
	return e
}

func writeEpoch(d diskCalls, root *os.Root, node string, epoch uint64) error {
	if err := root.MkdirAll(tmpDir, 0o700); err != nil {
		return wrap("", "make the folder .space/tmp", err)
	}
	line := epochNode(node) + " " + strconv.FormatUint(epoch, 10) + "\n"
	if err := replace(d, root, tmpDir+"/epoch", epochName, []byte(line)); err != nil {
		return wrap("", "write the epoch", err)
	}
	if err := syncDir(d, root, private); err != nil {
		return wrap("", "sync the epoch", err)
	}
	return nil
}

// epochNode makes any node id one word.
func epochNode(node string) string {
	if node == "" {
		return "-"
	}
	return strconv.QuoteToASCII(strings.ReplaceAll(node, " ", "_"))
}
