package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

// appender is one Append connection as the core has it. It holds what comes
// back against the rules of order.
type appender struct {
	stream grpc.BidiStreamingClient[pb.AppendRequest, pb.AppendReply]
	cancel context.CancelFunc
	wait   time.Duration
	in     chan *pb.AppendReply
	wg     sync.WaitGroup
	err    error // after in is closed

	sent, written, synced uint64
	failed                []*pb.AppendFailed
}

// append begins a connection and takes Ready.
func (s *spaceOf) append(epoch uint64) (*appender, error) {
	ctx, cancel := context.WithCancel(s.k.ctx)
	a := &appender{cancel: cancel, wait: s.k.o.Wait, in: make(chan *pb.AppendReply, 4096)}
	var err error
	if a.stream, err = s.st.Append(ctx); err != nil {
		cancel()
		return nil, err
	}
	_ = a.stream.Send(&pb.AppendRequest{Message: &pb.AppendRequest_Begin{Begin: &pb.AppendBegin{Space: s.name, Epoch: epoch}}})
	a.wg.Go(func() {
		defer close(a.in)
		for {
			m, err := a.stream.Recv()
			if err != nil {
				a.err = err
				return
			}
			select {
			case a.in <- m:
			case <-ctx.Done():
				a.err = ctx.Err()
				return
			}
		}
	})
	m, err := a.next()
	if err == nil && m.GetReady() == nil {
		err = fmt.Errorf("the first message is %v, want Ready", m)
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *appender) close() {
	a.cancel()
	a.wg.Wait()
}

// put sends one message and returns its sequence.
func (a *appender) put(name string, offset int, create bool, payload []byte) (uint64, error) {
	a.sent++
	err := a.stream.Send(&pb.AppendRequest{Message: &pb.AppendRequest_Data{Data: &pb.AppendData{
		Sequence: a.sent, Name: name, Offset: uint64(offset), Create: create, Payload: payload,
		ReserveTo: uint64(offset + len(payload) + 100_000),
	}}})
	return a.sent, err
}

func (a *appender) next() (*pb.AppendReply, error) {
	t := time.NewTimer(a.wait)
	defer t.Stop()
	select {
	case m, ok := <-a.in:
		if !ok {
			return nil, a.err
		}
		return m, nil
	case <-t.C:
		return nil, fmt.Errorf("nothing came within %v", a.wait)
	}
}

// until takes messages until f is true.
func (a *appender) until(f func() bool) error {
	for deadline := time.Now().Add(a.wait); !f(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v; sent %d, written %d, synced %d, failed %v", a.wait, a.sent, a.written, a.synced, a.failed)
		}
		m, err := a.next()
		if err != nil {
			return fmt.Errorf("%w; sent %d, written %d, synced %d", err, a.sent, a.written, a.synced)
		}
		if err := a.take(m); err != nil {
			return err
		}
	}
	return nil
}

func (a *appender) take(m *pb.AppendReply) error {
	switch m := m.Message.(type) {
	case *pb.AppendReply_Written:
		if n := m.Written.Sequence; n <= a.written || n > a.sent {
			return fmt.Errorf("Written %d comes after %d, %d were sent", n, a.written, a.sent) //nolint:staticcheck // the message's name
		}
		a.written = m.Written.Sequence
	case *pb.AppendReply_Synced:
		if n := m.Synced.Sequence; n <= a.synced || n > a.written {
			return fmt.Errorf("Synced %d comes after Synced %d and Written %d", n, a.synced, a.written) //nolint:staticcheck // the message's name
		}
		a.synced = m.Synced.Sequence
	case *pb.AppendReply_Failed:
		if f := m.Failed; f.Sequence <= a.written && f.Reason != pb.AppendFailed_SYNC_FAILED {
			return fmt.Errorf("Failed of %d comes after Written %d", f.Sequence, a.written) //nolint:staticcheck // the message's name
		}
		a.failed = append(a.failed, m.Failed)
	default:
		return fmt.Errorf("unexpected %v", m)
	}
	return nil
}

// ends waits until the plugin ends the connection, as it does for older
// epochs.
func (a *appender) ends() error {
	for deadline := time.Now().Add(a.wait); ; {
		_, err := a.next()
		if err == nil && time.Now().After(deadline) {
			return errors.New("it goes on")
		}
		switch {
		case err == nil:
			continue
		case status.Code(err) == codes.FailedPrecondition, status.Code(err) == codes.Aborted, status.Code(err) == codes.OK && !errors.Is(err, context.Canceled):
			return nil
		}
		return fmt.Errorf("it does not end with FAILED_PRECONDITION: %w", err)
	}
}
