package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/s3/bucket"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

const (
	callsPerSpace = 64
	putsPerSpace  = 4 // each holds a part in memory
	listBatch     = 1000
	readChunk     = 1 << 20
)

// Server implements pb.StorageServer.
type Server struct {
	pb.UnimplementedStorageServer
	log *slog.Logger

	mu    sync.Mutex
	slots map[string]*slot
}

// slot is a space by its name.
type slot struct {
	opening chan struct{} // holds one token while Open runs
	calls   chan struct{}
	puts    chan struct{}

	mu    sync.Mutex
	space *bucket.Space
}

// New makes a server.
func New(log *slog.Logger) *Server { return &Server{log: log, slots: map[string]*slot{}} }

// Close ends all spaces.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.slots {
		if sp := sl.current(); sp != nil {
			sp.Close()
		}
	}
	s.slots = map[string]*slot{}
}

func (s *Server) slot(name string, create bool) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.slots[name]
	if sl == nil && create {
		sl = &slot{opening: make(chan struct{}, 1), calls: make(chan struct{}, callsPerSpace), puts: make(chan struct{}, putsPerSpace)}
		s.slots[name] = sl
	}
	return sl
}

func (sl *slot) current() *bucket.Space {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.space
}

// enter finds an open space and takes a place among its calls.
func (s *Server) enter(ctx context.Context, name string) (*bucket.Space, *slot, func(), error) {
	sl := s.slot(name, false)
	if sl == nil || sl.current() == nil {
		return nil, nil, nil, status.Errorf(codes.Unavailable, "space %q is not open", name)
	}
	select {
	case sl.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, nil, status.Errorf(codes.Unavailable, "space %q: too many calls wait for its server", name)
	}
	return sl.current(), sl, func() { <-sl.calls }, nil
}

// Describe implements pb.StorageServer.
func (s *Server) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeReply, error) {
	return &pb.DescribeReply{}, nil
}

// Open implements pb.StorageServer.
func (s *Server) Open(ctx context.Context, r *pb.OpenRequest) (*pb.OpenReply, error) {
	set, bad := bucket.ParseSettings(r.GetSettings())
	if bad != nil {
		return &pb.OpenReply{Problem: bad}, nil
	}
	sl := s.slot(r.GetSpace(), true)
	select {
	case sl.opening <- struct{}{}:
		defer func() { <-sl.opening }()
	case <-ctx.Done():
		return nil, status.Errorf(codes.Unavailable, "space %q is being opened and does not answer", r.GetSpace())
	}
	sp, created := sl.current(), false
	if sp == nil || sp.Settings() != set {
		fresh, made, problem, err := bucket.Open(ctx, bucket.Request{Settings: set, Node: r.GetNode(), Epoch: r.GetEpoch(), Create: r.GetCreate()})
		if problem != nil || err != nil {
			return &pb.OpenReply{Problem: problem}, err
		}
		if sp != nil {
			sp.Close()
		}
		sp, created = fresh, made
		sl.mu.Lock()
		sl.space = sp
		sl.mu.Unlock()
	}
	if err := sp.Advance(ctx, r.GetEpoch()); err != nil {
		return nil, err
	}
	id := sp.ID()
	return &pb.OpenReply{Id: id[:], Created: created}, nil
}

// Initialize implements pb.StorageServer: Open with create does it.
func (s *Server) Initialize(context.Context, *pb.InitializeRequest) (*pb.InitializeReply, error) {
	return nil, status.Error(codes.FailedPrecondition, "a space in a bucket is made by Open, where nothing is below the prefix")
}

