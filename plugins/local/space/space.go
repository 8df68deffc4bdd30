package space

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say which space is opened, by whom.
type Options struct {
	Name     string
	Epoch    uint64
	Least    uint64 // the newest of Node that the space is known to have noted; 0 = none
	Node     string
	Create   bool // make the folder a space where it is new and empty
	Settings Settings
	Log      *slog.Logger // nil = silent
}

// Space is one folder. All methods may be called from several goroutines.
type Space struct {
	name, path, node string
	id               ID
	log              *slog.Logger
	root             *os.Root
	dir              *os.File // the folder itself, for statfs and syncfs
	lock             *os.File
	fs               fsInfo
	disk             diskCalls
	set              atomic.Pointer[Settings]
	gate             gate
	readOnly         atomic.Bool

	mu      sync.Mutex
	files   map[string]*file
	dirty   []*file             // written since the last round
	dirs    map[string]struct{} // folders changed since the last round
	session *Session
	leaving *Session // ended, but perhaps still inside a write

	beginning chan struct{} // one Begin at a time

	meta  sync.Mutex // names change one at a time
	tmp   uint64     // guarded by meta
	use   usage
	calls atomic.Uint64 // fsync, fdatasync and syncfs
	noPre atomic.Bool   // the file system cannot reserve

	kick  chan struct{}   // something is dirty
	force chan chan error // Sync wants a round now
	done  chan struct{}   // closed when Run has ended
}

// Opened is what Open found.
type Opened struct {
	ID       ID
	Created  bool
	OwnMount bool
	ReadOnly bool
	Epoch    uint64 // the newest of the node that is noted in the space; 0 = none
}

// Open makes a space ready. It fails with Unusable where the folder is
// missing, foreign, an older copy or in use; a read-only space opens and can be read. The
// owner calls Run, and Close in the end.
func Open(ctx context.Context, o Options) (*Space, Opened, error) {
	s, created, err := attach(ctx, o)
	if err != nil {
		return nil, Opened{}, err
	}
	got, err := s.Reopen(ctx, o)
	if err != nil {
		s.release()
		return nil, got, err
	}
	got.Created = created
	return s, got, nil
}

func attach(ctx context.Context, o Options) (_ *Space, created bool, err error) {
	path := filepath.Clean(o.Settings.Path)
	root, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) && o.Create {
		if err = os.MkdirAll(path, 0o750); err == nil {
			root, err = os.OpenRoot(path)
		}
	}
	if err != nil {
		e := &Error{Reason: Unusable, Size: -1, What: "the folder " + path + " cannot be opened", Err: err,
			Hint: "is the disk mounted, and may the server enter the folder?"}
		return nil, false, e
	}
	s := &Space{name: o.Name, path: path, node: o.Node, log: o.Log, root: root, disk: realDisk,
		files: map[string]*file{}, dirs: map[string]struct{}{},
		beginning: make(chan struct{}, 1), kick: make(chan struct{}, 1), force: make(chan chan error), done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.dir, err = root.Open("."); err != nil {
		return nil, false, wrap("", "open the folder", err)
	}
	if s.fs, err = inspect(path); err != nil {
		return nil, false, wrap("", "inspect the file system", err)
	}
	s.id, err = readMarker(root)
	if errors.Is(err, fs.ErrNotExist) {
		if !o.Create {
			return nil, false, &Error{Reason: Unusable, Size: -1, What: "no space in " + path + ": the marker .space/marker is missing",
				Hint: "mount the disk; if it is new, initialise the space"}
		}
		s.id, err = writeMarker(root, o.Node, time.Now())
		created = err == nil
	}
	if err != nil {
		return nil, false, wrap("", "read the marker", err)
	}
	if s.lock, err = lockMarker(ctx, root); err != nil {
		return nil, false, err
	}
	return s, created, nil
}

