package server

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/local/space"
	"media-server/plugins/sdk/pb"
)

// callsPerSpace bounds calls under way on one space: what they can tie up of
// threads when its disk is stuck.
const callsPerSpace = 64

// readsPerSpace bounds those of them that read.
const readsPerSpace = 16

// Server implements pb.StorageServer.
type Server struct {
	pb.UnimplementedStorageServer
	log    *slog.Logger
	socket string // of descriptors; empty = none
	wg     sync.WaitGroup

	mu    sync.Mutex
	slots map[string]*slot
}

// slot is a space by its name: open, or as it was last asked for.
type slot struct {
	opening chan struct{} // holds one token while Open runs
	calls   chan struct{}
	reads   chan struct{}

	mu    sync.Mutex
	space *space.Space
	path  string
	node  string
	stop  func()

	ending bool // its space no longer syncs; something was stuck in it when it was to be closed
}

// New makes a server. socket is where ServeDescriptors will listen; empty
// leaves descriptors out.
func New(log *slog.Logger, socket string) *Server {
	return &Server{log: log, socket: socket, slots: map[string]*slot{}}
}

// Close ends all spaces, with a last sync of each.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	slots := s.slots
	s.slots = map[string]*slot{}
	s.mu.Unlock()
	var errs []error
	for _, sl := range slots {
		errs = append(errs, sl.end(ctx))
	}
	s.wg.Wait()
	return errors.Join(errs...)
}

func (s *Server) slot(name string, create bool) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.slots[name]
	if sl == nil && create {
		sl = &slot{opening: make(chan struct{}, 1), calls: make(chan struct{}, callsPerSpace), reads: make(chan struct{}, readsPerSpace)}
		s.slots[name] = sl
	}
	return sl
}

func (sl *slot) current() *space.Space {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.space
}

// end closes the space, if one is open.
func (sl *slot) end(ctx context.Context) error {
	sl.mu.Lock()
	sp, stop := sl.space, sl.stop
	sl.ending = sp != nil
	sl.mu.Unlock()
	if sp == nil {
		return nil
	}
	if stop != nil {
		stop()
	}
	if err := sp.Close(ctx); err != nil {
		return err
	}
	sl.mu.Lock()
	sl.space, sl.stop, sl.ending = nil, nil, false
	sl.mu.Unlock()
	return nil
}

// enter finds an open space and takes a place among its calls.
func (s *Server) enter(ctx context.Context, name string) (*space.Space, func(), error) {
	sl := s.slot(name, false)
	if sl == nil || sl.current() == nil {
		return nil, nil, status.Errorf(codes.Unavailable, "space %q is not open", name)
	}
	select {
	case sl.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, status.Errorf(codes.Unavailable, "space %q: too many calls wait for its disk", name)
	}
	if sp := sl.current(); sp != nil {
		return sp, func() { <-sl.calls }, nil
	}
	<-sl.calls
	return nil, nil, status.Errorf(codes.Unavailable, "space %q is not open", name)
}

// Describe implements pb.StorageServer.
func (s *Server) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeReply, error) {
	return &pb.DescribeReply{Append: true, Descriptors: s.socket != "", DescriptorSocket: s.socket}, nil
}

