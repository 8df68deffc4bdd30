package jobs

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/fault"
	"media-server/core/mp4"
	"media-server/core/timeline"
)

// Failure is why an export was not made, or is refused. Code is for programs.
type Failure struct {
	Code string `json:"code"`
	What string `json:"message"`
	Hint string `json:"hint,omitempty"`
}

func (f *Failure) Error() string { return f.What }

// Codes of failures that callers tell apart.
const (
	CodeBadName  = "bad_file_name"
	CodeNoRoom   = "no_room"
	CodeMaxSize  = "max_size"
	CodeTooMany  = "too_many_exports"
	CodeFolder   = "export_folder"
	CodeNotDone  = "not_done"
	CodeBusy     = "busy" // it is being deleted
	CodeExpired  = "expired"
	CodeNoFile   = "no_file"
	CodeDeleted  = "deleted"
	CodeStopping = "unavailable" // it starts, or is being stopped
)

// ErrNoJob: there is no such job.
var ErrNoJob = errors.New("there is no such export")

func failure(code, hint, format string, args ...any) *Failure {
	return &Failure{code, fmt.Sprintf(format, args...), hint}
}

// writing is an error of the export folder, rather than of the footage.
type writing struct{ err error }

func (w *writing) Error() string { return w.err.Error() }
func (w *writing) Unwrap() error { return w.err }

func wrote(err error) error {
	if err == nil {
		return nil
	}
	return &writing{err}
}

const roomHint = "delete exports that are not needed, shorten [export] keep, or set [export] path to a folder on another disk; then ask again"

// failureOf says of any error what an operator can do about it.
func failureOf(err error) *Failure {
	f := new(Failure)
	p := new(fault.Problem)
	w := new(writing)
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return failure(CodeNoRoom, roomHint, "the disk of the export folder is full: %v", err)
	case errors.As(err, &w):
		return failure(CodeFolder, "see [export] path: is it there, is it writable, is its disk sound?", "the export folder cannot be written to: %v", err)
	case errors.Is(err, archive.ErrGone):
		return failure(CodeDeleted, "ask again for what is left; a lock keeps footage until it is exported", "footage was deleted by the rules while it was being exported")
	case errors.Is(err, timeline.ErrNoFootage):
		return failure(CodeDeleted, "streams/{uid}/ranges lists what is left; a lock keeps footage until it is exported", "the footage was deleted before it was exported")
	case errors.Is(err, archive.ErrKeyDestroyed):
		return failure("key_destroyed", "nobody can read it again here; ask for footage of other days", "%v", err)
	case errors.Is(err, archive.ErrNoKey):
		return failure("no_key", "check [keys] path and passphrase, or restore the keys from a backup or an export; then ask again", "%v", err)
	case errors.Is(err, archive.ErrDamaged):
		return failure("damaged", "media-server verify lists what was changed; ask for what lies before or behind", "%v", err)
	case errors.Is(err, mp4.ErrTooLong), errors.Is(err, mp4.ErrHole):
		return failure("range_too_long", "ask for it in pieces, a day each for instance", "%v", err)
	case errors.Is(err, export.ErrMemory):
		return failure("not_recorded", "end the range where the recording ends, see streams/{uid}/ranges, or ask without a proof", "%v", err)
	case errors.As(err, &p):
		return &Failure{"proof", p.What, p.Hint}
	case errors.Is(err, fs.ErrNotExist):
		return failure(CodeDeleted, "see problems: somebody deletes files of a space", "footage is not where it should be: %v", err)
	}
	return failure("storage", "see problems; ask again", "the footage cannot be read: %v", err)
}
