package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/fault"
	"media-server/core/process"
	"media-server/plugins/sdk/pb"
)

// errTaken: a newer core has the plugin. This one leaves it alone, for good.
var errTaken = errors.New("taken over by a newer server process")

// instance is one running plugin process that has been shaken hands with.
type instance struct {
	proc     *process.Process // nil: an endpoint whose process cannot be seen
	conn     *grpc.ClientConn
	base     pb.BaseClient
	info     *pb.InfoReply
	socket   string
	check    peerCheck // who may serve the socket
	launch   string
	attached bool // it ran before this core
	foreign  bool // endpoint: never ended by us
	since    time.Time
}

func (i *instance) close() {
	i.conn.Close()
	if i.proc != nil {
		i.proc.Release()
	}
}

// memory is the resident memory of a process of ours; 0 = not known.
func (i *instance) memory() int64 {
	if i.proc == nil || i.foreign {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", i.proc.PID))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// ends is closed when the process has ended; never for one that cannot be
// seen.
func (i *instance) ends() <-chan struct{} {
	if i.proc == nil {
		return nil
	}
	return i.proc.Exited()
}

// Deadlines that PROTOCOL.md promises to plugins.
const (
	callTimeout      = 5 * time.Second
	configureTimeout = 10 * time.Second // it may wait for an older connection to end
	shutdownWait     = 10 * time.Second // between Shutdown and SIGKILL
	killWait         = 10 * time.Second
)

// bring makes the plugin of sp run and answer: attached where a record leads
// to one that fits, else started. It is the one way to get an instance.
func (s *supervisor) bring(ctx context.Context, sp *spec) (*instance, error) {
	if sp.endpoint != "" {
		return s.attachEndpoint(ctx, sp)
	}
	if err := prepare(s.host.opt().RunDir, s.name); err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, s.paths.lock)
	if err != nil {
		return nil, fault.Wrap(err, "plugin "+s.name, "lock", "")
	}
	defer unlock()
	if inst, err := s.reattach(ctx, sp); inst != nil || err != nil {
		return inst, err
	}
	return s.start(ctx, sp)
}

// reattach takes up the process that the record names. Nothing and no error:
// start a new one. A stale record is deleted; a process that is ours for
// certain (pid, start time and boot agree) but cannot be used is ended.
func (s *supervisor) reattach(ctx context.Context, sp *spec) (*instance, error) {
	r, err := readRecord(s.paths.record)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("plugin record is unreadable, starting anew", "err", err)
			removeRecord(s.paths.record)
		}
		s.clean(0)
		return nil, nil
	}
	var proc *process.Process
	if r.Boot == process.BootID() && r.Name == s.name {
		proc, err = process.Open(r.PID, r.Start)
		if err != nil && !errors.Is(err, process.ErrNone) {
			return nil, err
		}
	}
	if proc == nil {
		s.log.Info("plugin record is stale, starting anew", "pid", r.PID)
		removeRecord(s.paths.record)
		s.clean(0)
		return nil, nil
	}
	if r.Epoch > s.host.opt().Epoch {
		proc.Release()
		return nil, errTaken
	}
	why := ""
	switch st, err := os.Stat(r.Socket); {
	case r.Socket == "":
		why = "its start was never finished"
	case err != nil || st.Mode()&fs.ModeSocket == 0:
		why = "its socket is gone"
	case r.Launch != sp.launch():
		why = "its executable or settings changed"
	case r.Protocol != protocolVersion:
		why = "it speaks another protocol"
	}
	if why == "" {
		s.clean(r.PID)
		s.follow(false)
		inst, err := s.connect(ctx, sp, proc, r.Socket)
		if err == nil {
			inst.attached = true
			return inst, s.note(sp, inst)
		}
		s.unfollow()
		switch {
		case errors.Is(err, errTaken) || ctx.Err() != nil || isRefusal(err):
			proc.Release()
			return nil, err
		}
		why = err.Error()
	}
	s.log.Info("ending the running plugin", "pid", r.PID, "err", why)
	err = s.end(ctx, sp, proc, r.Socket)
	proc.Release()
	if err != nil {
		return nil, err
	}
	removeRecord(s.paths.record)
	s.clean(0)
	return nil, nil
}

// isRefusal tells that the plugin answered, and said no to what it was given.
func isRefusal(err error) bool {
	var p *fault.Problem
	return errors.As(err, &p) && p.Key == "settings"
}

// clean ends strangers of this plugin and removes their sockets.
func (s *supervisor) clean(keep int) {
	if killed := sweep(s.name, s.paths.sockets, keep); len(killed) > 0 {
		s.log.Warn("ended left-over plugin processes", "pids", fmt.Sprint(killed))
	}
	if keep != 0 {
		return
	}
	entries, _ := os.ReadDir(s.paths.sockets)
	for _, e := range entries {
		os.RemoveAll(filepath.Join(s.paths.sockets, e.Name()))
	}
}

// start runs a new process.
func (s *supervisor) start(ctx context.Context, sp *spec) (*instance, error) {
	opt := s.host.opt()
	s.follow(true)
	l := &launcher{spec: sp, paths: s.paths, tail: s.tail, quiet: s.unfollow, born: func(p *process.Process) error {
		return writeRecord(s.paths.record, s.recordOf(sp, p, ""))
	}}
	proc, socket, err := l.start(ctx, opt.StartWithin)
	if err != nil {
		s.unfollow()
		removeRecord(s.paths.record)
		return nil, err
	}
	inst, err := s.connect(ctx, sp, proc, socket)
	if err == nil {
		err = s.note(sp, inst)
	}
	if err != nil {
		err = errors.Join(err, proc.Kill(killWait))
		proc.Release()
		s.unfollow()
		removeRecord(s.paths.record)
		return nil, err
	}
	return inst, nil
}

