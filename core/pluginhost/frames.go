package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/media"
	"media-server/core/stream"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

// driverService is the driver side of a plugin: its subscriptions, and the one
// Frames stream of the process that runs at the time.
//
// The reader (frames) is the only goroutine that delivers units. The writer
// sends what sessions want, from a set of sessions with something to send, so
// its queue is as long as there are sessions and no longer.
type driverService struct {
	sup *supervisor

	mu       sync.Mutex
	sessions map[*session]struct{}
	live     map[uint32]*session // by handle, on the present connection
	handles  uint32
	online   bool
	work     map[*session]struct{} // have subscriptions, modes or ends to send
	acks     map[*session]struct{} // have acknowledgements to send
	wake     chan struct{}
	ackWake  chan struct{}
	touched  []*session // of one batch; the reader's
	batches  uint64
	units    uint64
	bytes    uint64
	dropped  uint64
	pieces   int64
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (d *driverService) dirty(s *session) {
	d.mu.Lock()
	d.work[s] = struct{}{}
	d.mu.Unlock()
	poke(d.wake)
}

// leave takes a closed session out: at once, or when its end has been sent.
func (d *driverService) leave(s *session) {
	d.mu.Lock()
	online := d.online
	d.mu.Unlock()
	if online {
		d.dirty(s)
	} else {
		d.forget(s)
	}
}

func (d *driverService) ackable(s *session) {
	d.mu.Lock()
	d.acks[s] = struct{}{}
	d.mu.Unlock()
	poke(d.ackWake)
}

// add takes a session over. h.mu is held.
func (d *driverService) add(s *session) {
	s.mu.Lock()
	s.svc = d
	s.mu.Unlock()
	d.mu.Lock()
	d.sessions[s] = struct{}{}
	d.work[s] = struct{}{}
	d.mu.Unlock()
	poke(d.wake)
}

// dismiss gives all sessions back, because the plugin is no longer there.
func (d *driverService) dismiss() {
	d.mu.Lock()
	list := make([]*session, 0, len(d.sessions))
	for s := range d.sessions {
		list = append(list, s)
	}
	clear(d.sessions)
	clear(d.work)
	clear(d.acks)
	d.mu.Unlock()
	for _, s := range list {
		s.mu.Lock()
		s.svc, s.handle, s.unsub, s.told = nil, 0, nil, false
		s.mu.Unlock()
	}
}

// fill adds the driver's part of a Status.
func (d *driverService) fill(st *Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st.Streams, st.Queued = len(d.sessions), len(d.work)+len(d.acks)
	st.Batches, st.Units, st.Bytes, st.Dropped, st.Pieces = d.batches, d.units, d.bytes, d.dropped, d.pieces
	for _, s := range d.live {
		if s.opened.Load() {
			st.Open++
		}
	}
}

// serve keeps a Frames stream up while the process lives.
func (d *driverService) serve(ctx context.Context, inst *instance) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		begun := time.Now()
		err := d.frames(ctx, inst)
		if ctx.Err() != nil {
			return
		}
		select { // a process that has died is the supervisor's to tell
		case <-inst.ends():
			return
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if time.Since(begun) > 5*time.Second {
			wait = 50 * time.Millisecond
		}
		if status.Code(err) == codes.FailedPrecondition {
			d.sup.lose(errTaken)
			return
		}
		d.sup.log.Warn("frames stream broke", "err", plain(err))
	}
}

const welcomeTimeout = 10 * time.Second

// frames runs one Frames stream: hello, all subscriptions with what their
// sinks hold, then whatever comes.
func (d *driverService) frames(ctx context.Context, inst *instance) error {
	ctx, cancel := context.WithCancel(ctx)
	var writer sync.WaitGroup
	defer writer.Wait()
	defer cancel()
	fs, err := pb.NewDriverClient(inst.conn).Frames(ctx, grpc.ForceCodecV2(codec.Codec{}))
	if err != nil {
		return err
	}
	epoch := d.sup.host.opt().Epoch
	if err := fs.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Hello{Hello: &pb.Hello{Epoch: epoch}}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	late := time.AfterFunc(welcomeTimeout, cancel)
	var reply codec.FramesReply
	defer reply.Free()
	err = fs.RecvMsg(&reply)
	if !late.Stop() && err != nil {
		return fmt.Errorf("no welcome within %v: %w", welcomeTimeout, err)
	}
	if err != nil {
		return err
	}
	if w := reply.Other.GetWelcome(); w == nil || w.Epoch != epoch {
		return errors.New("the driver did not answer Hello with Welcome")
	}
	d.connected()
	defer d.disconnected()
	writer.Go(func() {
		if err := d.write(ctx, fs); err != nil {
			cancel() // the reader must not wait for a stream that cannot be asked
		}
	})
	for {
		reply.Free()
		if err := fs.RecvMsg(&reply); err != nil {
			return err
		}
		if reply.Other != nil {
			d.control(reply.Other)
		} else {
			d.batch(reply.Units)
		}
	}
}

// connected marks every session as to be subscribed.
func (d *driverService) connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.online = true
	for s := range d.sessions {
		d.work[s] = struct{}{}
	}
	poke(d.wake)
}

