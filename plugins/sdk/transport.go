package sdk

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"

	"media-server/plugins/sdk/codec"
)

// Figures of the transport, the same on both sides. Measured with 100 cameras
// of 4 Mbit/s: windows and socket buffers of this size, with the codec, halve
// what gRPC costs by default.
const (
	maxReceive   = 16 << 20
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	socketBuffer = 256 << 10
)

// DialOptions are what a core dials a plugin's Unix socket with; pid, if not
// 0, is the process that must be listening there. The target is
// "passthrough:///" + path; see Dial.
func DialOptions(pid int) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(peerCredentials{pid: pid}),
		grpc.WithContextDialer(dialUnix),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(socketBuffer),
		grpc.WithWriteBufferSize(socketBuffer),
		grpc.WithIdleTimeout(0), // an idle connection still says that the core lives
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec.Codec{}), grpc.MaxCallRecvMsgSize(maxReceive), grpc.MaxCallSendMsgSize(maxReceive)),
		experimental.WithBufferPool(codec.Pool()),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	}
}

// Dial makes a client for the plugin that listens on socket; it connects at
// the first call. pid, if not 0, is the process that must be listening there.
func Dial(socket string, pid int, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+socket, append(DialOptions(pid), more...)...)
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		enlarge(c)
	}
	return c, err
}

func enlarge(c net.Conn) {
	if u, ok := c.(*net.UnixConn); ok {
		// Refused where the system's bound is lower: then it is that bound.
		_ = u.SetReadBuffer(socketBuffer)
		_ = u.SetWriteBuffer(socketBuffer)
	}
}

// ServerOptions are what a plugin serves with: peers of the same user or root
// only, the codec, and the transport's figures.
func ServerOptions() []grpc.ServerOption {
	return append(transportOptions(), grpc.Creds(peerCredentials{}))
}

func transportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec.Codec{}),
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxSendMsgSize(maxReceive),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(socketBuffer),
		grpc.WriteBufferSize(socketBuffer),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		experimental.BufferPool(codec.Pool()),
	}
}
