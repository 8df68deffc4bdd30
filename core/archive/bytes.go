package archive

// StreamBytes is how much footage a stream has, in bytes, the file that grows
// included; what lies in sealed files is summed once a stream, then kept up to
// date. Sealed footage counts as 0 while the catalogue cannot be read. Safe for
// concurrent use.
func (a *Archive) StreamBytes(uid string) (n int64) {
	var id int64
	if err := a.cat.reader().QueryRow("SELECT id FROM streams WHERE uid = ?", uid).Scan(&id); err == nil {
		n, _ = a.usageOf(uid, id)
	}
	for _, f := range a.inMemory(uid) {
		f.mu.Lock()
		n += f.size
		f.mu.Unlock()
	}
	return n
}
