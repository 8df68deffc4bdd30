package clock

import (
	"encoding/binary"
	"fmt"

	"media-server/core/media"
)

// State is what a later Map needs to go on where this one stopped.
type State struct {
	Boot   int64 // Received − Mono; 0 = not known
	Latest media.Wall
	Tracks []TrackState
}

// TrackState is one track's part of a State. Times are nanoseconds; x counts
// from PTS0.
type TrackState struct {
	ID        int
	Timescale uint32
	PTS0      int64
	MaxX      int64
	Floor     int64
	Align     int64
	Top       int64 // greatest x that had an answer
	Report    int64 // NTP − PTS; 0 = no reports
	KnotX     int64
	KnotWall  media.Wall
	KnotPPB   int32
}

const (
	stateVersion = 1
	stateHead    = 1 + 1 + 8 + 8
	stateTrack   = 2 + 4 + 8*8 + 4
)

// State returns the map's state. Tracks without a Wall yet are left out.
func (m *Map) State() State {
	s := State{Latest: media.Wall(m.latest), Tracks: make([]TrackState, 0, len(m.tracks))}
	if m.bootKnown {
		s.Boot = m.boot
	}
	for _, t := range m.tracks {
		if t.n > 0 {
			s.Tracks = append(s.Tracks, t.state())
		}
	}
	return s
}

func (t *track) state() TrackState {
	k := t.newest()
	ts := TrackState{ID: t.id, Timescale: t.timescale, PTS0: t.pts0, MaxX: t.maxX, Floor: t.floor.value,
		Align: t.align, Top: t.top, KnotX: k.at, KnotWall: media.Wall(k.wall), KnotPPB: int32(k.ppb)}
	if t.reports.n > 0 {
		ts.Report = t.reports.median
	}
	return ts
}

// AppendState appends the state's binary form to b without any other
// allocation.
func (m *Map) AppendState(b []byte) []byte {
	n := 0
	for _, t := range m.tracks {
		if t.n > 0 {
			n++
		}
	}
	var boot int64
	if m.bootKnown {
		boot = m.boot
	}
	b = appendHead(b, n, boot, m.latest)
	for _, t := range m.tracks {
		if t.n > 0 {
			b = t.state().append(b)
		}
	}
	return b
}

func appendHead(b []byte, tracks int, boot, latest int64) []byte {
	b = append(b, stateVersion, byte(tracks))
	b = binary.BigEndian.AppendUint64(b, uint64(boot))
	return binary.BigEndian.AppendUint64(b, uint64(latest))
}

func (t TrackState) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(t.ID))
	b = binary.BigEndian.AppendUint32(b, t.Timescale)
	for _, v := range [...]int64{t.PTS0, t.MaxX, t.Floor, t.Align, t.Top, t.Report, t.KnotX, int64(t.KnotWall)} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return binary.BigEndian.AppendUint32(b, uint32(t.KnotPPB))
}

// MarshalBinary returns the form stored in part headers: 18 bytes and 74 a track.
func (s State) MarshalBinary() ([]byte, error) {
	if len(s.Tracks) > 255 {
		return nil, fmt.Errorf("clock state: %d tracks, at most 255", len(s.Tracks))
	}
	b := appendHead(make([]byte, 0, stateHead+stateTrack*len(s.Tracks)), len(s.Tracks), s.Boot, int64(s.Latest))
	for _, t := range s.Tracks {
		b = t.append(b)
	}
	return b, nil
}

// UnmarshalBinary reads what MarshalBinary wrote; it checks what Restore relies on.
func (s *State) UnmarshalBinary(b []byte) error {
	if len(b) < stateHead || b[0] != stateVersion || len(b) != stateHead+stateTrack*int(b[1]) {
		return fmt.Errorf("clock state: %d bytes are not version %d", len(b), stateVersion)
	}
	u64 := func() int64 { v := binary.BigEndian.Uint64(b); b = b[8:]; return int64(v) }
	n := int(b[1])
	b = b[2:]
	*s = State{Boot: u64(), Latest: media.Wall(u64()), Tracks: make([]TrackState, n)}
	for i := range s.Tracks {
		t := &s.Tracks[i]
		t.ID, t.Timescale = int(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:])
		b = b[6:]
		t.PTS0, t.MaxX, t.Floor, t.Align, t.Top, t.Report, t.KnotX, t.KnotWall =
			u64(), u64(), u64(), u64(), u64(), u64(), u64(), media.Wall(u64())
		t.KnotPPB = int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		if t.Timescale == 0 || abs(int64(t.KnotPPB)) > maxSlew {
			return fmt.Errorf("clock state: track %d: timescale %d, slope %d ppb", t.ID, t.Timescale, t.KnotPPB)
		}
	}
	return nil
}

// Restore makes a map that goes on from s: the same PTS gives the same wall
// (to within half a millisecond a second of distance), errors go on to be
// worked off. Tracks that s does not hold start like those of a new run. The
// run has started: Start does not move it.
func Restore(cfg Config, s State) *Map {
	m := New(cfg)
	m.started = true
	m.boot, m.bootKnown = s.Boot, s.Boot != 0
	m.first, m.latest = int64(s.Latest), int64(s.Latest)
	for _, ts := range s.Tracks {
		t := &track{id: ts.ID, timescale: ts.Timescale, based: true, resumed: true, pts0: ts.PTS0, maxX: ts.MaxX,
			align: ts.Align, lastAt: int64(s.Latest)}
		t.floor.seed(int64(s.Latest), ts.Floor)
		if ts.Report != 0 {
			t.reports.add(int64(s.Latest), ts.Report)
		}
		t.top = ts.Top
		t.push(knot{at: ts.KnotX, wall: int64(ts.KnotWall), ppb: int64(ts.KnotPPB)})
		m.tracks = append(m.tracks, t)
	}
	return m
}
