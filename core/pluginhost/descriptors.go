package pluginhost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/archive"
)

// descriptors is the side socket of a storage plugin: read-only descriptors
// of its files, so that playback is sendfile.
//
//	request: uint32 length, space, 0x00, name
//	reply:   1 byte (0 ok, 1 not found, 2 refused, 3 error), uint64 size; with 0 a descriptor (SCM_RIGHTS)
//
// Integers are big-endian; many requests follow each other on a connection.
type descriptors struct {
	mu     sync.Mutex
	socket string
	idle   []*net.UnixConn
}

const idleDescriptorConns = 4

// reset names the socket; connections to an earlier one are dropped.
func (d *descriptors) reset(socket string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.socket = socket
	for _, c := range d.idle {
		c.Close()
	}
	d.idle = nil
}

func (d *descriptors) take(ctx context.Context, check peerCheck) (*net.UnixConn, string, error) {
	d.mu.Lock()
	socket := d.socket
	if n := len(d.idle); n > 0 {
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		return c, socket, nil
	}
	d.mu.Unlock()
	if socket == "" {
		return nil, "", archive.ErrNoDescriptors
	}
	return dialSide(ctx, socket, check)
}

func dialSide(ctx context.Context, socket string, check peerCheck) (*net.UnixConn, string, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, "", err
	}
	cred, err := peerOf(c)
	if err == nil {
		err = check(cred)
	}
	if err != nil {
		c.Close()
		return nil, "", err
	}
	return c.(*net.UnixConn), socket, nil
}

func (d *descriptors) give(c *net.UnixConn, socket string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket != socket || len(d.idle) >= idleDescriptorConns {
		c.Close()
		return
	}
	d.idle = append(d.idle, c)
}

// open asks for a descriptor. A kept connection that turns out dead (the
// plugin was restarted) is replaced once.
func (d *descriptors) open(ctx context.Context, s *spaceStorage, name string) (*os.File, error) {
	inst, err := s.dialer.host.await(ctx, s.dialer.name, 2)
	if err != nil {
		return nil, err
	}
	check := ownerOf(inst.socket)
	if inst.proc != nil {
		pid := inst.proc.pid
		same := check
		check = func(c unix.Ucred) error {
			if c.Pid != 0 && int(c.Pid) != pid {
				return fmt.Errorf("descriptor socket %w", errForeignPeer)
			}
			return same(c)
		}
	}
	for try := 0; ; try++ {
		c, socket, err := d.take(ctx, check)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		f, err := askDescriptor(c, s.space, name)
		if !stop() || err != nil && !isAnswer(err) {
			c.Close()
			if try == 0 && ctx.Err() == nil {
				d.drop()
				continue
			}
			if ctx.Err() != nil && err == nil {
				f.Close()
				err = ctx.Err()
			}
			return nil, fmt.Errorf("ask for a descriptor of %s: %w", name, err)
		}
		d.give(c, socket)
		return f, err
	}
}

// drop closes kept connections.
func (d *descriptors) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.idle {
		c.Close()
	}
	d.idle = nil
}

// answerError is a well-formed no: the connection stays usable.
type answerError struct{ error }

func (e answerError) Unwrap() error { return e.error }

func isAnswer(err error) bool {
	var a answerError
	return errors.As(err, &a)
}

const maxName = 4096

func askDescriptor(c *net.UnixConn, space, name string) (*os.File, error) {
	if strings.IndexByte(space, 0) >= 0 || strings.IndexByte(name, 0) >= 0 || len(space)+len(name) > maxName {
		return nil, answerError{fmt.Errorf("name %q cannot be asked for", name)}
	}
	q := binary.BigEndian.AppendUint32(nil, uint32(len(space)+1+len(name)))
	q = append(append(append(q, space...), 0), name...)
	if _, err := c.Write(q); err != nil {
		return nil, err
	}
	var reply [9]byte
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(reply[:], oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return nil, err
	}
	fds := rights(oob[:oobn])
	if n < len(reply) {
		if _, err = io.ReadFull(c, reply[n:]); err != nil {
			closeAll(fds)
			return nil, err
		}
	}
	if flags&unix.MSG_CTRUNC != 0 || len(fds) > 1 || reply[0] == 0 && len(fds) != 1 {
		closeAll(fds)
		return nil, fmt.Errorf("reply with %d descriptors", len(fds))
	}
	if reply[0] != 0 {
		closeAll(fds)
		return nil, refusal(reply[0], name)
	}
	if fl, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFL, 0); err != nil || fl&unix.O_ACCMODE != unix.O_RDONLY {
		closeAll(fds)
		return nil, fmt.Errorf("descriptor of %s is not read-only", name)
	}
	return os.NewFile(uintptr(fds[0]), name), nil
}

func refusal(status byte, name string) error {
	switch status {
	case 1:
		return answerError{fmt.Errorf("%s: %w", name, os.ErrNotExist)}
	case 2:
		return answerError{fmt.Errorf("%s: %w", name, archive.ErrNoDescriptors)}
	}
	return answerError{fmt.Errorf("storage cannot open %s", name)}
}

// rights takes the descriptors out of control data; they are close-on-exec.
func rights(oob []byte) (fds []int) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		for _, fd := range got {
			unix.CloseOnExec(fd)
			fds = append(fds, fd)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
