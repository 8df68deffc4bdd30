package archive

// StreamBytes is how much of a stream's footage lies in sealed files, in
// bytes; 0 for a stream without footage, or when the catalogue cannot be read
// just now. Summed once a stream, then kept up to date. Safe for concurrent
// use.
func (a *Archive) StreamBytes(uid string) int64 {
	var id int64
	if err := a.cat.reader().QueryRow("SELECT id FROM streams WHERE uid = ?", uid).Scan(&id); err != nil {
		return 0
	}
	n, err := a.usageOf(uid, id)
	if err != nil {
		return 0
	}
	return n
}
