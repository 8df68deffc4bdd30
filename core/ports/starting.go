package ports

import (
	"context"
	"time"
)

// Starting tells the holder of an earlier core, if there is one, that the next is
// here and will take the ports: it keeps them until then though their time be over,
// up to a bound, and no longer than this process lives or end is called. The start
// of a server takes as long as its disks do, and its clients are to find it.
func Starting(ctx context.Context, runDir string, most time.Duration) (end func()) {
	h, _ := dial(ctx, runDir) // Open says what is wrong with it
	if h == nil {
		return func() {}
	}
	// One of before this verb refuses it: the ports are then held as long as they were to be.
	_, _ = h.ask(nil, verbStart, formatMilliseconds(most))
	return h.close
}