func (s *supervisor) recordOf(sp *spec, p *process.Process, socket string) record {
	return record{Name: s.name, PID: p.PID, Start: p.Start, Boot: process.BootID(), Socket: socket, Protocol: protocolVersion,
		SHA256: sp.sum, Launch: sp.launch(), Epoch: s.host.opt().Epoch}
}

// note writes the record of an instance that answers to this epoch.
func (s *supervisor) note(sp *spec, inst *instance) error {
	return writeRecord(s.paths.record, s.recordOf(sp, inst.proc, inst.socket))
}

// connect dials the socket, checks who serves it, and resyncs: the same for a
// first start, after a crash, and for a process of an earlier core.
func (s *supervisor) connect(ctx context.Context, sp *spec, proc *process.Process, socket string) (*instance, error) {
	inst := &instance{proc: proc, socket: socket, check: onlyProcess(proc.PID), launch: sp.launch(), since: time.Now()}
	conn, err := dialPlugin(socket, peerCreds{check: inst.check}, s.host.dial...)
	if err != nil {
		return nil, err
	}
	inst.conn, inst.base = conn, pb.NewBaseClient(conn)
	if err := s.resync(ctx, sp, inst); err != nil {
		conn.Close()
		return nil, err
	}
	return inst, nil
}

func (s *supervisor) attachEndpoint(ctx context.Context, sp *spec) (*instance, error) {
	where := "plugin " + s.name
	if p := refuseWritable(filepath.Dir(sp.endpoint)); p != nil && !strings.Contains(p.What, "belongs to") {
		return nil, p
	}
	inst := &instance{socket: sp.endpoint, check: ownerOf(sp.endpoint), launch: sp.launch(), since: time.Now(), attached: true, foreign: true}
	var cred unix.Ucred
	conn, err := dialPlugin(sp.endpoint, peerCreds{check: inst.check, seen: func(c unix.Ucred) { cred = c }}, s.host.dial...)
	if err != nil {
		return nil, fault.Wrap(err, where, "attach to "+sp.endpoint, "")
	}
	inst.conn, inst.base = conn, pb.NewBaseClient(conn)
	if err := s.resync(ctx, sp, inst); err != nil {
		conn.Close()
		return nil, fault.Wrap(err, where, "attach to "+sp.endpoint, "is its process running?")
	}
	if cred.Pid > 0 {
		inst.proc, _ = process.Open(int(cred.Pid), 0)
	}
	return inst, nil
}

// resync says hello: who are you, this is our epoch, these are your settings.
func (s *supervisor) resync(ctx context.Context, sp *spec, inst *instance) error {
	where := "plugin " + s.name
	cctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := inst.base.Info(cctx, &pb.InfoRequest{})
	if err != nil {
		return fault.Wrap(plain(err), where, "ask what it is", "")
	}
	kind := kindName(info.Kind)
	switch {
	case kind == "" || sp.kind != "" && kind != sp.kind:
		return fault.New(where, fmt.Sprintf("says it is a %s, plugin.ini says %s", info.Kind, sp.kind), "correct kind in plugin.ini")
	case inst.proc != nil && info.Pid != 0 && int(info.Pid) != inst.proc.PID:
		return fault.New(where, fmt.Sprintf("says its pid is %d, the kernel says %d", info.Pid, inst.proc.PID), "")
	}
	inst.info = info
	return s.configure(ctx, sp, inst)
}

func (s *supervisor) configure(ctx context.Context, sp *spec, inst *instance) error {
	o := s.host.opt()
	dir := ""
	if o.DataDir != "" && !inst.foreign {
		dir = filepath.Join(o.DataDir, "plugins", s.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fault.Wrap(err, "plugin "+s.name, "make its data folder", "")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, configureTimeout)
	defer cancel()
	_, err := inst.base.Configure(ctx, &pb.ConfigureRequest{
		Epoch: o.Epoch, Settings: sp.settings, LingerMs: o.Linger.Milliseconds(),
		BufferMs: o.Buffer.Milliseconds(), BufferBytes: o.BufferMax, Node: o.Node, DataDir: dir,
	})
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.FailedPrecondition:
		return errTaken
	case codes.InvalidArgument:
		p := fault.New("plugin "+s.name, "refuses its settings: "+status.Convert(err).Message(), "correct [plugin."+s.name+"]")
		p.Key = "settings"
		return p
	}
	return fault.Wrap(plain(err), "plugin "+s.name, "configure", "")
}

// end asks a process of ours to finish and sees to it that it does.
func (s *supervisor) end(ctx context.Context, sp *spec, proc *process.Process, socket string) error {
	if socket != "" && !proc.Dead() {
		if conn, err := dialPlugin(socket, peerCreds{check: onlyProcess(proc.PID)}, s.host.dial...); err == nil {
			cctx, cancel := context.WithTimeout(ctx, time.Second)
			_, err = pb.NewBaseClient(conn).Shutdown(cctx, &pb.ShutdownRequest{})
			cancel()
			conn.Close()
			if err == nil {
				select {
				case <-proc.Exited():
					return nil
				case <-time.After(shutdownWait):
				}
			}
		}
	}
	return proc.Kill(killWait)
}

// plain strips gRPC's prefix from an error, for people.
func plain(err error) error {
	if st, ok := status.FromError(err); ok && err != nil {
		return errors.New(st.Message())
	}
	return err
}

func kindName(k pb.InfoReply_Kind) string {
	switch k {
	case pb.InfoReply_DRIVER:
		return "driver"
	case pb.InfoReply_STORAGE:
		return "storage"
	}
	return ""
}

// lockFile keeps two cores from starting the same plugin at once. The kernel
// drops the lock when its holder dies.
func lockFile(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
