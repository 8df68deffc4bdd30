package archive

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"media-server/core/media"
)

// Storage is what archive needs of one space of a storage backend. pluginhost
// implements it over gRPC, storagetest with real files.
//
// Names are as in the plugin protocol: relative, [A-Za-z0-9._-] and "/", files
// below "open/" grow. A file that is not there is an error for which
// errors.Is(err, os.ErrNotExist) holds. Calls may be made concurrently; each
// must end when ctx does.
type Storage interface {
	// Open makes the space ready for this epoch. An error that is a
	// *fault.Problem says what is wrong with what lies there; SpaceInfo.ID is
	// set all the same where it is a space. It must be called again after
	// the backend died; it is harmless when nothing happened. Where the space
	// has noted an epoch older than least, it is an older copy: that is a
	// problem, and nothing is written. least 0 = whatever lies there is right.
	Open(ctx context.Context, epoch, least uint64, create bool) (SpaceInfo, error)
	// Append opens the one byte stream of the space. The caller closes it.
	Append(ctx context.Context) (Appender, error)
	// List calls fn with entries sorted by name, those with the prefix and
	// behind after; fn's slice is valid during the call. It stops at fn's error.
	List(ctx context.Context, prefix, after string, fn func([]Entry) error) error
	Stat(ctx context.Context, name string) (Entry, error)
	// ReadAt reads like io.ReaderAt: fewer bytes than len(p) only with an
	// error, io.EOF at the end of the file.
	ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error)
	// File gives a read-only descriptor that the caller closes, or
	// ErrNoDescriptors, where the backend has none.
	File(ctx context.Context, name string) (*os.File, error)
	Truncate(ctx context.Context, name string, size int64) error
	// Seal gives a finished file its final name, after making it durable.
	Seal(ctx context.Context, name, final string, size int64) error
	// Write replaces a small file whole.
	Write(ctx context.Context, name string, p []byte) error
	// Put stores a file of size bytes, read from r, under its final name:
	// whole and durable when it returns, or not there at all. A name that is
	// taken is an error for which errors.Is(err, os.ErrExist) holds,
	// errors.ErrUnsupported one of a backend that cannot do it.
	Put(ctx context.Context, name string, size int64, r io.Reader) error
	// Delete removes files; those that were not there are no error.
	Delete(ctx context.Context, names []string) error
	// Sync makes everything written so far durable.
	Sync(ctx context.Context) error
	Usage(ctx context.Context) (Usage, error)
}

// Limited is what a Storage may do beside: take more than the limits of its
// settings allow, from the next Open on, while lifted. It leaves LiftedReserve free
// on the disk, unless its settings have neither a size-limit nor a reserve.
type Limited interface {
	Lift(on bool)
}

// Opener is what a Storage may do beside: many files in one question, for a
// rebuild, which opens every file there is.
type Opener interface {
	// Files is File of each of names, in their order.
	Files(ctx context.Context, names []string) []Opened
}

// Opened is an answer of File.
type Opened struct {
	File *os.File
	Err  error
}

// ErrNoDescriptors is Storage.File's answer where files can only be read
// through the backend.
var ErrNoDescriptors = errors.New("this storage gives no descriptors")

// SpaceInfo is what opening a space tells.
type SpaceInfo struct {
	ID          [16]byte // from the space's marker
	Created     bool
	OwnMount    bool   // a file system of its own
	Append      bool   // files may grow
	Descriptors bool   // File works
	Epoch       uint64 // the newest of this node that is durably noted in the space; 0 = none, or the backend notes none
}

// Appender is one byte stream to a space. Send is called from one goroutine,
// Recv from another; Close may be called from any, ends both, and returns when
// no sent byte will be read from memory any more.
type Appender interface {
	// Send hands a message over; it may wait for the backend. The bytes stay
	// unchanged until the message is synced or Close has returned.
	Send(AppendData) error
	// Recv returns the next answer; an error means that the stream is over.
	Recv() (AppendResult, error)
	Close() error
}

// AppendData writes Payload, one piece after the other, at Offset.
type AppendData struct {
	Sequence  uint64 // 1, 2, 3, … on each Appender
	Name      string
	Offset    int64
	ReserveTo int64 // reserve space up to this size; 0 = none
	Create    bool  // the file may not exist yet
	Payload   [][]byte
}

// MaxAppend is the most payload of one AppendData.
const MaxAppend = 4 << 20

// AppendKind says what an AppendResult is about.
type AppendKind uint8

// Kinds of answer.
const (
	Written AppendKind = iota + 1 // all up to Sequence can be read back
	Synced                        // all up to Sequence survives a power cut; without syncs (fsync = off): the same as Written
	Failed                        // Sequence was not carried out
)

// AppendResult is an answer of an Appender.
type AppendResult struct {
	Kind     AppendKind
	Sequence uint64
	Took     time.Duration // Synced: how long it took
	Calls    uint64        // Synced: sync calls made so far
	Name     string        // Failed: which file
	Reason   FailReason    // Failed
	Message  string        // Failed: what the backend says
	Size     int64         // Failed: size of the file where known
}

// FailReason has the values of the plugin protocol's AppendFailed.Reason.
type FailReason uint8

// Reasons why an append was not carried out.
const (
	FailUnknown FailReason = iota
	FailNoSpace
	FailReadOnly
	FailIO
	FailNotFound
	FailBadOffset
	FailStaleEpoch
	FailLimit
	FailSync
)

func (r FailReason) String() string {
	names := [...]string{"unknown", "no space", "read-only", "input/output error", "not found", "bad offset", "stale epoch", "limit reached", "sync failed"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// StaleEpochError is what any Storage call returns when a newer core has taken
// the space over. Test with errors.Is.
var StaleEpochError = errors.New("a newer server process has taken this space over")

// Entry is a stored file.
type Entry struct {
	Name     string
	Size     int64
	Modified media.Wall
}

// Usage tells how full a space is, in bytes.
type Usage struct {
	Total    int64 // of the file system, or the size limit when smaller
	Free     int64 // may still be written: the reserve is taken off
	Used     int64 // by this space, reserved bytes included
	Reserved int64
	ReadOnly bool
}
