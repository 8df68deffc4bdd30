package conformance

import (
	"context"
	"io"
	"os/exec"
	"testing"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

// baseClient lets go-plugin hand out a Base client.
type baseClient struct{ goplugin.Plugin }

func (baseClient) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (baseClient) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	return pb.NewBaseClient(cc), nil
}

// The SDK's own serving speaks go-plugin's handshake: its client starts the
// template and gets an answer, over our transport options too.
func TestGoPluginsClientIsServed(t *testing.T) {
	t.Parallel()
	binary := build(t, "media-server/plugins/examples/template")
	dir := t.TempDir()
	cmd := exec.Command(binary)
	cmd.Env = []string{sdk.SocketDirEnv + "=" + dir}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: sdk.ProtocolVersion, MagicCookieKey: sdk.CookieKey, MagicCookieValue: sdk.CookieValue},
		Plugins:          goplugin.PluginSet{"base": &baseClient{}},
		Cmd:              cmd,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		Logger:           hclog.New(&hclog.LoggerOptions{Output: io.Discard}),
	})
	defer client.Kill()
	rpc, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := rpc.Ping(); err != nil {
		t.Error("ping: ", err)
	}
	base, err := rpc.Dispense("base")
	if err != nil {
		t.Fatal(err)
	}
	info, err := base.(pb.BaseClient).Info(t.Context(), &pb.InfoRequest{})
	if err != nil || info.Name != "template" {
		t.Errorf("info: %v %v", info, err)
	}
	// The host's own way in beside it, held to the process that listens.
	r := client.ReattachConfig()
	for _, pid := range []int{r.Pid, r.Pid + 1} {
		cc, err := sdk.Dial(r.Addr.String(), pid)
		if err != nil {
			t.Fatal(err)
		}
		_, err = pb.NewBaseClient(cc).Health(t.Context(), &pb.HealthRequest{})
		if (err == nil) != (pid == r.Pid) {
			t.Errorf("dialled for process %d, listening is %d: %v", pid, r.Pid, err)
		}
		_ = cc.Close()
	}
}
