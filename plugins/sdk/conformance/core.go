package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"media-server/plugins/sdk/pb"
)

// core plays one core on one Frames connection. It uses generated code only,
// so that it does not share the fast codec's faults.
type core struct {
	stream grpc.BidiStreamingClient[pb.FramesRequest, pb.FramesReply]
	cancel context.CancelFunc
	in     chan *pb.FramesReply
	wait   time.Duration
	wg     sync.WaitGroup
	err    error // after in is closed
}

// connect says Hello and takes Welcome.
func connect(ctx context.Context, conn *grpc.ClientConn, epoch uint64, wait time.Duration) (*core, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &core{wait: wait, cancel: cancel, in: make(chan *pb.FramesReply, 4096)}
	var err error
	if c.stream, err = pb.NewDriverClient(conn).Frames(ctx); err != nil {
		cancel()
		return nil, err
	}
	c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Hello{Hello: &pb.Hello{Epoch: epoch}}})
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer close(c.in)
		for {
			m, err := c.stream.Recv()
			if err != nil {
				c.err = err
				return
			}
			select {
			case c.in <- m:
			case <-ctx.Done():
				c.err = ctx.Err()
				return
			}
		}
	}()
	m, err := c.next()
	if err == nil && m.GetWelcome().GetEpoch() != epoch {
		err = fmt.Errorf("the first message is %v, want Welcome with epoch %d", m, epoch)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close breaks the connection, as a killed core does.
func (c *core) close() {
	c.cancel()
	c.wg.Wait()
}

func (c *core) send(m *pb.FramesRequest) { _ = c.stream.Send(m) }

func (c *core) next() (*pb.FramesReply, error) {
	t := time.NewTimer(c.wait)
	defer t.Stop()
	select {
	case m, ok := <-c.in:
		if !ok {
			return nil, c.err
		}
		if n := proto.Size(m); n > 4<<20 {
			return nil, fmt.Errorf("a message of %d bytes, the limit is 4 MB", n)
		}
		return m, nil
	case <-t.C:
		return nil, fmt.Errorf("nothing came within %v", c.wait)
	}
}

// ended takes what still comes and returns how the connection ends.
func (c *core) ended() error {
	for deadline := time.Now().Add(min(c.wait, 5*time.Second)); time.Now().Before(deadline); {
		if _, err := c.next(); err != nil {
			return err
		}
	}
	return errors.New("it goes on")
}

func (c *core) subscribe(handle uint32, o *Options, uid string, resume ...*pb.RunPosition) {
	c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Subscribe{Subscribe: &pb.Subscribe{
		Handle: handle, Uid: uid, Url: o.URL, Settings: o.Settings, ReconnectFirstMs: 500, ReconnectMaxMs: 2000, ReadTimeoutMs: 5000, Resume: resume,
	}}})
}

// watch follows one handle and holds what comes against the rules of order.
type watch struct {
	c      *core
	handle uint32
	opened *pb.Opened
	next   map[uint32]uint64 // per track, of the run
	firsts map[uint32]uint64
	units  int
	closed *pb.Closed

	unjudged bool              // only Closed counts
	form     error             // the first unit that has not its codec's form
	pieces   map[uint32][]byte // of units with MORE
}

func (c *core) watch(handle uint32) *watch { return &watch{c: c, handle: handle} }

// until takes messages until f is true.
func (w *watch) until(f func() bool) error {
	for deadline := time.Now().Add(w.c.wait); !f(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v; so far: opened %v, %d units, closed %v", w.c.wait, w.opened != nil, w.units, w.closed)
		}
		m, err := w.c.next()
		if err != nil {
			return err
		}
		if err := w.take(m); err != nil {
			return err
		}
	}
	return nil
}

func (w *watch) take(m *pb.FramesReply) error {
	if w.unjudged && m.GetClosed() == nil {
		return nil
	}
	switch m := m.Message.(type) {
	case *pb.FramesReply_Welcome:
		return errors.New("a second Welcome")
	case *pb.FramesReply_Opened:
		if m.Opened.Handle == w.handle {
			return w.open(m.Opened)
		}
	case *pb.FramesReply_Closed:
		if m.Closed.Handle == w.handle {
			w.closed = m.Closed
			if m.Closed.Cause == pb.Cause_CAUSE_UNSPECIFIED {
				return errors.New("a Closed without a cause")
			}
		}
	case *pb.FramesReply_Batch:
		for _, u := range m.Batch.Units {
			if u.Handle != w.handle {
				continue
			}
			if err := w.unit(u); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *watch) open(o *pb.Opened) error {
	if len(o.Run) != 16 {
		return fmt.Errorf("a run of %d bytes, want 16", len(o.Run))
	}
	if len(o.Tracks) == 0 {
		return errors.New("an Opened without tracks")
	}
	w.opened, w.next, w.firsts, w.pieces = o, map[uint32]uint64{}, map[uint32]uint64{}, map[uint32][]byte{}
	for _, t := range o.Tracks {
		if t.Id == 0 || t.Id > 32 || t.Timescale == 0 || t.Codec == "" {
			return fmt.Errorf("track %v lacks an id from 1 to 32, timescale or codec", t)
		}
		w.next[t.Id] = 0
	}
	for _, p := range o.First {
		w.next[p.Track], w.firsts[p.Track] = p.Next, p.Next
	}
	return nil
}

func (w *watch) unit(u *pb.Unit) error {
	if w.opened == nil {
		return errors.New("a unit before Opened")
	}
	want, ok := w.next[u.Track]
	switch {
	case !ok:
		return fmt.Errorf("a unit of track %d, which Opened does not name", u.Track)
	case u.Sequence != want:
		return fmt.Errorf("track %d: sequence %d, want %d", u.Track, u.Sequence, want)
	case len(u.Payload) == 0 || len(u.Payload) > 1<<20:
		return fmt.Errorf("a piece of %d bytes, want 1 byte to 1 MB", len(u.Payload))
	case u.ReceivedTime == 0:
		return errors.New("a unit without received_time")
	}
	if age := time.Since(time.Unix(0, int64(u.ReceivedTime))); age < -time.Second || age > time.Hour {
		return fmt.Errorf("received_time is %v ago", age)
	}
	if w.form == nil {
		w.form = w.judge(u)
	}
	if u.Flags&uint32(pb.Unit_MORE) == 0 {
		w.next[u.Track]++
		w.units++
	}
	return nil
}

// position is what the core holds, less units per track.
func (w *watch) position(less uint64) *pb.RunPosition {
	p := &pb.RunPosition{Run: w.opened.Run}
	for t, n := range w.next {
		p.Tracks = append(p.Tracks, &pb.TrackPosition{Track: t, Next: max(n, less) - less})
	}
	return p
}
