package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
	"media-server/test/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server as the SDK does and gives a client.
func serve(t *testing.T) (pb.StorageClient, *Server) {
	t.Helper()
	dir := t.TempDir()
	s := New(slog.New(slog.DiscardHandler), filepath.Join(dir, "fd"))
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.ForceServerCodecV2(codec.Codec{}), grpc.MaxRecvMsgSize(16<<20))
	pb.RegisterStorageServer(g, s)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.Serve(l) })
	wg.Go(func() {
		if err := s.ServeDescriptors(ctx); err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("unix:"+filepath.Join(dir, "s"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec.Codec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		cancel()
		wg.Wait()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return pb.NewStorageClient(conn), s
}

func open(t *testing.T, c pb.StorageClient, name, path string, epoch uint64, more ...string) *pb.OpenReply {
	t.Helper()
	set := map[string]string{"path": path, "fsync": "10ms"}
	for i := 0; i+1 < len(more); i += 2 {
		set[more[i]] = more[i+1]
	}
	r, err := c.Open(t.Context(), &pb.OpenRequest{Space: name, Epoch: epoch, Node: "n", Create: true, Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type appender struct {
	t *testing.T
	grpc.BidiStreamingClient[pb.AppendRequest, pb.AppendReply]
	seq uint64
}

func appendTo(t *testing.T, c pb.StorageClient, name string, epoch uint64) *appender {
	t.Helper()
	st, err := c.Append(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st.Send(&pb.AppendRequest{Message: &pb.AppendRequest_Begin{Begin: &pb.AppendBegin{Space: name, Epoch: epoch}}})
	if r, err := st.Recv(); err != nil || r.GetReady() == nil {
		t.Fatalf("%v, %v", r, err)
	}
	return &appender{t, st, 0}
}

func (a *appender) put(name string, off int, p []byte) uint64 {
	a.t.Helper()
	a.seq++
	err := codec.SendAppend(a, &codec.Append{Sequence: a.seq, Name: name, Offset: uint64(off), Create: off == 0, Payload: [][]byte{p}})
	if err != nil {
		a.t.Fatal(err)
	}
	return a.seq
}

func (a *appender) synced(seq uint64) {
	a.t.Helper()
	for {
		r, err := a.Recv()
		if err != nil {
			a.t.Fatal(err)
		}
		if f := r.GetFailed(); f != nil {
			a.t.Fatalf("failed: %v", f)
		}
		if r.GetSynced().GetSequence() >= seq {
			return
		}
	}
}

func TestRoundTrip(t *testing.T) {
	c, s := serve(t)
	dir := t.TempDir()
	if r := open(t, c, "main", dir, 1); r.GetProblem() != nil || !r.GetCreated() || len(r.GetId()) != 16 {
		t.Fatal(r)
	}
	a := appendTo(t, c, "main", 1)
	big := bytes.Repeat([]byte("0123456789abcdef"), 150000) // 2.4 MB: three Read messages
	a.put("open/x", 0, big[:1<<20])
	a.synced(a.put("open/x", 1<<20, big[1<<20:]))
	ctx := t.Context()
	if _, err := c.Seal(ctx, &pb.SealRequest{Space: "main", Epoch: 1, Name: "open/x", FinalName: "u/d/x", Size: uint64(len(big))}); err != nil {
		t.Fatal(err)
	}
	rd, err := c.Read(ctx, &pb.ReadRequest{Space: "main", Name: "u/d/x", Offset: 10})
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		m, err := rd.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.GetPayload()...)
	}
	if !bytes.Equal(got, big[10:]) {
		t.Fatalf("read %d bytes", len(got))
	}
	f, size, st := ask(t, s.socket, "main", "u/d/x")
	if st != statusOK || size != uint64(len(big)) {
		t.Fatal(st, size)
	}
	p := make([]byte, 16)
	f.ReadAt(p, 16)
	if _, err := f.Write(p); err == nil {
		t.Error("the descriptor can be written to")
	}
	f.Close()
	if string(p) != "0123456789abcdef" {
		t.Fatalf("%q", p)
	}
	for name, want := range map[string]byte{"u/none": statusNotFound, "../x": statusRefused, ".space/marker": statusRefused, "u": statusNotFound} {
		if _, _, st := ask(t, s.socket, "main", name); st != want {
			t.Errorf("%s: status %d, want %d", name, st, want)
		}
	}
	if _, _, st := ask(t, s.socket, "other", "x"); st != statusRefused {
		t.Error(st)
	}
	if _, err := c.Write(ctx, &pb.WriteRequest{Space: "main", Epoch: 1, Name: "r/a", Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ls, _ := c.List(ctx, &pb.ListRequest{Space: "main"})
	m, err := ls.Recv()
	if err != nil || len(m.GetEntries()) != 2 {
		t.Fatal(m, err)
	}
	if u, err := c.Usage(ctx, &pb.UsageRequest{Space: "main"}); err != nil || u.GetUsed() < uint64(len(big)) {
		t.Fatal(u, err)
	}
	if st, err := c.Stat(ctx, &pb.StatRequest{Space: "main", Name: "none"}); err != nil || st.GetExists() {
		t.Fatal(st, err)
	}
	if _, err := c.Sync(ctx, &pb.SyncRequest{Space: "main", Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	d, err := c.Delete(ctx, &pb.DeleteRequest{Space: "main", Epoch: 1, Names: []string{"r/a", "r/b"}})
	if err != nil || fmt.Sprint(d.GetMissing()) != "[r/b]" {
		t.Fatal(d, err)
	}
}

func ask(t *testing.T, socket, space, name string) (*os.File, uint64, byte) {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := space + "\x00" + name
	conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	reply, oob := make([]byte, 9), make([]byte, 64)
	n, on, _, _, err := conn.ReadMsgUnix(reply, oob)
	if err != nil || n != 9 {
		t.Fatal(n, err)
	}
	var f *os.File
	if on > 0 {
		msgs, _ := unix.ParseSocketControlMessage(oob[:on])
		fds, _ := unix.ParseUnixRights(&msgs[0])
		f = os.NewFile(uintptr(fds[0]), name)
	}
	return f, binary.BigEndian.Uint64(reply[1:]), reply[0]
}

func TestEpochsAndErrors(t *testing.T) {
	c, _ := serve(t)
	dir := t.TempDir()
	ctx := t.Context()
	if _, err := c.Usage(ctx, &pb.UsageRequest{Space: "main"}); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	open(t, c, "main", dir, 5)
	old := appendTo(t, c, "main", 5)
	old.synced(old.put("open/a", 0, []byte("abc")))
	open(t, c, "main", dir, 6)
	for { // the old connection ends by itself
		if _, err := old.Recv(); err != nil {
			if status.Code(err) != codes.FailedPrecondition {
				t.Fatal(err)
			}
			break
		}
	}
	_, err := c.Open(ctx, &pb.OpenRequest{Space: "main", Epoch: 5, Node: "n", Settings: map[string]string{"path": dir}})
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatal(err)
	}
	for want, call := range map[codes.Code]func() error{
		codes.FailedPrecondition: func() error {
			_, err := c.Write(ctx, &pb.WriteRequest{Space: "main", Epoch: 5, Name: "x", Payload: []byte("x")})
			return err
		},
		codes.InvalidArgument: func() error {
			_, err := c.Write(ctx, &pb.WriteRequest{Space: "main", Epoch: 6, Name: "../x"})
			return err
		},
		codes.NotFound: func() error {
			_, err := c.Truncate(ctx, &pb.TruncateRequest{Space: "main", Epoch: 6, Name: "x"})
			return err
		},
		codes.OutOfRange: func() error {
			_, err := c.Truncate(ctx, &pb.TruncateRequest{Space: "main", Epoch: 6, Name: "open/a", Size: 1 << 63})
			return err
		},
	} {
		if err := call(); status.Code(err) != want {
			t.Errorf("want %v: %v", want, err)
		}
	}
	// A second connection of the same core replaces the first.
	one := appendTo(t, c, "main", 6)
	two := appendTo(t, c, "main", 6)
	two.synced(two.put("open/a", 3, []byte("def")))
	if _, err := one.Recv(); status.Code(err) != codes.Aborted {
		t.Fatal(err)
	}
}

func TestOpenProblems(t *testing.T) {
	c, _ := serve(t)
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "x"), nil, 0o600)
	if r := open(t, c, "a", dir, 1); r.GetProblem() == nil {
		t.Error("a foreign folder was taken")
	}
	if r := open(t, c, "b", "relative", 1); r.GetProblem().GetKey() != "path" {
		t.Error(r)
	}
	fresh := t.TempDir()
	r, err := c.Open(t.Context(), &pb.OpenRequest{Space: "c", Epoch: 1, Settings: map[string]string{"path": fresh}})
	if err != nil || r.GetProblem() == nil {
		t.Fatal(r, err)
	}
	if i, err := c.Initialize(t.Context(), &pb.InitializeRequest{Space: "c", Epoch: 1}); err != nil || len(i.GetId()) != 16 {
		t.Fatal(i, err)
	}
	r, err = c.Open(t.Context(), &pb.OpenRequest{Space: "c", Epoch: 1, Settings: map[string]string{"path": fresh}})
	if err != nil || r.GetProblem() != nil || r.GetCreated() {
		t.Fatal(r, err)
	}
}

// A disk that does not answer stalls its own space only, and a descriptor is
// not handed out from a file system that is not local.
func TestStuckDisk(t *testing.T) {
	f := disk.Fuse(t, 1)
	c, s := serve(t)
	open(t, c, "stuck", filepath.Join(f.Dir(), "s"), 1)
	open(t, c, "well", t.TempDir(), 1)
	bad, good := appendTo(t, c, "stuck", 1), appendTo(t, c, "well", 1)
	bad.synced(bad.put("open/a", 0, []byte("x")))
	if _, _, st := ask(t, s.socket, "stuck", "open/a"); st != statusRefused {
		t.Errorf("descriptor from FUSE: status %d", st)
	}
	clear := f.Inject(disk.Fault{Ops: disk.Write, Stall: time.Hour})
	last := bad.put("open/a", 1, []byte("y"))
	for f.Hits() == 0 {
		time.Sleep(time.Millisecond)
	}
	for i := range 20 {
		good.synced(good.put("open/b", i, []byte("z")))
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	_, err := c.Open(short, &pb.OpenRequest{Space: "stuck", Epoch: 2, Node: "n", Settings: map[string]string{"path": filepath.Join(f.Dir(), "s")}})
	cancel()
	if err == nil {
		t.Error("opened while a byte of the old core is still to come")
	}
	clear()
	_ = last // refused or written; the space was asked for by a newer core meanwhile
	open(t, c, "stuck", filepath.Join(f.Dir(), "s"), 2)
	st, err := c.Stat(t.Context(), &pb.StatRequest{Space: "stuck", Name: "open/a"})
	if err != nil || st.GetSize() != 2 {
		t.Fatal(st, err)
	}
}

func TestDiskFaultsThroughTheProtocol(t *testing.T) {
	f := disk.Fuse(t, 1)
	c, _ := serve(t)
	open(t, c, "d", filepath.Join(f.Dir(), "s"), 1)
	a := appendTo(t, c, "d", 1)
	a.synced(a.put("open/a", 0, []byte("abc")))
	next := func(want pb.AppendFailed_Reason, size uint64) {
		t.Helper()
		for {
			r, err := a.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if x := r.GetFailed(); x != nil {
				if x.GetReason() != want || x.GetSize() != size {
					t.Fatalf("%v, want %v at %d", x, want, size)
				}
				return
			}
		}
	}
	f.Inject(disk.Fault{Ops: disk.Fsync, Count: 1, Err: syscall.EIO})
	a.put("open/a", 3, []byte("def"))
	next(pb.AppendFailed_SYNC_FAILED, 3)
	a.synced(a.put("open/a", 3, []byte("def")))
	f.Inject(disk.Fault{Ops: disk.Write, Count: 1, Err: syscall.EIO})
	a.put("open/a", 6, []byte("ghi"))
	next(pb.AppendFailed_IO_ERROR, 6)
	f.SetSpace(8)
	a.put("open/a", 6, []byte("ghi"))
	next(pb.AppendFailed_NO_SPACE, 6)
	a.put("open/new", 0, []byte("ghi"))
	next(pb.AppendFailed_NO_SPACE, 0)
	if st, err := c.Stat(t.Context(), &pb.StatRequest{Space: "d", Name: "open/new"}); err != nil || st.GetExists() {
		t.Fatalf("an empty file stays: %v %v", st, err)
	}
	f.SetSpace(0)
	f.SetReadOnly(true)
	a.put("open/a", 6, []byte("ghi"))
	next(pb.AppendFailed_READ_ONLY, 6)
	if u, err := c.Usage(t.Context(), &pb.UsageRequest{Space: "d"}); err != nil || !u.GetReadOnly() {
		t.Fatal(u, err)
	}
}

// On ext4 a space of its own syncs with one call an interval, files lie in
// few pieces, and a full or read-only disk says so.
func TestExt4(t *testing.T) {
	mnt := disk.Ext4(t, 64<<20)
	c, s := serve(t)
	if r := open(t, c, "e", mnt, 1); !r.GetOwnMount() || r.GetProblem() != nil {
		t.Fatal(r)
	}
	a := appendTo(t, c, "e", 1)
	const files, rounds, step = 20, 8, 50000
	p := bytes.Repeat([]byte("x"), step)
	for i := range rounds {
		var last uint64
		for j := range files {
			a.seq++
			last = a.seq
			err := codec.SendAppend(a, &codec.Append{Sequence: last, Name: fmt.Sprint("open/f", j), Offset: uint64(i * step),
				ReserveTo: uint64((i/4 + 1) * 4 * step), Create: i == 0, Payload: [][]byte{p}})
			if err != nil {
				t.Fatal(err)
			}
		}
		a.synced(last)
	}
	if _, _, st := ask(t, s.socket, "e", "open/f1"); st != statusOK {
		t.Error("no descriptor from ext4")
	}
	before := s.slot("e", false).current().Calls()
	for j := range files {
		name := fmt.Sprint("f", j)
		if _, err := c.Seal(t.Context(), &pb.SealRequest{Space: "e", Epoch: 1, Name: "open/" + name, FinalName: "cam/" + name, Size: rounds * step}); err != nil {
			t.Fatal(err)
		}
		n, err := disk.Extents(filepath.Join(mnt, "cam", name))
		if err != nil || n > 4 {
			t.Errorf("%s lies in %d pieces, %v", name, n, err)
		}
	}
	if n := s.slot("e", false).current().Calls() - before; n > files+5 {
		t.Errorf("%d syncs for %d files sealed", n, files)
	}
	for i := 0; ; i++ { // fill it up
		a.put("open/big", i<<20, make([]byte, 1<<20))
		r, err := a.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if x := r.GetFailed(); x != nil {
			if x.GetReason() != pb.AppendFailed_NO_SPACE {
				t.Fatal(x)
			}
			break
		}
	}
	if _, err := c.Delete(t.Context(), &pb.DeleteRequest{Space: "e", Epoch: 1, Names: []string{"open/big"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := disk.Remount(mnt, true); err != nil {
		t.Fatal(err)
	}
	r := open(t, c, "e", mnt, 2)
	if r.GetProblem() == nil || len(r.GetId()) != 16 {
		t.Fatal(r)
	}
	rd, _ := c.Read(t.Context(), &pb.ReadRequest{Space: "e", Name: "cam/f1", Length: 10})
	if m, err := rd.Recv(); err != nil || len(m.GetPayload()) != 10 {
		t.Fatal("a read-only space cannot be read", err)
	}
	if _, err := rd.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), &pb.WriteRequest{Space: "e", Epoch: 2, Name: "x"}); status.Code(err) != codes.PermissionDenied {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func FuzzDescriptorRequest(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08main\x00a/b"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x0dmain\x00open/1.m")) // the example of PROTOCOL.md
	f.Fuzz(func(t *testing.T, b []byte) {
		space, name, err := readRequest(bytes.NewReader(b))
		if err == nil && len(space)+len(name) > maxRequest {
			t.Fatal("too long")
		}
	})
}
