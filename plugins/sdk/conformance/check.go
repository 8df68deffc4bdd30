package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

// Options tell the kit what it cannot know.
type Options struct {
	Command  []string          // how to start it; empty = the path itself
	Dir      string            // where it runs; empty = the folder of the command's last word
	Manifest *Manifest         // what plugin.ini says; nil = not compared
	URL      string            // drivers: a source that delivers at once, and for at least a minute; empty = SCHEME://conformance
	Settings map[string]string // drivers: its driver-KEY settings; storage: those of a space. A "path" gets a new folder for each check
	Only     []string          // names of checks; handshake and info come with them; empty = all
	Wait     time.Duration     // for each answer; 0 = 15 s
}

// Manifest is what plugin.ini promises of Info.
type Manifest struct {
	Name, Kind string
	Schemes    []string
}

func (o *Options) wants(name string) bool {
	return len(o.Only) == 0 || name == "handshake" || name == "info" || slices.Contains(o.Only, name)
}

type check struct {
	name, what, why, remedy string
	of                      kind
	run                     func(*kit) error
}

// kind says which plugins a check is for, and how it may run.
type kind uint8

const (
	all      kind = iota
	alone         // all; starts a process of its own, so it runs beside the others
	drivers       // drivers only
	storages      // storage only
)

// kit is what the checks of one plugin share.
type kit struct {
	ctx   context.Context
	dir   string
	o     Options
	p     *process // the long-lived one
	info  *pb.InfoReply
	keys  []*pb.SettingKey // of a space or stream
	epoch uint64
	space int // spaces opened so far
	uids  []string
}

func (k *kit) newer() uint64 { k.epoch++; return k.epoch }

