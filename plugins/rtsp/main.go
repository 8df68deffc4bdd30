package main

import (
	"context"

	"media-server/plugins/internal/rtspsource"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

func main() { sdk.Main(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "rtsp",
		Version: "0.1.0",
		Schemes: []string{"rtsp", "rtsps"},
		ItemKeys: []sdk.Key{
			{Name: "transport", Type: sdk.Enum, Default: rtspsource.Auto, Allowed: []string{rtspsource.Auto, rtspsource.TCP, rtspsource.UDP},
				Help: "How media travels; auto is TCP, and UDP where the device refuses TCP."},
			{Name: "tls-verify", Type: sdk.Bool, Default: "false",
				Help: "For rtsps: refuse certificates that no authority of this machine vouches for."},
			{Name: "gather", Type: sdk.Bool, Default: "true",
				Help: "Let the kernel collect up to 100 ms of a TCP stream while nobody watches live, to save wake-ups."},
		},
		Validate: validate,
		Driver: sdk.DriverFunc(func(ctx context.Context, src sdk.Source, run *sdk.Run) error {
			return rtspsource.Capture(ctx, config(src), run)
		}),
		Probe: func(ctx context.Context, src sdk.Source) (sdk.ProbeResult, error) {
			return rtspsource.Probe(ctx, config(src))
		},
	}
}

func config(src sdk.Source) rtspsource.Config {
	return rtspsource.Config{
		URL:         src.URL,
		Wants:       src.Wants,
		ReadTimeout: src.ReadTimeout,
		Transport:   src.Settings["transport"],
		VerifyTLS:   yes(src.Settings["tls-verify"], false),
		NoGather:    !yes(src.Settings["gather"], true),
	}
}

// yes reads a boolean in ini notation; the SDK has refused all other words.
func yes(v string, otherwise bool) bool {
	switch v {
	case "true", "yes", "on":
		return true
	case "false", "no", "off":
		return false
	}
	return otherwise
}

func validate(url string, settings map[string]string) []*pb.Problem {
	if err := rtspsource.Check(url, settings["transport"]); err != nil {
		return []*pb.Problem{{Key: "url", What: err.Error(), Hint: "write it as rtsp://user:password@host[:port]/path"}}
	}
	return nil
}
