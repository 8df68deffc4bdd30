package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
	"media-server/plugins/sim/camera"
)

func main() {
	engine := camera.New()
	go func() { _ = engine.Run(context.Background()) }() // ends with the process
	sdk.Main(plugin(engine))
}

func plugin(e *camera.Engine) sdk.Plugin {
	return sdk.Plugin{
		Name:     "sim",
		Version:  "1.0.0",
		Schemes:  []string{"sim"},
		ItemKeys: keys(),
		Validate: validate,
		Driver:   driver{e},
		Events: func(ctx context.Context, emit func(*pb.EventsReply)) error {
			return e.Events(ctx, func(ev camera.Event) error {
				emit(&pb.EventsReply{Uid: ev.UID, Kind: ev.Kind, Time: uint64(ev.Time), Active: ev.Active})
				return nil
			})
		},
		Probe:  probe,
		Health: e.Health,
	}
}

func keys() []sdk.Key {
	types := map[string]sdk.KeyType{
		"string": sdk.String, "bool": sdk.Bool, "int": sdk.Int, "enum": sdk.Enum,
		// Sizes here are bits in thousands and durations may be negative, so
		// this package reads both itself.
		"size": sdk.String, "duration": sdk.String,
	}
	var out []sdk.Key
	for _, k := range camera.Keys {
		out = append(out, sdk.Key{
			Name: k.Name, Type: types[k.Type], Default: k.Default,
			Help: k.Help, Allowed: strings.Fields(k.Allowed),
		})
	}
	return out
}

func validate(url string, settings map[string]string) []*pb.Problem {
	_, problems := camera.Parse(url, "", settings)
	var out []*pb.Problem
	for _, p := range problems {
		out = append(out, &pb.Problem{Key: p.Key, What: p.What, Hint: p.Hint})
	}
	return out
}

const device = "media-server simulated camera"

// probe needs no connection: what a simulated camera offers is in its URL.
func probe(_ context.Context, src sdk.Source) (sdk.ProbeResult, error) {
	set, problems := camera.Parse(src.URL, src.UID, src.Settings)
	if len(problems) > 0 {
		return sdk.ProbeResult{}, sdk.Fail(pb.Cause_SETTINGS, problems[0].Key+": "+problems[0].What, problems[0].Hint)
	}
	tracks, err := camera.Tracks(set)
	return sdk.ProbeResult{Tracks: tracks, Device: device}, err
}

type driver struct{ engine *camera.Engine }

// Capture plays one connection to the camera that src describes.
func (d driver) Capture(ctx context.Context, src sdk.Source, run *sdk.Run) error {
	set, problems := camera.Parse(src.URL, src.UID, src.Settings)
	if len(problems) > 0 {
		return sdk.Fail(pb.Cause_SETTINGS, problems[0].Key+": "+problems[0].What, problems[0].Hint)
	}
	line, err := d.engine.Connect(src.UID, set, src.Wants, src.ReadTimeout)
	if err != nil {
		return failure(err, src.ReadTimeout)
	}
	defer line.Close()
	if len(line.Tracks) == 0 {
		return sdk.Fail(pb.Cause_UNSUPPORTED, "the simulated camera has none of the wanted tracks", "check stream-tracks, codec and audio")
	}
	if err := run.Open(line.Tracks, device); err != nil {
		return err
	}
	line.Start(output{run})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-line.Done():
		return failure(line.Err(), src.ReadTimeout)
	}
}

func failure(err error, patience time.Duration) error {
	switch {
	case errors.Is(err, camera.ErrChanged):
		return sdk.ErrChanged
	case errors.Is(err, camera.ErrSilent):
		return sdk.Fail(pb.Cause_SILENT, "nothing received for "+patience.String(), "")
	case errors.Is(err, camera.ErrUnreachable):
		return sdk.Fail(pb.Cause_UNREACHABLE, err.Error(), "it is told so by a cue")
	case errors.Is(err, camera.ErrDropped), errors.Is(err, camera.ErrTaken):
		return sdk.Fail(pb.Cause_LOST, err.Error(), "")
	}
	return sdk.Fail(pb.Cause_SETTINGS, err.Error(), "check the paths of ledger and control")
}

// output hands units to the SDK and network counts to its statistics.
type output struct{ run *sdk.Run }

func (o output) Write(u media.AccessUnit) error { return o.run.Write(u) }

func (o output) Count(n camera.Network) {
	s := o.run.Stats()
	s.PacketsReceived.Add(n.Packets)
	s.PacketsLost.Add(n.Lost)
	s.PacketsReordered.Add(n.Reordered)
	s.BytesReceived.Add(n.Bytes)
}
