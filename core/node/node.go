package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/access"
	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/export/jobs"
	"media-server/core/fault"
	"media-server/core/journal"
	"media-server/core/keys"
	"media-server/core/pluginhost"
	"media-server/core/ports"
	"media-server/core/rtsp"
	"media-server/core/timeline"
	"media-server/core/webrtc"
)

// Options is what main knows and the settings do not.
type Options struct {
	Path     string    // of media-server.ini
	Version  string    //
	Terminal bool      // somebody watches Out: the first password may be shown there
	Out      io.Writer // what a person who starts the server should see
	Reload   <-chan os.Signal
	// Holder is the command that keeps listeners open across deaths of the
	// server (core/ports); nil = they end with it.
	Holder []string
}

// Node is a running server.
type Node struct {
	opt     Options
	log     *slog.Logger
	level   *slog.LevelVar
	home    *home
	started time.Time
	watcher *config.Watcher
	boot    *Settings // as the server was started with
	current atomic.Pointer[Settings]

	journal  *journal.Journal
	access   *access.Access
	host     *pluginhost.Host
	archive  *archive.Archive
	timeline *timeline.Timeline
	streams  *streams
	places   *places
	drivers  *driverChecks
	web      *webSide
	rtsp     *rtsp.Server // nil: it is off
	webrtc   *webrtc.Server
	ports    *ports.Ports
	starting func() // ends the holder's wait for this server
	given    []int  // listening sockets that systemd has opened

	ready     atomic.Bool
	draining  atomic.Bool
	reloading sync.Mutex
	editing   sync.Mutex // of conf.d/spaces.ini; before reloading
	viewers   *viewers
	known     *knownStreams
	timings   timings
	marks     *marks
	backups   *backups
	signer    archive.Signer // nil: no pool signs, or ever did
	vault     *keys.Vault    // of encrypted footage; nil: this process only rebuilds
	strange   strange
	proofs    *proofs
	exports   *jobs.Jobs
}

