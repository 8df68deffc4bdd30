package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/fault"
	"media-server/core/process"
	"media-server/plugins/sdk/pb"
)

// States of a plugin.
const (
	StateOff      = "off"      // disabled or not allowed
	StateRefused  = "refused"  // must not be started; see the problem
	StateStarting = "starting" // being started or attached
	StateServing  = "serving"
	StateWaiting  = "waiting" // failed; will be started again
	StateTaken    = "taken"   // a newer core has it
)

// supervisor keeps one plugin running. Its goroutine is run; everything else
// reads what is under mu.
type supervisor struct {
	host  *Host
	name  string
	paths paths
	log   *slog.Logger

	changed chan struct{} // spec was replaced, or ending was set
	done    chan struct{} // run has returned

	tail    *tail
	tailEnd func()

	mu      sync.Mutex
	spec    *spec
	ending  bool // stop the process, then return
	inst    *instance
	ready   chan struct{} // closed when inst is set
	driver  *driverService
	st      Status
	started bool
	hung    chan error  // of the present instance: why it has to be left
	recent  []time.Time // of failures, within loopWindow
	flooded time.Time   // when lines of its log were last left out
}

const (
	stableAfter  = 3 * time.Second  // of serving; then the next crash is restarted at once again
	loopAfter    = 5                // failures within loopWindow that are a crash loop, in a row or not
	loopWindow   = 10 * time.Minute // a plugin that crashes each minute loses as much as one that never starts
	calmAfter    = time.Minute      // of serving; then a crash loop is over
	healthStrike = 3
	takenRetry   = 5 * time.Second
)

func newSupervisor(h *Host, sp *spec) *supervisor {
	s := &supervisor{
		host: h, name: sp.name, paths: pathsOf(h.opt().RunDir, sp.name), log: pluginLog(h.opt().Log, sp.name),
		changed: make(chan struct{}, 1), done: make(chan struct{}), ready: make(chan struct{}), spec: sp,
	}
	s.st = Status{Name: sp.name, State: StateStarting, Since: time.Now()}
	return s
}

// want replaces the spec and tells run.
func (s *supervisor) want(sp *spec) {
	s.mu.Lock()
	s.spec = sp
	s.mu.Unlock()
	s.poke()
}

func (s *supervisor) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *supervisor) wanted() (*spec, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spec, s.ending
}

// run brings the plugin up again and again until ctx ends (the process is
// left running) or it is told to end it.
func (s *supervisor) run(ctx context.Context) {
	defer close(s.done)
	defer s.unfollow()
	fails, wait := 0, time.Duration(0)
	for {
		sp, ending := s.wanted()
		if ending || ctx.Err() != nil {
			return
		}
		if sp.disabled || sp.problem != nil {
			s.idle(sp)
			if sp.disabled {
				s.endRecorded(ctx)
			}
			if !s.sleep(ctx, time.Hour) {
				return
			}
			continue
		}
		if wait > 0 && s.sleep(ctx, wait) {
			if next, ending := s.wanted(); ending || next.launch() != sp.launch() {
				fails, wait = 0, 0
				s.fresh()
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.state(StateStarting, nil)
		inst, err := s.bring(ctx, sp)
		if ctx.Err() != nil {
			if inst != nil {
				inst.close()
			}
			return
		}
		if errors.Is(err, errTaken) {
			s.taken()
			wait = takenRetry
			continue
		}
		stable := false
		if err == nil {
			stable, err = s.serve(ctx, sp, inst)
			inst.close()
			s.unfollow()
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				fails, wait = 0, 0
				s.fresh()
				continue // told to: changed, off, end
			}
			if errors.Is(err, errTaken) {
				s.taken()
				wait = takenRetry
				continue
			}
		}
		if stable {
			fails = 0
		}
		fails++
		wait = backOff(fails, s.host.opt().RestartMax)
		s.failed(err, fails, wait)
	}
}

// backOff: at once, then 0.5 s, doubling to limit, for ever.
func backOff(fails int, limit time.Duration) time.Duration {
	if fails <= 1 {
		return 0
	}
	return min(limit, 500*time.Millisecond<<min(fails-2, 20))
}

// sleep waits; true = go on (time is up or something changed).
func (s *supervisor) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.changed:
	case <-t.C:
	}
	return true
}

