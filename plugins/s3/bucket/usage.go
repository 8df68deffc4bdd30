package bucket

import (
	"context"
	"sync"

	"github.com/minio/minio-go/v7"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// usage is how many bytes lie below the prefix. They are listed once, in the
// background, and kept up to date from then on. A change behind the name that
// listing has come to is left to it.
type usage struct {
	mu    sync.Mutex
	bytes int64
	upTo  string // listed up to this name
	exact bool
	began bool
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// begin starts counting, once.
func (u *usage) begin(s *Space) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.began {
		return
	}
	u.began = true
	ctx, stop := context.WithCancel(context.Background())
	u.stop = stop
	u.wg.Go(func() {
		for ctx.Err() == nil && u.count(ctx, s) != nil {
		}
	})
}

// count goes on behind the last name it has seen; each try has its own waits.
func (u *usage) count(ctx context.Context, s *Space) error {
	u.mu.Lock()
	after := u.upTo
	u.mu.Unlock()
	err := s.list(ctx, "", after, 1000, func(name string, o minio.ObjectInfo) error {
		u.mu.Lock()
		u.bytes += o.Size
		u.upTo = name
		u.mu.Unlock()
		return ctx.Err()
	})
	if err == nil {
		u.mu.Lock()
		u.exact = true
		u.mu.Unlock()
	}
	return err
}

func (u *usage) changed(name string, n int64) {
	u.mu.Lock()
	if u.exact || name <= u.upTo {
		u.bytes += n
	}
	u.mu.Unlock()
}

func (u *usage) end() {
	u.mu.Lock()
	stop := u.stop
	u.mu.Unlock()
	if stop != nil {
		stop()
	}
	u.wg.Wait()
}

// unlimited is the size of a space without a limit: a bucket has none.
const unlimited = int64(1) << 50

// Usage asks whether the server answers, and tells what is counted.
func (s *Space) Usage(ctx context.Context) (total, free, used int64, err error) {
	err = s.c.try(ctx, "look at the space", 0, func(ctx context.Context) error {
		_, err := s.c.core.StatObject(ctx, s.c.set.Bucket, s.c.key(markerName), minio.StatObjectOptions{})
		return err
	})
	if status.Code(err) == codes.NotFound {
		err = status.Error(codes.Unavailable, "the space is no longer in the bucket: .space/marker is gone")
	}
	if err != nil {
		return 0, 0, 0, err
	}
	s.use.mu.Lock()
	used = s.use.bytes
	s.use.mu.Unlock()
	total = unlimited
	if l := s.c.set.SizeLimit; l > 0 {
		total = l
	}
	return total, max(0, total-used), used, nil
}

// room refuses what would break size-limit.
func (s *Space) room(n int64) error {
	s.use.mu.Lock()
	defer s.use.mu.Unlock()
	if l := s.c.set.SizeLimit; l > 0 && s.use.bytes+n > l {
		return status.Error(codes.ResourceExhausted, "size-limit is reached")
	}
	return nil
}
