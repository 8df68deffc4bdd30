package node

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	clockAlarm = 2 * time.Second // a camera further off is a problem somebody should know of
	clockRound = 100 * time.Millisecond
)

func now() time.Time { return time.Now() }

// systemZone names the system's zone: browsers need a name, not "Local".
func systemZone() string {
	if tz := os.Getenv("TZ"); tz != "" {
		return strings.TrimPrefix(tz, ":")
	}
	if b, err := os.ReadFile("/etc/timezone"); err == nil {
		if name := strings.TrimSpace(string(b)); name != "" {
			return name
		}
	}
	if link, err := os.Readlink("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(link, "zoneinfo/"); ok {
			return name
		}
	}
	return "UTC"
}

// firstPending tells whether user admin still has the password the server
// made, and which file holds it.
func (n *Node) firstPending() (file string, pending bool) {
	for _, u := range n.access.Users() {
		pending = pending || u.Name == "admin" && u.MustChange
	}
	path := filepath.Join(n.home.dir, "first-password")
	if _, err := os.Stat(path); pending && err == nil {
		return path, true
	}
	return "", pending
}
