package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"media-server/core/config"
	"media-server/core/fault"
	"media-server/core/pluginhost"
)

// driverHost is what driverChecks needs of the plugin host.
type driverHost interface {
	Plugins() []pluginhost.Status
	PluginFor(scheme string) (string, bool)
	Schema(ctx context.Context, plugin string) (own, items []pluginhost.Key, err error)
	Validate(ctx context.Context, plugin, url string, settings map[string]string) (fault.Problems, error)
}

// driverChecks holds the URL and driver-KEYs of streams against what their
// drivers know. A driver is asked while it runs; of one that does not run
// nothing is said. Answers are kept until the driver is started again.
//
//	reload ──▶ of ──▶ errors: the file is refused, the last good settings stay
//	every second ──▶ refresh ──▶ found ──▶ problems, API, cpanel
type driverChecks struct {
	host driverHost

	mu      sync.Mutex
	schemas map[string]driverSchema // by plugin
	answers map[string]fault.Problems
	silent  map[string]time.Time // plugins that did not answer, until when not to ask
	found   map[string]fault.Problems
	last    fault.Problems // of the streams' drivers as a whole: found, and streams without one
}

type driverSchema struct {
	pid  int
	keys []pluginhost.Key
}

const (
	driverAsk     = time.Second // bounds a reload's wait for a driver
	driverSilence = 10 * time.Second
	answersMost   = 20_000
)

func newDriverChecks(h driverHost) *driverChecks {
	return &driverChecks{host: h, schemas: map[string]driverSchema{}, answers: map[string]fault.Problems{}, silent: map[string]time.Time{}}
}

// of returns what the stream's driver finds wrong, at file and line; nothing
// while the driver cannot be asked.
func (d *driverChecks) of(ctx context.Context, st *StreamSettings) fault.Problems {
	c := &st.Config
	if !c.Enable || c.URL == "" {
		return nil
	}
	plugin := c.Driver
	if plugin == "" {
		var ok bool
		if plugin, ok = d.host.PluginFor(c.DriverName()); !ok {
			return nil
		}
	}
	schema, ok := d.schema(ctx, plugin)
	if !ok {
		return nil
	}
	id := fmt.Sprintf("%s %d %q %q", plugin, schema.pid, c.URL, sortedPairs(c.DriverKeys))
	d.mu.Lock()
	raw, known := d.answers[id]
	d.mu.Unlock()
	if !known {
		raw = checkDriverKeys(plugin, schema.keys, c.DriverKeys)
		more, err := d.validate(ctx, plugin, c.URL, c.DriverKeys)
		if err != nil {
			return nil //nolint:nilerr // no answer is no problem of the settings; its process shows as failing
		}
		for _, p := range more {
			if !slices.ContainsFunc(raw, func(q fault.Problem) bool { return q.Key == p.Key && p.Key != "" }) {
				raw = append(raw, p)
			}
		}
		d.mu.Lock()
		if len(d.answers) >= answersMost {
			clear(d.answers)
		}
		d.answers[id] = raw
		d.mu.Unlock()
	}
	var ps fault.Problems
	for _, p := range raw {
		ps.Add(placeDriverProblem(st, p))
	}
	return ps
}

func sortedPairs(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k, m[k])
	}
	return out
}

// schema returns what the running plugin declares, asked once a process.
func (d *driverChecks) schema(ctx context.Context, plugin string) (driverSchema, bool) {
	pid, serving := 0, false
	for _, p := range d.host.Plugins() {
		if p.Name == plugin && p.Kind == "driver" && p.State == pluginhost.StateServing {
			pid, serving = p.PID, true
		}
	}
	if !serving {
		return driverSchema{}, false
	}
	d.mu.Lock()
	s, ok := d.schemas[plugin]
	quiet := time.Now().Before(d.silent[plugin])
	d.mu.Unlock()
	if ok && s.pid == pid {
		return s, true
	}
	if quiet {
		return s, false
	}
	ctx, cancel := context.WithTimeout(ctx, driverAsk)
	defer cancel()
	_, items, err := d.host.Schema(ctx, plugin)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.silent[plugin] = time.Now().Add(driverSilence)
		return s, false
	}
	s = driverSchema{pid: pid, keys: items}
	d.schemas[plugin] = s
	return s, true
}

