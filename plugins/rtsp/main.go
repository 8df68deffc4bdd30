package main

import (
	"context"

	"media-server/plugins/internal/rtspsource"
	"media-server/plugins/internal/snapshot"
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
			{Name: "snapshot", Type: sdk.String,
				Help: "Address of the picture that the camera itself makes, http://host/path or https://host/path; user and password are those of stream-url."},
		},
		Validate: validate,
		Driver: sdk.DriverFunc(func(ctx context.Context, src sdk.Source, run *sdk.Run) error {
			return rtspsource.Capture(ctx, config(src), run)
		}),
		Probe: func(ctx context.Context, src sdk.Source) (sdk.ProbeResult, error) {
			return rtspsource.Probe(ctx, config(src))
		},
		Snapshot: picture,
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

// picture gets the camera's own.
func picture(ctx context.Context, src sdk.Source) ([]byte, error) {
	address := src.Settings["snapshot"]
	if address == "" {
		return nil, nil
	}
	return snapshot.Get(ctx, snapshot.Source{URL: address, User: rtspsource.Account(src.URL), VerifyTLS: yes(src.Settings["tls-verify"], false)})
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

func validate(url string, settings map[string]string) (ps []*pb.Problem) {
	if err := rtspsource.Check(url, settings["transport"]); err != nil {
		ps = append(ps, &pb.Problem{Key: "url", What: err.Error(), Hint: "write it as rtsp://user:password@host[:port]/path"})
	}
	if address := settings["snapshot"]; address != "" {
		if err := snapshot.Check(address); err != nil {
			ps = append(ps, &pb.Problem{Key: "snapshot", What: err.Error(), Hint: "write it as http://host/path"})
		}
	}
	return ps
}
