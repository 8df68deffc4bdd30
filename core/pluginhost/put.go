package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

const (
	putChunk = 256 << 10
	putStep  = 2 * time.Minute // a backend may send on a part of several MB before it takes the next message

)

// Put implements archive.Storage. The time that r takes is the caller's own;
// the backend has putStep for each step.
func (s *spaceStorage) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(putStep, func() { cancel(context.DeadlineExceeded) })
	defer idle.Stop()
	c, err := s.client(ctx)
	if err != nil {
		return err
	}
	st, err := c.Put(ctx)
	if err != nil {
		return putError(ctx, err)
	}
	m := &pb.PutRequest{Begin: &pb.PutBegin{Space: s.space, Epoch: s.current(), Name: name, Size: uint64(size)}}
	if err := st.Send(m); err != nil {
		return sent(ctx, st, err)
	}
	for left := size; left > 0; {
		idle.Stop()
		// A message may still be on its way when Send has returned.
		b := make([]byte, min(left, putChunk))
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("read what is to be stored as %s: %w", name, err)
		}
		idle.Reset(putStep)
		if err := st.Send(&pb.PutRequest{Payload: b}); err != nil {
			return sent(ctx, st, err)
		}
		left -= int64(len(b))
	}
	idle.Reset(putStep)
	_, err = st.CloseAndRecv()
	return putError(ctx, err)
}

// sent finds out why sending failed: the answer says.
func sent(ctx context.Context, st interface{ CloseAndRecv() (*pb.PutReply, error) }, err error) error {
	if errors.Is(err, io.EOF) {
		_, err = st.CloseAndRecv()
	}
	return putError(ctx, err)
}

func putError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return fmt.Errorf("storage does not answer: %w", context.DeadlineExceeded)
	case status.Code(err) == codes.AlreadyExists:
		return fmt.Errorf("%w: %w", os.ErrExist, plain(err))
	case status.Code(err) == codes.Unimplemented:
		return fmt.Errorf("%w: this storage plugin cannot take whole files: a newer version of it is needed", errors.ErrUnsupported)
	}
	return storageError(err)
}
