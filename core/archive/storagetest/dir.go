package storagetest

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/archive"
	"media-server/core/fault"
	"media-server/core/media"
)

// Dir is a space in a folder.
type Dir struct {
	Root         string
	SyncEvery    time.Duration // 0 = Synced at once with Written
	Descriptors  bool          // File works
	NoAppend     bool          // files do not grow: only Put and Write
	BeforeSeal   func(name string)
	BeforeAppend func(name string)

	mu      sync.Mutex
	epoch   uint64
	dead    bool // killed: nothing answers until Revive
	limit   int64
	lift    bool // from the next Open on
	lifted  bool
	used    int64
	fail    func(archive.AppendData) archive.FailReason
	syncBad int
	sealBad int
	takes   time.Duration // what it says of a sync
	stalled chan struct{}
	apps    map[*appender]struct{}
	dirty   map[string]*unsynced
	Deleted []string // names, in order
	Appends int
	Reads   atomic.Int64 // calls of ReadAt
	Opens   atomic.Int64 // calls of File that gave a descriptor
}

// unsynced is what a power cut may lose of a file.
type unsynced struct {
	durable int64 // everything below survives
	size    int64
}

var errDead = errors.New("storagetest: the backend is dead")

// New makes a space in root.
func New(root string) *Dir {
	return &Dir{Root: root, Descriptors: true, takes: time.Millisecond, apps: map[*appender]struct{}{}, dirty: map[string]*unsynced{}}
}

func (d *Dir) path(name string) string { return filepath.Join(d.Root, filepath.FromSlash(name)) }

func (d *Dir) alive() error {
	if d.dead {
		return errDead
	}
	return nil
}

// Open implements archive.Storage.
func (d *Dir) Open(ctx context.Context, epoch, least uint64, create bool) (archive.SpaceInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.alive(); err != nil {
		return archive.SpaceInfo{}, err
	}
	if epoch < d.epoch {
		return archive.SpaceInfo{}, archive.StaleEpochError
	}
	d.epoch, d.lifted = epoch, d.lift
	for a := range d.apps {
		if a.epoch < epoch {
			a.breakLocked(archive.StaleEpochError)
		}
	}
	info := archive.SpaceInfo{Append: !d.NoAppend, Descriptors: d.Descriptors}
	id, err := d.marker(create)
	if err != nil {
		return archive.SpaceInfo{}, err
	}
	info.ID = id
	note := d.path(".space") // behind the id
	b, err := os.ReadFile(note)
	if err != nil {
		return info, err
	}
	info.Epoch, _ = strconv.ParseUint(string(b[len(id):]), 10, 64)
	if info.Epoch != 0 && info.Epoch < least {
		return info, fault.New("space", "the folder is an older copy of the space", "mount the disk that was used last")
	}
	if err := os.WriteFile(note, strconv.AppendUint(b[:len(id):len(id)], epoch, 10), 0o600); err != nil {
		return info, err
	}
	info.Epoch = epoch
	left, _ := filepath.Glob(d.path(".space-put-*"))
	for _, path := range left { // of a process that was killed
		os.Remove(path)
	}
	return info, os.MkdirAll(filepath.Join(d.Root, "open"), 0o755)
}

// marker reads the space's id, or makes one where create allows it.
func (d *Dir) marker(create bool) (id [16]byte, err error) {
	path := filepath.Join(d.Root, ".space")
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) >= len(id):
		return [16]byte(b), nil
	case !errors.Is(err, fs.ErrNotExist) || !create:
		return id, fault.New("space", "there is no space in the folder", "mount the disk")
	}
	if _, err := crand.Read(id[:]); err != nil {
		return id, err
	}
	return id, os.WriteFile(path, id[:], 0o600)
}