// Run runs a server until ctx ends. Settings that cannot be used are returned
// as fault.Problems.
func Run(ctx context.Context, opt Options) error {
	n := &Node{opt: opt, started: time.Now(), viewers: newViewers(), given: ports.Given()}
	n.level = new(slog.LevelVar)
	n.watcher = config.NewWatcher(config.WatchConfig{})
	set, ps := LoadFrom(n.watcher, opt.Path, nil)
	if !set.Usable() {
		return ps
	}
	n.boot = set
	n.current.Store(set)
	n.setLog(set)
	for _, p := range ps {
		n.log.Warn("settings", "err", p.Error())
	}
	if set.Server.Threads > 0 {
		runtime.GOMAXPROCS(set.Server.Threads)
	}
	var err error
	n.backups = &backups{n: n}
	n.proofs = newProofs(n)
	if n.home, err = takeHome(set.Server.DataDir); err != nil {
		return err
	}
	defer n.home.Close()
	if err := n.backups.found(set); err != nil {
		return err
	}
	lock, err := takeRunDir(set.Server.RunDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	n.tellStarting(ctx, set)
	defer n.starting()
	err = n.run(ctx, set)
	if e := ctx.Err(); e != nil && errors.Is(err, e) {
		return nil // told to stop while it was still starting
	}
	return err
}

func (n *Node) setLog(set *Settings) {
	_ = n.level.UnmarshalText([]byte(set.Log.Level)) // one of the names that the schema allows
	o := &slog.HandlerOptions{Level: n.level}
	var h slog.Handler = slog.NewTextHandler(os.Stderr, o)
	if set.Log.Format == "json" {
		h = slog.NewJSONHandler(os.Stderr, o)
	}
	n.log = slog.New(h)
	slog.SetDefault(n.log)
}

// run builds the rooms from the ground up, runs them, and takes them down in
// the order that loses nothing.
func (n *Node) run(ctx context.Context, set *Settings) (err error) {
	dir := set.Server.DataDir
	if n.journal, err = journal.Open(ctx, journal.Options{Path: filepath.Join(dir, "journal.db"), Node: set.Server.Label(), Keep: set.Log.Keep, Log: n.log}); err != nil {
		return fault.Wrap(err, "journal.db", "the journal cannot be opened", "move it away: events start anew")
	}
	if n.access, err = access.Open(ctx, access.Options{DataDir: dir, KeysDir: keysDir(set), Config: set.Access, Log: n.log}); err != nil {
		n.journal.Close()
		return fault.Wrap(err, "accounts.db", "the accounts cannot be opened", "restore it from a backup")
	}

	n.vault = openVault(set, n.log)
	n.access.UseSealer(sealer{n.vault})
	if n.signer, err = openSigner(set, n.vault, n.log); err != nil {
		n.journal.Close()
		return errors.Join(err, n.access.Close())
	}
	n.known = readKnown(dir)
	n.marks = newMarks(n)

	// Each group ends after the one before it has ended.
	core := newGroup(context.WithoutCancel(ctx)) // journal, access, host
	store := newGroup(context.WithoutCancel(ctx))
	front := newGroup(ctx)
	core.failed, store.failed = front.cancel, front.cancel // nothing goes on without what lies below
	defer func() {
		n.draining.Store(true)
		notifySystemd("STOPPING=1")
		n.leavePorts(ctx)
		err = errors.Join(err, front.stop())
		if n.streams != nil {
			n.streams.detach()
		}
		err = errors.Join(err, store.stop())
		if n.archive != nil {
			n.archive.Close()
		}
		n.emit(event("server.stopped", "", "info", "the server stopped", nil))
		err = errors.Join(err, core.stop(), n.access.Close(), n.journal.Close())
		n.closePorts()
	}()
	core.run("journal", n.journal.Run)
	core.run("keys", n.vault.Run)

	n.host = pluginhost.New(n.hostOptions(set))
	n.drivers = newDriverChecks(n.host)
	n.places = newPlaces(n)
	core.run("plugins", n.host.Run)
	if n.archive, err = archive.Open(ctx, n.archiveOptions(set)); err != nil {
		return err
	}
	store.run("archive", n.archive.Run)
	n.streams = newStreams(n)
	n.timeline = timeline.New(n.archive, n.streams.ring)
	n.timeline.Complete(backend{n}.missing)
	n.timeline.Follow(n.streams.tap)
	n.exports = newExports(n, set)
	if err := n.openWebRTC(set); err != nil {
		return err
	}
	if err := n.listen(ctx, set); err != nil {
		n.webrtc.Close()
		return err
	}
	n.applyAll(set)
	if front.ctx.Err() != nil {
		n.web.close()
		n.closeRTSP()
		n.webrtc.Close()
		return ctx.Err()
	}
	n.announce(set)

	front.run("streams", n.streams.run)
	front.run("marks", n.marks.run)
	front.run("backups", n.backups.run)
	front.run("exports", n.exports.Run)
	front.run("web", n.web.run)
	if n.rtsp != nil {
		front.run("rtsp", n.rtsp.Run)
	}
	front.run("webrtc", n.webrtc.Run)
	front.run("ports", n.ports.Run)
	front.run("settings", n.followSettings)
	front.run("drivers", n.checkDrivers)
	front.run("places", n.places.run)
	front.run("watchdog", n.watchdog)
	n.ready.Store(true)
	notifySystemd("READY=1")
	n.emit(event("server.started", "", "info", "the server started", map[string]any{"version": n.opt.Version, "epoch": n.home.epoch}))
	return front.wait()
}

// announce tells whoever started the server where to look.
func (n *Node) announce(set *Settings) {
	out := n.opt.Out
	if out == nil {
		return
	}
	fmt.Fprintf(out, "media-server %s: %d streams, control panel at %s\n", n.opt.Version, len(set.Streams), n.web.url())
	if fp := n.web.fingerprint(); fp != "" {
		fmt.Fprintf(out, "TLS certificate, SHA-256: %s\n", fp)
	}
	pw, file, err := n.access.FirstPassword(n.opt.Terminal)
	switch {
	case err != nil:
		n.log.Error("the first password could not be made", "err", err)
	case pw != "":
		fmt.Fprintf(out, "first login: user admin, password %s (shown once; it must be changed)\n", pw)
	case file != "":
		n.log.Info("the first password of user admin lies in a file", "file", file)
	}
}

// watchdog tells systemd that the server lives, as long as the parts that
// recording needs answer.
func (n *Node) watchdog(ctx context.Context) error {
	period := watchdogPeriod()
	if period == 0 {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			for _, r := range n.streams.list() {
				if r.str != nil {
					r.str.Status() // takes the lock that a capture takes
				}
			}
			notifySystemd("WATCHDOG=1")
		}
	}
}

