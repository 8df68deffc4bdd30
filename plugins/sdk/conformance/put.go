package conformance

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

// needGrowth are the checks of files that grow.
var needGrowth = map[string]bool{"append": true, "resend": true, "offset": true, "absent": true, "truncate": true, "seal": true}

// grows tells whether the storage's files may grow.
func (k *kit) grows() bool {
	s := &spaceOf{k: k, st: pb.NewStorageClient(k.p.conn)}
	ctx, cancel := s.call()
	defer cancel()
	d, err := s.st.Describe(ctx, &pb.DescribeRequest{})
	return err != nil || d.Append
}

// whole stores a file by Put, saying that it has size bytes.
func (s *spaceOf) whole(epoch uint64, name string, size int, b []byte) error {
	ctx, cancel := s.call()
	defer cancel()
	st, err := s.st.Put(ctx)
	if err != nil {
		return err
	}
	// What Send fails with is said by the answer.
	_ = st.Send(&pb.PutRequest{Begin: &pb.PutBegin{Space: s.name, Epoch: epoch, Name: name, Size: uint64(size)}})
	for len(b) > 0 {
		n := min(len(b), 300_000)
		if st.Send(&pb.PutRequest{Payload: b[:n]}) != nil {
			break
		}
		b = b[n:]
	}
	_, err = st.CloseAndRecv()
	return err
}

func put(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	b := fill(7_000_000, 3) // more than the smallest part of an object store
	err = s.whole(k.epoch, "cam/day/p", len(b), b)
	if status.Code(err) == codes.Unimplemented && k.grows() {
		return nil // it is optional there; footage cannot be moved to such spaces
	}
	if err != nil {
		return err
	}
	if err := s.holds("cam/day/p", b); err != nil {
		return err
	}
	if err := wantCode(s.whole(k.epoch, "cam/day/p", 4, []byte("else")), codes.AlreadyExists); err != nil {
		return fmt.Errorf("over another file: %w", err)
	}
	if err := s.holds("cam/day/p", b); err != nil {
		return fmt.Errorf("after a refused Put: %w", err)
	}
	for what, c := range map[string]struct {
		size int
		b    []byte
	}{"fewer bytes than told": {len(b), b[:len(b)-1]}, "more bytes than told": {1000, b[:1001]}, "no byte of many": {len(b), nil}} {
		if err := wantCode(s.whole(k.epoch, "cam/day/q", c.size, c.b), codes.OutOfRange); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if n, err := s.size("cam/day/q"); err != nil || n != -1 {
			return fmt.Errorf("%s: a file of %d bytes is there (%w)", what, n, err)
		}
	}
	if err := s.half(k, "cam/day/h", b); err != nil {
		return err
	}
	if err := wantCode(s.whole(k.epoch, "../p", 1, []byte("x")), codes.InvalidArgument); err != nil {
		return fmt.Errorf("a bad name: %w", err)
	}
	all, err := s.list("", "")
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("more than the file stored is there: %v", all)
	}
	return err
}

// half breaks off, and is overtaken by a newer epoch.
func (s *spaceOf) half(k *kit, name string, b []byte) error {
	for _, newer := range []bool{false, true} {
		ctx, cancel := s.call()
		st, err := s.st.Put(ctx)
		if err == nil {
			err = st.Send(&pb.PutRequest{Begin: &pb.PutBegin{Space: s.name, Epoch: k.epoch, Name: name, Size: uint64(len(b))}, Payload: b[:500_000]})
		}
		if err != nil {
			cancel()
			return err
		}
		if newer {
			if _, err := s.open(k.newer(), true); err != nil {
				cancel()
				return err
			}
			for at := 500_000; at < len(b); at += 500_000 {
				if st.Send(&pb.PutRequest{Payload: b[at:min(at+500_000, len(b))]}) != nil {
					break
				}
			}
			if _, err := st.CloseAndRecv(); err == nil {
				cancel()
				return errors.New("a Put of an older epoch was carried out after a newer Open")
			}
		}
		cancel()
		if n, err := s.size(name); err != nil || n != -1 {
			return fmt.Errorf("half a file shows as %d bytes (%w)", n, err)
		}
	}
	return nil
}

// wholeEpoch is spaceEpoch for storage whose files cannot grow.
func wholeEpoch(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	old := k.epoch
	if _, err := s.open(k.newer(), true); err != nil {
		return err
	}
	ctx, cancel := s.call()
	defer cancel()
	_, openErr := s.open(old, true)
	for name, err := range map[string]error{
		"Open":   openErr,
		"Put":    s.whole(old, "cam/p", 1, []byte("x")),
		"Write":  second(s.st.Write(ctx, &pb.WriteRequest{Space: s.name, Epoch: old, Name: "w", Payload: []byte("x")})),
		"Delete": second(s.st.Delete(ctx, &pb.DeleteRequest{Space: s.name, Epoch: old, Names: []string{"w"}})),
		"Sync":   second(s.st.Sync(ctx, &pb.SyncRequest{Space: s.name, Epoch: old})),
	} {
		if err := wantCode(err, codes.FailedPrecondition); err != nil {
			return fmt.Errorf("%s of an older epoch: %w", name, err)
		}
	}
	all, err := s.list("", "")
	if err == nil && len(all) > 0 {
		err = fmt.Errorf("something was stored: %v", all)
	}
	return err
}