// Check starts the plugin at path and tries every rule on it. It takes about
// ten seconds. An error to start is a failed check like any other.
func Check(ctx context.Context, path string, o Options) Report {
	r := Report{Path: path}
	if len(o.Command) == 0 {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		o.Command = []string{path}
	}
	o.Command = slices.Clone(o.Command)
	for i, w := range o.Command { // it runs in another folder
		if abs, err := filepath.Abs(w); err == nil && strings.Contains(w, "/") && o.Dir == "" && fileAt(w) {
			o.Command[i] = abs
		}
	}
	if o.Dir == "" {
		o.Dir = filepath.Dir(o.Command[len(o.Command)-1])
	}
	if !fileAt(o.Dir) {
		o.Dir = ""
	}
	if o.Wait <= 0 {
		o.Wait = 15 * time.Second
	}
	dir, err := os.MkdirTemp("", "msc")
	if err != nil {
		r.Results = append(r.Results, Result{Name: "start", What: "a folder for sockets can be made", Err: err})
		return r
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder below the temporary one
	var list []check
	for _, c := range checks {
		if o.wants(c.name) {
			list = append(list, c)
		}
	}
	r.Results = make([]Result, len(list))
	var wg sync.WaitGroup
	for i, c := range list {
		if c.of == alone {
			wg.Go(func() {
				k := &kit{ctx: ctx, dir: dir, o: o, epoch: 100}
				r.Results[i] = c.try(k, "")
			})
		}
	}
	k := &kit{ctx: ctx, dir: dir, o: o, epoch: 100}
	for i, c := range list {
		if c.of != alone {
			r.Results[i] = c.try(k, k.skips(&c))
			k.hangUp()
		}
	}
	wg.Wait()
	if k.p != nil {
		k.p.kill()
		return r
	}
	for i, c := range list {
		if c.of == alone && c.name != "cookie" {
			r.Results[i] = Result{Name: c.name, What: c.what, Skip: "the plugin did not start"}
		}
	}
	return r
}

func fileAt(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// skips says why a check cannot be tried.
func (k *kit) skips(c *check) string {
	kind := k.info.GetKind()
	switch {
	case c.name == "handshake":
	case k.p == nil:
		return "the plugin did not start"
	case c.of == drivers && kind != pb.InfoReply_DRIVER:
		return "not a driver"
	case c.of == storages && kind != pb.InfoReply_STORAGE:
		return "not a storage plugin"
	case c.of == storages && needGrowth[c.name] && !k.grows():
		return "its files cannot grow"
	}
	return ""
}

func (c *check) try(k *kit, skip string) Result {
	res := Result{Name: c.name, What: c.what, Why: c.why, Remedy: c.remedy, Skip: skip}
	begin := time.Now()
	if skip == "" {
		res.Err = c.run(k)
	}
	res.Took = time.Since(begin)
	return res
}

var checks = slices.Concat(baseChecks, driverChecks, storageChecks, endChecks)

var baseChecks = []check{
	{"cookie", "without the cookie it ends at once, with an exit code above 0", "somebody who starts it by hand must be told, not left with a process", "compare " + sdk.CookieKey + " before anything else", alone, cookie},
	{"handshake", "it prints 1|1|unix|SOCKET|grpc within 15 s; the socket lies in the given folder and is ours alone", "the host knows a plugin by that line, and others must not connect", "print the line after listening, and flush it; umask 0177 before bind", all, handshake},
	{"health", "grpc.health.v1 answers SERVING for \"plugin\"", "the host asks it before it uses the plugin", "register the health service", all, healthy},
	{"info", "Info names kind, version, schemes and its own process id", "the host compares them with plugin.ini and the socket's peer", "fill in every field of InfoReply", all, info},
	{"schema", "each setting has a name, a type's values and a sentence of help", "cpanel draws its form from it", "complete SettingsSchema", all, schema},
	{"configure-epoch", "Configure refuses an older epoch with FAILED_PRECONDITION", "bytes of a dead core must not land after the new one has looked", "keep the newest epoch seen and compare", all, configureEpoch},
}

var driverChecks = []check{
	{"validate", "a URL of another scheme is refused with what and hint", "an operator must learn it when the file is saved", "check the URL in Validate", drivers, validate},
	{"snapshot", "where Info names \"snapshot\": a whole JPEG of 3 MiB at most, a problem with what, or nothing", "it is shown as it is", "answer an empty jpeg where the device has none", drivers, snapshots},
	{"hello", "a Frames call that does not begin with Hello ends with INVALID_ARGUMENT", "without an epoch nothing may be opened", "read one message first and look at it", drivers, helloFirst},
	{"frames-epoch", "an older Hello is refused, and a newer one is answered after the older connection has ended", "two cores must never be fed at once", "end the old call, wait for it, then send Welcome", drivers, framesEpoch},
	{"order", "Opened comes before units; sequences per track have no hole and nothing twice", "the core tells lost frames by them", "number units per run and track from 0", drivers, order},
	{"payload", "units have the form of their codec, KEY where every unit is one, and times of this host's clocks", "what the core stores is what players read", "see PROTOCOL.md, Units: lengths instead of start codes, no AUD, no ADTS; CLOCK_BOOTTIME", drivers, payloads},
	{"misuse", "a second Hello, a run of other than 16 bytes, and a handle used for a second uid end the call with INVALID_ARGUMENT", "a core that breaks the rules must be told, not guessed at", "check every message", drivers, misuse},
	{"takeover", "a second connection of the same epoch takes over: the first ends with ABORTED", "a core whose connection hangs must get in again", "end the first before Welcome to the second", drivers, takeover},
	{"changed", "Subscribe with other settings ends the run with CHANGED, sends what is left of it, and begins a new one", "what an operator changes must count, and nothing be lost for it", "compare url, settings, kinds and read timeout with the capture's", drivers, changed},
	{"resume", "a core that comes again gets the same run, from exactly where it asks", "a restart of the core must lose no frame and double none", "keep the capture and its units when the call breaks; skip what Subscribe says is held", drivers, resume},
	{"ack", "acknowledged units are forgotten, and First says so", "the buffer must not grow, and a hole must be known", "drop units on Ack; fill Opened.first", drivers, ack},
	{"keep", "Unsubscribe with keep goes on buffering", "a core that is behind comes again for the rest", "end the handle only", drivers, keep},
	{"stop", "Unsubscribe without keep ends with Closed STOPPED, and the next Subscribe begins a new run", "the core must know that nothing follows", "send what is left, then Closed", drivers, stop},
	{"bound", "more than buffer_ms is not kept; First shows what was dropped", "memory is bounded, and a hole never goes unsaid", "drop the oldest units; fill Opened.first", drivers, bound},
}

var endChecks = []check{
	{"signals", "SIGHUP, SIGINT, and SIGTERM while a core is connected, do not end it", "its life is not that of a terminal, nor of one core", "ignore them", all, signals},
	{"shutdown", "Shutdown is answered, and the process ends within 10 s", "an upgrade of the plugin waits for it", "answer first, then end", all, shutdown},
	{"terminate", "SIGTERM ends it while no core is connected", "an operator who stops all must not have to look for processes", "end on SIGTERM when no connection is open", alone, terminate},
	{"linger", "it ends by itself when no core came for linger_ms", "a plugin nobody needs must not run for ever", "count the time without a connection", alone, linger},
}

func cookie(k *kit) error {
	p, err := launch(&k.o, k.dir, "")
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.exited(k.o.Wait); err != nil {
		return err
	}
	if p.err == nil {
		return errors.New("it ended with exit code 0")
	}
	return nil
}

func handshake(k *kit) error {
	p, err := start(k.ctx, &k.o, k.dir)
	if err != nil {
		return err
	}
	k.p = p
	if filepath.Dir(p.socket) != k.dir {
		return fmt.Errorf("the socket is %s, want it in the folder of %s", p.socket, sdk.SocketDirEnv)
	}
	fi, err := os.Stat(p.socket)
	if err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the socket has mode %v", fi.Mode().Perm())
	}
	return nil
}

func healthy(k *kit) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.o.Wait)
	defer cancel()
	r, err := grpc_health_v1.NewHealthClient(k.p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: sdk.HealthService})
	if err == nil && r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fmt.Errorf("it answers %v", r.Status)
	}
	return err
}

