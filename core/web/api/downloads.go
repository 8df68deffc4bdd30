package api

import (
	"sync"
	"time"
)

const (
	// downloadAgain is how long requests for one export by one person count as one
	// download: players and download managers send many, for ranges.
	downloadAgain = 10 * time.Minute
	// mostDownloads bounds what is remembered; beyond it each request is audited.
	mostDownloads = 1000
)

// download is who fetches which export from where.
type download struct{ who, address, id string }

// downloads remembers what was audited. Safe for concurrent use.
type downloads struct {
	mu sync.Mutex
	at map[download]time.Time
}

// begins tells whether a request begins a download, rather than go on with one.
func (d *downloads) begins(x download, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := func(t time.Time) bool { return now.Sub(t) >= downloadAgain }
	if t, is := d.at[x]; is && !old(t) {
		return false
	}
	if len(d.at) >= mostDownloads {
		for k, t := range d.at {
			if old(t) {
				delete(d.at, k)
			}
		}
	}
	if d.at == nil {
		d.at = map[download]time.Time{}
	}
	if len(d.at) < mostDownloads {
		d.at[x] = now
	}
	return true
}