func (n *Node) hostOptions(set *Settings) pluginhost.Options {
	o := pluginOptions(set)
	o.Node, o.Epoch = n.home.nodeName(), n.home.epoch
	o.Log, o.Notify, o.Events = n.log, n.pluginNotice, n.deviceEvent
	return o
}

func (n *Node) archiveOptions(set *Settings) archive.Options {
	o := archive.Options{
		Signer: n.signer, Keys: dayKeys(n), DataDir: set.Server.DataDir, Epoch: n.home.epoch, Node: n.home.node, Program: "media-server " + n.opt.Version,
		WriteBuffer: set.Archive.WriteBuffer, WriteBufferMax: set.Archive.WriteBufferMax,
		Notify: n.archiveNotice, Log: n.log,
	}
	if zone, err := zoneOf(set.Server.TimeZone); err == nil { // the settings were checked
		o.Zone = zone
	}
	for _, sp := range set.Archive.Spaces {
		as, err := n.places.space(sp)
		if err != nil {
			n.log.Error("space cannot be used", "space", sp.Name, "err", err)
			continue
		}
		o.Spaces = append(o.Spaces, as)
	}
	o.Pools = poolOptions(set.Archive.Pools)
	return o
}

// spaceSettings is what the storage plugin is told of a space, in ini notation.
func spaceSettings(sp archive.SpaceConfig) map[string]string {
	m := map[string]string{"fsync": config.FormatDuration(sp.Fsync)}
	if sp.Path != "" {
		m["path"] = sp.Path
	}
	if sp.Fsync == archive.FsyncOff {
		m["fsync"] = "off"
	}
	if s := sp.SizeLimit; s.Bytes != 0 || s.Percent != 0 {
		m["size-limit"] = s.String()
	}
	if s := sp.Reserve; s.Bytes != 0 || s.Percent != 0 {
		m["reserve"] = s.String()
	}
	for k, v := range sp.Settings {
		m[k] = v
	}
	return m
}

// group runs goroutines that end together: stop ends them and waits.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	failed func() // called when one of the group has failed; may be nil
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// run starts f; an error other than the context's end stops the group.
func (g *group) run(name string, f func(context.Context) error) {
	g.wg.Go(func() {
		err := f(g.ctx)
		if err != nil && !errors.Is(err, context.Canceled) {
			g.mu.Lock()
			g.err = errors.Join(g.err, fmt.Errorf("%s: %w", name, err))
			g.mu.Unlock()
			g.cancel()
			if g.failed != nil {
				g.failed()
			}
		}
	})
}

// wait waits until the group's context ends.
func (g *group) wait() error {
	<-g.ctx.Done()
	return nil
}

func (g *group) stop() error {
	g.cancel()
	g.wg.Wait()
	return g.err
}

// timings keeps the newest first-byte times by protocol, for metrics.
type timings struct {
	mu sync.Mutex
	m  map[string]*histogram
}

func (t *timings) add(proto string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[string]*histogram{}
	}
	h := t.m[proto]
	if h == nil {
		h = &histogram{}
		t.m[proto] = h
	}
	h.add(d)
}

// histogram counts durations in the buckets of bounds.
type histogram struct {
	counts [9]uint64
	sum    time.Duration
}

var bounds = [...]time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	50 * time.Millisecond, 200 * time.Millisecond, time.Second, 5 * time.Second}

func (h *histogram) add(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += d
}
