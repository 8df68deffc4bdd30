package pluginhost

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/stream"
	"media-server/plugins/sdk/pb"
)

// Key declares one setting that a plugin takes.
type Key struct {
	Name     string
	Type     string // string, bool, int, duration, size, enum, secret
	Default  string
	Help     string
	Allowed  []string
	Required bool
}

// Schema asks a running plugin for its keys: those of [plugin.NAME], and those
// of its streams (driver-KEY) or spaces.
func (h *Host) Schema(ctx context.Context, plugin string) (own, items []Key, err error) {
	a, err := ask(ctx, h, plugin, callTimeout, func(ctx context.Context, i *instance) (*pb.SettingsSchemaReply, error) {
		return i.base.SettingsSchema(ctx, &pb.SettingsSchemaRequest{})
	})
	if err != nil {
		return nil, nil, err
	}
	return keysOf(a.PluginKeys), keysOf(a.ItemKeys), nil
}

// Validate asks the driver of a URL scheme what is wrong with a stream's URL
// and settings. Nothing is connected to.
func (h *Host) Validate(ctx context.Context, plugin, url string, settings map[string]string) (fault.Problems, error) {
	a, err := ask(ctx, h, plugin, callTimeout, func(ctx context.Context, i *instance) (*pb.ValidateReply, error) {
		return i.base.Validate(ctx, &pb.ValidateRequest{Url: url, Settings: settings})
	})
	if err != nil {
		return nil, err
	}
	var ps fault.Problems
	for _, p := range a.Problems {
		ps.Add(fault.Problem{Key: p.Key, What: p.What, Hint: p.Hint})
	}
	return ps, nil
}

// Probe is what a device offers.
type Probe struct {
	Tracks  []media.Track
	LeftOut []stream.LeftOut
	Device  string
}

// Probe has a driver connect once to a device.
func (h *Host) Probe(ctx context.Context, plugin, url string, settings map[string]string, within time.Duration) (Probe, error) {
	a, err := ask(ctx, h, plugin, within+time.Second, func(ctx context.Context, i *instance) (*pb.ProbeReply, error) {
		return pb.NewDriverClient(i.conn).Probe(ctx, &pb.ProbeRequest{Url: url, Settings: settings, TimeoutMs: within.Milliseconds()})
	})
	if err != nil {
		return Probe{}, err
	}
	if p := a.Problem; p != nil {
		return Probe{}, &fault.Problem{Where: "plugin " + plugin, What: p.What, Hint: p.Hint, Key: p.Key}
	}
	probe := Probe{Device: a.Device}
	for _, t := range a.Tracks {
		probe.Tracks = append(probe.Tracks, trackOf(t))
	}
	for _, l := range a.LeftOut {
		probe.LeftOut = append(probe.LeftOut, stream.LeftOut{Name: l.Name, Reason: l.Reason})
	}
	return probe, nil
}

// Device is one that a driver found on the network.
type Device struct{ URL, Name, Model, Address string }

// Discover has a driver look for devices.
func (h *Host) Discover(ctx context.Context, plugin string, within time.Duration, found func(Device)) error {
	_, err := ask(ctx, h, plugin, within+time.Second, func(ctx context.Context, i *instance) (*pb.DiscoverReply, error) {
		ds, err := pb.NewDriverClient(i.conn).Discover(ctx, &pb.DiscoverRequest{TimeoutMs: within.Milliseconds()})
		for err == nil {
			var d *pb.DiscoverReply
			if d, err = ds.Recv(); err == nil {
				found(Device{d.Url, d.Name, d.Model, d.Address})
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return nil, err
	})
	return err
}

// Metric is a counter or gauge of a plugin.
type Metric struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Metrics asks a running plugin for its figures.
func (h *Host) Metrics(ctx context.Context, plugin string) ([]Metric, error) {
	a, err := ask(ctx, h, plugin, callTimeout, func(ctx context.Context, i *instance) (*pb.MetricsReply, error) {
		return i.base.Metrics(ctx, &pb.MetricsRequest{})
	})
	if err != nil {
		return nil, err
	}
	list := make([]Metric, 0, len(a.Metrics))
	for _, m := range a.Metrics {
		list = append(list, Metric{m.Name, m.Labels, m.Value})
	}
	return list, nil
}

// PluginFor names the plugin that serves a URL scheme, running or not.
func (h *Host) PluginFor(scheme string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, _ := h.findDriver(chosenDriver{host: h, scheme: scheme})
	if s == nil {
		return "", false
	}
	return s.name, true
}

// ask makes one call to a plugin that is running now.
func ask[A any](ctx context.Context, h *Host, plugin string, limit time.Duration, f func(context.Context, *instance) (A, error)) (A, error) {
	var none A
	h.mu.Lock()
	s := h.sups[plugin]
	h.mu.Unlock()
	if s == nil {
		return none, fault.New("plugin "+plugin, "is not there", "see plugins")
	}
	s.mu.Lock()
	inst := s.inst
	s.mu.Unlock()
	if inst == nil {
		return none, fault.New("plugin "+plugin, "does not run", "see its state and its log")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	a, err := f(ctx, inst)
	if status.Code(err) == codes.Unimplemented {
		return none, fault.New("plugin "+plugin, "cannot do this", "")
	}
	if err != nil {
		return none, fault.Wrap(plain(err), "plugin "+plugin, "", "")
	}
	return a, nil
}

func keysOf(list []*pb.SettingKey) []Key {
	names := [...]string{"string", "bool", "int", "duration", "size", "enum", "secret"}
	keys := make([]Key, 0, len(list))
	for _, k := range list {
		typ := "string"
		if int(k.Type) < len(names) && k.Type >= 0 {
			typ = names[k.Type]
		}
		keys = append(keys, Key{k.Name, typ, k.DefaultValue, k.Help, k.Allowed, k.Required})
	}
	return keys
}
