package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

// Info implements pb.BaseServer.
func (s *server) Info(context.Context, *pb.InfoRequest) (*pb.InfoReply, error) {
	p := &s.plugin
	out := &pb.InfoReply{Name: p.Name, Version: p.Version, Kind: pb.InfoReply_STORAGE, Schemes: p.Schemes, Pid: uint32(os.Getpid())}
	if p.Driver != nil {
		out.Kind = pb.InfoReply_DRIVER
	}
	if p.Events != nil {
		out.Capabilities = append(out.Capabilities, "events")
	}
	if p.Find != nil {
		out.Capabilities = append(out.Capabilities, "discover")
	}
	if p.Probe != nil {
		out.Capabilities = append(out.Capabilities, "probe")
	}
	if p.Snapshot != nil {
		out.Capabilities = append(out.Capabilities, "snapshot")
	}
	return out, nil
}

func toKeys(in []Key) []*pb.SettingKey {
	var out []*pb.SettingKey
	for _, k := range in {
		out = append(out, &pb.SettingKey{Name: k.Name, Type: k.Type, DefaultValue: k.Default, Help: k.Help, Allowed: k.Allowed, Required: k.Required})
	}
	return out
}

// SettingsSchema implements pb.BaseServer.
func (s *server) SettingsSchema(context.Context, *pb.SettingsSchemaRequest) (*pb.SettingsSchemaReply, error) {
	return &pb.SettingsSchemaReply{PluginKeys: toKeys(s.plugin.PluginKeys), ItemKeys: toKeys(s.plugin.ItemKeys)}, nil
}

// Validate implements pb.BaseServer.
func (s *server) Validate(_ context.Context, r *pb.ValidateRequest) (*pb.ValidateReply, error) {
	return &pb.ValidateReply{Problems: s.problems(r.Url, r.Settings)}, nil
}

func (s *server) problems(url string, settings map[string]string) []*pb.Problem {
	out := checkKeys(s.plugin.ItemKeys, settings)
	if s.plugin.Driver != nil {
		scheme, _, ok := strings.Cut(url, "://")
		if len(s.plugin.Schemes) > 0 && (!ok || !slices.Contains(s.plugin.Schemes, strings.ToLower(scheme))) {
			out = append(out, &pb.Problem{Key: "url", What: "not a URL of this driver", Hint: "it takes " + strings.Join(s.plugin.Schemes, "://, ") + "://"})
		}
	}
	if s.plugin.Validate != nil {
		out = append(out, s.plugin.Validate(url, settings)...)
	}
	return out
}

// checkSource is asked before each try.
func (s *server) checkSource(src Source) *pb.Problem {
	if p := s.problems(src.URL, src.Settings); len(p) > 0 {
		return p[0]
	}
	return nil
}

// Configure implements pb.BaseServer.
func (s *server) Configure(ctx context.Context, r *pb.ConfigureRequest) (*pb.ConfigureReply, error) {
	if err := s.enter(ctx, r.Epoch); err != nil {
		return nil, err
	}
	if p := checkKeys(s.plugin.PluginKeys, r.Settings); len(p) > 0 {
		return nil, status.Errorf(codes.InvalidArgument, "%s: %s; %s", p[0].Key, p[0].What, p[0].Hint)
	}
	if s.plugin.Configured != nil {
		if err := s.plugin.Configured(r.Settings); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	s.buffer.limit(orDefault(r.BufferMs, defaultBufferTime), max(r.BufferBytes, 0))
	if r.BufferBytes <= 0 {
		s.buffer.maxBytes.Store(defaultBufferBytes)
	}
	s.mu.Lock()
	s.linger = orDefault(r.LingerMs, defaultLinger)
	s.mu.Unlock()
	s.buffer.shrink()
	return &pb.ConfigureReply{}, nil
}

// Health implements pb.BaseServer.
func (s *server) Health(context.Context, *pb.HealthRequest) (*pb.HealthReply, error) {
	if s.plugin.Health == nil {
		return &pb.HealthReply{}, nil
	}
	return &pb.HealthReply{Message: s.plugin.Health()}, nil
}

// Metrics implements pb.BaseServer.
func (s *server) Metrics(context.Context, *pb.MetricsRequest) (*pb.MetricsReply, error) {
	out := &pb.MetricsReply{}
	if s.plugin.Driver != nil {
		out.Metrics = []*pb.Metric{
			{Name: "captures", Value: float64(len(s.all()))},
			{Name: "buffer_bytes", Value: float64(s.buffer.bytes.Load())},
			{Name: "buffer_limit_bytes", Value: float64(s.buffer.maxBytes.Load())},
			{Name: "buffer_dropped_units_total", Value: float64(s.buffer.dropped.Load())},
		}
	}
	if s.plugin.Metrics != nil {
		out.Metrics = append(out.Metrics, s.plugin.Metrics()...)
	}
	return out, nil
}

// Shutdown implements pb.BaseServer.
func (s *server) Shutdown(context.Context, *pb.ShutdownRequest) (*pb.ShutdownReply, error) {
	s.quit("the core asked for it")
	return &pb.ShutdownReply{}, nil
}

// Probe implements pb.DriverServer.
func (s *server) Probe(ctx context.Context, r *pb.ProbeRequest) (out *pb.ProbeReply, err error) {
	if s.plugin.Probe == nil {
		return nil, status.Error(codes.Unimplemented, "this driver cannot probe")
	}
	src := Source{URL: r.Url, Settings: r.Settings, ReadTimeout: orDefault(r.TimeoutMs, 10*time.Second)}
	if p := s.checkSource(src); p != nil {
		return &pb.ProbeReply{Problem: p}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, src.ReadTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			slog.Error("driver panicked", "err", fmt.Sprint(p))
			out, err = &pb.ProbeReply{Problem: &pb.Problem{What: fmt.Sprintf("the driver panicked: %v", p), Hint: "this is a fault of the driver"}}, nil
		}
	}()
	res, perr := s.plugin.Probe(ctx, src)
	out = &pb.ProbeReply{LeftOut: toLeftOut(res.LeftOut), Device: res.Device}
	for _, t := range res.Tracks {
		out.Tracks = append(out.Tracks, toTrack(t))
	}
	if perr != nil {
		f := failureOf(perr, false)
		out.Problem = &pb.Problem{What: f.What, Hint: f.Hint}
	}
	return out, nil
}

