package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"media-server/plugins/sdk/pb"
)

func descriptors(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	ctx, cancel := s.call()
	defer cancel()
	d, err := s.st.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return err
	}
	if !d.Descriptors {
		return nil
	}
	if fi, err := os.Stat(d.DescriptorSocket); err != nil || fi.Mode().Perm()&0o077 != 0 || !filepath.IsAbs(d.DescriptorSocket) {
		return fmt.Errorf("descriptor_socket %q must be the absolute path of a socket that is ours alone: %w", d.DescriptorSocket, err)
	}
	b := fill(100_000, 8)
	if err := s.put(k.epoch, "open/d", b); err != nil {
		return err
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.DescriptorSocket, Net: "unix"})
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(k.o.Wait))
	for _, x := range []struct {
		space, name string
		want        []byte // allowed statuses
	}{
		{s.name, "open/d", []byte{0}}, {s.name, "open/none", []byte{1}}, {s.name, "../" + s.name + "/open/d", []byte{2}},
		{s.name, "/etc/hostname", []byte{2}}, {"no-such-space", "open/d", []byte{1, 2}}, {s.name, "open/d", []byte{0}},
	} {
		st, size, f, err := askDescriptor(c, x.space, x.name)
		if err != nil {
			return fmt.Errorf("%s %s: %w", x.space, x.name, err)
		}
		if !bytes.Contains(x.want, []byte{st}) {
			return fmt.Errorf("%s %s: status %d, want one of %v", x.space, x.name, st, x.want)
		}
		if st != 0 {
			if f != nil {
				_ = f.Close()
				return fmt.Errorf("%s %s: a descriptor with status %d", x.space, x.name, st)
			}
			continue
		}
		err = judgeDescriptor(f, size, b)
		if err != nil {
			return err
		}
	}
	// A length out of range ends the connection.
	if _, err := c.Write([]byte{0, 1, 0, 0}); err == nil {
		if _, err = c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("a request of 65,536 bytes does not end the connection: %w", err)
		}
	}
	return nil
}

func judgeDescriptor(f *os.File, size uint64, want []byte) error {
	if f == nil {
		return errors.New("status 0 without a descriptor")
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) || size != uint64(len(want)) {
		return fmt.Errorf("the descriptor reads other bytes than the file has (size %d, %w)", size, err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		return errors.New("the descriptor can be written to")
	}
	return nil
}

func askDescriptor(c *net.UnixConn, space, name string) (st byte, size uint64, f *os.File, err error) {
	if _, err := c.Write(appendQuestion(nil, space, name)); err != nil {
		return 0, 0, nil, err
	}
	return readDescriptor(c, name)
}

func appendQuestion(q []byte, space, name string) []byte {
	q = binary.BigEndian.AppendUint32(q, uint32(len(space)+1+len(name)))
	return append(append(append(q, space...), 0), name...)
}

func readDescriptor(c *net.UnixConn, name string) (st byte, size uint64, f *os.File, err error) {
	b, oob := make([]byte, 9), make([]byte, 256)
	n, on, _, _, err := c.ReadMsgUnix(b, oob)
	if err == nil {
		_, err = io.ReadFull(c, b[n:])
	}
	if err != nil {
		return 0, 0, nil, err
	}
	if on > 0 {
		ms, err := syscall.ParseSocketControlMessage(oob[:on])
		if err != nil || len(ms) != 1 {
			return 0, 0, nil, fmt.Errorf("%d control messages, %w", len(ms), err)
		}
		fds, err := syscall.ParseUnixRights(&ms[0])
		if err != nil || len(fds) != 1 {
			return 0, 0, nil, fmt.Errorf("%d descriptors, want one (%w)", len(fds), err)
		}
		f = os.NewFile(uintptr(fds[0]), strings.TrimSpace(name))
	}
	return b[0], binary.BigEndian.Uint64(b[1:]), f, nil
}

// put makes a file and waits until it is written.
func (s *spaceOf) put(epoch uint64, name string, b []byte) error {
	if !s.k.grows() {
		return s.whole(epoch, name, len(b), b)
	}
	a, err := s.append(epoch)
	if err != nil {
		return err
	}
	defer a.close()
	for off := 0; off < len(b); off += 1 << 20 {
		if _, err := a.put(name, off, off == 0, b[off:min(len(b), off+1<<20)]); err != nil {
			return err
		}
	}
	if err := a.until(func() bool { return a.written == a.sent }); err != nil {
		return err
	}
	if len(a.failed) > 0 {
		return fmt.Errorf("appending to %s: %v", name, a.failed[0])
	}
	return nil
}
