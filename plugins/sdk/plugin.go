package sdk

import (
	"context"
	"time"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

// Plugin describes a plugin to Main. Name and either Driver or Storage are
// required; what is left nil is answered for it.
type Plugin struct {
	Name    string   // as in plugin.ini
	Version string   // semantic version of the plugin
	Schemes []string // drivers: URL schemes, lower case, without "://"

	PluginKeys []Key // keys of [plugin.NAME]
	ItemKeys   []Key // drivers: driver-KEY of a stream; storage: keys of [space.NAME]

	// Validate checks a stream's URL and settings without connecting anywhere.
	// The declared keys (unknown, missing, ENUM, INT, BOOL, DURATION, SIZE) are
	// checked before it is asked.
	Validate func(url string, settings map[string]string) []*pb.Problem

	// Configured is told the plugin's own settings at each attach. An error is
	// shown to the operator and refuses the attach.
	Configured func(settings map[string]string) error

	Driver Driver // drivers

	// Events delivers what devices report until ctx ends; optional. emit is not
	// safe for concurrent use. Without a core that listens nothing is kept.
	Events func(ctx context.Context, emit func(*pb.EventsReply)) error
	// Probe connects once and says what the device offers; optional.
	Probe func(ctx context.Context, src Source) (ProbeResult, error)
	// Snapshot gets a picture that the device itself makes, as a JPEG of MaxSnapshot
	// bytes at most; nothing without an error = this device has none. Optional. It may be
	// called beside Capture of the same source, and must return soon after ctx ends.
	Snapshot func(ctx context.Context, src Source) (jpeg []byte, err error)
	// Find looks for devices until ctx ends; optional.
	Find func(ctx context.Context, emit func(*pb.DiscoverReply)) error

	Storage pb.StorageServer // storage backends

	// Health answers within a second: empty = well, else what ails it.
	Health func() string
	// Metrics are added to those the SDK reports itself.
	Metrics func() []*pb.Metric
}

// Driver brings media of one source at a time into the SDK; the SDK calls
// Capture for each stream on a goroutine of its own.
type Driver interface {
	// Capture connects to src, calls run.Open once and run.Write for each
	// access unit, and returns when the connection is lost or ctx ends. The
	// SDK reconnects, buffers, resumes and batches. The error says why it
	// ended: see Fail; any other error, nil too, counts as LOST. A panic is
	// caught and counts as PROTOCOL. Capture must return soon after ctx ends.
	Capture(ctx context.Context, src Source, run *Run) error
}

// DriverFunc lets a function be a Driver.
type DriverFunc func(ctx context.Context, src Source, run *Run) error

// Capture calls f.
func (f DriverFunc) Capture(ctx context.Context, src Source, run *Run) error { return f(ctx, src, run) }

// Source is what to capture. It is a value; its map is never changed.
type Source struct {
	UID         string            // of the stream
	URL         string            // may hold a password: never log it whole
	Settings    map[string]string // driver-KEY settings, without their prefix
	Kinds       []media.Kind      // kinds of track to capture; empty = all
	ReadTimeout time.Duration     // silence that counts as a loss (return Fail(pb.Cause_SILENT, …))
}

// Wants tells whether tracks of kind k are to be captured.
func (s Source) Wants(k media.Kind) bool {
	for _, w := range s.Kinds {
		if w == k {
			return true
		}
	}
	return len(s.Kinds) == 0
}

// MaxSnapshot is the largest picture of a device, bytes.
const MaxSnapshot = 3 << 20

// LeftOut names a track of the device that cannot be stored, and why.
type LeftOut struct{ Name, Reason string }

// ProbeResult is what a device offers.
type ProbeResult struct {
	Tracks  []media.Track
	LeftOut []LeftOut
	Device  string // make, model, firmware as far as known
}

// KeyType is the form of a setting's value.
type KeyType = pb.SettingKey_Type

// Forms of value. Durations and sizes are in ini notation (500ms, 10s; 512M, 10G).
const (
	String   KeyType = pb.SettingKey_STRING
	Bool     KeyType = pb.SettingKey_BOOL
	Int      KeyType = pb.SettingKey_INT
	Duration KeyType = pb.SettingKey_DURATION
	Size     KeyType = pb.SettingKey_SIZE
	Enum     KeyType = pb.SettingKey_ENUM
	Secret   KeyType = pb.SettingKey_SECRET // never shown, never logged
)

// Key declares one setting of the plugin.
type Key struct {
	Name     string
	Type     KeyType
	Default  string
	Help     string   // one sentence
	Allowed  []string // Enum: its values
	Required bool
}
