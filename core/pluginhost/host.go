package pluginhost

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"

	"media-server/core/fault"
	"media-server/plugins/sdk/codec"
)

// Host keeps plugins running and gives their work to stream and archive. Its
// methods are safe for concurrent use.
type Host struct {
	options atomic.Pointer[Options]
	dial    []grpc.DialOption

	mu       sync.Mutex
	sups     map[string]*supervisor
	sessions map[*session]struct{}
	scanned  bool // folders were looked through once
	stopping bool

	rescan chan struct{}
	untold chan struct{} // a new session has found no driver
	found  chan struct{} // closed at the end of the first scan
}

// New makes a host; nothing runs before Run.
func New(o Options) *Host {
	h := &Host{sups: map[string]*supervisor{}, sessions: map[*session]struct{}{}, rescan: make(chan struct{}, 1), untold: make(chan struct{}, 1), found: make(chan struct{})}
	o = o.withDefaults()
	o.Plugins = maps.Clone(o.Plugins)
	h.options.Store(&o)
	h.dial = []grpc.DialOption{experimental.WithBufferPool(codec.Pool())}
	return h
}

func (h *Host) opt() *Options { return h.options.Load() }

// Reload takes a new Allow, Plugins, Dirs, Linger, Buffer, BufferMax and
// RestartMax. Plugins whose command changed are started again, those whose
// own settings changed are told, others notice nothing.
func (h *Host) Reload(o Options) {
	old := *h.opt()
	old.Allow, old.Plugins, old.Dirs = o.Allow, maps.Clone(o.Plugins), slices.Clone(o.Dirs)
	old.Linger, old.Buffer, old.BufferMax, old.RestartMax = o.Linger, o.Buffer, o.BufferMax, o.RestartMax
	n := old.withDefaults()
	h.options.Store(&n)
	poke(h.rescan)
}

// Run keeps plugins running until ctx ends. It leaves them running then, for
// the next core, and returns when none of the host's goroutines is left.
func (h *Host) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(h.opt().RunDir, "plugins"), 0o700); err != nil {
		return fault.Wrap(err, "", "make run-dir", "[server] run-dir must be writable")
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var f finder
	// Polling, not inotify: a handful of stat calls three times a second is
	// cheaper than the races of watching folders that come and go, and works
	// on every file system.
	tick := time.NewTicker(h.opt().ScanEvery)
	defer tick.Stop()
	first := true
	for {
		specs, unsettled := f.scan(h.opt())
		if first && unsettled {
			// What lay there before we came is whole; look twice at once.
			specs, _ = f.scan(h.opt())
		}
		h.apply(ctx, specs, &wg)
		if first {
			first = false
			close(h.found)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.rescan:
		case <-h.untold:
			h.route()
		}
	}
}

// apply starts, changes and ends supervisors.
func (h *Host) apply(ctx context.Context, specs []spec, wg *sync.WaitGroup) {
	changed := false
	h.mu.Lock()
	if h.stopping {
		h.mu.Unlock()
		return
	}
	wanted := map[string]bool{}
	for i := range specs {
		sp := &specs[i]
		wanted[sp.name] = true
		s := h.sups[sp.name]
		switch {
		case s == nil:
			s = newSupervisor(h, sp)
			h.sups[sp.name] = s
			wg.Go(func() { s.run(ctx) })
			changed = true
		case !reflect.DeepEqual(s.spec, sp): // written by apply alone
			s.want(sp)
			changed = true
		}
	}
	var gone []*supervisor
	for name, s := range h.sups {
		if !wanted[name] {
			gone = append(gone, s)
			delete(h.sups, name)
		}
	}
	if !h.scanned {
		h.scanned, changed = true, true
	}
	h.mu.Unlock()
	for _, s := range gone {
		s.log.Info("plugin was removed")
		wg.Go(func() { s.finish() })
		changed = true
	}
	if changed {
		h.route()
	}
}

// finish ends the plugin's process and its supervisor, and gives its streams
// back.
func (s *supervisor) finish() {
	s.mu.Lock()
	s.ending = true
	d := s.driver
	s.mu.Unlock()
	s.poke()
	<-s.done
	if d != nil {
		d.dismiss()
		s.host.route()
	}
}

// StopAll ends every plugin, those of an earlier core included, whether Run
// is running or not. For purging and tests: a core that merely ends leaves
// its plugins running.
func (h *Host) StopAll(ctx context.Context) error {
	h.mu.Lock()
	h.stopping = true
	sups := slices.Collect(maps.Values(h.sups))
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range sups {
		s.mu.Lock()
		s.ending = true
		s.mu.Unlock()
		s.poke()
		wg.Go(func() {
			select {
			case <-s.done:
			case <-ctx.Done():
			}
		})
	}
	wg.Wait()
	return errors.Join(ctx.Err(), StopRecorded(h.opt().RunDir))
}

// StopRecorded ends the plugins that records in runDir lead to, and processes
// that carry their name and socket folder.
func StopRecorded(runDir string) error {
	dir := filepath.Join(runDir, "plugins")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, dir, "find the plugins that are running", "is the run folder readable?")
	}
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			if e.IsDir() {
				sweep(e.Name(), filepath.Join(dir, e.Name()), 0)
			}
			continue
		}
		p := pathsOf(runDir, name)
		r, err := readRecord(p.record)
		if err == nil && r.Boot == bootID() {
			if proc, err := openProcess(r.PID, r.Start); err == nil {
				_ = proc.signal(unix.SIGTERM) // kill follows
				_ = proc.signal(unix.SIGCONT)
				select {
				case <-proc.exited:
				case <-time.After(time.Second):
				}
				errs = append(errs, proc.kill(5*time.Second))
				proc.release()
			}
		}
		removeRecord(p.record)
		sweep(name, p.sockets, 0)
	}
	return errors.Join(errs...)
}

// Find returns when plugin folders have been looked through once, so that
// "there is no such driver" means something.
func (h *Host) Find(ctx context.Context) error {
	select {
	case <-h.found:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
