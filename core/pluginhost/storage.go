package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/archive"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

// Storage returns the storage backend served by the plugin of that name. The
// value outlives plugin processes and need not be there yet: calls wait for
// it as long as their context lets them.
func (h *Host) Storage(driver string) (*StorageDialer, error) {
	if !namePattern.MatchString(driver) {
		return nil, fault.New("", fmt.Sprintf("%q cannot name a storage driver", driver), "local, s3, …")
	}
	return &StorageDialer{host: h, name: driver}, nil
}

// StorageDialer makes spaces of one backend.
type StorageDialer struct {
	host *Host
	name string
}

// Space returns the archive's view of one space. settings are those of
// [space.NAME] that the backend is given: path, size-limit, reserve, fsync
// and its own keys.
func (d *StorageDialer) Space(space string, settings map[string]string) archive.Storage {
	return &spaceStorage{dialer: d, space: space, settings: maps.Clone(settings)}
}

// Deadlines of storage calls; a context may shorten them.
const (
	storageCall = 30 * time.Second
	storageOpen = 60 * time.Second // it waits for the last byte of an older core
	readIdle    = 30 * time.Second // between two answers of Read, List and Append's first
)

// spaceStorage implements archive.Storage over the plugin's present process.
type spaceStorage struct {
	dialer   *StorageDialer
	space    string
	settings map[string]string

	mu     sync.Mutex
	epoch  uint64 // of the last Open
	lifted bool
	side   descriptors
}

// SetSettings changes what the backend is told at the next Open.
func (s *spaceStorage) SetSettings(settings map[string]string) {
	s.mu.Lock()
	s.settings = maps.Clone(settings)
	s.mu.Unlock()
}

// Lift implements archive.Limited.
func (s *spaceStorage) Lift(on bool) {
	s.mu.Lock()
	s.lifted = on
	s.mu.Unlock()
}

// toldLocked are the settings that the backend is told; s.mu is held.
func (s *spaceStorage) toldLocked() map[string]string {
	if !s.lifted {
		return s.settings // replaced, never changed
	}
	m := maps.Clone(s.settings)
	_, limited := m["size-limit"]
	_, reserves := m["reserve"]
	delete(m, "size-limit")
	if limited || reserves { // a disk without either may be filled as it is
		m["reserve"] = strconv.Itoa(archive.LiftedReserve)
	}
	return m
}

// client waits for the plugin and returns its connection.
func (s *spaceStorage) client(ctx context.Context) (pb.StorageClient, error) {
	inst, err := s.dialer.host.await(ctx, s.dialer.name, pb.InfoReply_STORAGE)
	if err != nil {
		return nil, fault.Wrap(err, "space "+s.space, "reach storage "+s.dialer.name, "see plugins")
	}
	return pb.NewStorageClient(inst.conn), nil
}

// await returns the running instance of a plugin of that kind.
func (h *Host) await(ctx context.Context, name string, kind pb.InfoReply_Kind) (*instance, error) {
	for {
		h.mu.Lock()
		sup := h.sups[name]
		h.mu.Unlock()
		var ready <-chan struct{}
		var poll <-chan time.Time
		if sup == nil {
			poll = time.After(100 * time.Millisecond)
		} else {
			sup.mu.Lock()
			inst := sup.inst
			ready = sup.ready
			problem := sup.st.Problem
			sup.mu.Unlock()
			if inst != nil {
				if inst.info.Kind != kind {
					return nil, fault.New("plugin "+name, "is a "+kindName(inst.info.Kind)+", not a "+kindName(kind), "")
				}
				return inst, nil
			}
			if problem != nil {
				return nil, problem
			}
			poll = time.After(time.Second) // it may have been removed
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("plugin %s does not serve: %w", name, ctx.Err())
		case <-ready:
		case <-poll:
		}
	}
}

// call runs one unary call with a deadline and names errors for the archive.
func call[Q, A any](ctx context.Context, s *spaceStorage, limit time.Duration, f func(pb.StorageClient, context.Context, Q, ...grpc.CallOption) (A, error), q Q) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := s.client(ctx)
	if err != nil {
		var none A
		return none, err
	}
	a, err := f(c, ctx, q)
	return a, storageError(err)
}