// Usage implements pb.StorageServer.
func (s *Server) Usage(ctx context.Context, r *pb.UsageRequest) (*pb.UsageReply, error) {
	sp, _, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	total, free, used, err := sp.Usage(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.UsageReply{Total: uint64(total), Free: uint64(free), Used: uint64(used)}, nil
}

// List implements pb.StorageServer.
func (s *Server) List(r *pb.ListRequest, stream grpc.ServerStreamingServer[pb.ListReply]) error {
	sp, _, leave, err := s.enter(stream.Context(), r.GetSpace())
	if err != nil {
		return err
	}
	defer leave()
	reply := &pb.ListReply{}
	err = sp.List(stream.Context(), r.GetPrefix(), r.GetAfter(), func(e bucket.Entry) error {
		reply.Entries = append(reply.Entries, &pb.Entry{Name: e.Name, Size: uint64(e.Size), Modified: uint64(e.Modified.UnixNano())})
		if len(reply.Entries) < listBatch {
			return nil
		}
		err := stream.Send(reply)
		reply = &pb.ListReply{}
		return err
	})
	if err == nil && len(reply.Entries) > 0 {
		err = stream.Send(reply)
	}
	return err
}

// Stat implements pb.StorageServer.
func (s *Server) Stat(ctx context.Context, r *pb.StatRequest) (*pb.StatReply, error) {
	sp, _, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	e, ok, err := sp.Stat(ctx, r.GetName())
	if err != nil || !ok {
		return &pb.StatReply{}, err
	}
	return &pb.StatReply{Exists: true, Size: uint64(e.Size), Modified: uint64(e.Modified.UnixNano())}, nil
}

var chunks = sync.Pool{New: func() any { b := make([]byte, readChunk); return &b }}

// Read implements pb.StorageServer.
func (s *Server) Read(r *pb.ReadRequest, stream grpc.ServerStreamingServer[pb.ReadReply]) error {
	sp, _, leave, err := s.enter(stream.Context(), r.GetSpace())
	if err != nil {
		return err
	}
	defer leave()
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	return sp.Read(stream.Context(), r.GetName(), int64(min(r.GetOffset(), 1<<62)), int64(min(r.GetLength(), 1<<62)), *buf, func(b []byte) error {
		out := chunks.Get().(*[]byte)
		return stream.SendMsg(&codec.ReadReply{Payload: (*out)[:copy(*out, b)], Done: func() { chunks.Put(out) }})
	})
}

// Sync implements pb.StorageServer: what is stored is durable already.
func (s *Server) Sync(ctx context.Context, r *pb.SyncRequest) (*pb.SyncReply, error) {
	sp, _, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	return &pb.SyncReply{}, sp.Current(r.GetEpoch())
}

// Write implements pb.StorageServer.
func (s *Server) Write(ctx context.Context, r *pb.WriteRequest) (*pb.WriteReply, error) {
	sp, _, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	return &pb.WriteReply{}, sp.Write(ctx, r.GetEpoch(), r.GetName(), r.GetPayload())
}

// Delete implements pb.StorageServer.
func (s *Server) Delete(ctx context.Context, r *pb.DeleteRequest) (*pb.DeleteReply, error) {
	sp, _, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	missing, err := sp.Delete(ctx, r.GetEpoch(), r.GetNames())
	if err != nil {
		return nil, err
	}
	return &pb.DeleteReply{Missing: missing}, nil
}

// Put implements pb.StorageServer.
func (s *Server) Put(stream grpc.ClientStreamingServer[pb.PutRequest, pb.PutReply]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	b := first.GetBegin()
	if b == nil {
		return status.Error(codes.InvalidArgument, "the first message says begin")
	}
	sp, sl, leave, err := s.enter(stream.Context(), b.GetSpace())
	if err != nil {
		return err
	}
	defer leave()
	select {
	case sl.puts <- struct{}{}:
		defer func() { <-sl.puts }()
	case <-stream.Context().Done():
		return status.FromContextError(stream.Context().Err()).Err()
	}
	r := &payloads{stream: stream, rest: first.GetPayload()}
	if err := sp.Put(stream.Context(), b.GetEpoch(), b.GetName(), int64(min(b.GetSize(), 1<<62)), r); err != nil {
		return err
	}
	return stream.SendAndClose(&pb.PutReply{})
}

// payloads reads what comes in messages as one stream.
type payloads struct {
	stream grpc.ClientStreamingServer[pb.PutRequest, pb.PutReply]
	rest   []byte
}

func (p *payloads) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		m, err := p.stream.Recv()
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		if m.GetBegin() != nil {
			return 0, status.Error(codes.InvalidArgument, "begin came twice")
		}
		p.rest = m.GetPayload()
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
