package pluginhost

import (
	"strings"
	"time"

	"media-server/core/config"
	"media-server/core/fault"
)

// Config is [plugins] and [plugin.NAME] of media-server.ini.
type Config struct {
	Allow      []string      // names of plugins that may run; empty = all that are found
	RestartMax time.Duration // longest wait before a crashed plugin is started again; 30s
	Buffer     time.Duration // what a driver keeps unacknowledged, a stream; 20s. Costs memory in the driver while the core or storage is away
	BufferMax  int64         // bytes of that, all streams of a driver; 1G
	Linger     time.Duration // plugins end by themselves so long after the core is gone; 30s. Must exceed a restart of the core
	Plugins    map[string]*PluginConfig
}

// PluginConfig is one [plugin.NAME].
type PluginConfig struct {
	Enable   bool
	Exec     string            // replaces the exec of its plugin.ini
	Args     []string          // appended to exec
	Env      []string          // NAME=value
	Endpoint string            // unix:/path of a process somebody else runs
	SHA256   string            // the executable must have this sum
	Settings map[string]string // the plugin's own keys
}

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config {
	return Config{
		RestartMax: 30 * time.Second, Buffer: 20 * time.Second, BufferMax: 1 << 30, Linger: 30 * time.Second,
		Plugins: map[string]*PluginConfig{},
	}
}

// Bind declares the keys of [plugins] and [plugin.NAME].
func (c *Config) Bind(set *config.Set) {
	s := set.Section("plugins", "Drivers and storage run as processes of their own, found in [server] plugins-dir.")
	s.List("allow", &c.Allow, "Names of the plugins that may run. Empty = all that are found.").Restart()
	s.Duration("restart-max", &c.RestartMax, time.Second, time.Hour, "A plugin that ends is started again at once, then with growing pauses up to this.").Restart()
	s.Duration("buffer", &c.Buffer, time.Second, 10*time.Minute, "What a driver keeps in memory of each stream while the core or storage is away. Longer outlasts a longer outage and costs memory.").Restart()
	s.Bytes("buffer-max", &c.BufferMax, 1<<20, "Most memory of a driver for that, all its streams together.").Restart()
	s.Duration("linger", &c.Linger, time.Second, time.Hour, "Plugins go on for so long without a core and are taken over by the next; then they end. So do the ports of [http] and [https], where connections wait for the next core; after a stop by SIGTERM for 3s, unless a server has begun to start by then.").Restart()

	set.Named("plugin", "One plugin. Keys not named here are the plugin's own.", func(name string, s *config.Section) {
		p := &PluginConfig{Enable: true}
		c.Plugins[name] = p
		s.Bool("enable", &p.Enable, "false = found but not run.").Restart()
		s.String("exec", &p.Exec, "Command instead of the one in its plugin.ini.").Restart()
		s.List("args", &p.Args, "Arguments put behind the command, by comma.").Restart()
		// Hidden when shown: credentials travel in environments.
		env := s.List("env", &p.Env, "Environment variables NAME=value, by comma.").Restart().Check(checkEnv)
		env.Secret = true
		s.String("endpoint", &p.Endpoint, "unix:/path of a plugin that something else runs; nothing is started then.").Restart().Check(checkEndpoint)
		s.String("sha256", &p.SHA256, "Checksum the executable must have, 64 hex digits. Empty = not checked.").Restart().Check(checkSHA256)
		s.Later("limits")
		s.Rest(config.Rest{Doc: "The plugin's own keys.", Effect: config.RestartServer, Into: &p.Settings})
	})
}

// Validate lists what the keys say together that cannot be.
func (c *Config) Validate() fault.Problems {
	var ps fault.Problems
	for name, p := range c.Plugins {
		if p.Endpoint != "" && p.Exec != "" {
			ps.Add(fault.Problem{Where: "plugin." + name, Key: "endpoint", What: "endpoint and exec are both set", Hint: "endpoint attaches to a running process, exec starts one; keep one"})
		}
	}
	ps.Sort()
	return ps
}

func checkEnv(text string) (what, hint string) {
	for _, item := range config.ParseList(text) {
		if name, _, ok := strings.Cut(item, "="); !ok || name == "" {
			return "an item is not NAME=value", "write for example LANG=C, TZ=UTC"
		}
	}
	return "", ""
}

func checkEndpoint(text string) (what, hint string) {
	if text == "" || strings.HasPrefix(text, "unix:/") && len(text) > len("unix:/") {
		return "", ""
	}
	return "not an endpoint", "write unix:/path"
}

func checkSHA256(text string) (what, hint string) {
	if text == "" || len(text) == 64 && strings.Trim(strings.ToLower(text), "0123456789abcdef") == "" {
		return "", ""
	}
	return "not a SHA-256 sum", "64 hex digits, as sha256sum prints"
}