func (d *driverChecks) validate(ctx context.Context, plugin, url string, settings map[string]string) (fault.Problems, error) {
	d.mu.Lock()
	quiet := time.Now().Before(d.silent[plugin])
	d.mu.Unlock()
	if quiet {
		return nil, context.DeadlineExceeded
	}
	ctx, cancel := context.WithTimeout(ctx, driverAsk)
	defer cancel()
	ps, err := d.host.Validate(ctx, plugin, url, settings)
	if err != nil {
		d.mu.Lock()
		d.silent[plugin] = time.Now().Add(driverSilence)
		d.mu.Unlock()
	}
	return ps, err
}

// checkDriverKeys holds the names of driver-KEYs against the schema. Values
// are the driver's to judge.
func checkDriverKeys(plugin string, keys []pluginhost.Key, settings map[string]string) (ps fault.Problems) {
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
		if _, given := settings[k.Name]; k.Required && !given {
			ps.Add(fault.Problem{Key: k.Name, What: "is missing", Hint: k.Help})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if slices.Contains(names, name) {
			continue
		}
		hint := fmt.Sprintf("driver %s has no keys", plugin)
		if n := config.Nearest(name, names); n != "" {
			hint = fmt.Sprintf("did you mean %q?", "driver-"+n)
		} else if len(names) > 0 {
			hint = fmt.Sprintf("keys of driver %s: driver-%s", plugin, strings.Join(names, ", driver-"))
		}
		ps.Add(fault.Problem{Key: name, What: fmt.Sprintf("unknown key %q for driver %s", "driver-"+config.Name(name), plugin), Hint: hint})
	}
	return ps
}

// placeDriverProblem finds the line of the key that a driver complains about.
func placeDriverProblem(st *StreamSettings, p fault.Problem) fault.Problem {
	key := "driver-" + p.Key
	switch p.Key {
	case "":
		key = ""
	case "url":
		key = "stream-url"
	}
	if key != "" && !strings.Contains(p.What, key) {
		p.What = key + ": " + p.What
	}
	p.Key = key
	it, ok := st.Keys.Get(st.UID, key)
	if !ok || it.Origin.File == "" {
		it, _ = st.Keys.Get(st.UID, "stream-url")
	}
	if it.Origin.File == "" {
		p.Where = "stream " + st.UID
		return p
	}
	if !strings.HasSuffix(it.Origin.File, st.UID+".ini") {
		p.What = fmt.Sprintf("stream %s: %s", st.UID, p.What)
	}
	return p.At(it.Origin.File, it.Origin.Line, it.Origin.Col)
}

// refresh asks about every stream in force. The result tells whether anything
// changed.
func (d *driverChecks) refresh(ctx context.Context, set *Settings) (before, now fault.Problems) {
	found := map[string]fault.Problems{}
	var all fault.Problems
	var names []string
	for _, p := range d.host.Plugins() {
		if p.Kind == "driver" {
			names = append(append(names, p.Name), p.Schemes...)
		}
	}
	for _, p := range set.UnknownDrivers(names) {
		uid := p.Where
		p.Where = ""
		found[uid] = append(found[uid], p)
		all = append(all, p)
	}
	for _, uid := range set.UIDs() {
		if ctx.Err() != nil {
			break
		}
		ps := d.of(ctx, set.Streams[uid])
		if len(ps) > 0 {
			found[uid] = append(found[uid], ps...)
			all = append(all, ps...)
		}
	}
	all.Sort()
	d.mu.Lock()
	defer d.mu.Unlock()
	before, d.found, d.last = d.last, found, all
	return before, all
}

// problems of all streams, and those of one.
func (d *driverChecks) problems() fault.Problems {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.last)
}

func (d *driverChecks) problemsOf(uid string) fault.Problems {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.found[uid])
}

// checkDrivers keeps the problems of drivers up to date: drivers come and go
// while the files stay as they are.
func (n *Node) checkDrivers(ctx context.Context) error {
	if n.host.Find(ctx) != nil {
		return nil
	}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		set := n.current.Load()
		before, now := n.drivers.refresh(ctx, set)
		told := append(slices.Clone(before), set.Problems()...) // refused for it: said already
		n.tellNew(told, now)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
