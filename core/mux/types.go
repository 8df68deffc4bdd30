package mux

import (
	"time"

	"media-server/core/media"
)

// Config bounds parts and segments. The zero value means Default.
type Config struct {
	PartDuration time.Duration // a part is cut before it grows longer than this (a single longer sample apart)
	MinSegment   time.Duration // a key frame starts a new segment only when the last one is at least this long
	MaxSegment   time.Duration // without a key frame a segment is cut after this long, not independent
	Wait         time.Duration // how long the start waits for tracks without parameters
	Epoch        uint64        // core epoch, written into every part header
	Chain        bool          // leave room for the chain link in every part header (SetChain)
}

// Default is what is used for fields of Config that are zero.
func Default() Config {
	return Config{
		PartDuration: 500 * time.Millisecond,
		MinSegment:   2 * time.Second,
		MaxSegment:   10 * time.Second,
		Wait:         2 * time.Second,
	}
}

// Start says where a writer begins: at the start of a run, after a change of
// parameters (Writer.Next), or where storage ends (resume).
type Start struct {
	Run           media.RunID
	Zero          media.Wall    // see Zero; the same for the whole run
	Tracks        []media.Track // all that the driver announced; those without parameters may find them in band
	Segment       uint64        // number of the first segment
	Discontinuity uint64        // counter of the first segment
	PartIndex     int           // index of the first part in that segment; > 0 when a segment is continued
	Fragments     uint32        // moof sequence number of the last fragment of the run (0 = none yet)
	Expect        []Expect      // where the tracks' stored samples end
	Continue      bool          // go on in the open file and segment: no wait for key frames or parameters
	SegmentStart  media.Wall    // with Continue: start of the segment that is continued; 0 = not known

	// Hold is asked once, when the file begins, with the time of its first unit;
	// it answers by how much that and all of the run is later (clock.Map.Start).
	// nil: never.
	Hold func(first media.Wall) time.Duration

	// Covered is asked, after Hold, of each unit that was kept while the beginning
	// was waited for: true = something else is stored there (clock.Map.Covered). nil:
	// never.
	Covered func(track int, wall media.Wall) bool
}

// Expect is where the stored samples of a track end: the decode time its next
// sample must not precede. A sample within 2 ms of it is moved onto it, so that
// a resumed recording has no hair cracks.
type Expect struct {
	Track        int
	NextTime     int64  // ticks since the run's zero
	NextSeq      uint64 // first sequence number not held; units before it are dropped as duplicates
	LastDuration uint32 // ticks; used when the run ends before a second unit arrives; 0 = not known
}

// Drop says why a unit was not stored.
type Drop uint8

// Reasons for which a unit is not stored.
const (
	Stored         Drop = iota
	DropNoTrack         // no such track in this run
	DropEmpty           // no payload
	DropTooBig          // payload beyond MaxUnit
	DropWaiting         // before the first key frame, or before parameters are known
	DropNoSet           // its track was left out of the file: its parameters are still unknown
	DropDuplicate       // sequence number already held
	DropBadPayload      // not in MP4 sample form (NAL lengths do not add up)
)

func (d Drop) String() string {
	return [...]string{"stored", "no such track", "empty", "too big", "waiting for a key frame",
		"parameters unknown", "duplicate", "malformed"}[d]
}

// Event tells what a Write meant beyond the unit itself. The zero value: the
// unit was taken, nothing to report.
type Event struct {
	// Dropped tells why the unit was not stored.
	Dropped Drop
	// Kept: the unit came before the first key frame, but may have been taken
	// after it; it is stored, or dropped, when that comes.
	Kept bool
	// Joined is how many kept units were stored with this one.
	Joined int
	// DTS and CTO are where a unit that was stored lies: decode time since the run's
	// zero and presentation minus decode time, ticks of its track. Key: it is stored as
	// a key frame.
	DTS int64
	CTO int32
	Key bool
	// Started is set once, with the tracks of the file in which parts will
	// come (complete parameters; tracks left out are missing).
	Started []media.Track
	// Changed is set when the unit, a key frame, brings other parameters than
	// those of the file, or can carry a track that had been left out. The unit
	// was NOT taken. The caller takes Flush's parts, opens a new file with a
	// discontinuity, makes a writer from Next(Changed) and writes the unit again.
	Changed []media.Track
}

// Stats counts what was odd since the writer was made.
type Stats struct {
	Units, Bytes  uint64
	Dropped       [16]uint64 // by Drop
	Backwards     uint64     // decode time at or before the last one: moved
	Holes         uint64     // a unit that comes more than MaxSegment after the one before
	BadDTS        uint64     // DTS of the driver unusable (after PTS, or absurd): derived instead
	NegativeTimes uint64     // before the run's zero: moved to it
	Damaged       uint64     // units marked damaged by the driver (stored)
}

// MaxUnit is the largest access unit that is stored, in bytes.
const MaxUnit = 8 << 20

// Zero chooses a run's zero for a first unit at wall: 10 s earlier, so that
// decode times stay positive with reordering and late tracks.
func Zero(first media.Wall) media.Wall { return first.Add(-10 * time.Second) }