// Snapshot implements pb.DriverServer.
func (s *server) Snapshot(ctx context.Context, r *pb.SnapshotRequest) (out *pb.SnapshotReply, err error) {
	if s.plugin.Snapshot == nil {
		return nil, status.Error(codes.Unimplemented, "this driver has no pictures of devices")
	}
	src := Source{UID: r.Uid, URL: r.Url, Settings: r.Settings, ReadTimeout: orDefault(r.TimeoutMs, 10*time.Second)}
	if p := s.checkSource(src); p != nil {
		return &pb.SnapshotReply{Problem: p}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, src.ReadTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			slog.Error("driver panicked", "err", fmt.Sprint(p))
			out, err = &pb.SnapshotReply{Problem: &pb.Problem{What: fmt.Sprintf("the driver panicked: %v", p), Hint: "this is a fault of the driver"}}, nil
		}
	}()
	b, perr := s.plugin.Snapshot(ctx, src)
	if perr == nil && len(b) > MaxSnapshot {
		perr = Fail(pb.Cause_PROTOCOL, fmt.Sprintf("the picture has %d bytes, %d at most", len(b), MaxSnapshot), "have the device make a smaller one")
	}
	if perr != nil {
		f := failureOf(perr, false)
		return &pb.SnapshotReply{Problem: &pb.Problem{What: f.What, Hint: f.Hint}}, nil
	}
	return &pb.SnapshotReply{Jpeg: b}, nil
}

// Discover implements pb.DriverServer.
func (s *server) Discover(r *pb.DiscoverRequest, stream grpc.ServerStreamingServer[pb.DiscoverReply]) error {
	if s.plugin.Find == nil {
		return status.Error(codes.Unimplemented, "this driver cannot discover")
	}
	ctx, cancel := context.WithTimeout(stream.Context(), orDefault(r.TimeoutMs, 10*time.Second))
	defer cancel()
	return s.plugin.Find(ctx, func(m *pb.DiscoverReply) {
		if err := stream.Send(m); err != nil {
			cancel()
		}
	})
}

// Events implements pb.DriverServer.
func (s *server) Events(r *pb.EventsRequest, stream grpc.ServerStreamingServer[pb.EventsReply]) error {
	if s.plugin.Events == nil {
		return status.Error(codes.Unimplemented, "this driver has no events")
	}
	if err := s.enter(stream.Context(), r.Epoch); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	e := &eventStream{epoch: r.Epoch, cancel: cancel, ended: make(chan struct{})}
	s.mu.Lock()
	s.events[e] = struct{}{}
	if s.ctx.Err() != nil {
		cancel(errEnding)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.events, e)
		s.mu.Unlock()
		close(e.ended)
	}()
	err := s.plugin.Events(ctx, func(m *pb.EventsReply) {
		if ctx.Err() != nil {
			return
		}
		if err := stream.Send(m); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