// storageError maps gRPC codes to what the archive tests for.
func storageError(err error) error {
	switch status.Code(err) {
	case codes.OK:
		return err
	case codes.NotFound:
		return fmt.Errorf("%w: %w", os.ErrNotExist, plain(err))
	case codes.FailedPrecondition:
		return fmt.Errorf("%w: %w", archive.StaleEpochError, plain(err))
	case codes.DeadlineExceeded:
		return fmt.Errorf("storage does not answer: %w", context.DeadlineExceeded)
	case codes.Canceled:
		return fmt.Errorf("storage call: %w", context.Canceled)
	}
	return plain(err)
}

func (s *spaceStorage) current() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == 0 {
		return s.dialer.host.opt().Epoch
	}
	return s.epoch
}

// Open implements archive.Storage.
func (s *spaceStorage) Open(ctx context.Context, epoch, least uint64, create bool) (archive.SpaceInfo, error) {
	s.mu.Lock()
	s.epoch = epoch
	settings := s.toldLocked()
	s.mu.Unlock()
	s.side.reset("")
	d, err := call(ctx, s, storageCall, pb.StorageClient.Describe, &pb.DescribeRequest{})
	if err != nil {
		return archive.SpaceInfo{}, err
	}
	o, err := call(ctx, s, storageOpen, pb.StorageClient.Open, &pb.OpenRequest{
		Space: s.space, Epoch: epoch, LeastEpoch: least, Settings: settings, Create: create, Node: s.dialer.host.opt().Node})
	if err != nil {
		return archive.SpaceInfo{}, err
	}
	if p := o.Problem; p != nil {
		info := archive.SpaceInfo{Epoch: o.Epoch} // with an id where the space is there and ails otherwise
		copy(info.ID[:], o.Id)
		return info, &fault.Problem{Where: "space " + s.space, What: p.What, Hint: p.Hint, Key: p.Key}
	}
	info := archive.SpaceInfo{Epoch: o.Epoch, Created: o.Created, OwnMount: o.OwnMount, Append: d.Append, Descriptors: d.Descriptors}
	if len(o.Id) != len(info.ID) {
		return info, fmt.Errorf("storage %s gives a space id of %d bytes", s.dialer.name, len(o.Id))
	}
	info.ID = [16]byte(o.Id)
	if d.Descriptors {
		s.side.reset(d.DescriptorSocket)
	}
	return info, nil
}

// List implements archive.Storage.
func (s *spaceStorage) List(ctx context.Context, prefix, after string, fn func([]archive.Entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := time.AfterFunc(readIdle, cancel)
	defer idle.Stop()
	c, err := s.client(ctx)
	if err != nil {
		return err
	}
	ls, err := c.List(ctx, &pb.ListRequest{Space: s.space, Prefix: prefix, After: after})
	if err != nil {
		return storageError(err)
	}
	var entries []archive.Entry
	for {
		m, err := ls.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return storageError(err)
		}
		idle.Reset(readIdle)
		entries = entries[:0]
		for _, e := range m.Entries {
			entries = append(entries, archive.Entry{Name: e.Name, Size: int64(e.Size), Modified: media.Wall(e.Modified)})
		}
		if err := fn(entries); err != nil {
			return err
		}
		idle.Reset(readIdle)
	}
}

// Stat implements archive.Storage.
func (s *spaceStorage) Stat(ctx context.Context, name string) (archive.Entry, error) {
	a, err := call(ctx, s, storageCall, pb.StorageClient.Stat, &pb.StatRequest{Space: s.space, Name: name})
	if err == nil && !a.Exists {
		err = fmt.Errorf("%s: %w", name, os.ErrNotExist)
	}
	if err != nil {
		return archive.Entry{}, err
	}
	return archive.Entry{Name: name, Size: int64(a.Size), Modified: media.Wall(a.Modified)}, nil
}

