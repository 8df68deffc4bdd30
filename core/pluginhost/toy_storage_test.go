package pluginhost

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

// toyStorage keeps one space in real files. TOY_MUTANT=late makes it forget
// epochs: bytes of a dead core land after a new one has looked.
type toyStorage struct {
	pb.UnimplementedStorageServer
	dir  string
	late bool
	side string // descriptor socket, served by the test

	mu    sync.Mutex // held during every write, so that Open has seen the last of them
	epoch uint64
}

func newToyStorage(dir string) *toyStorage {
	return &toyStorage{dir: dir, late: os.Getenv("TOY_MUTANT") == "late"}
}

func (s *toyStorage) register(srv *grpc.Server, _ *toyBase) { pb.RegisterStorageServer(srv, s) }

func (s *toyStorage) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeReply, error) {
	return &pb.DescribeReply{Append: true, Descriptors: s.side != "", DescriptorSocket: s.side}, nil
}

func (s *toyStorage) Open(_ context.Context, r *pb.OpenRequest) (*pb.OpenReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Epoch < s.epoch {
		return nil, status.Error(codes.FailedPrecondition, "a newer core is there")
	}
	s.epoch = r.Epoch
	return &pb.OpenReply{Id: make([]byte, 16)}, nil
}

func (s *toyStorage) stale(epoch uint64) bool { return !s.late && epoch != s.epoch }

func (s *toyStorage) Append(st grpc.BidiStreamingServer[pb.AppendRequest, pb.AppendReply]) error {
	m, err := st.Recv()
	if err != nil {
		return err
	}
	epoch := m.GetBegin().GetEpoch()
	s.mu.Lock()
	stale := s.stale(epoch)
	s.mu.Unlock()
	if stale {
		return status.Error(codes.FailedPrecondition, "stale epoch")
	}
	if err := st.Send(&pb.AppendReply{Message: &pb.AppendReply_Ready{Ready: &pb.AppendReady{}}}); err != nil {
		return err
	}
	if s.late {
		return s.slowly(epoch, st)
	}
	for {
		m, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.answer(epoch, m.GetData(), st)
	}
}

func (s *toyStorage) answer(epoch uint64, d *pb.AppendData, st grpc.BidiStreamingServer[pb.AppendRequest, pb.AppendReply]) {
	if failed := s.put(epoch, d); failed != nil {
		st.Send(&pb.AppendReply{Message: &pb.AppendReply_Failed{Failed: failed}})
		return
	}
	st.Send(&pb.AppendReply{Message: &pb.AppendReply_Written{Written: &pb.AppendWritten{Sequence: d.Sequence}}})
	st.Send(&pb.AppendReply{Message: &pb.AppendReply_Synced{Synced: &pb.AppendSynced{Sequence: d.Sequence, Calls: d.Sequence}}})
}

// lateBy must be longer than the next core takes to start and to look, also on
// a busy machine: what lands before it looked does no harm.
const lateBy = 4 * time.Second

// slowly is what a storage must not do: it queues, its disk takes long under
// every other core, and neither the end of the stream nor a new epoch empties
// the queue.
func (s *toyStorage) slowly(epoch uint64, st grpc.BidiStreamingServer[pb.AppendRequest, pb.AppendReply]) error {
	type item struct {
		d   *pb.AppendData
		due time.Time
	}
	delay := time.Duration((epoch+1)%2) * lateBy
	queue := make(chan item, 10000)
	defer close(queue)
	go func() {
		for i := range queue {
			time.Sleep(time.Until(i.due))
			s.answer(epoch, i.d, st)
		}
	}()
	for {
		m, err := st.Recv()
		if err != nil {
			return nil
		}
		queue <- item{m.GetData(), time.Now().Add(delay)}
	}
}