// List implements archive.Storage.
func (d *Dir) List(ctx context.Context, prefix, after string, fn func([]archive.Entry) error) error {
	d.mu.Lock()
	err := d.alive()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	var out []archive.Entry
	root := d.Root
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		root = d.path(prefix[:i])
	}
	err = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(d.Root, p)
		name := filepath.ToSlash(rel)
		if strings.HasPrefix(name, ".space") {
			return nil
		}
		if !strings.HasPrefix(name, prefix) || name <= after {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		out = append(out, archive.Entry{Name: name, Size: info.Size(), Modified: media.WallOf(info.ModTime())})
		return nil
	})
	if err != nil {
		return err
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	for len(out) > 0 {
		n := min(len(out), 1000)
		if err := fn(out[:n]); err != nil {
			return err
		}
		out = out[n:]
	}
	return ctx.Err()
}

// Stat implements archive.Storage.
func (d *Dir) Stat(ctx context.Context, name string) (archive.Entry, error) {
	info, err := os.Stat(d.path(name))
	if err != nil {
		return archive.Entry{}, err
	}
	return archive.Entry{Name: name, Size: info.Size(), Modified: media.WallOf(info.ModTime())}, nil
}

// ReadAt implements archive.Storage.
func (d *Dir) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	d.Reads.Add(1)
	d.mu.Lock()
	err := d.alive()
	d.mu.Unlock()
	if err != nil {
		return 0, err
	}
	f, err := os.Open(d.path(name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		err = nil
	}
	return n, err
}

// File implements archive.Storage.
func (d *Dir) File(ctx context.Context, name string) (*os.File, error) {
	if !d.Descriptors {
		return nil, archive.ErrNoDescriptors
	}
	f, err := os.Open(d.path(name))
	if err == nil {
		d.Opens.Add(1)
	}
	return f, err
}

// Files implements archive.Opener.
func (d *Dir) Files(ctx context.Context, names []string) []archive.Opened {
	out := make([]archive.Opened, len(names))
	for i, name := range names {
		out[i].File, out[i].Err = d.File(ctx, name)
	}
	return out
}

// Truncate implements archive.Storage.
func (d *Dir) Truncate(ctx context.Context, name string, size int64) error {
	return os.Truncate(d.path(name), size)
}