func (d *driverService) disconnected() {
	d.mu.Lock()
	d.online = false
	clear(d.live)
	list := make([]*session, 0, len(d.sessions))
	for s := range d.sessions {
		list = append(list, s)
	}
	d.mu.Unlock()
	for _, s := range list {
		s.mu.Lock()
		s.handle, s.unsub, s.modes, s.acks = 0, nil, false, false
		closed := s.closed
		s.mu.Unlock()
		if closed {
			d.forget(s)
		}
	}
}

func (d *driverService) forget(s *session) {
	d.mu.Lock()
	delete(d.sessions, s)
	delete(d.work, s)
	delete(d.acks, s)
	d.mu.Unlock()
}

// died tells every session that its process is gone. Called when the reader
// has returned.
func (d *driverService) died(err error, again time.Duration) {
	d.mu.Lock()
	list := make([]*session, 0, len(d.sessions))
	for s := range d.sessions {
		list = append(list, s)
	}
	d.mu.Unlock()
	now := media.WallOf(time.Now())
	for _, s := range list {
		s.deliver(func(k stream.Sink) {
			d.room(s.reset())
			k.Closed(stream.Closed{Run: s.run, Cause: stream.CauseDriver, What: err.Error(), RetryIn: again, At: now})
			s.over()
		})
	}
}

// write sends what sessions want: ends, subscriptions and modes at once,
// acknowledgements gathered over AckEvery.
func (d *driverService) write(ctx context.Context, fs grpc.BidiStreamingClient[pb.FramesRequest, pb.FramesReply]) error {
	every := d.sup.host.opt().AckEvery
	timer := time.NewTimer(every)
	timer.Stop()
	defer timer.Stop()
	armed := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.wake:
			for _, s := range d.take(d.work) {
				if err := d.sendWork(s, fs); err != nil {
					return err
				}
			}
		case <-d.ackWake:
			if !armed {
				armed = true
				timer.Reset(every)
			}
		case <-timer.C:
			armed = false
			for _, s := range d.take(d.acks) {
				if err := d.sendAck(s, fs); err != nil {
					return err
				}
			}
		}
	}
}

func (d *driverService) take(set map[*session]struct{}) []*session {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*session, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	clear(set)
	return list
}

func (d *driverService) sendWork(s *session, fs grpc.BidiStreamingClient[pb.FramesRequest, pb.FramesReply]) error {
	s.mu.Lock()
	unsub := s.unsub
	s.unsub = nil
	closed := s.closed
	begin := !closed && s.handle == 0 && !s.behind
	modes := s.modes && s.handle != 0 && !closed
	s.modes = false
	handle, atOnce := s.handle, s.atOnce
	s.mu.Unlock()
	for _, u := range unsub {
		d.mu.Lock()
		delete(d.live, u.handle)
		d.mu.Unlock()
		if err := fs.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Handle: u.handle, Keep: u.keep}}}); err != nil {
			return err
		}
	}
	switch {
	case closed:
		d.forget(s)
	case begin:
		return d.begin(s, fs)
	case modes:
		return fs.Send(modeMessage(handle, atOnce))
	}
	return nil
}

// begin subscribes a session with a new handle, so that units of an earlier
// subscription that are still on their way are told apart.
func (d *driverService) begin(s *session, fs grpc.BidiStreamingClient[pb.FramesRequest, pb.FramesReply]) error {
	var handle uint32
	var atOnce, gone, acks bool
	var resume []media.RunPosition
	s.deliver(func(k stream.Sink) {
		d.room(s.reset())
		resume = k.Positions()
		d.mu.Lock()
		d.handles++
		handle = d.handles
		d.live[handle] = s
		d.mu.Unlock()
		s.mu.Lock()
		s.handle, atOnce, s.modes, gone = handle, s.atOnce, false, s.closed
		if gone {
			s.unsub = append(s.unsub, unsubscription{handle, false})
		}
		s.acks = !s.ack.Run.IsZero() // the last word may not have arrived
		acks = s.acks
		s.mu.Unlock()
	})
	if acks {
		d.ackable(s)
	}
	if handle == 0 {
		d.forget(s) // closed meanwhile
		return nil
	}
	err := fs.Send(s.subscribeMessage(handle, resume))
	if err == nil && atOnce {
		err = fs.Send(modeMessage(handle, true))
	}
	if gone {
		d.dirty(s)
	}
	return err
}

func modeMessage(handle uint32, atOnce bool) *pb.FramesRequest {
	m := &pb.Mode{Handle: handle}
	if atOnce {
		m.Delivery = pb.Mode_AT_ONCE
	}
	return &pb.FramesRequest{Message: &pb.FramesRequest_Mode{Mode: m}}
}

func (d *driverService) sendAck(s *session, fs grpc.BidiStreamingClient[pb.FramesRequest, pb.FramesReply]) error {
	s.mu.Lock()
	handle, send := s.handle, s.acks && s.handle != 0 && !s.closed
	s.acks = false
	var pos *pb.RunPosition
	if send {
		pos = positionToPB(s.ack)
	}
	s.mu.Unlock()
	if !send {
		return nil
	}
	return fs.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Ack{Ack: &pb.Ack{Handle: handle, Position: pos}}})
}

// room counts bytes of units that have not arrived whole.
func (d *driverService) room(n int) {
	d.mu.Lock()
	d.pieces += int64(n)
	d.mu.Unlock()
}
