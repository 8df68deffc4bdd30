package sdk

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

const (
	gather     = 100 * time.Millisecond // of units, while nobody watches
	minShare   = 64 << 10               // of a round, for one stream with a backlog
	maxHandles = 10_000
)

// conn is one Frames call. A reader (the receive goroutine) changes handles; a
// sender takes from the captures' logs what is ready.
type conn struct {
	epoch  uint64
	stream grpc.ServerStream
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   func(*capture) // a stop has been told
	ended  chan struct{}  // closed when the call is over and nothing is sent any more

	reading sync.Mutex // one message is taken at a time, none after release
	handles map[uint32]*handle
	closed  bool

	mu    sync.Mutex
	queue []*handle
	wake  chan struct{} // something is ready; capacity 1
	rush  chan struct{} // something must not wait; capacity 1
}

func newConn(ctx context.Context, epoch uint64, stream grpc.ServerStream, over func(*capture)) *conn {
	cn := &conn{
		epoch: epoch, stream: stream, over: over, ended: make(chan struct{}), handles: map[uint32]*handle{},
		wake: make(chan struct{}, 1), rush: make(chan struct{}, 1),
	}
	cn.ctx, cn.cancel = context.WithCancelCause(ctx)
	return cn
}

// ready puts h on the list. It is called for every unit, so it takes the lock
// only for the first after a round.
func (cn *conn) ready(h *handle, urgent bool) {
	if h.queued.CompareAndSwap(false, true) {
		cn.mu.Lock()
		cn.queue = append(cn.queue, h)
		first := len(cn.queue) == 1
		cn.mu.Unlock()
		if first {
			poke(cn.wake)
		}
	}
	if urgent {
		poke(cn.rush)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// send runs until the connection ends. One goroutine and one timer for all
// streams: wake-ups, not bytes, are what this costs.
func (cn *conn) send() error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	var last time.Time
	for {
		select {
		case <-cn.wake:
		case <-cn.ctx.Done():
			return context.Cause(cn.ctx)
		}
		if wait := gather - time.Since(last); wait > 0 {
			pause.Reset(wait)
			select {
			case <-pause.C:
			case <-cn.rush:
				pause.Stop()
			case <-cn.ctx.Done():
				return context.Cause(cn.ctx)
			}
		}
		select {
		case <-cn.rush: // this round answers it
		default:
		}
		last = time.Now()
		if err := cn.rounds(); err != nil {
			return err
		}
	}
}

// rounds sends until nothing is ready.
func (cn *conn) rounds() error {
	for {
		out := cn.round()
		if out == nil {
			return nil
		}
		for _, m := range append(out.messages, out.tail...) {
			if err := cn.ctx.Err(); err != nil {
				return context.Cause(cn.ctx)
			}
			if err := cn.stream.SendMsg(m); err != nil {
				return err
			}
		}
	}
}

// round takes what is ready, oldest first; a stream gets at most a quarter of
// it, less when many wait, so that all catch up together.
func (cn *conn) round() *outbox {
	cn.mu.Lock()
	list := cn.queue
	cn.queue = nil
	cn.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b *handle) int { return cmp.Compare(a.head.Load(), b.head.Load()) })
	share := min(max(roundBytes/len(list), minShare), roundBytes/4)
	out := &outbox{}
	for i, h := range list {
		if out.full() {
			cn.again(list[i:]...)
			break
		}
		h.queued.Store(false) // before it is asked: what comes later queues it anew
		drained := h.fill(out, share)
		if h.done {
			cn.over(h.c)
		}
		if !drained && h.queued.CompareAndSwap(false, true) {
			cn.again(h)
		}
	}
	return out
}

func (cn *conn) again(h ...*handle) {
	cn.mu.Lock()
	cn.queue = append(cn.queue, h...)
	cn.mu.Unlock()
}

// receive takes the core's messages until the stream or the connection ends.
func (cn *conn) receive(s *server) error {
	for {
		m := &pb.FramesRequest{}
		if err := cn.stream.RecvMsg(m); err != nil {
			return err
		}
		if err := cn.take(s, m); err != nil {
			return err
		}
	}
}

func (cn *conn) take(s *server, m *pb.FramesRequest) error {
	cn.reading.Lock()
	defer cn.reading.Unlock()
	if cn.closed {
		return io.EOF
	}
	switch m := m.Message.(type) {
	case *pb.FramesRequest_Hello:
		return status.Error(codes.InvalidArgument, "Hello comes first and once")
	case *pb.FramesRequest_Subscribe:
		return cn.subscribe(s, m.Subscribe)
	case *pb.FramesRequest_Ack:
		pos, ok := PositionOf(m.Ack.Position)
		if !ok {
			return status.Error(codes.InvalidArgument, "Ack: a run is 16 bytes")
		}
		if h := cn.handles[m.Ack.Handle]; h != nil {
			h.c.ack(h, pos)
		}
	case *pb.FramesRequest_Mode:
		if h := cn.handles[m.Mode.Handle]; h != nil {
			h.c.mode(h, m.Mode.Delivery == pb.Mode_AT_ONCE)
		}
	case *pb.FramesRequest_Unsubscribe:
		h := cn.handles[m.Unsubscribe.Handle]
		if h == nil {
			return nil
		}
		if m.Unsubscribe.Keep {
			delete(cn.handles, h.id)
			h.c.unsubscribe(h)
			return nil
		}
		h.c.set(nil) // its handle stays until Closed(STOPPED) was sent
	}
	return nil // a message of a later version: not for us
}

func (c *capture) mode(h *handle, atOnce bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == h {
		c.atOnce.Store(atOnce)
		c.ready(atOnce)
	}
}

func (cn *conn) subscribe(s *server, m *pb.Subscribe) error {
	if len(cn.handles) >= maxHandles {
		return status.Error(codes.ResourceExhausted, "more than 10000 streams")
	}
	if m.Uid == "" || len(m.Uid) > 255 {
		return status.Error(codes.InvalidArgument, "Subscribe: uid of 1 to 255 bytes")
	}
	if old := cn.handles[m.Handle]; old != nil {
		if old.c.uid != m.Uid {
			return status.Errorf(codes.InvalidArgument, "Subscribe: handle %d is in use by another stream", m.Handle)
		}
		old.c.unsubscribe(old)
	}
	var resume []media.RunPosition
	for _, p := range m.Resume {
		pos, ok := PositionOf(p)
		if !ok {
			return status.Error(codes.InvalidArgument, "Subscribe: a run is 16 bytes")
		}
		resume = append(resume, pos)
	}
	w := &wanted{
		src:   Source{UID: m.Uid, URL: m.Url, Settings: m.Settings, Kinds: kindsOf(m.Kinds), ReadTimeout: orDefault(m.ReadTimeoutMs, 5*time.Second)},
		first: orDefault(m.ReconnectFirstMs, time.Second), max: orDefault(m.ReconnectMaxMs, 30*time.Second), numbers: m.ReconnectNumbers,
	}
	h := &handle{id: m.Handle, conn: cn}
	if err := s.subscribe(h, w, resume); err != nil {
		return err
	}
	cn.handles[m.Handle] = h
	return nil
}

func orDefault(ms int64, d time.Duration) time.Duration {
	if ms <= 0 {
		return d
	}
	return time.Duration(ms) * time.Millisecond
}

// release ends all handles: the captures go on and keep what they have.
func (cn *conn) release(s *server) {
	cn.reading.Lock()
	defer cn.reading.Unlock()
	cn.closed = true
	for _, h := range cn.handles {
		h.c.unsubscribe(h)
		s.forgetStopped(h.c)
	}
}