// ReadAt implements archive.Storage.
func (s *spaceStorage) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := time.AfterFunc(readIdle, cancel)
	defer idle.Stop()
	c, err := s.client(ctx)
	if err != nil {
		return 0, err
	}
	rs, err := c.Read(ctx, &pb.ReadRequest{Space: s.space, Name: name, Offset: uint64(off), Length: uint64(len(p))}, grpc.ForceCodecV2(codec.Codec{}))
	if err != nil {
		return 0, storageError(err)
	}
	var r codec.ReadReply
	defer r.Free()
	n := 0
	for {
		r.Free()
		err := rs.RecvMsg(&r)
		if errors.Is(err, io.EOF) {
			if n < len(p) {
				return n, io.EOF
			}
			return n, nil
		}
		if err != nil {
			return n, storageError(err)
		}
		idle.Reset(readIdle)
		if len(r.Payload) > len(p)-n {
			return n, fmt.Errorf("storage %s sent more of %s than was asked for", s.dialer.name, name)
		}
		n += copy(p[n:], r.Payload)
	}
}

// File implements archive.Storage.
func (s *spaceStorage) File(ctx context.Context, name string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, storageCall)
	defer cancel()
	return s.side.open(ctx, s, name)
}

// Truncate implements archive.Storage.
func (s *spaceStorage) Truncate(ctx context.Context, name string, size int64) error {
	_, err := call(ctx, s, storageCall, pb.StorageClient.Truncate, &pb.TruncateRequest{Space: s.space, Epoch: s.current(), Name: name, Size: uint64(size)})
	return err
}

// Seal implements archive.Storage.
func (s *spaceStorage) Seal(ctx context.Context, name, final string, size int64) error {
	_, err := call(ctx, s, storageCall, pb.StorageClient.Seal, &pb.SealRequest{Space: s.space, Epoch: s.current(), Name: name, FinalName: final, Size: uint64(size)})
	return err
}

// Write implements archive.Storage.
func (s *spaceStorage) Write(ctx context.Context, name string, p []byte) error {
	_, err := call(ctx, s, storageCall, pb.StorageClient.Write, &pb.WriteRequest{Space: s.space, Epoch: s.current(), Name: name, Payload: p})
	return err
}

// Delete implements archive.Storage.
func (s *spaceStorage) Delete(ctx context.Context, names []string) error {
	_, err := call(ctx, s, storageCall, pb.StorageClient.Delete, &pb.DeleteRequest{Space: s.space, Epoch: s.current(), Names: names})
	return err
}

// Sync implements archive.Storage.
func (s *spaceStorage) Sync(ctx context.Context) error {
	_, err := call(ctx, s, storageCall, pb.StorageClient.Sync, &pb.SyncRequest{Space: s.space, Epoch: s.current()})
	return err
}

// Usage implements archive.Storage.
func (s *spaceStorage) Usage(ctx context.Context) (archive.Usage, error) {
	u, err := call(ctx, s, storageCall, pb.StorageClient.Usage, &pb.UsageRequest{Space: s.space})
	if err != nil {
		return archive.Usage{}, err
	}
	return archive.Usage{Total: int64(u.Total), Free: int64(u.Free), Used: int64(u.Used), Reserved: int64(u.Reserved), ReadOnly: u.ReadOnly}, nil
}

