package sdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// PeerInfo is who is at the other end of a Unix socket, by the kernel's word.
// On a server, peer.FromContext(ctx).AuthInfo holds it.
type PeerInfo struct {
	credentials.CommonAuthInfo
	PID int
	UID int
}

// AuthType implements credentials.AuthInfo.
func (PeerInfo) AuthType() string { return "peercred" }

// peerCredentials stand in for TLS: no byte is exchanged, so that a plugin
// without them (in another language) works just as well.
type peerCredentials struct {
	pid int // client: who must be listening; 0 = anybody of our own or root
}

var _ credentials.TransportCredentials = peerCredentials{}

func (p peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info, err := PeerOf(c)
	if err != nil {
		return nil, nil, err
	}
	if info.UID != 0 && info.UID != os.Geteuid() {
		return nil, nil, fmt.Errorf("user %d may not use this plugin: it serves user %d and root", info.UID, os.Geteuid())
	}
	enlarge(c)
	return c, info, nil
}

func (p peerCredentials) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info, err := PeerOf(c) // of the process that called listen
	if err != nil {
		return nil, nil, err
	}
	if p.pid != 0 && info.PID != p.pid {
		return nil, nil, fmt.Errorf("process %d listens there, not the plugin's process %d", info.PID, p.pid)
	}
	if info.UID != 0 && info.UID != os.Geteuid() && os.Geteuid() != 0 {
		return nil, nil, fmt.Errorf("a process of user %d listens there", info.UID)
	}
	return c, info, nil
}

func (p peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

func (p peerCredentials) Clone() credentials.TransportCredentials { return p }
func (p peerCredentials) OverrideServerName(string) error         { return nil }

// PeerOf asks the kernel who is at the other end of a Unix socket.
func PeerOf(c net.Conn) (PeerInfo, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return PeerInfo{}, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return PeerInfo{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return PeerInfo{}, err
	}
	if credErr != nil {
		return PeerInfo{}, fmt.Errorf("peer credentials: %w", credErr)
	}
	return PeerInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		PID:            int(cred.Pid), UID: int(cred.Uid),
	}, nil
}
