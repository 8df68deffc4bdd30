package conformance

import (
	"fmt"
	"net"
	"time"

	"media-server/plugins/sdk/pb"
)

// manyDescriptors asks as a rebuild does: many questions before an answer is read.
func manyDescriptors(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	ctx, cancel := s.call()
	defer cancel()
	d, err := s.st.Describe(ctx, &pb.DescribeRequest{})
	if err != nil || !d.Descriptors {
		return err
	}
	b := fill(5000, 9)
	if err := s.put(k.epoch, "open/d", b); err != nil {
		return err
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.DescriptorSocket, Net: "unix"})
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(k.o.Wait))
	for range 3 { // and again on the same connection
		if err := manyAtOnce(c, s.name, "open/d", b, 32); err != nil {
			return err
		}
	}
	return nil
}

// manyAtOnce asks for n descriptors in one message, every third of a file that
// is not there, as a rebuild does.
func manyAtOnce(c *net.UnixConn, space, name string, want []byte, n int) error {
	var q []byte
	for i := range n {
		if i%3 == 2 {
			q = appendQuestion(q, space, "open/none")
		} else {
			q = appendQuestion(q, space, name)
		}
	}
	if _, err := c.Write(q); err != nil {
		return err
	}
	for i := range n {
		st, size, f, err := readDescriptor(c, name)
		if err != nil {
			return fmt.Errorf("answer %d of %d questions in one message: %w", i+1, n, err)
		}
		if i%3 == 2 {
			if f != nil {
				_ = f.Close()
			}
			if st != 1 || f != nil {
				return fmt.Errorf("answer %d of %d questions in one message has status %d, want 1: answers keep the order of the questions", i+1, n, st)
			}
			continue
		}
		if st != 0 {
			return fmt.Errorf("answer %d of %d questions in one message has status %d, want 0: answers keep the order of the questions", i+1, n, st)
		}
		if err := judgeDescriptor(f, size, want); err != nil {
			return err
		}
	}
	return nil
}