func (s *toyStorage) put(epoch uint64, d *pb.AppendData) *pb.AppendFailed {
	s.mu.Lock()
	defer s.mu.Unlock()
	fail := func(r pb.AppendFailed_Reason, why string) *pb.AppendFailed {
		return &pb.AppendFailed{Sequence: d.Sequence, Name: d.Name, Reason: r, Message: why}
	}
	if s.stale(epoch) {
		return fail(pb.AppendFailed_STALE_EPOCH, "stale epoch")
	}
	path := filepath.Join(s.dir, d.Name)
	os.MkdirAll(filepath.Dir(path), 0o700)
	flags := os.O_WRONLY
	if d.Create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return fail(pb.AppendFailed_NOT_FOUND, err.Error())
	}
	defer f.Close()
	st, _ := f.Stat()
	if int64(d.Offset) > st.Size() {
		return fail(pb.AppendFailed_BAD_OFFSET, "past the end")
	}
	if _, err := f.WriteAt(d.Payload, int64(d.Offset)); err != nil {
		return fail(pb.AppendFailed_IO_ERROR, err.Error())
	}
	return nil
}

func (s *toyStorage) List(r *pb.ListRequest, st grpc.ServerStreamingServer[pb.ListReply]) error {
	return filepath.WalkDir(s.dir, func(p string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(s.dir, p)
		if err != nil || d.IsDir() || !strings.HasPrefix(rel, r.Prefix) || rel <= r.After {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		return st.Send(&pb.ListReply{Entries: []*pb.Entry{{Name: rel, Size: uint64(fi.Size()), Modified: uint64(fi.ModTime().UnixNano())}}})
	})
}

func (s *toyStorage) Stat(_ context.Context, r *pb.StatRequest) (*pb.StatReply, error) {
	fi, err := os.Stat(filepath.Join(s.dir, r.Name))
	if err != nil {
		return &pb.StatReply{}, nil
	}
	return &pb.StatReply{Exists: true, Size: uint64(fi.Size()), Modified: uint64(fi.ModTime().UnixNano())}, nil
}

func (s *toyStorage) Read(r *pb.ReadRequest, st grpc.ServerStreamingServer[pb.ReadReply]) error {
	f, err := os.Open(filepath.Join(s.dir, r.Name))
	if err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	defer f.Close()
	left := int64(r.Length)
	if left == 0 {
		left = 1 << 62
	}
	buf := make([]byte, 256<<10)
	for off := int64(r.Offset); left > 0; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), left)], off)
		if n > 0 {
			if err := st.Send(&pb.ReadReply{Payload: append([]byte(nil), buf[:n]...)}); err != nil {
				return err
			}
		}
		off, left = off+int64(n), left-int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *toyStorage) Truncate(_ context.Context, r *pb.TruncateRequest) (*pb.TruncateReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale(r.Epoch) {
		return nil, status.Error(codes.FailedPrecondition, "stale epoch")
	}
	return &pb.TruncateReply{}, os.Truncate(filepath.Join(s.dir, r.Name), int64(r.Size))
}

func (s *toyStorage) Usage(context.Context, *pb.UsageRequest) (*pb.UsageReply, error) {
	return &pb.UsageReply{Total: 100, Free: 60, Used: 40}, nil
}

func (s *toyStorage) Delete(_ context.Context, r *pb.DeleteRequest) (*pb.DeleteReply, error) {
	for _, n := range r.Names {
		os.Remove(filepath.Join(s.dir, n))
	}
	return &pb.DeleteReply{}, nil
}

// serveDescriptors answers on the side socket until lis is closed.
func (s *toyStorage) serveDescriptors(lis *net.UnixListener) {
	for {
		c, err := lis.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for s.oneDescriptor(c) == nil {
			}
		}()
	}
}

func (s *toyStorage) oneDescriptor(c *net.UnixConn) error {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var n [4]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return err
	}
	q := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(c, q); err != nil {
		return err
	}
	return s.hand(c, q)
}

func (s *toyStorage) hand(c *net.UnixConn, q []byte) error {
	_, name, _ := strings.Cut(string(q), "\x00")
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		_, err := c.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0})
		return err
	}
	defer f.Close()
	st, _ := f.Stat()
	reply := binary.BigEndian.AppendUint64([]byte{0}, uint64(st.Size()))
	_, _, err = c.WriteMsgUnix(reply, unix.UnixRights(int(f.Fd())), nil)
	return err
}
