package archive

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/media"
	"media-server/core/mux"
)

// FileID names a media file: core epoch << 32 | counter.
type FileID uint64

func (f FileID) String() string { return fmt.Sprintf("%016x", uint64(f)) }

// InitID names a set of track parameters: the first eight bytes of the SHA-256
// of the init segment that mux.Init makes of them.
type InitID uint64

func (i InitID) String() string { return fmt.Sprintf("%016x", uint64(i)) }

// Errors that callers tell apart.
var (
	// ErrBehind: storage does not keep up and the bound of the write buffer is
	// reached; the part was not taken. Resume tells where to go on from.
	ErrBehind = errors.New("storage does not keep up: the write buffer is full")
	// ErrGone: the file was deleted, by rule or by somebody else.
	ErrGone = errors.New("this footage has been deleted")
	// ErrNoSpace: no space of the pool can be used at present.
	ErrNoSpace = errors.New("no space of the pool can be written to")
	// ErrClosed: the recorder or the archive was closed.
	ErrClosed = errors.New("the archive is closed")
)

// Options is what Open needs. Settings of the operator come from config.go.
type Options struct {
	DataDir string   // catalogue.db and state.db lie here
	Epoch   uint64   // of this core; node persists it
	Node    [16]byte // this server's id
	Program string   // name and version, written into files
	Spaces  []Space
	Pools   []Pool

	Signer Signer  // nil: nothing is signed, whatever pools say
	Keys   DayKeys // of pools that encrypt; nil: nothing is recorded in those

	WriteBuffer    time.Duration  // longest time a part waits for storage; 0 = 30 s
	WriteBufferMax int64          // bytes waiting, all spaces; each may use an equal share; 0 = 512 MiB
	ResumeGrace    time.Duration  // how long a recovered file waits for its run to go on; 0 = 60 s
	LayoutCache    int64          // bytes of sample tables kept; 0 = 32 MiB
	Zone           *time.Location // of hours of the day; nil = the system's
	MoveEvery      time.Duration  // how often movers look for work; 0 = 15 s, of a stage 2 s

	// Notify may be nil. It is called with locks held: it must not block, and
	// not call the archive.
	Notify func(Notice)
	Log    *slog.Logger // nil = slog.Default()
}

// Space is one storage space.
type Space struct {
	Name    string
	Storage Storage
	Create  bool          // write a marker when the space is new and empty
	Limits  Limits        // that Storage goes by
	Fsync   time.Duration // longest time between syncs that its settings promise; 0 or less = none
}

// Pool is a set of spaces that recordings are spread over.
type Pool struct {
	Name          string
	Spaces        []string      // new files go where most is free in proportion (choose.go)
	Overwrite     bool          // delete the oldest when space runs out
	Days          time.Duration // longest time footage is kept; 0 = no limit
	OverwriteFree Threshold     // the oldest goes while less than this is free
	AlarmFree     Threshold     // raises storage.low below this
	LockMax       Threshold     // most that locks may keep; zero = no limit
	Sign          bool          // files are signed
	Encrypt       bool          // payload is encrypted before it leaves
	DeleteMost    float64       // percent of a stream's footage that changed rules may take without being asked; 0 = all

	ArchiveTo    string        // pool that footage is moved to; "" = none
	ArchiveAfter time.Duration // once it is so old
	ArchiveAt    retain.Hours  // and only in these hours; none = at any
	ArchiveRate  int64         // bytes a second that are moved; 0 = as fast as it goes
	GroomAfter   time.Duration // age at which files keep their key frames only; 0 = never
	Stage        string        // space that footage is recorded in before it is moved to Spaces; "" = recorded there
}

// Threshold is an amount of space: bytes, or a share of the total in percent.
type Threshold struct {
	Bytes   int64
	Percent float64
}

// Of is the threshold in bytes for a space of total bytes.
func (t Threshold) Of(total int64) int64 {
	return t.Bytes + int64(float64(total)*t.Percent/100)
}

// Rules say how a stream is kept. They are written into its files and into the
// catalogue, and go on to apply when the stream is removed.
type Rules struct {
	Pool     string        // "" = the first one
	Duration time.Duration // longest time kept; 0 = no limit
	Keep     time.Duration // promised minimum: an alarm comes before it is broken
	Capacity int64         // most bytes; 0 = no limit
	Chunk    time.Duration // length of a media file; 0 = 2 min
}

// GapCause says why footage is missing, in the words of ranges.json.
type GapCause string

// Causes of gaps.
const (
	GapNone         GapCause = ""
	GapCameraLost   GapCause = "camera_lost"
	GapCameraSilent GapCause = "camera_silent"
	GapDriver       GapCause = "driver"
	GapServerDown   GapCause = "server_down"
	GapDiskFull     GapCause = "disk_full"
	GapDiskError    GapCause = "disk_error"
	GapDeleted      GapCause = "deleted"
	GapDamaged      GapCause = "damaged"
	GapKeyDestroyed GapCause = "key_destroyed" // it lies there, and nobody can read it
	GapExpired      GapCause = "expired"       // a rule took it, and older footage stays
	GapOffSchedule  GapCause = "off_schedule"
	GapDisabled     GapCause = "disabled"
	GapClockSet     GapCause = "clock_set" // the server's clock left it out, or passed it twice
	GapUnknown      GapCause = "unknown"
)

// taken tells whether a gap of this cause was footage once, whole files of it.
func (c GapCause) taken() bool { return c == GapDeleted || c == GapDamaged || c == GapKeyDestroyed }

// Gap is a time without footage. Why is never empty. All gaps are open until
// backfill exists.
type Gap struct {
	Span  media.Span
	State string // open, fetching, filled, lost
	Why   GapCause
}

// Range is a time with footage without a hole.
type Range struct {
	Span media.Span
	Kind string // recorded, event, backfilled, elsewhere

	Groomed bool // old: key frames only are left of it
}

// Segment is one entry of a playlist: a GOP, or 10 s without a key frame.
// Two entries follow each other with the same Number when a segment had to be
// continued in another file because its space failed.
type Segment struct {
	Number        uint64
	Discontinuity uint64
	Span          media.Span
	Run           media.RunID
	Zero          media.Wall
	Init          InitID
	File          FileID
	Index         int  // of the segment in its file: Layout.Segments[Index]
	Independent   bool // starts with a key frame
	Complete      bool // no part will be added
	Size          int64
}

// Notice is something that an operator, the journal or a script may want to
// know. Types: archive.recovered, archive.torn_tail, archive.set_aside,
// archive.unreadable, archive.damaged, archive.rebuild, storage.failed, storage.full, storage.low,
// storage.ok, storage.slow, storage.overwriting, storage.reserve, storage.locked, storage.archived, storage.move_failed,
// storage.added, storage.removed, storage.initialized, storage.moved, record.gap, record.file, record.locked,
// record.unlocked, archive.groomed, archive.groom_failed, retention.deleted, retention.held,
// retention.keep_at_risk, retention.keep_broken.
type Notice struct {
	Type    string
	UID     string // stream, or ""
	Level   string // info, warning, error
	Message string
	Data    map[string]any
}

// Resume tells where the capture of a run goes on: behind the last part that
// the archive holds, in storage or in memory.
type Resume struct {
	Positions     media.RunPosition
	Zero          media.Wall
	Clock         []byte // clock.State as in the last part's header
	Segment       uint64 // of the last part
	Discontinuity uint64
	PartIndex     int // of the next part in that segment
	SegmentStart  media.Wall
	Fragments     uint32 // moof sequence number of the last fragment
	Tracks        []media.Track
	Expect        []mux.Expect
	LastEnd       media.Wall
}