// Append implements archive.Storage. It has a connection of its own, for two
// reasons: to be able to end it while the plugin is stopped and the socket is
// full, when gRPC would hold on to the payloads until the plugin goes on; and
// so that reads do not queue behind what is being written.
func (s *spaceStorage) Append(ctx context.Context) (archive.Appender, error) {
	wctx, cancelWait := context.WithTimeout(ctx, storageCall)
	defer cancelWait()
	inst, err := s.dialer.host.await(wctx, s.dialer.name, pb.InfoReply_STORAGE)
	if err != nil {
		return nil, fault.Wrap(err, "space "+s.space, "reach storage "+s.dialer.name, "see plugins")
	}
	a := &appender{}
	a.conn, err = dialPlugin(inst.socket, peerCreds{check: inst.check, wrap: a.wrap}, s.dialer.host.dial...)
	if err != nil {
		return nil, err
	}
	if a.stream, err = s.beginAppend(ctx, a.conn); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

type appendStream = grpc.BidiStreamingClient[pb.AppendRequest, pb.AppendReply]

func (s *spaceStorage) beginAppend(ctx context.Context, conn *grpc.ClientConn) (appendStream, error) {
	late := time.AfterFunc(readIdle, func() { conn.Close() })
	st, err := pb.NewStorageClient(conn).Append(ctx, grpc.ForceCodecV2(codec.Codec{}))
	if err == nil {
		err = st.Send(&pb.AppendRequest{Message: &pb.AppendRequest_Begin{Begin: &pb.AppendBegin{Space: s.space, Epoch: s.current()}}})
	}
	if err == nil || errors.Is(err, io.EOF) {
		var m *pb.AppendReply
		if m, err = st.Recv(); err == nil && m.GetReady() == nil {
			err = errors.New("storage did not answer AppendBegin with AppendReady")
		}
	}
	if !late.Stop() && err != nil {
		return nil, fmt.Errorf("storage does not answer: %w", context.DeadlineExceeded)
	}
	return st, storageError(err)
}

// appender is one Append stream.
type appender struct {
	stream  appendStream
	conn    *grpc.ClientConn
	sending sync.WaitGroup
	mu      sync.Mutex
	closed  bool
	raw     []*watchedConn // below conn; more than one if gRPC connected again
}

// watchedConn tells when gRPC has closed it. gRPC does so only when its writer
// has returned, which is the moment when nobody reads payloads any more; the
// payloads' own Done calls do not tell, since gRPC forgets what is queued for a
// connection that breaks.
type watchedConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *watchedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// wrap watches the socket's connection.
func (a *appender) wrap(c net.Conn) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &watchedConn{Conn: c, closed: make(chan struct{})}
	a.raw = append(a.raw, w)
	if a.closed {
		c.Close()
	}
	return w
}

// Send implements archive.Appender.
func (a *appender) Send(d archive.AppendData) error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return os.ErrClosed
	}
	a.sending.Add(1)
	a.mu.Unlock()
	defer a.sending.Done()
	m := codec.Append{Sequence: d.Sequence, Name: d.Name, Offset: uint64(d.Offset), ReserveTo: uint64(d.ReserveTo),
		Create: d.Create, Payload: d.Payload}
	return storageError(codec.SendAppend(a.stream, &m))
}

// Recv implements archive.Appender.
func (a *appender) Recv() (archive.AppendResult, error) {
	for {
		m, err := a.stream.Recv()
		if err != nil {
			return archive.AppendResult{}, storageError(err)
		}
		switch m := m.Message.(type) {
		case *pb.AppendReply_Written:
			return archive.AppendResult{Kind: archive.Written, Sequence: m.Written.Sequence}, nil
		case *pb.AppendReply_Synced:
			return archive.AppendResult{Kind: archive.Synced, Sequence: m.Synced.Sequence,
				Took: time.Duration(m.Synced.DurationUs) * time.Microsecond, Calls: m.Synced.Calls}, nil
		case *pb.AppendReply_Failed:
			return archive.AppendResult{Kind: archive.Failed, Sequence: m.Failed.Sequence, Name: m.Failed.Name,
				Reason: archive.FailReason(min(m.Failed.Reason, 255)), Message: m.Failed.Message, Size: int64(m.Failed.Size)}, nil
		}
	}
}

// Close implements archive.Appender.
func (a *appender) Close() error {
	a.mu.Lock()
	a.closed = true
	raw := a.raw
	a.mu.Unlock()
	for _, c := range raw {
		// Below gRPC first: its writer may be stuck in a write to a plugin that
		// is stopped, and its own Close would wait for that writer.
		c.Conn.Close()
	}
	a.conn.Close()
	a.sending.Wait()
	for _, c := range raw {
		<-c.closed
	}
	return nil
}
