package sdktest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

// Wait is how long a call waits for what it is asked for before it fails the test.
const Wait = 10 * time.Second

// Plugin is a plugin that serves in this process.
type Plugin struct {
	t    testing.TB
	lis  *bufconn.Listener
	wg   sync.WaitGroup
	stop context.CancelFunc
}

// Serve runs p until Close or the end of the test.
func Serve(t testing.TB, p sdk.Plugin) *Plugin {
	ctx, cancel := context.WithCancel(context.Background())
	out := &Plugin{t: t, lis: bufconn.Listen(1 << 20), stop: cancel}
	out.wg.Go(func() { _ = sdk.Serve(ctx, p, out.lis, sdk.TransportOptions()...) })
	t.Cleanup(out.Close)
	return out
}

// Close ends the plugin and waits for it.
func (p *Plugin) Close() {
	p.stop()
	p.wg.Wait()
}

// Dial makes a client connection.
func (p *Plugin) Dial() *grpc.ClientConn {
	cc, err := grpc.NewClient("passthrough:///plugin", append(sdk.DialOptions(0),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.lis.DialContext(ctx) }))...)
	if err != nil {
		p.t.Fatal(err)
	}
	return cc
}

// Core is one core with its Frames connection.
type Core struct {
	Conn *grpc.ClientConn

	t      testing.TB
	stream grpc.BidiStreamingClient[pb.FramesRequest, pb.FramesReply]
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	more    chan struct{} // closed and replaced when something came
	streams map[uint32]*Stream
	err     error
	paused  chan struct{}
}

// Start serves p and connects a core of epoch 1.
func Start(t testing.TB, p sdk.Plugin) *Core { return Serve(t, p).Connect(1) }

// Connect makes a core of the given epoch; it fails the test when refused.
func (p *Plugin) Connect(epoch uint64) *Core {
	p.t.Helper()
	c, err := p.TryConnect(epoch)
	if err != nil {
		p.t.Fatal("connect: ", err)
	}
	return c
}

// TryConnect makes a core of the given epoch.
func (p *Plugin) TryConnect(epoch uint64) (*Core, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Core{Conn: p.Dial(), t: p.t, cancel: cancel, more: make(chan struct{}), streams: map[uint32]*Stream{}}
	p.t.Cleanup(c.Kill)
	var err error
	if c.stream, err = pb.NewDriverClient(c.Conn).Frames(ctx); err != nil {
		return nil, err
	}
	if err := c.stream.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Hello{Hello: &pb.Hello{Epoch: epoch}}}); err != nil {
		return nil, err
	}
	m, err := c.stream.Recv()
	if err != nil {
		return nil, err
	}
	if m.GetWelcome().GetEpoch() != epoch {
		p.t.Errorf("the plugin's first message is %v, not Welcome", m)
	}
	c.wg.Go(c.read)
	return c, nil
}

// Kill breaks the connection, as a killed core does.
func (c *Core) Kill() {
	c.cancel()
	_ = c.Conn.Close()
	c.Resume()
	c.wg.Wait()
}

// Pause stops reading, as a core that is stopped does.
func (c *Core) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = make(chan struct{})
}

// Resume reads on.
func (c *Core) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused != nil {
		close(c.paused)
		c.paused = nil
	}
}

func (c *Core) read() {
	reply := &codec.FramesReply{}
	for {
		c.mu.Lock()
		paused := c.paused
		c.mu.Unlock()
		if paused != nil {
			<-paused
		}
		err := c.stream.RecvMsg(reply)
		c.mu.Lock()
		if err != nil {
			c.err = err
		} else {
			c.take(reply)
		}
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
		reply.Free()
	}
}

func (c *Core) take(r *codec.FramesReply) {
	add := func(handle uint32, e Event) {
		if s := c.streams[handle]; s != nil {
			s.events = append(s.events, e)
		}
	}
	if len(r.Units) > 0 {
		counts := map[uint32]int{}
		for i := range r.Units {
			u := sdk.UnitOf(&r.Units[i])
			u.Payload = append([]byte(nil), u.Payload...)
			h := r.Units[i].Handle
			counts[h]++
			add(h, Event{Unit: &u, More: r.Units[i].Flags&uint32(pb.Unit_MORE) != 0, At: time.Now(), BatchSize: len(r.Units)})
		}
	}
	switch m := r.Other.GetMessage().(type) {
	case *pb.FramesReply_Opened:
		add(m.Opened.Handle, Event{Opened: m.Opened, At: time.Now()})
	case *pb.FramesReply_Closed:
		add(m.Closed.Handle, Event{Closed: m.Closed, At: time.Now()})
	case *pb.FramesReply_Stats:
		if s := c.streams[m.Stats.Handle]; s != nil {
			s.stats = m.Stats
		}
	}
}

