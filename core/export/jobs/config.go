package jobs

import (
	"time"

	"media-server/core/config"
)

// Config is [export] of media-server.ini.
type Config struct {
	Path    string        // folder; empty = data-dir/exports
	Keep    time.Duration // how long a finished export stays; 0 = until it is deleted
	MaxSize config.Size   // of all exports together, or a share of their disk; 0 = no limit
}

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config { return Config{Keep: 7 * 24 * time.Hour} }

// Bind declares the keys.
func (c *Config) Bind(set *config.Set) {
	s := set.Section("export", "Exports that are made in the background: POST /api/v1/exports, POST /v1/nvr/convert2mp4.")
	s.Path("path", &c.Path, "Folder of the finished files. Empty = exports in data-dir. On a disk with a space they leave its reserve free, but the oldest footage goes for them as for new one; on a disk of their own they take nothing from the recording.").Restart()
	s.Duration("keep", &c.Keep, 0, 0, "How long a finished export stays before its file is deleted. 0 = until somebody deletes it.").Restart()
	s.Size("max-size", &c.MaxSize, "Most that all exports together may take, or a share of their disk. 0 = no limit but the disk.").Restart()
}
