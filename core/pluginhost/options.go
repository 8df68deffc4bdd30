package pluginhost

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"slices"
	"time"
)

// Options is what the node gives a Host. The keys it comes from are [plugins]
// and [plugin.NAME] of media-server.ini.
type Options struct {
	Dirs    []string // plugin folders; each holds one folder a plugin. A missing one is watched for
	RunDir  string   // sockets, records and logs of plugins live in RunDir/plugins (0700)
	DataDir string   // a plugin may write to DataDir/plugins/NAME; empty = nowhere
	Node    string   // id of this server
	Epoch   uint64   // of this core; must be larger than any earlier core's

	Allow   []string          // names that may run; empty = all
	Plugins map[string]Plugin // [plugin.NAME]

	Linger     time.Duration // plugins end so long after the core is gone; 0 = 30 s
	Buffer     time.Duration // drivers keep so much unacknowledged, a stream; 0 = 20 s
	BufferMax  int64         // bytes, all streams of a driver; 0 = 1 GiB
	RestartMax time.Duration // longest wait between two starts; 0 = 30 s

	Log    *slog.Logger
	Notify func(Notice) // called from the host's goroutines; must not block
	Events func(Event)  // what devices report; likewise

	// The rest has defaults that only tests change.
	ScanEvery    time.Duration // how often plugin folders are looked at
	HealthEvery  time.Duration // pause between two health checks
	HealthWithin time.Duration // time a plugin has to answer one
	StartWithin  time.Duration // time from exec to the handshake line
	AckEvery     time.Duration // acknowledgements are gathered so long
	LogMax       int64         // bytes of a plugin's log before it is rotated
}

// Plugin is one [plugin.NAME] section.
type Plugin struct {
	Disabled bool
	Exec     string            // replaces plugin.ini's exec
	Args     []string          // appended to exec
	Env      []string          // NAME=value, added to the small environment a plugin gets
	Endpoint string            // unix:/path: attach to a process somebody else runs
	SHA256   string            // of the plugin's own executable or script; refused if another
	Settings map[string]string // its own keys
}

// Notice is something an operator may want to know. Types: plugin.started,
// plugin.attached, plugin.exited, plugin.hung, plugin.refused, plugin.taken,
// plugin.crash_loop and plugin.recovered.
type Notice struct {
	Type    string
	Plugin  string
	Level   string // info, warning, error
	Message string
	Data    map[string]any
}

// Event is what a device reported through its driver.
type Event struct {
	Plugin string
	UID    string
	Kind   string // motion, input, tamper, …
	Time   time.Time
	Active bool
	Data   map[string]string
}

func (o Options) withDefaults() Options {
	// Plugins run in their own folders, so relative paths would lead astray.
	o.RunDir, o.DataDir = absolute(o.RunDir), absolute(o.DataDir)
	o.Dirs = slices.Clone(o.Dirs)
	for i, d := range o.Dirs {
		o.Dirs[i] = absolute(d)
	}
	o.Linger = cmp.Or(o.Linger, 30*time.Second)
	o.Buffer = cmp.Or(o.Buffer, 20*time.Second)
	o.BufferMax = cmp.Or(o.BufferMax, 1<<30)
	o.RestartMax = cmp.Or(o.RestartMax, 30*time.Second)
	o.ScanEvery = cmp.Or(o.ScanEvery, 300*time.Millisecond)
	o.HealthEvery = cmp.Or(o.HealthEvery, 2*time.Second)
	o.HealthWithin = cmp.Or(o.HealthWithin, time.Second)
	o.StartWithin = cmp.Or(o.StartWithin, 15*time.Second)
	o.AckEvery = cmp.Or(o.AckEvery, 200*time.Millisecond)
	o.LogMax = cmp.Or(o.LogMax, 4<<20)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Notify == nil {
		o.Notify = func(Notice) {}
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	return o
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); path != "" && err == nil {
		return abs
	}
	return path
}