func info(k *kit) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.o.Wait)
	defer cancel()
	r, err := pb.NewBaseClient(k.p.conn).Info(ctx, &pb.InfoRequest{})
	if err != nil {
		return err
	}
	k.info = r
	if k.o.URL == "" && len(r.Schemes) > 0 {
		k.o.URL = r.Schemes[0] + "://conformance"
	}
	switch {
	case r.Kind == pb.InfoReply_KIND_UNSPECIFIED:
		return errors.New("no kind")
	case r.Version == "":
		return errors.New("no version")
	case r.Kind == pb.InfoReply_DRIVER && len(r.Schemes) == 0:
		return errors.New("a driver without schemes")
	case int(r.Pid) != k.p.cmd.Process.Pid:
		return fmt.Errorf("pid %d, the process is %d", r.Pid, k.p.cmd.Process.Pid)
	}
	if m := k.o.Manifest; m != nil {
		kind := strings.ToLower(r.Kind.String())
		a, b := slices.Sorted(slices.Values(m.Schemes)), slices.Sorted(slices.Values(r.Schemes))
		switch {
		case kind != m.Kind:
			return fmt.Errorf("kind is %s, plugin.ini says %s", kind, m.Kind)
		case !slices.Equal(a, b):
			return fmt.Errorf("schemes are %v, plugin.ini says %v", b, a)
		}
	}
	return nil
}

func schema(k *kit) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.o.Wait)
	defer cancel()
	r, err := pb.NewBaseClient(k.p.conn).SettingsSchema(ctx, &pb.SettingsSchemaRequest{})
	if err != nil {
		return err
	}
	k.keys = r.ItemKeys
	for _, x := range slices.Concat(r.PluginKeys, r.ItemKeys) {
		if x.Name == "" || x.Help == "" || x.Type == pb.SettingKey_ENUM && len(x.Allowed) == 0 {
			return fmt.Errorf("key %q lacks name, help or allowed values", x.Name)
		}
	}
	return nil
}

func validate(k *kit) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.o.Wait)
	defer cancel()
	base := pb.NewBaseClient(k.p.conn)
	r, err := base.Validate(ctx, &pb.ValidateRequest{Url: "conformance-no-such-scheme://x"})
	if err != nil {
		return err
	}
	if len(r.Problems) == 0 || r.Problems[0].What == "" || r.Problems[0].Hint == "" {
		return fmt.Errorf("it answers %v", r.Problems)
	}
	if r, err = base.Validate(ctx, &pb.ValidateRequest{Url: k.o.URL, Settings: k.o.Settings}); err == nil && len(r.Problems) > 0 {
		return fmt.Errorf("it refuses %s: %v", k.o.URL, r.Problems)
	}
	return err
}

