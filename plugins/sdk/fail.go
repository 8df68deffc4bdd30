package sdk

import (
	"errors"
	"fmt"

	"media-server/plugins/sdk/pb"
)

// ErrChanged is returned by a Capture whose tracks or codec parameters
// changed: the run ends with CHANGED and the next begins at once.
var ErrChanged = Fail(pb.Cause_CHANGED, "tracks or codec parameters changed", "")

// Failure is an error with the cause an operator is told.
type Failure struct {
	Cause      pb.Cause
	What, Hint string
}

func (f *Failure) Error() string {
	if f.Hint == "" {
		return f.What
	}
	return fmt.Sprintf("%s; %s", f.What, f.Hint)
}

// Fail makes the error by which a Capture says why it ended: what happened,
// and what an operator can do. Neither may hold a secret.
func Fail(cause pb.Cause, what, hint string) error {
	return &Failure{Cause: cause, What: what, Hint: hint}
}

// failureOf classifies what a Capture returned; the run is told apart from a
// connection that could not be made.
func failureOf(err error, opened bool) *Failure {
	var f *Failure
	switch {
	case errors.As(err, &f):
		return f
	case err == nil && opened:
		return &Failure{Cause: pb.Cause_LOST, What: "the connection ended"}
	case err == nil:
		return &Failure{Cause: pb.Cause_UNREACHABLE, What: "the driver gave up without opening the source"}
	case opened:
		return &Failure{Cause: pb.Cause_LOST, What: err.Error()}
	}
	return &Failure{Cause: pb.Cause_UNREACHABLE, What: err.Error(), Hint: "check the address and that the device is switched on"}
}
