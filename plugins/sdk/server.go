package sdk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

const defaultLinger = 30 * time.Second

// server is a plugin that runs: what Base and Driver answer with.
type server struct {
	pb.UnimplementedBaseServer
	pb.UnimplementedDriverServer

	plugin Plugin
	buffer *budget
	ctx    context.Context // of everything that outlives a connection
	cancel context.CancelFunc
	wg     sync.WaitGroup // captures, receivers, the janitor
	quit   func(why string)

	turn sync.Mutex // attaching is one at a time

	mu       sync.Mutex
	epoch    uint64
	linger   time.Duration
	captures map[string]*capture
	conn     *conn
	events   map[*eventStream]struct{}
}

type eventStream struct {
	epoch  uint64
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

// newServer prepares p; quit is called once when the process should end.
func newServer(p Plugin, quit func(why string)) *server {
	s := &server{
		plugin: p, linger: defaultLinger, captures: map[string]*capture{},
		events: map[*eventStream]struct{}{},
	}
	var once sync.Once
	s.quit = func(why string) { once.Do(func() { quit(why) }) }
	s.buffer = newBudget(s.all)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// register puts the plugin's services on g.
func (s *server) register(g *grpc.Server) {
	pb.RegisterBaseServer(g, s)
	if s.plugin.Driver != nil {
		pb.RegisterDriverServer(g, s)
	}
	if s.plugin.Storage != nil {
		pb.RegisterStorageServer(g, s.plugin.Storage)
	}
}

// close ends all captures and waits for them.
func (s *server) close() {
	s.cancel()
	s.mu.Lock()
	if s.conn != nil {
		s.conn.cancel(errEnding)
	}
	for e := range s.events {
		e.cancel(errEnding)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *server) all() []*capture {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*capture, 0, len(s.captures))
	for _, c := range s.captures {
		out = append(out, c)
	}
	return out
}

var errEnding = status.Error(codes.Unavailable, "the plugin is ending")

var errNewer = status.Error(codes.Aborted, "another connection of this or a newer epoch took over")

// enter takes part in the order of epochs: it refuses an older one, and ends
// what older ones have open before it lets a newer go on.
func (s *server) enter(ctx context.Context, epoch uint64) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.enterLocked(ctx, epoch)
}

func (s *server) enterLocked(ctx context.Context, epoch uint64) error {
	s.mu.Lock()
	if epoch < s.epoch {
		newest := s.epoch
		s.mu.Unlock()
		return status.Errorf(codes.FailedPrecondition, "epoch %d is over: a core of epoch %d has been here", epoch, newest)
	}
	s.epoch = epoch
	var wait []chan struct{}
	if s.conn != nil && s.conn.epoch < epoch {
		s.conn.cancel(errNewer)
		wait = append(wait, s.conn.ended)
	}
	for e := range s.events {
		if e.epoch < epoch {
			e.cancel(errNewer)
			wait = append(wait, e.ended)
		}
	}
	s.mu.Unlock()
	for _, w := range wait {
		select {
		case <-w:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	return nil
}

// attach makes cn the one Frames connection.
func (s *server) attach(cn *conn) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.enterLocked(cn.stream.Context(), cn.epoch); err != nil {
		return err
	}
	s.mu.Lock()
	old := s.conn
	s.mu.Unlock()
	if old != nil {
		old.cancel(errNewer)
		select {
		case <-old.ended:
		case <-cn.stream.Context().Done():
			return status.FromContextError(cn.stream.Context().Err()).Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return errEnding // close waits already
	}
	s.conn = cn
	s.wg.Add(1)
	return nil
}

// detach ends cn: its captures go on and keep what is not acknowledged.
func (s *server) detach(cn *conn) {
	s.mu.Lock()
	if s.conn == cn {
		s.conn = nil
	}
	s.mu.Unlock()
	close(cn.ended)
}

// subscribe joins or begins the capture of w.
func (s *server) subscribe(h *handle, w *wanted, resume []media.RunPosition) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return errEnding
	}
	c := s.captures[w.src.UID]
	if c == nil {
		c = newCapture(w.src.UID, s.plugin.Driver, s.buffer, s.checkSource)
		s.captures[w.src.UID] = c
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			c.loop(s.ctx)
		}()
	}
	h.c = c
	c.subscribe(h, resume)
	c.set(w)
	return nil
}

// forgetStopped lets a capture go that nobody wants.
func (s *server) forgetStopped(c *capture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.mu.Lock()
	wanted := c.want != nil
	c.mu.Unlock()
	if wanted || s.captures[c.uid] != c {
		return
	}
	delete(s.captures, c.uid)
	c.end()
	c.clearLog()
}

// janitor stops captures that no core has subscribed to for long though one is
// here: streams that were removed while no core ran.
func (s *server) janitor(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		here, limit := s.conn != nil, s.linger+time.Duration(s.buffer.maxTime.Load())
		s.mu.Unlock()
		if !here {
			continue
		}
		for _, c := range s.all() {
			c.mu.Lock()
			old := !c.orphan.IsZero() && time.Since(c.orphan) > limit && c.handle == nil
			c.mu.Unlock()
			if old {
				slog.Info("capture stopped: the core does not want it any more", "stream", c.uid)
				c.set(nil)
				s.forgetStopped(c)
			}
		}
	}
}

// Frames implements pb.DriverServer.
func (s *server) Frames(stream grpc.BidiStreamingServer[pb.FramesRequest, pb.FramesReply]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := m.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "Hello comes first")
	}
	cn := newConn(stream.Context(), hello.Epoch, stream, s.forgetStopped)
	defer s.detach(cn)
	defer cn.cancel(nil)
	if err := s.attach(cn); err != nil {
		return err
	}
	defer s.wg.Done() // of attach
	welcome := &pb.FramesReply{Message: &pb.FramesReply_Welcome{Welcome: &pb.Welcome{Epoch: hello.Epoch}}}
	if err := stream.Send(welcome); err != nil {
		return err
	}
	// Both come back when this handler returns, at the latest. The sender too is
	// not waited for: it may sit in SendMsg towards a core that is stopped, and
	// what it cannot send any more is still in the log.
	s.wg.Add(2)
	go func() {
		defer s.wg.Done()
		cn.cancel(cn.receive(s))
	}()
	go func() {
		defer s.wg.Done()
		cn.cancel(cn.send())
	}()
	<-cn.ctx.Done()
	cn.release(s)
	switch cause := context.Cause(cn.ctx); {
	case errors.Is(cause, io.EOF), errors.Is(cause, context.Canceled):
		return nil // the core closed it
	case status.Code(cause) != codes.Unknown:
		return cause
	default:
		return status.Error(codes.Unavailable, cause.Error())
	}
}
