package backup

import (
	"fmt"
	"time"

	"media-server/core/config"
)

// Config is [backup] of media-server.ini.
type Config struct {
	Path       string // folder; empty = data-dir/backups
	At         string // time of day; empty = never by itself
	Keep       int    // how many of this server; its older ones go
	Passphrase string // wraps them; empty = readable by the server's user only
}

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config { return Config{At: "03:00", Keep: 7} }

// Bind declares the keys.
func (c *Config) Bind(set *config.Set) {
	s := set.Section("backup", "Backups of databases, keys and settings; footage is not in them.")
	s.Path("path", &c.Path, "Folder of the backups. Empty = backups in data-dir; on another disk they outlive it.").Restart()
	s.String("at", &c.At, "Time of day of the daily backup, as 03:00. Empty = only when asked for.").Restart().Check(func(text string) (string, string) {
		if _, _, ok := clock(text); text != "" && !ok {
			return "no time of day", "write for example 03:00, or nothing"
		}
		return "", ""
	})
	s.Int("keep", &c.Keep, 1, 10000, "How many backups of this server are kept; its older ones are deleted, those of other servers in the folder are not.").Restart()
	s.SecretText("passphrase", &c.Passphrase, "Wraps the backups, which hold private keys and password hashes. Write ${ENV_NAME} or ${file:/path}. Without it they are readable by the server's user only.").Restart()
}

func clock(text string) (h, m int, ok bool) {
	n, err := fmt.Sscanf(text, "%d:%d", &h, &m)
	return h, m, err == nil && n == 2 && h >= 0 && h < 24 && m >= 0 && m < 60 && fmt.Sprintf("%02d:%02d", h, m) == text
}

// Next is the next time for the daily backup after t, by t's location; zero =
// never.
func (c *Config) Next(t time.Time) time.Time {
	h, m, ok := clock(c.At)
	if !ok {
		return time.Time{}
	}
	next := time.Date(t.Year(), t.Month(), t.Day(), h, m, 0, 0, t.Location())
	if !next.After(t) {
		next = time.Date(t.Year(), t.Month(), t.Day()+1, h, m, 0, 0, t.Location())
	}
	return next
}
