package archive

import "database/sql"

// ReadLock does what reading a lock from a ledger does, and holds the change
// before it is committed. It returns when the writer of state.db is there; then
// waiting tells how many changes queue behind it.
func ReadLock(a *Archive, l Lock) (waiting func() int, release func()) {
	begun, end := make(chan struct{}), make(chan struct{})
	held := false
	a.state.later(func(*sql.Tx) error {
		if !held {
			held = true
			close(begun)
			<-end
		}
		return nil
	}, nil)
	a.state.add(l.fact())
	<-begun
	d := a.state.database
	waiting = func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.ops)
	}
	return waiting, func() { close(end) }
}
