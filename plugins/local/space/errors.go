package space

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Reason classifies what went wrong, for the protocol.
type Reason uint8

const (
	NoSpace    Reason = iota + 1 // the file system is full
	ReadOnly                     // the file system takes no writes
	IOError                      // anything else the disk says
	NotFound                     // no such file
	BadOffset                    // past the end, or another size than expected
	StaleEpoch                   // of a core that has been replaced
	Limit                        // size-limit or reserve reached
	SyncFailed                   // durability unknown
	BadName                      // not a name of the protocol
	Exists                       // something is there already
	Unusable                     // missing, foreign or damaged space
	NotReady                     // being opened, or closed
)

var reasonText = [...]string{"", "no space", "read-only", "i/o error", "not found", "bad offset", "stale epoch",
	"limit reached", "sync failed", "bad name", "exists", "unusable", "not ready"}

func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("reason %d", r)
}

// Error is what every call of this package fails with.
type Error struct {
	Reason Reason
	Name   string // of the file; empty = the space
	Size   int64  // of the file where it helps; -1 = not known
	What   string
	Hint   string // what an operator can do; may be empty
	Err    error
}

func (e *Error) Error() string {
	s := e.What
	if s == "" {
		s = e.Reason.String()
	}
	if e.Name != "" {
		s = e.Name + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ReasonOf tells the reason of any error; IOError for what is not ours.
func ReasonOf(err error) Reason {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return IOError
}

// wrap gives an error of the operating system its reason.
func wrap(name, what string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	r := IOError
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		r = NoSpace
	case errors.Is(err, syscall.EROFS):
		r = ReadOnly
	case errors.Is(err, fs.ErrNotExist):
		r = NotFound
	case errors.Is(err, fs.ErrExist):
		r = Exists
	case errors.Is(err, os.ErrClosed):
		r = NotReady
	}
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == name {
		err = at.Err // what was tried, and with what, is said already
	}
	return &Error{Reason: r, Name: name, Size: -1, What: what, Err: err}
}

func refuse(r Reason, name, what string) *Error {
	return &Error{Reason: r, Name: name, Size: -1, What: what}
}