func (k *kit) configure(epoch uint64, m *pb.ConfigureRequest) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.o.Wait)
	defer cancel()
	m.Epoch = epoch
	_, err := pb.NewBaseClient(k.p.conn).Configure(ctx, m)
	return err
}

func configureEpoch(k *kit) error {
	if err := k.configure(k.newer(), &pb.ConfigureRequest{LingerMs: 60_000, BufferMs: 20_000, BufferBytes: 64 << 20}); err != nil {
		return err
	}
	return wantCode(k.configure(k.epoch-1, &pb.ConfigureRequest{}), codes.FailedPrecondition)
}

func wantCode(err error, want codes.Code) error {
	if status.Code(err) != want {
		return fmt.Errorf("it answers %v, want %v", status.Convert(err).Code(), want)
	}
	return nil
}

func helloFirst(k *kit) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.o.Wait)
	defer cancel()
	f, err := pb.NewDriverClient(k.p.conn).Frames(ctx)
	if err != nil {
		return err
	}
	_ = f.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Ack{Ack: &pb.Ack{Handle: 1}}})
	_, err = f.Recv()
	return wantCode(err, codes.InvalidArgument)
}

func framesEpoch(k *kit) error {
	old, err := k.connect(k.newer())
	if err != nil {
		return err
	}
	defer old.close()
	_, err = k.connect(k.epoch - 1)
	if err := wantCode(err, codes.FailedPrecondition); err != nil {
		return fmt.Errorf("an older Hello: %w", err)
	}
	c, err := k.connect(k.newer())
	if err != nil {
		return err
	}
	defer c.close()
	if m, err := old.next(); err == nil {
		return fmt.Errorf("the older connection still got %v", m)
	}
	return nil
}

func (k *kit) connect(epoch uint64) (*core, error) {
	return connect(k.ctx, k.p.conn, epoch, k.o.Wait)
}

// begin connects, subscribes and waits for some units.
func (k *kit) begin(uid string, units int) (*core, *watch, error) {
	c, err := k.connect(k.newer())
	if err != nil {
		return nil, nil, err
	}
	if !slices.Contains(k.uids, uid) {
		k.uids = append(k.uids, uid)
	}
	c.subscribe(1, &k.o, uid)
	w := c.watch(1)
	if err := w.until(func() bool { return w.units >= units }); err != nil {
		c.close()
		return nil, nil, err
	}
	return c, w, nil
}

// hangUp ends the captures of a check: many a device has one connection to
// give.
func (k *kit) hangUp() {
	if len(k.uids) == 0 || k.p == nil || k.p.alive() != nil {
		return
	}
	c, err := k.connect(k.newer())
	if err != nil {
		return
	}
	defer c.close()
	for i, uid := range k.uids {
		handle := uint32(i + 1)
		c.subscribe(handle, &k.o, uid)
		c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Handle: handle}}})
		w := c.watch(handle)
		w.unjudged = true
		w.c.wait = time.Second
		_ = w.until(func() bool { return w.closed != nil && w.closed.Cause == pb.Cause_STOPPED })
	}
	k.uids = nil
}

func order(k *kit) error {
	c, _, err := k.begin("order", 3)
	if err == nil {
		c.close()
	}
	return err
}

func resume(k *kit) error {
	c, w, err := k.begin("resume", 3)
	if err != nil {
		return err
	}
	c.close()
	held := w.position(1) // one less than came: that one is sent again
	time.Sleep(time.Second)
	c, err = k.connect(k.newer())
	if err != nil {
		return err
	}
	defer c.close()
	c.subscribe(7, &k.o, "resume", held)
	again := c.watch(7)
	if err := again.until(func() bool { return again.units >= 4 }); err != nil {
		return err
	}
	if !bytes.Equal(again.opened.Run, w.opened.Run) {
		return errors.New("another run, though the source was not lost")
	}
	for _, t := range held.Tracks {
		if f := again.firsts[t.Track]; f != t.Next {
			return fmt.Errorf("track %d: first is %d, want %d", t.Track, f, t.Next)
		}
	}
	return nil
}

