package server

import (
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

// Put implements pb.StorageServer.
func (s *Server) Put(stream grpc.ClientStreamingServer[pb.PutRequest, pb.PutReply]) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	b := first.GetBegin()
	if b == nil {
		return status.Error(codes.InvalidArgument, "the first message says begin")
	}
	sp, leave, err := s.enter(ctx, b.GetSpace())
	if err != nil {
		return err
	}
	defer leave()
	p, err := sp.Put(b.GetEpoch(), b.GetName(), bounded(b.GetSize()))
	if err != nil {
		return toStatus(err)
	}
	defer p.Abort()
	for m := first; ; {
		if len(m.GetPayload()) > 0 {
			if err := p.Write(m.GetPayload()); err != nil {
				return toStatus(err)
			}
		}
		m, err = stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if m.GetBegin() != nil {
			return status.Error(codes.InvalidArgument, "begin came twice")
		}
	}
	if err := p.Finish(); err != nil {
		return toStatus(err)
	}
	return stream.SendAndClose(&pb.PutReply{})
}