// serve runs until the process has ended (error), is hung (error) or has to
// go (no error). stable tells that it served long enough for a clean slate.
func (s *supervisor) serve(ctx context.Context, sp *spec, inst *instance) (stable bool, err error) {
	s.up(inst)
	ictx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	hung := make(chan error, 2)
	s.mu.Lock()
	s.hung = hung
	s.mu.Unlock()
	wg.Go(func() { s.watchHealth(ictx, inst, hung) })
	if inst.info.Kind == pb.InfoReply_DRIVER {
		d := s.driverOf()
		s.host.route()
		wg.Go(func() { d.serve(ictx, inst) })
		if has(inst.info.Capabilities, "events") {
			wg.Go(func() { s.events(ictx, inst) })
		}
	}
	stop := func() {
		s.down()
		cancel()
		inst.conn.Close()
		wg.Wait()
	}
	settled := time.NewTimer(stableAfter)
	defer settled.Stop()
	calm := time.NewTimer(calmAfter)
	defer calm.Stop()
	for {
		select {
		case <-ctx.Done():
			stop()
			return stable, ctx.Err()
		case <-settled.C:
			stable = true
		case <-calm.C:
			s.steady()
		case <-inst.ends():
			stop()
			removeIfOurs(s.paths.record, inst)
			return stable, fault.New("plugin "+s.name, inst.proc.Ended(), "it is started again")
		case err := <-hung:
			stop()
			if errors.Is(err, errTaken) {
				return stable, err
			}
			s.notify("plugin.hung", "error", err.Error(), nil)
			s.killHung(inst)
			return stable, fault.Wrap(err, "plugin "+s.name, "health", "it is started again")
		case <-s.changed:
			next, ending := s.wanted()
			if !ending && !s.outdated(next, inst) {
				s.reconfigure(ctx, sp, next, inst)
				sp = next
				continue
			}
			stop()
			if !inst.foreign {
				s.log.Info("ending the plugin", "pid", inst.proc.PID)
				if err := s.end(ctx, sp, inst.proc, inst.socket); err != nil {
					s.log.Error("plugin does not end", "err", err)
				}
				removeIfOurs(s.paths.record, inst)
			}
			s.lost(fault.New("plugin "+s.name, "was stopped", ""), 0)
			return stable, nil
		}
	}
}

// outdated: the process has to go. A spec with a problem never ends a process
// that runs well: the last good one stays, and the problem shows.
func (s *supervisor) outdated(next *spec, inst *instance) bool {
	s.mu.Lock()
	s.st.Problem = next.problem
	s.mu.Unlock()
	if next.disabled {
		return true
	}
	return next.problem == nil && next.launch() != inst.launch
}

func (s *supervisor) reconfigure(ctx context.Context, old, next *spec, inst *instance) {
	if next.problem != nil || equalMaps(old.settings, next.settings) {
		return
	}
	if err := s.configure(ctx, next, inst); err != nil {
		s.log.Error("plugin did not take its new settings", "err", err)
		s.mu.Lock()
		s.st.LastError = err.Error()
		s.mu.Unlock()
	}
}

// killHung ends an instance that no longer answers. An endpoint is only left.
func (s *supervisor) killHung(inst *instance) {
	if inst.foreign {
		return
	}
	defer removeIfOurs(s.paths.record, inst)
	// No limit: a second one must not start while this one may still write.
	for {
		err := inst.proc.Kill(30 * time.Second)
		if err == nil || inst.proc.Dead() {
			return
		}
		s.log.Error("plugin does not end", "err", err)
	}
}