// Err waits until the connection has ended and returns why.
func (c *Core) Err() error {
	c.wg.Wait()
	return c.err
}

// Send sends a raw message.
func (c *Core) Send(m *pb.FramesRequest) error { return c.stream.Send(m) }

// Event is one thing that came on a stream, in order: exactly one pointer is set.
type Event struct {
	Opened *pb.Opened
	Unit   *media.AccessUnit
	Closed *pb.Closed

	More      bool // Unit is a piece, and another follows
	At        time.Time
	BatchSize int
}

// Stream is one subscription.
type Stream struct {
	Handle uint32

	core   *Core
	events []Event
	stats  *pb.Stats
}

// Subscribe subscribes to all tracks, with reconnects after 100 ms.
func (c *Core) Subscribe(uid, url string, settings map[string]string, resume ...media.RunPosition) *Stream {
	m := &pb.Subscribe{Uid: uid, Url: url, Settings: settings, ReconnectFirstMs: 100, ReconnectMaxMs: 1000, ReadTimeoutMs: 5000}
	for _, r := range resume {
		m.Resume = append(m.Resume, sdk.ToPosition(r))
	}
	return c.SubscribeRaw(m)
}

// SubscribeRaw chooses the handle and sends m.
func (c *Core) SubscribeRaw(m *pb.Subscribe) *Stream {
	c.mu.Lock()
	m.Handle = uint32(len(c.streams) + 1)
	s := &Stream{Handle: m.Handle, core: c}
	c.streams[m.Handle] = s
	c.mu.Unlock()
	if err := c.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Subscribe{Subscribe: m}}); err != nil {
		c.t.Error("subscribe: ", err)
	}
	return s
}

// Next waits for the next event.
func (s *Stream) Next() Event {
	s.core.t.Helper()
	e, ok := s.Try(Wait)
	if !ok {
		s.core.t.Fatalf("nothing came within %v (connection: %v)", Wait, s.core.err)
	}
	return e
}

// Try waits for the next event for at most d.
func (s *Stream) Try(d time.Duration) (Event, bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		s.core.mu.Lock()
		if len(s.events) > 0 {
			e := s.events[0]
			s.events = s.events[1:]
			s.core.mu.Unlock()
			return e, true
		}
		more, err := s.core.more, s.core.err
		s.core.mu.Unlock()
		if err != nil {
			return Event{}, false
		}
		select {
		case <-more:
		case <-t.C:
			return Event{}, false
		}
	}
}

// Opened skips to the next Opened.
func (s *Stream) Opened() *pb.Opened {
	s.core.t.Helper()
	for {
		if e := s.Next(); e.Opened != nil {
			return e.Opened
		}
	}
}

// Unit skips to the next whole unit, joining pieces.
func (s *Stream) Unit() media.AccessUnit {
	s.core.t.Helper()
	var whole []byte
	for {
		e := s.Next()
		if e.Unit == nil {
			continue
		}
		whole = append(whole, e.Unit.Payload...)
		if !e.More {
			u := *e.Unit
			u.Payload = whole
			return u
		}
	}
}

// Closed skips to the next Closed.
func (s *Stream) Closed() *pb.Closed {
	s.core.t.Helper()
	for {
		if e := s.Next(); e.Closed != nil {
			return e.Closed
		}
	}
}

// Stats are the last counters that came; nil = none yet.
func (s *Stream) Stats() *pb.Stats {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	return s.stats
}

// Ack acknowledges.
func (s *Stream) Ack(p media.RunPosition) {
	_ = s.core.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Ack{Ack: &pb.Ack{Handle: s.Handle, Position: sdk.ToPosition(p)}}})
}

// AtOnce asks for delivery without gathering.
func (s *Stream) AtOnce(on bool) {
	m := &pb.Mode{Handle: s.Handle}
	if on {
		m.Delivery = pb.Mode_AT_ONCE
	}
	_ = s.core.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Mode{Mode: m}})
}

// Unsubscribe ends the subscription.
func (s *Stream) Unsubscribe(keep bool) {
	_ = s.core.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Handle: s.Handle, Keep: keep}}})
}