// Reopen hands the space to o.Epoch: calls of other epochs are refused from
// now on, those under way are waited for, and empty leftovers in open/ are
// removed. The settings are replaced, except for Path. Unusable, and nothing is
// written, where the space has noted an older epoch than o.Least.
func (s *Space) Reopen(ctx context.Context, o Options) (Opened, error) {
	newest, err := readEpoch(s.root, o.Node)
	if err != nil {
		return Opened{}, err
	}
	if o.Epoch < newest {
		return Opened{}, &Error{Reason: StaleEpoch, Size: -1, What: "a newer core has opened this space"}
	}
	if newest != 0 && newest < o.Least {
		return Opened{ID: s.id, Epoch: newest}, &Error{Reason: Unusable, Size: -1, What: "the folder is an older copy of the space",
			Hint: "mount the disk that was used last"}
	}
	turn, err := s.gate.shut(o.Epoch)
	if err != nil {
		return Opened{}, err
	}
	s.endSession()
	if err := s.gate.drain(ctx); err != nil {
		return Opened{}, err
	}
	s.endSession() // one that began while the gate was closing
	set := o.Settings
	s.set.Store(&set)
	s.wake() // rounds may begin that did not before
	c, err := s.capacity()
	if err != nil {
		return Opened{}, wrap("", "look at the file system", err)
	}
	s.readOnly.Store(c.readOnly)
	if !c.readOnly {
		if o.Epoch > newest {
			if err := writeEpoch(s.disk, s.root, o.Node, o.Epoch); err != nil && ReasonOf(err) != NoSpace {
				return Opened{}, err // on a full disk recording matters more than the note
			} else if err == nil {
				newest = o.Epoch
			}
		}
		s.sweep()
	}
	if err := s.gate.open(turn); err != nil {
		return Opened{}, err
	}
	return Opened{ID: s.id, OwnMount: s.fs.ownMount, ReadOnly: c.readOnly, Epoch: newest}, nil
}

// Initialize writes the marker of a new, empty space at path, without opening
// it.
func Initialize(path, node string) (ID, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return ID{}, wrap("", "make the folder", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return ID{}, wrap("", "open the folder", err)
	}
	defer root.Close()
	if _, err := readMarker(root); !errors.Is(err, fs.ErrNotExist) {
		return ID{}, &Error{Reason: Exists, Size: -1, What: "the folder is a space already",
			Hint: "empty the folder, .space included, to begin anew"}
	}
	return writeMarker(root, node, time.Now())
}

// sweep removes what a crash leaves: empty growing files (a name that became
// durable before any byte did) and temporary files.
func (s *Space) sweep() {
	for _, dir := range []string{strings.TrimSuffix(openPrefix, "/"), tmpDir} {
		entries, err := fs.ReadDir(s.root.FS(), dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			fi, err := e.Info()
			if err != nil || !fi.Mode().IsRegular() || dir != tmpDir && fi.Size() > 0 {
				continue
			}
			name := dir + "/" + e.Name()
			s.mu.Lock()
			_, busy := s.files[name]
			s.mu.Unlock()
			if !busy && s.root.Remove(name) == nil {
				s.log.Info("removed an empty leftover", "space", s.name, "file", name)
			}
		}
	}
}

// Close ends the session, waits for calls under way and lets go of the folder.
// Run must have ended, or never been called.
func (s *Space) Close(ctx context.Context) error {
	if _, err := s.gate.shut(s.gate.current()); err != nil {
		return err
	}
	s.endSession()
	if err := s.gate.drain(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	files := s.files
	s.files = map[string]*file{}
	s.mu.Unlock()
	for _, f := range files {
		f.mu.Lock()
		f.close()
		f.mu.Unlock()
	}
	s.release()
	return nil
}

func (s *Space) release() {
	for _, c := range []io.Closer{s.lock, s.dir, s.root} {
		switch c := c.(type) {
		case *os.File:
			if c != nil {
				c.Close()
			}
		case *os.Root:
			c.Close()
		}
	}
}

// Name is the space's name in the settings.
func (s *Space) Name() string { return s.name }

// Path is its folder.
func (s *Space) Path() string { return s.path }

// Epoch is the newest epoch that opened it.
func (s *Space) Epoch() uint64 { return s.gate.current() }

// Calls counts fsync, fdatasync and syncfs calls so far.
func (s *Space) Calls() uint64 { return s.calls.Load() }

// Local tells whether readers may have descriptors.
func (s *Space) Local() bool {
	switch s.set.Load().Descriptors {
	case "on":
		return true
	case "off":
		return false
	}
	return s.fs.local
}

// Present looks whether the folder is still the one that was opened: a disk
// that was unmounted lazily, or pulled, leaves another folder at the path.
func (s *Space) Present() error {
	at, err := os.Stat(filepath.Join(s.path, markerName))
	if err == nil {
		var own os.FileInfo
		if own, err = s.lock.Stat(); err == nil && os.SameFile(at, own) {
			return nil
		}
	}
	return &Error{Reason: Unusable, Size: -1, What: "the space is no longer at " + s.path, Err: err, Hint: "is the disk still mounted?"}
}

// begin is what every changing call begins with; gate.leave ends it.
func (s *Space) begin(epoch uint64) error {
	if err := s.gate.enter(epoch); err != nil {
		return err
	}
	if s.readOnly.Load() {
		s.gate.leave()
		return &Error{Reason: ReadOnly, Size: -1, What: "the file system is read-only"}
	}
	return nil
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
