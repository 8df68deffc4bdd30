package archive

import "time"

// KeepBrokenEarlier makes every broken promise older.
func KeepBrokenEarlier(a *Archive, by time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, b := range a.keepBroken {
		b.since, b.last = b.since.Add(-by), b.last.Add(-by)
		a.keepBroken[uid] = b
	}
}
