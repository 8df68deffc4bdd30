package main

import (
	"encoding/binary"
	"net"
	"os"
)

// forgetful serves descriptors beside the true socket: it takes what one read
// gives for one request and forgets the rest.
func forgetful(socket string) string {
	own := socket + "-forgetful"
	os.Remove(own)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"})
	if err != nil {
		return socket
	}
	os.Chmod(own, 0o600)
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go relay(c, socket)
		}
	}()
	return own
}

func relay(c *net.UnixConn, socket string) {
	defer c.Close()
	to, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return
	}
	defer to.Close()
	b, oob := make([]byte, 8192), make([]byte, 64)
	for {
		n, err := c.Read(b)
		if err != nil || n < 4 {
			return
		}
		if _, err := to.Write(b[:min(n, 4+int(binary.BigEndian.Uint32(b)))]); err != nil {
			return
		}
		k, on, _, _, err := to.ReadMsgUnix(b[:9], oob)
		if err != nil || k != 9 {
			return
		}
		if _, _, err := c.WriteMsgUnix(b[:9], oob[:on], nil); err != nil {
			return
		}
	}
}