// Open implements pb.StorageServer.
func (s *Server) Open(ctx context.Context, r *pb.OpenRequest) (*pb.OpenReply, error) {
	set, bad := space.ParseSettings(r.GetSettings())
	if len(bad) > 0 {
		return &pb.OpenReply{Problem: &pb.Problem{Key: bad[0].Key, What: bad[0].What, Hint: bad[0].Hint}}, nil
	}
	sl := s.slot(r.GetSpace(), true)
	select {
	case sl.opening <- struct{}{}:
		defer func() { <-sl.opening }()
	case <-ctx.Done():
		return nil, status.Errorf(codes.Unavailable, "space %q is being opened and does not answer", r.GetSpace())
	}
	o := space.Options{Name: r.GetSpace(), Epoch: r.GetEpoch(), Node: r.GetNode(), Least: r.GetLeastEpoch(), Create: r.GetCreate(), Settings: set, Log: s.log}
	sl.mu.Lock()
	sl.path, sl.node = set.Path, r.GetNode()
	sp, ending := sl.space, sl.ending
	sl.mu.Unlock()
	var got space.Opened
	var err error
	// The same folder and still there: hand it over. Else begin anew, so that
	// a disk that came back, or another path, is looked at with fresh eyes.
	if sp != nil && !ending && sp.Path() == filepath.Clean(set.Path) && sp.Present() == nil {
		got, err = sp.Reopen(ctx, o)
	} else {
		if sp != nil && r.GetEpoch() < sp.Epoch() {
			return nil, toStatus(&space.Error{Reason: space.StaleEpoch, Size: -1})
		}
		if err = sl.end(ctx); err == nil {
			got, err = s.attach(ctx, sl, o)
		}
	}
	var e *space.Error
	if errors.As(err, &e) && e.Reason == space.Unusable {
		reply := &pb.OpenReply{Epoch: got.Epoch, Problem: &pb.Problem{Key: "path", What: e.Error(), Hint: e.Hint}}
		if got.Epoch != 0 { // there it is
			reply.Id = got.ID[:]
		}
		return reply, nil
	}
	if err != nil {
		return nil, toStatus(err)
	}
	reply := &pb.OpenReply{Id: got.ID[:], Created: got.Created, OwnMount: got.OwnMount, Epoch: got.Epoch}
	if got.ReadOnly {
		reply.Problem = &pb.Problem{Key: "path", What: "the file system is read-only", Hint: "recordings can be played, nothing can be recorded; look at the kernel log, then remount it"}
	}
	return reply, nil
}

func (s *Server) attach(ctx context.Context, sl *slot, o space.Options) (space.Opened, error) {
	sp, got, err := space.Open(ctx, o)
	if err != nil {
		return got, err
	}
	run, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := sp.Run(run); err != nil {
			s.log.Error("space ended", "space", o.Name, "err", err)
		}
	})
	sl.mu.Lock()
	sl.space = sp
	sl.stop = func() { cancel(); ended.Wait() }
	sl.mu.Unlock()
	return got, nil
}

// Initialize implements pb.StorageServer. The folder is the one that the last
// Open of this space named.
func (s *Server) Initialize(ctx context.Context, r *pb.InitializeRequest) (*pb.InitializeReply, error) {
	sl := s.slot(r.GetSpace(), false)
	if sl == nil {
		return nil, status.Error(codes.Unavailable, "call Open first: it says which folder")
	}
	sl.mu.Lock()
	sp, path, node := sl.space, sl.path, sl.node
	sl.mu.Unlock()
	if sp != nil {
		return nil, status.Errorf(codes.AlreadyExists, "space %q is open", r.GetSpace())
	}
	id, err := space.Initialize(path, node)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.InitializeReply{Id: id[:]}, nil
}

// toStatus gives an error of a space its gRPC code.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return status.FromContextError(err).Err()
	}
	code := codes.Internal
	switch space.ReasonOf(err) {
	case space.NoSpace, space.Limit:
		code = codes.ResourceExhausted
	case space.ReadOnly:
		code = codes.PermissionDenied
	case space.IOError, space.SyncFailed:
		code = codes.DataLoss
	case space.NotFound:
		code = codes.NotFound
	case space.BadOffset:
		code = codes.OutOfRange
	case space.BadName:
		code = codes.InvalidArgument
	case space.Exists:
		code = codes.AlreadyExists
	case space.StaleEpoch:
		code = codes.FailedPrecondition
	case space.NotReady, space.Unusable:
		code = codes.Unavailable
	}
	return status.Error(code, err.Error())
}