// removeIfOurs deletes the record unless a newer core has written its own.
func removeIfOurs(path string, inst *instance) {
	if inst.foreign {
		return
	}
	if r, err := readRecord(path); err == nil && r.PID == inst.proc.PID && r.Start == inst.proc.Start {
		removeRecord(path)
	}
}

// watchHealth asks until three answers in a row were missing.
func (s *supervisor) watchHealth(ctx context.Context, inst *instance, hung chan<- error) {
	strikes := 0
	t := time.NewTimer(s.host.opt().HealthEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		o := s.host.opt()
		cctx, cancel := context.WithTimeout(ctx, o.HealthWithin)
		reply, err := inst.base.Health(cctx, &pb.HealthRequest{})
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil || status.Code(err) == codes.Unimplemented {
			strikes = 0
			s.ailing(reply.GetMessage())
		} else if strikes++; strikes >= healthStrike {
			hung <- fmt.Errorf("no answer to %d health checks: %w", strikes, plain(err))
			return
		}
		if used, most := inst.memory(), memoryMost(o); used > most {
			hung <- fmt.Errorf("it uses %d MB of memory and may use %d MB, which is twice [plugins] buffer-max and 512 MB", used>>20, most>>20)
			return
		}
		t.Reset(o.HealthEvery)
	}
}

// memoryMost is what a plugin may use: a driver holds buffer-max bytes of
// units, garbage collectors double that. One that leaks is ended before it
// takes the machine down with it.
func memoryMost(o *Options) int64 { return 2*o.BufferMax + 512<<20 }

// events reads what devices report; the connection comes back by itself.
func (s *supervisor) events(ctx context.Context, inst *instance) {
	for ctx.Err() == nil {
		stream, err := pb.NewDriverClient(inst.conn).Events(ctx, &pb.EventsRequest{Epoch: s.host.opt().Epoch})
		for err == nil {
			var e *pb.EventsReply
			if e, err = stream.Recv(); err == nil {
				s.host.opt().Events(Event{Plugin: s.name, UID: e.Uid, Kind: e.Kind, Time: time.Unix(0, int64(e.Time)), Active: e.Active, Data: e.Data})
			}
		}
		if status.Code(err) == codes.Unimplemented {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// lose gives the instance up from the driver's side.
func (s *supervisor) lose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.hung <- err:
	default:
	}
}

// endRecorded ends a process that an earlier core left and that is off now.
func (s *supervisor) endRecorded(ctx context.Context) {
	r, err := readRecord(s.paths.record)
	if err != nil || r.Epoch > s.host.opt().Epoch || r.Boot != process.BootID() {
		return
	}
	proc, err := process.Open(r.PID, r.Start)
	if err != nil {
		return
	}
	defer proc.Release()
	if err := s.end(ctx, s.spec, proc, r.Socket); err != nil {
		s.log.Error("plugin does not end", "err", err)
		return
	}
	removeRecord(s.paths.record)
}

// follow starts the tail of the log; unfollow ends it.
func (s *supervisor) follow(fresh bool) {
	s.unfollow()
	t, err := newTail(s.paths.log, s.host.opt().LogMax, s.log)
	if err != nil {
		s.log.Warn("cannot read plugin log", "err", err)
		t = &tail{path: s.paths.log, max: s.host.opt().LogMax, log: s.log, handshake: make(chan string, 1)}
	}
	t.shaken = !fresh
	t.flood = func() {
		s.mu.Lock()
		s.flooded = time.Now()
		s.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { t.run(ctx) })
	s.tail, s.tailEnd = t, func() { cancel(); wg.Wait() }
}

func (s *supervisor) unfollow() {
	if s.tailEnd != nil {
		s.tailEnd()
		s.tailEnd = nil
	}
}

func has(list []string, want string) bool {
	for _, v := range list {
		if v == want {
			return true
		}
	}
	return false
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}
