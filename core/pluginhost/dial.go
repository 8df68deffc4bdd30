package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"media-server/core/process"
)

// Sizes for one connection: windows that hold a stall of the reader without
// stopping the writer, and socket buffers that make few system calls.
const (
	maxMessage   = 16 << 20
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	socketBuffer = 256 << 10
)

// errForeignPeer: the socket is served by somebody else than it should be.
var errForeignPeer = errors.New("served by another process")

// peerCheck decides who may serve the socket.
type peerCheck func(unix.Ucred) error

// peerCreds are the transport credentials between core and plugin: the kernel
// says who serves the socket, at every connection anew.
type peerCreds struct {
	check peerCheck
	seen  func(unix.Ucred)        // may be nil
	wrap  func(net.Conn) net.Conn // may be nil
}

func (c peerCreds) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cred, err := process.Peer(conn)
	if err == nil {
		err = c.check(cred)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	if c.seen != nil {
		c.seen(cred)
	}
	if c.wrap != nil {
		conn = c.wrap(conn)
	}
	return conn, peerInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (c peerCreds) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("pluginhost serves nothing")
}
func (c peerCreds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-peer"}
}
func (c peerCreds) Clone() credentials.TransportCredentials { return c }
func (c peerCreds) OverrideServerName(string) error         { return nil }

type peerInfo struct{ credentials.CommonAuthInfo }

func (peerInfo) AuthType() string { return "unix-peer" }

// onlyProcess accepts pid, run by our own user.
func onlyProcess(pid int) peerCheck {
	return func(c unix.Ucred) error {
		if int(c.Uid) != os.Geteuid() || int(c.Pid) != pid {
			return fmt.Errorf("%w: pid %d uid %d, expected pid %d uid %d (a wrapper script must exec the plugin)", errForeignPeer, c.Pid, c.Uid, pid, os.Geteuid())
		}
		return nil
	}
}

// ownerOf accepts our own user, root, and the user whom the socket belongs
// to: for endpoints, which somebody else runs.
func ownerOf(socket string) peerCheck {
	return func(c unix.Ucred) error {
		if int(c.Uid) == os.Geteuid() || c.Uid == 0 {
			return nil
		}
		st, err := os.Stat(socket)
		if err != nil {
			return err
		}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid == c.Uid {
			return nil
		}
		return fmt.Errorf("%w: uid %d", errForeignPeer, c.Uid)
	}
}

// dialPlugin makes the one connection to a plugin process. It connects at the
// first call.
func dialPlugin(socket string, creds peerCreds, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///plugin", append([]grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}),
		grpc.WithTransportCredentials(creds),
		grpc.WithIdleTimeout(0), // a silent plugin is still held
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(socketBuffer),
		grpc.WithWriteBufferSize(socketBuffer),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
	}, opts...)...)
}
