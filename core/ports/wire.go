package ports

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the protocol; HOLDER.md states them.
const (
	protocol   = 1
	magic      = "ports"
	maxMessage = 20 << 10
	maxSockets = 64
	maxAddress = 255
)

// Verbs of the protocol.
const (
	verbStart   = "starting"
	verbTake    = "take"
	verbHave    = "have"
	verbHold    = "hold"
	verbDrop    = "drop"
	verbLeave   = "leave"
	verbDone    = "done"
	verbRefused = "refused"
)

// message is one packet: words, and descriptors that travel beside them.
type message struct {
	verb string
	args []string
	fds  []int
}

// close closes the descriptors that came with a message.
func (m *message) close() {
	for _, fd := range m.fds {
		unix.Close(fd)
	}
	m.fds = nil
}

// arg is the i-th word behind the verb, or empty.
func (m *message) arg(i int) string {
	if i < len(m.args) {
		return m.args[i]
	}
	return ""
}

func encode(verb string, args ...string) []byte {
	return []byte(strings.Join(append([]string{magic, verb}, args...), " ") + "\n")
}

// decode reads the words of a packet.
func decode(b []byte) (message, error) {
	line, ok := bytes.CutSuffix(b, []byte("\n"))
	words := strings.Split(string(line), " ")
	if !ok || len(b) > maxMessage || len(words) < 2 || words[0] != magic {
		return message{}, errors.New("not a message of a holder")
	}
	if slices.ContainsFunc(words, func(w string) bool { return w == "" }) {
		return message{}, errors.New("a message with an empty word")
	}
	return message{verb: words[1], args: words[2:]}, nil
}

// checkAddress accepts what can travel as a word.
func checkAddress(a string) error {
	bad := strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r == 0x7f })
	if a == "" || len(a) > maxAddress || bad {
		return fmt.Errorf("address %q cannot be held", a)
	}
	return nil
}

// receive reads one packet. Descriptors are closed again when the packet is
// not good.
func receive(c *net.UnixConn) (message, error) {
	b, oob := make([]byte, maxMessage+1), make([]byte, unix.CmsgSpace(4*maxSockets))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return message{}, err
	}
	fds, err := descriptors(oob[:oobn])
	m := message{}
	switch {
	case err != nil:
	case flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0:
		err = errors.New("a message that is too long")
	default:
		m, err = decode(b[:n])
	}
	if m.fds = fds; err != nil {
		m.close()
	}
	return m, err
}

// descriptors takes what came beside a packet. The runtime asks the kernel to
// mark them close-on-exec as they arrive. They stay plain numbers: an os.File
// would have this process woken at each connection, and may make the socket a
// blocking one, for the core as well.
func descriptors(oob []byte) (fds []int, err error) {
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	for i := range cmsgs {
		if got, err := unix.ParseUnixRights(&cmsgs[i]); err == nil { // else credentials or the like: nobody asked for it
			fds = append(fds, got...)
		}
	}
	return fds, nil
}

// transmit writes one packet.
func transmit(c *net.UnixConn, within time.Duration, fds []int, verb string, args ...string) error {
	if err := c.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(encode(verb, args...), oob, nil)
	return err
}
