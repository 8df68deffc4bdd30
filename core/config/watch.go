package config

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// WatchConfig sets the times of a Watcher; zero fields take the defaults. They
// are no settings of the product: nobody has a reason to change them.
type WatchConfig struct {
	Debounce time.Duration // quiet time after an event; 300 ms. An editor writes a file in several steps
	MaxDelay time.Duration // longest wait while events keep coming; 600 ms, so that a file still takes effect within 1 s
	Rescan   time.Duration // 30 s; inotify misses NFS, lost queues and replaced mounts
	Hold     time.Duration // how long an empty or vanished file must stay so; 1 s. Editors truncate, or move away, before they write
	Log      *slog.Logger  // nil = none

	notify func() (notifier, error) // tests give their own
}

// notifier tells that something in the added folders may have changed.
type notifier interface {
	Add(dir string) error // may be called again for the same folder
	Events() <-chan struct{}
	Close() error // waits for its goroutine
}

// Watcher is a Source that remembers what was read through it and tells when
// any of that would read differently. What it serves changes only in Run, right
// before the callback: a load sees one state of the files.
//
// It is safe for concurrent use.
type Watcher struct {
	cfg    WatchConfig
	reload chan struct{}

	mu    sync.Mutex
	files map[string]*watched
	dirs  map[string]*listing
	added func(dir string) // nil until Run
}

type watched struct {
	data  []byte
	err   error
	since time.Time // since when it is known to be empty or gone; zero = it is not
}

func (w *watched) empty() bool {
	return w.err == nil && len(bytes.TrimSpace(w.data)) == 0 || errors.Is(w.err, fs.ErrNotExist)
}

type listing struct {
	names []string
	err   error
}

// NewWatcher returns a Watcher that serves the disk; nothing is watched until Run.
func NewWatcher(cfg WatchConfig) *Watcher {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.Debounce, 300*time.Millisecond)
	def(&cfg.MaxDelay, 2*cfg.Debounce)
	def(&cfg.Rescan, 30*time.Second)
	def(&cfg.Hold, time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.notify == nil {
		cfg.notify = newInotify
	}
	return &Watcher{cfg: cfg, reload: make(chan struct{}, 1), files: map[string]*watched{}, dirs: map[string]*listing{}}
}

// ReadFile implements Source and adds the file to what is watched.
func (w *Watcher) ReadFile(path string) ([]byte, error) {
	path = filepath.Clean(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.files[path]
	if f == nil {
		f = &watched{}
		f.data, f.err = Disk{}.ReadFile(path)
		w.files[path] = f
		w.watch(filepath.Dir(path))
	}
	return f.data, f.err
}

// ReadDir implements Source and adds the folder to what is watched.
func (w *Watcher) ReadDir(path string) ([]string, error) {
	path = filepath.Clean(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dirs[path]
	if d == nil {
		d = &listing{}
		d.names, d.err = Disk{}.ReadDir(path)
		w.dirs[path] = d
		w.watch(path)
	}
	return slices.Clone(d.names), d.err
}

func (w *Watcher) watch(dir string) {
	if w.added != nil {
		w.added(dir)
	}
}

// Reload makes Run look at the files now and call back even if nothing changed
// (SIGHUP, `reload`). It returns at once.
func (w *Watcher) Reload() {
	select {
	case w.reload <- struct{}{}:
	default:
	}
}

// Refresh looks at the files now, for a caller that loads right afterwards and
// wants the outcome (POST reload); Run does not report again what Refresh took
// over. What is held stays held.
func (w *Watcher) Refresh() {
	w.scan(time.Now())
}

// Run watches until ctx ends. changed is called from its goroutine, one call at
// a time, after what the Watcher serves has changed.
func (w *Watcher) Run(ctx context.Context, changed func()) error {
	n, err := w.cfg.notify()
	if err != nil {
		// Rescans still work; half a minute late is better than not at all.
		w.cfg.Log.Warn("folders cannot be watched, changes are noticed by rescans only", "err", err, "every", w.cfg.Rescan)
		n = noNotifier{}
	}
	defer n.Close()
	w.mu.Lock()
	w.added = func(dir string) { addNearest(n, dir) }
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.added = nil
		w.mu.Unlock()
	}()

	rescan := time.NewTicker(w.cfg.Rescan)
	defer rescan.Stop()
	var first, last time.Time // of the events not yet looked at
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		force := false
		select {
		case <-ctx.Done():
			return nil
		case <-n.Events():
			now := time.Now()
			if last = now; first.IsZero() {
				first = now
			}
			due.Reset(min(w.cfg.Debounce, first.Add(w.cfg.MaxDelay).Sub(now)))
			continue
		case <-due.C:
		case <-rescan.C:
		case <-w.reload:
			force = true
		}
		// Nothing has changed since the last event, so that what is gone has been gone
		// since then.
		now := time.Now()
		if first.IsZero() || len(n.Events()) > 0 {
			last = now
		}
		first = time.Time{}
		differs, again := w.scan(last)
		if differs || force {
			changed()
		}
		if again > 0 {
			due.Reset(again)
		}
	}
}

// scan compares the disk with what is served and takes over what differs. again
// is when a held file is due, 0 = none is. Since quiet no file has changed.
func (w *Watcher) scan(quiet time.Time) (differs bool, again time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Folders are added at each scan: one that was removed and made again has
	// lost its watch. First, so that a change after the reading is an event.
	for dir := range w.dirs {
		w.watch(dir)
	}
	for path := range w.files {
		w.watch(filepath.Dir(path))
	}
	now := time.Now()
	for path, f := range w.files {
		d, wait := w.scanFile(path, f, now, quiet)
		differs = differs || d
		if wait > 0 && (again == 0 || wait < again) {
			again = wait
		}
	}
	for path, d := range w.dirs {
		names, err := Disk{}.ReadDir(path)
		for held, f := range w.files {
			if name := filepath.Base(held); filepath.Dir(held) == path && !f.since.IsZero() && f.err == nil && !slices.Contains(names, name) {
				names = append(names, name)
				err = nil
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, d.names) || (err == nil) != (d.err == nil) {
			d.names, d.err = names, err
			differs = true
		}
	}
	return differs, again
}

func (w *Watcher) scanFile(path string, f *watched, now, quiet time.Time) (differs bool, wait time.Duration) {
	fresh := &watched{}
	fresh.data, fresh.err = Disk{}.ReadFile(path)
	if bytes.Equal(fresh.data, f.data) && errText(fresh.err) == errText(f.err) {
		f.since = time.Time{}
		return false, 0
	}
	if fresh.empty() && !f.empty() {
		if f.since.IsZero() {
			f.since = quiet
		}
		if wait := w.cfg.Hold - now.Sub(f.since); wait > 0 {
			return false, wait
		}
	}
	if errors.Is(fresh.err, fs.ErrNotExist) {
		// Forget it; whoever still wants it asks again and is watched again.
		delete(w.files, path)
	}
	f.data, f.err, f.since = fresh.data, fresh.err, time.Time{}
	return true, 0
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// addNearest watches dir, or the nearest folder above it that is there, so that
// its coming into being is seen. Having found that folder it looks once more:
// what was made before the watch stood gave no event.
func addNearest(n notifier, dir string) {
	for last := ""; ; {
		at := dir
		for n.Add(at) != nil && at != filepath.Dir(at) {
			at = filepath.Dir(at)
		}
		if at == dir || at == last {
			return
		}
		last = at
	}
}
