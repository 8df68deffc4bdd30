package server

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/local/space"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

const (
	listBatch = 1000    // entries a message
	readChunk = 1 << 20 // bytes a message
)

// Usage implements pb.StorageServer.
func (s *Server) Usage(ctx context.Context, r *pb.UsageRequest) (*pb.UsageReply, error) {
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	u, err := sp.Usage()
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.UsageReply{Total: uint64(u.Total), Free: uint64(u.Free), Used: uint64(u.Used),
		Reserved: uint64(u.Reserved), ReadOnly: u.ReadOnly}, nil
}

// List implements pb.StorageServer.
func (s *Server) List(r *pb.ListRequest, stream grpc.ServerStreamingServer[pb.ListReply]) error {
	ctx := stream.Context()
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return err
	}
	defer leave()
	reply := &pb.ListReply{}
	err = sp.List(ctx, r.GetPrefix(), r.GetAfter(), func(e space.Entry) error {
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
	return toStatus(err)
}

// Stat implements pb.StorageServer.
func (s *Server) Stat(ctx context.Context, r *pb.StatRequest) (*pb.StatReply, error) {
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	e, ok, err := sp.Stat(r.GetName())
	if err != nil || !ok {
		return &pb.StatReply{}, toStatus(err)
	}
	return &pb.StatReply{Exists: true, Size: uint64(e.Size), Modified: uint64(e.Modified.UnixNano())}, nil
}

// Append implements pb.StorageServer.
func (s *Server) Append(stream grpc.BidiStreamingServer[pb.AppendRequest, pb.AppendReply]) error {
	ctx := stream.Context()
	var req codec.AppendRequest
	if err := stream.RecvMsg(&req); err != nil {
		return err
	}
	begin := req.Other.GetBegin()
	if begin == nil {
		return status.Error(codes.InvalidArgument, "the first message is AppendBegin")
	}
	sp, leave, err := s.enter(ctx, begin.GetSpace())
	if err != nil {
		return err
	}
	leave() // it lasts as long as the core; it is bounded to one by Begin
	c, err := sp.Begin(ctx, begin.GetEpoch())
	if err != nil {
		return toStatus(err)
	}
	defer c.End()
	if err := stream.Send(&pb.AppendReply{Message: &pb.AppendReply_Ready{Ready: &pb.AppendReady{}}}); err != nil {
		return err
	}
	// Received on a goroutine of its own: this one must be able to end the
	// connection while the other is inside a write, or waits for a message.
	bad := make(chan error, 1)
	s.wg.Go(func() {
		bad <- s.receive(stream, c)
		c.End()
	})
	var rep space.Report
	for c.Next(ctx, &rep) {
		if err := report(stream, &rep); err != nil {
			return err
		}
	}
	select {
	case err := <-bad:
		return err
	default:
	}
	if ctx.Err() != nil {
		return nil
	}
	if begin.GetEpoch() < sp.Epoch() {
		return toStatus(&space.Error{Reason: space.StaleEpoch, Size: -1, What: "a newer core has opened this space"})
	}
	return status.Error(codes.Aborted, "the space was opened anew, or another connection appends to it now")
}

func (s *Server) receive(stream grpc.BidiStreamingServer[pb.AppendRequest, pb.AppendReply], c *space.Session) error {
	var req codec.AppendRequest
	var last uint64
	for {
		if err := stream.RecvMsg(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if req.Other != nil || req.Sequence != last+1 {
			return status.Errorf(codes.InvalidArgument, "message %d is not AppendData with sequence %d", req.Sequence, last+1)
		}
		last = req.Sequence
		c.Append(space.Data{Sequence: req.Sequence, Name: req.Name, Offset: req.Offset, ReserveTo: req.ReserveTo,
			Create: req.Create, Payload: req.Payload})
		req.Free()
	}
}

func report(stream grpc.BidiStreamingServer[pb.AppendRequest, pb.AppendReply], r *space.Report) error {
	for _, f := range r.Failures {
		m := &pb.AppendFailed{Sequence: f.Sequence, Name: f.Name, Reason: reason(f.Reason), Message: f.Message, Size: uint64(max(0, f.Size))}
		if err := stream.Send(&pb.AppendReply{Message: &pb.AppendReply_Failed{Failed: m}}); err != nil {
			return err
		}
	}
	if r.Written > 0 {
		m := &pb.AppendWritten{Sequence: r.Written}
		if err := stream.Send(&pb.AppendReply{Message: &pb.AppendReply_Written{Written: m}}); err != nil {
			return err
		}
	}
	if r.Synced > 0 {
		m := &pb.AppendSynced{Sequence: r.Synced, DurationUs: r.Took.Microseconds(), Calls: r.Calls}
		return stream.Send(&pb.AppendReply{Message: &pb.AppendReply_Synced{Synced: m}})
	}
	return nil
}

func reason(r space.Reason) pb.AppendFailed_Reason {
	switch r {
	case space.NoSpace:
		return pb.AppendFailed_NO_SPACE
	case space.Limit:
		return pb.AppendFailed_LIMIT
	case space.ReadOnly:
		return pb.AppendFailed_READ_ONLY
	case space.NotFound:
		return pb.AppendFailed_NOT_FOUND
	case space.BadOffset:
		return pb.AppendFailed_BAD_OFFSET
	case space.StaleEpoch:
		return pb.AppendFailed_STALE_EPOCH
	case space.SyncFailed:
		return pb.AppendFailed_SYNC_FAILED
	case space.IOError:
		return pb.AppendFailed_IO_ERROR
	}
	return pb.AppendFailed_REASON_UNSPECIFIED
}

// Sync implements pb.StorageServer.
func (s *Server) Sync(ctx context.Context, r *pb.SyncRequest) (*pb.SyncReply, error) {
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	return &pb.SyncReply{}, toStatus(sp.Sync(ctx, r.GetEpoch()))
}

var chunks = sync.Pool{New: func() any { b := make([]byte, readChunk); return &b }}

// Read implements pb.StorageServer.
func (s *Server) Read(r *pb.ReadRequest, stream grpc.ServerStreamingServer[pb.ReadReply]) error {
	ctx := stream.Context()
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return err
	}
	defer leave()
	sl := s.slot(r.GetSpace(), false)
	if sl == nil {
		return status.Error(codes.Unavailable, "the space was closed")
	}
	select {
	case sl.reads <- struct{}{}:
		defer func() { <-sl.reads }()
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	f, size, err := sp.OpenFile(r.GetName())
	if err != nil {
		return toStatus(err)
	}
	defer f.Close()
	if r.GetOffset() > uint64(size) {
		return status.Errorf(codes.OutOfRange, "%s has %d bytes", r.GetName(), size)
	}
	off, left := int64(r.GetOffset()), size-int64(r.GetOffset())
	if r.GetLength() > 0 && r.GetLength() < uint64(left) {
		left = int64(r.GetLength())
	}
	for left > 0 {
		buf := chunks.Get().(*[]byte)
		n, err := f.ReadAt((*buf)[:min(left, readChunk)], off)
		if n == 0 {
			chunks.Put(buf)
			if err == io.EOF { // cut meanwhile
				return nil
			}
			return toStatus(err)
		}
		m := &codec.ReadReply{Payload: (*buf)[:n], Done: func() { chunks.Put(buf) }}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
		off, left = off+int64(n), left-int64(n)
	}
	return nil
}

// Truncate implements pb.StorageServer.
func (s *Server) Truncate(ctx context.Context, r *pb.TruncateRequest) (*pb.TruncateReply, error) {
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	return &pb.TruncateReply{}, toStatus(sp.Truncate(r.GetEpoch(), r.GetName(), bounded(r.GetSize())))
}

// Seal implements pb.StorageServer.
func (s *Server) Seal(ctx context.Context, r *pb.SealRequest) (*pb.SealReply, error) {
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	return &pb.SealReply{}, toStatus(sp.Seal(r.GetEpoch(), r.GetName(), r.GetFinalName(), bounded(r.GetSize())))
}

// bounded keeps sizes from turning negative.
func bounded(n uint64) int64 { return int64(min(n, 1<<62)) }

// Write implements pb.StorageServer.
func (s *Server) Write(ctx context.Context, r *pb.WriteRequest) (*pb.WriteReply, error) {
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	return &pb.WriteReply{}, toStatus(sp.Write(r.GetEpoch(), r.GetName(), r.GetPayload()))
}

// Delete implements pb.StorageServer.
func (s *Server) Delete(ctx context.Context, r *pb.DeleteRequest) (*pb.DeleteReply, error) {
	sp, leave, err := s.enter(ctx, r.GetSpace())
	if err != nil {
		return nil, err
	}
	defer leave()
	missing, err := sp.Delete(ctx, r.GetEpoch(), r.GetNames())
	return &pb.DeleteReply{Missing: missing}, toStatus(err)
}
