package pluginhost

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"media-server/core/fault"
)

// Status is what is known of a plugin; a copy.
type Status struct {
	Name      string
	Version   string
	Kind      string // driver, storage
	State     string // one of the State constants
	PID       int    // 0: not running
	Attached  bool   // it ran before this core
	Endpoint  string
	Schemes   []string
	Since     time.Time // of the state
	Restarts  uint64    // starts by this core after the first
	LastError string    // why it last failed
	Health    string    // what ails it by its own word; empty = well
	Problem   *fault.Problem
	Looping   bool // it failed five times within ten minutes and has not served for a minute since
	Failures  int  // within ten minutes

	// Drivers.
	Streams int    // subscriptions
	Open    int    // of them, those with a run
	Batches uint64 // received
	Units   uint64
	Bytes   uint64 // of payload
	Dropped uint64 // units that fitted no run, track or handle
	Queued  int    // subscriptions with messages still to be sent to the driver
	Pieces  int64  // bytes of units that have not arrived whole
}

// floodShown is how long a plugin that printed too much is said to.
const floodShown = 10 * time.Second

// Plugins tells about all plugins, by name.
func (h *Host) Plugins() []Status {
	h.mu.Lock()
	sups := make([]*supervisor, 0, len(h.sups))
	for _, s := range h.sups {
		sups = append(sups, s)
	}
	h.mu.Unlock()
	list := make([]Status, 0, len(sups))
	for _, s := range sups {
		list = append(list, s.status())
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (s *supervisor) status() Status {
	s.mu.Lock()
	st := s.st
	sp, inst, d := s.spec, s.inst, s.driver
	if st.Health == "" && time.Since(s.flooded) < floodShown {
		st.Health = fmt.Sprintf("it prints more than %d lines a second; the rest is only in %s", linesSecond, s.paths.log)
	}
	s.mu.Unlock()
	st.Kind, st.Version, st.Schemes, st.Endpoint = sp.kind, sp.version, sp.schemes, sp.endpoint
	if inst != nil {
		st.Kind, st.Version, st.Schemes, st.Attached = kindName(inst.info.Kind), inst.info.Version, inst.info.Schemes, inst.attached
		if inst.proc != nil {
			st.PID = inst.proc.PID
		}
	}
	st.Schemes = slices.Clone(st.Schemes)
	if d != nil {
		d.fill(&st)
	}
	return st
}

func (s *supervisor) notify(typ, level, message string, data map[string]any) {
	s.host.opt().Notify(Notice{Type: typ, Plugin: s.name, Level: level, Message: message, Data: data})
}

// state moves to a state; problem is shown with it.
func (s *supervisor) state(state string, problem *fault.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.Problem = problem
	if s.st.State != state {
		s.st.State, s.st.Since = state, time.Now()
	}
}

// idle: it is not to run.
func (s *supervisor) idle(sp *spec) {
	state := StateOff
	if !sp.disabled {
		state = StateRefused
	}
	s.mu.Lock()
	news := s.st.State != state || text(s.st.Problem) != text(sp.problem)
	s.mu.Unlock()
	s.state(state, sp.problem)
	if news && !sp.disabled {
		s.log.Error("plugin refused", "err", sp.problem)
		s.notify("plugin.refused", "error", sp.problem.Error(), nil)
	}
}

func text(p *fault.Problem) string {
	if p == nil {
		return ""
	}
	return p.Error()
}

// up publishes the instance.
func (s *supervisor) up(inst *instance) {
	s.mu.Lock()
	s.inst = inst
	close(s.ready)
	if s.started {
		s.st.Restarts++
	}
	s.started = true
	s.st.Health = ""
	s.mu.Unlock()
	s.state(StateServing, nil)
	pid := 0
	if inst.proc != nil {
		pid = inst.proc.PID
	}
	typ := "plugin.started"
	if inst.attached {
		typ = "plugin.attached"
	}
	s.log.Info("plugin serves", "pid", pid, "version", inst.info.Version, "attached", inst.attached)
	s.notify(typ, "info", "plugin "+s.name+" serves", map[string]any{"pid": pid, "version": inst.info.Version})
}

// down withdraws it.
func (s *supervisor) down() {
	s.mu.Lock()
	s.inst, s.ready = nil, make(chan struct{})
	s.st.State, s.st.Since = StateStarting, time.Now()
	s.mu.Unlock()
}

// lost tells a driver's streams that their process is gone.
func (s *supervisor) lost(err error, again time.Duration) {
	s.mu.Lock()
	d := s.driver
	s.mu.Unlock()
	if d != nil {
		d.died(err, again)
	}
}

func (s *supervisor) taken() {
	s.mu.Lock()
	news := s.st.State != StateTaken
	s.mu.Unlock()
	s.state(StateTaken, fault.New("plugin "+s.name, errTaken.Error(), "end the older process: two servers share this run-dir"))
	if news {
		s.lost(errTaken, -1)
		s.log.Error("plugin is taken", "err", errTaken)
		s.notify("plugin.taken", "error", "plugin "+s.name+": "+errTaken.Error(), nil)
	}
}

func (s *supervisor) failed(err error, fails int, wait time.Duration) {
	s.state(StateWaiting, nil)
	s.mu.Lock()
	s.st.LastError = err.Error()
	s.mu.Unlock()
	s.log.Warn("plugin failed", "err", err, "failures", fails, "again_in", wait)
	s.notify("plugin.exited", "warning", err.Error(), map[string]any{"failures": fails, "again_in_ms": wait.Milliseconds()})
	s.lost(err, wait)
	s.mu.Lock()
	now := time.Now()
	s.recent = append(s.recent, now)
	for now.Sub(s.recent[0]) > loopWindow {
		s.recent = s.recent[1:]
	}
	failures := len(s.recent)
	news := failures >= loopAfter && !s.st.Looping
	s.st.Looping = s.st.Looping || news
	s.st.Failures = failures
	s.mu.Unlock()
	if news {
		s.notify("plugin.crash_loop", "error", "plugin "+s.name+" fails again and again: "+err.Error(), map[string]any{"failures": failures})
	}
}

// fresh: another program, or settings of another start, begin with a clean
// slate.
func (s *supervisor) fresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent, s.st.Looping, s.st.Failures = nil, false, 0
}

// steady: it has served for a while.
func (s *supervisor) steady() {
	s.mu.Lock()
	was := s.st.Looping
	s.recent, s.st.Looping, s.st.Failures = nil, false, 0
	s.mu.Unlock()
	if was {
		s.notify("plugin.recovered", "info", "plugin "+s.name+" serves again", nil)
	}
}

func (s *supervisor) ailing(message string) {
	s.mu.Lock()
	was := s.st.Health
	s.st.Health = message
	s.mu.Unlock()
	if message != was && message != "" {
		s.log.Warn("plugin is ailing", "err", message)
	}
}