func ack(k *kit) error {
	c, w, err := k.begin("ack", 4)
	if err != nil {
		return err
	}
	c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Ack{Ack: &pb.Ack{Handle: 1, Position: w.position(0)}}})
	want := w.position(0)
	// A unit that came after the Ack was sent shows nothing; a second
	// Subscribe on the same connection does: messages keep their order.
	c.subscribe(2, &k.o, "ack")
	again := c.watch(2)
	err = again.until(func() bool { return again.opened != nil })
	c.close()
	if err != nil {
		return err
	}
	for _, t := range want.Tracks {
		if f := again.firsts[t.Track]; f < t.Next {
			return fmt.Errorf("track %d: first is %d, all before %d were acknowledged", t.Track, f, t.Next)
		}
	}
	return nil
}

func keep(k *kit) error {
	c, w, err := k.begin("keep", 2)
	if err != nil {
		return err
	}
	defer c.close()
	c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Handle: 1, Keep: true}}})
	time.Sleep(time.Second)
	c.subscribe(2, &k.o, "keep", w.position(0))
	again := c.watch(2)
	if err := again.until(func() bool { return again.units >= 2 }); err != nil {
		return err
	}
	if !bytes.Equal(again.opened.Run, w.opened.Run) {
		return errors.New("another run")
	}
	return nil
}

func stop(k *kit) error {
	c, w, err := k.begin("stop", 1)
	if err != nil {
		return err
	}
	defer c.close()
	c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Handle: 1}}})
	if err := w.until(func() bool { return w.closed != nil }); err != nil {
		return err
	}
	if w.closed.Cause != pb.Cause_STOPPED {
		return fmt.Errorf("the cause is %v", w.closed.Cause)
	}
	run := w.opened.Run
	c.subscribe(2, &k.o, "stop", w.position(0))
	again := c.watch(2)
	if err := again.until(func() bool { return again.units > 0 }); err != nil {
		return err
	}
	if bytes.Equal(again.opened.Run, run) {
		return errors.New("the stopped run goes on")
	}
	return nil
}

func bound(k *kit) error {
	if err := k.configure(k.newer(), &pb.ConfigureRequest{LingerMs: 60_000, BufferMs: 1000, BufferBytes: 64 << 20}); err != nil {
		return err
	}
	c, w, err := k.begin("bound", 1)
	if err != nil {
		return err
	}
	c.close()
	held := w.position(0)
	time.Sleep(2500 * time.Millisecond)
	c, err = k.connect(k.newer())
	if err != nil {
		return err
	}
	defer c.close()
	c.subscribe(1, &k.o, "bound", held)
	again := c.watch(1)
	if err := again.until(func() bool { return again.units > 0 }); err != nil {
		return err
	}
	if !bytes.Equal(again.opened.Run, held.Run) {
		return nil // a new run says it as well
	}
	for _, t := range held.Tracks {
		if again.firsts[t.Track] > t.Next {
			return nil
		}
	}
	return errors.New("nothing was dropped in 2.5 s with buffer_ms = 1000")
}

func signals(k *kit) error {
	if err := healthy(k); err != nil { // a core is connected now
		return err
	}
	if k.info.GetKind() == pb.InfoReply_DRIVER {
		c, err := k.connect(k.newer())
		if err != nil {
			return err
		}
		defer c.close()
	}
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		if err := k.p.cmd.Process.Signal(s); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		time.Sleep(300 * time.Millisecond)
		if err := k.p.alive(); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
	}
	return nil
}

func shutdown(k *kit) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.o.Wait)
	defer cancel()
	if _, err := pb.NewBaseClient(k.p.conn).Shutdown(ctx, &pb.ShutdownRequest{}); err != nil {
		return err
	}
	return k.p.exited(min(k.o.Wait, 10*time.Second))
}

func terminate(k *kit) error {
	p, err := start(k.ctx, &k.o, k.dir) // connects at the first call only
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.exited(min(k.o.Wait, 10*time.Second))
}

func linger(k *kit) error {
	p, err := start(k.ctx, &k.o, k.dir)
	if err != nil {
		return err
	}
	defer p.kill()
	k.p = p
	if err := k.configure(k.newer(), &pb.ConfigureRequest{LingerMs: 1000, BufferMs: 1000, BufferBytes: 1 << 20}); err != nil {
		return err
	}
	_ = p.conn.Close()
	if err := p.exited(min(k.o.Wait, 10*time.Second)); err != nil {
		return err
	}
	if b, err := os.ReadFile(p.log); err == nil && strings.Contains(string(b), "panic:") {
		return fmt.Errorf("it panicked at the end: %s", tail(b))
	}
	return nil
}
