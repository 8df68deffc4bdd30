package archive

import "media-server/core/media"

// Stamp stands for what a store says of a stream: as long as it is the same, so are its
// answers about segments, bounds and files. Stamps are compared and nothing else.
type Stamp struct {
	list   uint64 // of what is listed
	memory [4]uint64
	end    media.Wall // of what was recorded last
	gone   int        // keys
}

// StampOf is the stamp of a store in memory that counts its changes.
func StampOf(changes uint64, file FileID) Stamp {
	return Stamp{list: changes, memory: [4]uint64{uint64(file)}}
}

// Stamp is that of a stream at this moment. It is much cheaper than what it stands for: no
// database is asked. Take it before what is to be remembered by it.
func (a *Archive) Stamp(uid string) Stamp {
	s := Stamp{list: a.cat.changes.Load()}
	if st := a.known(uid); st != nil {
		st.mu.Lock()
		s.end = st.last.end
		for _, f := range st.files {
			f.mu.Lock()
			// Of the files in memory one at most grows, and only by more bytes.
			s.memory[0]++
			s.memory[1] += uint64(f.id)
			s.memory[2] += uint64(f.size)
			s.memory[3] += uint64(f.state)
			f.mu.Unlock()
		}
		st.mu.Unlock()
	}
	if a.o.Keys != nil {
		s.gone = len(a.o.Keys.Gone(uid))
	}
	return s
}
