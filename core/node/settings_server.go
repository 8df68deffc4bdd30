package node

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
	_ "time/tzdata" // time-zone must work on a machine without tzdata

	"media-server/core/config"
	"media-server/core/fault"
)

// ServerConfig is [server] of media-server.ini. Relative paths start from the
// folder of that file.
type ServerConfig struct {
	Name       string   // label of this server; empty = the host's name
	Threads    int      // system threads that run Go code at once; 0 = as many as there are processors
	DataDir    string   // databases, keys, and media where no space is configured
	StreamsDir string   // stream files
	PluginsDir []string // folders of plugins; the first that has a name wins
	RunDir     string   // sockets; must not survive a reboot
	TimeZone   string   // IANA name; empty = the system's

	zone *time.Location
}

// LogConfig is [log].
type LogConfig struct {
	Level  string        // debug, info, warn or error
	Format string        // text or json
	Keep   time.Duration // how long events stay in the journal; 30d
}

func defaultServer() ServerConfig {
	return ServerConfig{
		DataDir: "/var/lib/media-server", StreamsDir: "streams.d",
		PluginsDir: []string{"/usr/lib/media-server/plugins"}, RunDir: "/run/media-server", zone: time.Local,
	}
}

func defaultLog() LogConfig {
	return LogConfig{Level: "info", Format: "text", Keep: 30 * 24 * time.Hour}
}

// Zone is the server's time zone, for times without an offset.
func (c *ServerConfig) Zone() *time.Location {
	if c.zone == nil {
		return time.Local
	}
	return c.zone
}

// Label is the name, or the host's.
func (c *ServerConfig) Label() string {
	if c.Name != "" {
		return c.Name
	}
	name, err := os.Hostname()
	if err != nil {
		return "media-server"
	}
	return name
}

func (c *ServerConfig) bind(set *config.Set) {
	s := set.Section("server", "The server as a whole. Relative paths start from the folder of this file.")
	s.String("name", &c.Name, "Label of this server in cpanel, events and metrics. Empty = the host's name.").Restart()
	s.Int("threads", &c.Threads, 0, 4096, "System threads that run the server's code at once. 0 = one a processor.").Restart()
	s.Path("data-dir", &c.DataDir, "Databases and keys, and the footage where no [space.NAME] is configured.").Restart().Needed()
	s.Path("streams-dir", &c.StreamsDir, "Folder of the stream files, one a stream.").Restart().Needed()
	s.Paths("plugins-dir", &c.PluginsDir, "Folders of plugins, by comma; of two with one name the first counts.").Restart().Needed()
	s.Path("run-dir", &c.RunDir, "Sockets of the server and its plugins. Keep it short (a socket's path has at most 107 bytes) and on a file system that a reboot empties.").Restart().Needed()
	s.String("time-zone", &c.TimeZone, "Zone of times given without an offset, as Europe/Berlin. Empty = the system's.").Restart().Check(func(text string) (string, string) {
		zone, err := zoneOf(text)
		if err != nil {
			return "unknown time zone", "write an IANA name such as Europe/Berlin or UTC"
		}
		c.zone = zone
		return "", ""
	})
	s.Later("lua-dir", "cpanel-dir", "ntp-server", "ntp-interval")
}

func zoneOf(name string) (*time.Location, error) {
	if name == "" {
		return time.Local, nil
	}
	return time.LoadLocation(name)
}

func (c *LogConfig) bind(set *config.Set) {
	s := set.Section("log", "What is written to standard error, where systemd's journal picks it up, and kept as events.")
	s.Enum("level", &c.Level, []string{"debug", "info", "warn", "error"}, "Least level that is written.")
	s.Enum("format", &c.Format, []string{"text", "json"}, "Lines for people, or JSON objects.").Restart()
	s.Duration("keep", &c.Keep, time.Hour, 0, "How long events are kept for the log page and the API.").Restart()
}

// longestRunDir leaves room for "/plugins/<name of 36>/<socket>" in the 107
// bytes of a Unix socket's path.
const longestRunDir = 50

// Validate lists what the keys say together that cannot be.
func (c *ServerConfig) Validate() fault.Problems {
	var ps fault.Problems
	if len(c.RunDir) > longestRunDir {
		ps.Add(fault.Problem{Level: fault.Warning, Where: "server", Key: "run-dir", What: fmt.Sprintf("run-dir %s is %d bytes long", c.RunDir, len(c.RunDir)),
			Hint: fmt.Sprintf("above %d the path of a plugin's socket may get too long for the system", longestRunDir)})
	}
	if filepath.Clean(c.DataDir) == filepath.Clean(c.StreamsDir) {
		ps.Add(fault.Problem{Where: "server", Key: "streams-dir", What: "streams-dir and data-dir are the same folder", Hint: "give each a folder of its own"})
	}
	return ps
}

// shown is how a path is written in problems and origins: from the working
// folder if the file lies below it, as an operator on a terminal would type it.
func shown(path string) string {
	wd, err := os.Getwd()
	if err != nil || wd == "/" {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
