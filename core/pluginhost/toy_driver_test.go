package pluginhost

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

// toyDriver captures cameras that send a stamped unit every tick. It keeps
// what is not acknowledged, without bound.
type toyDriver struct {
	pb.UnimplementedDriverServer
	base *toyBase
	tick time.Duration

	mu      sync.Mutex
	streams map[string]*toyStream
	conn    context.CancelFunc // of the present connection
	gone    chan struct{}      // closed when it has ended
	acks    int                // Ack messages received
	unsubs  []*pb.Unsubscribe
	modes   []*pb.Mode
	large   bool // send units in pieces
}

type toyStream struct {
	uid    string
	run    [16]byte
	first  uint64 // of units
	units  [][]byte
	handle uint32
	sent   uint64 // next to send
	opened bool   // on this connection
}

func newToyDriver() *toyDriver {
	d := &toyDriver{tick: 20 * time.Millisecond, streams: map[string]*toyStream{}}
	if v, err := time.ParseDuration(os.Getenv("TOY_TICK")); err == nil {
		d.tick = v
	}
	return d
}

func (d *toyDriver) register(s *grpc.Server, b *toyBase) {
	d.base = b
	pb.RegisterDriverServer(s, d)
}

// toyUnit makes the payload of unit n: what it is can be told from it alone.
func toyUnit(uid string, n uint64, size int) []byte {
	b := binary.BigEndian.AppendUint64(nil, n)
	b = append(b, uid...)
	for len(b) < size {
		b = append(b, byte(n), byte(len(b)))
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func (d *toyDriver) Frames(fs grpc.BidiStreamingServer[pb.FramesRequest, pb.FramesReply]) error {
	m, err := fs.Recv()
	if err != nil {
		return err
	}
	epoch := m.GetHello().GetEpoch()
	if epoch < d.base.epoch.Load() {
		return status.Error(codes.FailedPrecondition, "a newer core is there")
	}
	ctx, cancel := context.WithCancel(fs.Context())
	gone := make(chan struct{})
	defer close(gone)
	d.mu.Lock()
	before, wait := d.conn, d.gone
	d.conn, d.gone = cancel, gone
	d.mu.Unlock()
	if before != nil {
		before()
		<-wait
	}
	d.mu.Lock()
	for _, s := range d.streams {
		s.handle, s.opened = 0, false
	}
	d.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if err := fs.Send(&pb.FramesReply{Message: &pb.FramesReply_Welcome{Welcome: &pb.Welcome{Epoch: epoch}}}); err != nil {
		return err
	}
	wg.Go(func() { d.sender(ctx, fs) })
	recv := make(chan error, 1)
	go func() { // ends when the handler has returned
		for {
			m, err := fs.Recv()
			if err != nil {
				recv <- err
				return
			}
			d.request(m)
		}
	}()
	select {
	case err := <-recv:
		return err
	case <-ctx.Done():
		return status.Error(codes.Aborted, "a newer connection came")
	}
}

func (d *toyDriver) request(m *pb.FramesRequest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch m := m.Message.(type) {
	case *pb.FramesRequest_Subscribe:
		q := m.Subscribe
		s := d.streams[q.Uid]
		if s == nil {
			s = &toyStream{uid: q.Uid}
			rand.Read(s.run[:])
			d.streams[q.Uid] = s
		}
		s.handle, s.opened, s.sent = q.Handle, false, s.first
		for _, p := range q.Resume {
			if string(p.Run) == string(s.run[:]) && len(p.Tracks) == 1 {
				s.sent = max(s.first, p.Tracks[0].Next)
			}
		}
	case *pb.FramesRequest_Ack:
		d.acks++
		for _, s := range d.streams {
			if s.handle != m.Ack.Handle || string(m.Ack.Position.Run) != string(s.run[:]) {
				continue
			}
			for _, t := range m.Ack.Position.Tracks {
				for s.first < t.Next && len(s.units) > 0 {
					s.first++
					s.units = s.units[1:]
				}
			}
		}
	case *pb.FramesRequest_Unsubscribe:
		d.unsubs = append(d.unsubs, m.Unsubscribe)
		for uid, s := range d.streams {
			if s.handle == m.Unsubscribe.Handle {
				s.handle = 0
				if !m.Unsubscribe.Keep {
					delete(d.streams, uid)
				}
			}
		}
	case *pb.FramesRequest_Mode:
		d.modes = append(d.modes, m.Mode)
	}
}

// sender captures and sends.
func (d *toyDriver) sender(ctx context.Context, fs grpc.BidiStreamingServer[pb.FramesRequest, pb.FramesReply]) {
	t := time.NewTicker(d.tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, m := range d.step() {
			if fs.Send(m) != nil {
				return
			}
		}
	}
}

func (d *toyDriver) step() (out []*pb.FramesReply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	batch := &pb.Batch{}
	for _, s := range d.streams {
		n := s.first + uint64(len(s.units))
		s.units = append(s.units, toyUnit(s.uid, n, 300+int(n%7)*100))
		if s.handle == 0 {
			continue
		}
		if !s.opened {
			s.opened = true
			out = append(out, &pb.FramesReply{Message: &pb.FramesReply_Opened{Opened: &pb.Opened{
				Handle: s.handle, Run: s.run[:], Device: "toy", OpenedAt: uint64(time.Now().UnixNano()),
				Tracks: []*pb.Track{{Id: 1, Codec: "metadata", Timescale: 1000}},
				First:  []*pb.TrackPosition{{Track: 1, Next: s.sent}},
			}}})
		}
		for ; s.sent <= n && len(batch.Units) < 4000; s.sent++ {
			p := s.units[s.sent-s.first]
			u := &pb.Unit{Handle: s.handle, Track: 1, Sequence: s.sent, Pts: int64(s.sent) * 20,
				ReceivedTime: uint64(time.Now().UnixNano()), Flags: uint32(pb.Unit_KEY), Payload: p}
			if d.large {
				u.Flags |= uint32(pb.Unit_MORE)
				u.Payload = p[:100]
				batch.Units = append(batch.Units, u)
				u = &pb.Unit{Handle: s.handle, Track: 1, Sequence: s.sent, Pts: u.Pts, ReceivedTime: u.ReceivedTime,
					Flags: uint32(pb.Unit_KEY), Payload: p[100:]}
			}
			batch.Units = append(batch.Units, u)
		}
	}
	if len(batch.Units) > 0 {
		out = append(out, &pb.FramesReply{Message: &pb.FramesReply_Batch{Batch: batch}})
	}
	return out
}

func (d *toyDriver) held(uid string) (first, next uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.streams[uid]
	if s == nil {
		return 0, 0
	}
	return s.first, s.first + uint64(len(s.units))
}
