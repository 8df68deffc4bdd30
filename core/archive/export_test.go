package archive

// Listed tells whether the catalogue knows every file of a stream.
func Listed(a *Archive, uid string) bool { return len(a.inMemory(uid)) == 0 }
