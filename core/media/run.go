package media

import (
	"encoding/hex"
	"fmt"
)

// RunID names one unbroken capture session: 16 random bytes minted by the
// driver at each (re)connect.
type RunID [16]byte

func (r RunID) String() string { return hex.EncodeToString(r[:]) }

// IsZero tells whether no run is named.
func (r RunID) IsZero() bool { return r == RunID{} }

// ParseRunID reads the 32 hex digits that String writes.
func ParseRunID(s string) (RunID, error) {
	var r RunID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(r) {
		return r, fmt.Errorf("run id %q: want 32 hex digits", s)
	}
	copy(r[:], b)
	return r, nil
}

// Position says which access unit of a track comes next: all with a smaller
// sequence number are held (or, in an acknowledgement, need not be kept).
type Position struct {
	Track int
	Next  uint64
}

// RunPosition is how far a run is held, per track. Tracks not listed: nothing.
type RunPosition struct {
	Run    RunID
	Tracks []Position
}

// Next returns the first sequence number of track not yet held.
func (p RunPosition) Next(track int) uint64 {
	for _, t := range p.Tracks {
		if t.Track == track {
			return t.Next
		}
	}
	return 0
}