// Seal implements archive.Storage.
func (d *Dir) Seal(ctx context.Context, name, final string, size int64) error {
	if d.BeforeSeal != nil {
		d.BeforeSeal(name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.alive(); err != nil {
		return err
	}
	info, err := os.Stat(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		d.tellLocked(archive.AppendResult{Name: name, Reason: archive.FailNotFound, Message: "it is gone"})
	}
	if err != nil {
		return err
	}
	if d.sealBad > 0 {
		d.sealBad--
		d.tellLocked(archive.AppendResult{Name: name, Reason: archive.FailSync, Message: "made to fail"})
		return errors.Join(fmt.Errorf("seal %s: made to fail", name), d.blank(name, info.Size()))
	}
	if info.Size() != size {
		return fmt.Errorf("seal %s: %d bytes instead of %d", name, info.Size(), size)
	}
	if err := os.MkdirAll(filepath.Dir(d.path(final)), 0o755); err != nil {
		return err
	}
	delete(d.dirty, name)
	return os.Rename(d.path(name), d.path(final))
}

// blank takes from a file what was not durable, and leaves its size.
func (d *Dir) blank(name string, size int64) error {
	u := d.dirty[name]
	if u == nil {
		return nil
	}
	return errors.Join(os.Truncate(d.path(name), u.durable), os.Truncate(d.path(name), size))
}

// tellLocked ends all append streams with a failure.
func (d *Dir) tellLocked(r archive.AppendResult) {
	for a := range d.apps {
		r.Kind, r.Sequence = archive.Failed, a.synced+1
		a.push(r)
		a.err = errors.New("storagetest: " + r.Message)
	}
}

// Write implements archive.Storage.
func (d *Dir) Write(ctx context.Context, name string, p []byte) error {
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(d.path(name), p, 0o644)
}

// Put implements archive.Storage.
func (d *Dir) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	tmp := d.path(fmt.Sprintf(".space-put-%p", r))
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	n, err := io.Copy(f, r)
	f.Close()
	if err == nil && n != size {
		err = fmt.Errorf("put %s: %d bytes instead of %d", name, n, size)
	}
	if err == nil {
		err = ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err = errors.Join(err, d.alive()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
		return err
	}
	if err := os.Link(tmp, d.path(name)); err != nil {
		return err
	}
	d.used += n
	return nil
}

// Delete implements archive.Storage.
func (d *Dir) Delete(ctx context.Context, names []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := errors.Join(d.alive(), ctx.Err()); err != nil {
		return err
	}
	for _, n := range names {
		if info, err := os.Stat(d.path(n)); err == nil {
			d.used -= info.Size()
		}
		if err := os.Remove(d.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d.Deleted = append(d.Deleted, n)
	}
	return nil
}

// Sync implements archive.Storage.
func (d *Dir) Sync(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncLocked()
	return nil
}

func (d *Dir) syncLocked() {
	for _, u := range d.dirty {
		u.durable = u.size
	}
}

// Usage implements archive.Storage.
func (d *Dir) Usage(ctx context.Context) (archive.Usage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := d.limit
	if total == 0 || d.lifted {
		total = 1 << 40
	}
	return archive.Usage{Total: total, Free: max(total-d.used, 0), Used: d.used}, d.alive()
}

// CountAnew lets the backend forget how much it holds, as a new process does until
// it has counted.
func (d *Dir) CountAnew() {
	d.mu.Lock()
	d.used = 0
	d.mu.Unlock()
}

// Lift implements archive.Limited.
func (d *Dir) Lift(on bool) {
	d.mu.Lock()
	d.lift = on
	d.mu.Unlock()
}

// Limit sets how many bytes may be stored; 0 = any.
func (d *Dir) Limit(n int64) {
	d.mu.Lock()
	d.limit = n
	d.mu.Unlock()
}

// Kill ends everything as a killed process would: what was written stays.
func (d *Dir) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	for a := range d.apps {
		a.breakLocked(errDead)
	}
}

// Revive lets a killed backend answer again.
func (d *Dir) Revive() {
	d.mu.Lock()
	d.dead = false
	d.mu.Unlock()
}

// FailAppends makes appends fail for the reasons f gives; FailUnknown (0) lets
// one pass. nil = none fails.
func (d *Dir) FailAppends(f func(archive.AppendData) archive.FailReason) {
	d.mu.Lock()
	d.fail = f
	d.mu.Unlock()
}

// FailSyncs makes the next n syncs fail.
func (d *Dir) FailSyncs(n int) {
	d.mu.Lock()
	d.syncBad = n
	d.mu.Unlock()
}

// FailSeals lets the next n seals fail; what was not durable of their files is gone,
// as after a sync that failed in a process which does not know how much that is.
func (d *Dir) FailSeals(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sealBad = n
}

// SyncsTake says how long each sync takes from now on.
func (d *Dir) SyncsTake(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.takes = t
}

// Stall makes appends wait until the returned function is called.
func (d *Dir) Stall() (resume func()) {
	c := make(chan struct{})
	d.mu.Lock()
	d.stalled = c
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		d.stalled = nil
		d.mu.Unlock()
		close(c)
	}
}

const page = 4096

// PowerCut kills the backend and loses any subset of the pages that were not
// synced, as rng says. The space opens again after Revive, for any epoch.
func (d *Dir) PowerCut(rng *rand.Rand) error {
	d.Kill()
	d.mu.Lock()
	defer d.mu.Unlock()
	names := make([]string, 0, len(d.dirty))
	for name := range d.dirty {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := d.lose(name, d.dirty[name], rng); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.dirty = map[string]*unsynced{}
	d.epoch = 0
	return nil
}

func (d *Dir) lose(name string, u *unsynced, rng *rand.Rand) error {
	f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if u.durable >= u.size {
		return nil
	}
	if rng.IntN(4) == 0 { // the size was not written back
		return f.Truncate(u.durable + rng.Int64N(u.size-u.durable+1))
	}
	for at := u.durable; at < u.size; {
		end := min(u.size, (at/page+1)*page)
		if rng.IntN(2) == 0 {
			if _, err := f.WriteAt(make([]byte, end-at), at); err != nil {
				return err
			}
		}
		at = end
	}
	return nil
}

var _ archive.Storage = (*Dir)(nil)
var _ archive.Opener = (*Dir)(nil)
var _ io.Closer = (*appender)(nil)
