package archive

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errStalled ends work on a file of which nothing was read for too long.
var errStalled = fmt.Errorf("nothing came of it for %s: %w", moveMost, context.DeadlineExceeded)

type stallKey struct{}

// untilStalled bounds work on a file by how long nothing comes of it, not by
// how long it takes: a long file, a slow pace or a server far away may take
// hours. Who reads calls goesOn. over ends it, and tells of an error whether
// that was why.
func untilStalled(ctx context.Context, most time.Duration) (work context.Context, over func(error) error) {
	work, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(most, func() { cancel(errStalled) })
	work = context.WithValue(work, stallKey{}, func() { t.Reset(most) })
	return work, func(err error) error {
		t.Stop()
		if err != nil && errors.Is(context.Cause(work), errStalled) {
			err = errStalled
		}
		cancel(nil)
		return err
	}
}

// goesOn says that work on a file has come further.
func goesOn(ctx context.Context) {
	if f, ok := ctx.Value(stallKey{}).(func()); ok {
		f()
	}
}
