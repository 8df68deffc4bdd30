package stream

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/schedule"
)

// Config is one stream file, its defaults and template included.
type Config struct {
	Name        string         // title; empty = the uid
	Enable      bool           // false = nothing is captured; footage stays
	OnDemand    bool           // captured only while somebody watches; Enable is true as well
	URL         string         // source; its scheme picks the driver
	Sub         string         // uid of the same camera's smaller stream; empty = none
	Driver      string         // forces a driver; empty = by scheme
	Application string         // group of streams; live
	Template    string         // _<template>.ini lies between defaults and file
	Tracks      []string       // video, audio, data
	Proto       []string       // protocols viewers may use
	Access      string         // public, protected or private
	Whitelist   []netip.Prefix // whom a protected one is for
	Limit       int            // most viewers at once; 0 = as many as the server takes
	Labels      []string       // free words for search and scripts

	ReconnectTimeout  time.Duration // first wait after a loss; 1s
	ReconnectInterval time.Duration // longest wait; 30s
	ReconnectNumbers  int           // tries; 0 = for ever
	ReadTimeout       time.Duration // silence that counts as a loss; 5s

	DVR DVRConfig

	DriverKeys map[string]string // driver-KEY without the prefix

	Foreign Foreign
}

// DVRConfig is what a stream file says about recording.
type DVRConfig struct {
	Enable   bool
	Pool     string        // default
	Duration time.Duration // longest kept; 10d; 0 = as the pool says
	Keep     time.Duration // promised minimum; 0 = none
	Capacity int64         // most bytes; 0 = no limit
	Chunk    time.Duration // length of a media file; 2m
	Mode     string        // continuous, event or schedule
	Schedule string        // with schedule: weekly ranges
	Pre      time.Duration // kept before an event; 10s
	Post     time.Duration // kept behind it; 20s
}

// Access of a stream.
const (
	AccessPublic    = "public"    // anyone plays
	AccessProtected = "protected" // listed addresses play, and whoever may play what is private
	AccessPrivate   = "private"   // a login, an API token or a play token plays
)

// DefaultConfig is what holds where neither defaults, template nor file say
// anything.
func DefaultConfig() Config {
	return Config{
		Enable: true, Application: "live", Access: AccessPublic,
		Tracks: []string{"video", "audio", "data"}, Proto: []string{"hls", "mp4", "rtsp", "webrtc"},
		ReconnectTimeout: time.Second, ReconnectInterval: 30 * time.Second, ReadTimeout: 5 * time.Second,
		DVR: DVRConfig{Enable: true, Pool: archive.DefaultPool, Duration: 10 * 24 * time.Hour, Chunk: 2 * time.Minute, Mode: "continuous", Pre: 10 * time.Second, Post: 20 * time.Second},
	}
}

// clusterOff is why the keys of the cluster have no effect. They are accepted,
// so that a file can be made ready before its node joins one.
const clusterOff = "the cluster is off; this node captures the stream"

// Bind declares the keys of a stream file.
func (c *Config) Bind(s *config.Section) {
	s.String("stream-name", &c.Name, "Title shown to people. Empty = the uid.")
	s.Bool("stream-enable", &c.Enable, "Capture the stream. false stops the capture; footage stays and ages by its rules. on-demand captures, and records, only while somebody watches: it begins with the first viewer and ends half a minute behind the last.").Or("on-demand", &c.OnDemand).RestartStream()
	s.String("stream-url", &c.URL, "Source. The scheme picks the driver: rtsp, rtsps, sim or that of an installed plugin. Passwords stand as they are, # and ; included.").RestartStream().Check(checkURL)
	s.String("stream-driver", &c.Driver, "Driver to use whatever the scheme says.").RestartStream().Check(checkWord)
	s.String("stream-sub", &c.Sub, "The uid of a second, smaller stream of the same camera, with a file of its own. HLS offers both under this stream's address, and players take the one that their line carries; who may play this one may play that there.").Check(checkWord)
	s.String("stream-template", &c.Template, "Takes the keys of _<template>.ini, above the defaults and below this file.").Check(checkWord)
	s.String("application", &c.Application, "Group of streams; the keys of _defaults.<application>.ini apply to it.").Needed().Check(checkWord)
	s.Words("stream-tracks", &c.Tracks, []string{"video", "audio", "data"}, "Channels to capture.").RestartStream().Needed().Alias("application", "data", func(words []string) { c.Foreign.tracks = words })
	s.Words("stream-proto", &c.Proto, []string{"hls", "mp4", "rtsp", "webrtc"}, "Protocols viewers may use; rtsp where [rtsp] is on.").Alias("mse", "hls", func(words []string) { c.Foreign.proto = words })
	s.Enum("stream-access", &c.Access, []string{AccessPublic, AccessProtected, AccessPrivate}, "Who plays: public = anyone; protected = the addresses in stream-whitelist, and who may play what is private; private = who is logged in, has an API token, or a play token for it.")
	s.Networks("stream-whitelist", &c.Whitelist, "Addresses and networks that play a protected stream: 10.0.0.0/8, 192.168.7.20, 2001:db8::/32. Behind a proxy they count only if [http] trusted-proxies names it.")
	s.Int("stream-limit", &c.Limit, 0, 1_000_000, "Most viewers of the stream at once. 0 = as many as the server takes ([limits] viewers).")
	s.Duration("reconnect-timeout", &c.ReconnectTimeout, 10*time.Millisecond, time.Hour, "First wait before a lost source is tried again; it then grows.").RestartStream()
	s.Duration("reconnect-interval", &c.ReconnectInterval, 10*time.Millisecond, 24*time.Hour, "Longest wait between two tries.").RestartStream()
	s.Int("reconnect-numbers", &c.ReconnectNumbers, 0, math.MaxInt32, "Tries before giving up. 0 = for ever.").RestartStream()
	s.Duration("read-timeout", &c.ReadTimeout, 500*time.Millisecond, time.Hour, "Silence after which the connection counts as dead. Longer than the pause between two pictures.").RestartStream()
	s.Bool("dvr-enable", &c.DVR.Enable, "Record the stream. false = live only.")
	s.String("dvr-pool", &c.DVR.Pool, "Pool of media-server.ini that takes the footage.").Needed()
	s.Duration("dvr-duration", &c.DVR.Duration, 0, 0, "Longest time footage is kept. 0 = as its pool says.")
	s.Duration("dvr-keep", &c.DVR.Keep, 0, 0, "Time footage is promised to be kept: an alarm comes before it goes earlier. 0 = no promise.")
	s.Bytes("dvr-capacity", &c.DVR.Capacity, 0, "Most bytes of footage; the oldest goes. 0 = no limit.")
	s.Duration("dvr-chunk", &c.DVR.Chunk, time.Second, time.Hour, "Length of a media file; a file ends at the next key frame. Longer = fewer files.")
	s.Enum("dvr-mode", &c.DVR.Mode, []string{"continuous", "event", "schedule"}, "When to record: continuous = always; event = around events (motion and inputs that the camera reports, POST streams/UID/event); schedule = as dvr-schedule says.")
	s.String("dvr-schedule", &c.DVR.Schedule, "Weekly ranges, separated by semicolons, each of days, a time and a mode, by the clock of [server] time-zone: mon-fri 08:00-18:00 continuous; sat,sun event. Where ranges overlap the later one counts; the rest is off. Times without recording are no gaps that anybody has to mend.").Check(checkSchedule)
	s.Duration("dvr-pre", &c.DVR.Pre, 0, 5*time.Minute, "Kept before an event: at least so much, back to a key frame. It waits in memory; of what lies further back than half of [plugins] buffer a killed server loses some.")
	s.Duration("dvr-post", &c.DVR.Post, 0, time.Hour, "Kept behind an event, to the end of the group of pictures.")
	s.List("labels", &c.Labels, "Free words, by comma, for search.")
	s.Later("backfill")
	c.Foreign.bind(s)
	s.Warned(clusterOff, "primary-node", "secondary-node", "standby")
	s.Rest(config.Rest{Prefix: "driver-", Doc: "The driver's own keys.", Effect: config.RestartStream, Into: &c.DriverKeys})
}

// Validate lists what the keys say together that cannot be. Problems name their
// key; where is the section, as config.Effective.Locate wants it.
func (c *Config) Validate(where string) fault.Problems {
	var ps fault.Problems
	if c.URL == "" && c.Enable {
		ps.Add(fault.Problem{Where: where, Key: "stream-url", What: "stream-url is missing", Hint: "write for example stream-url = rtsp://user:password@10.0.0.7/main"})
	}
	if c.DVR.Duration > 0 && c.DVR.Keep > c.DVR.Duration {
		ps.Add(fault.Problem{Where: where, Key: "dvr-keep", What: fmt.Sprintf("dvr-keep = %s is longer than dvr-duration = %s", config.FormatDuration(c.DVR.Keep), config.FormatDuration(c.DVR.Duration)), Hint: "raise dvr-duration or lower dvr-keep"})
	}
	if c.DVR.Mode == "schedule" && c.DVR.Schedule == "" {
		ps.Add(fault.Problem{Where: where, Key: "dvr-mode", What: "dvr-mode = schedule without a dvr-schedule", Hint: "write for example dvr-schedule = mon-fri 08:00-18:00 continuous; sat,sun event"})
	}
	if c.Access == AccessProtected && len(c.Whitelist) == 0 {
		ps.Add(fault.Problem{Where: where, Key: "stream-access", What: "stream-access = protected without a stream-whitelist", Hint: "write for example stream-whitelist = 10.0.0.0/8, or stream-access = private"})
	}
	if c.ReconnectTimeout > c.ReconnectInterval {
		ps.Add(fault.Problem{Where: where, Key: "reconnect-interval", What: fmt.Sprintf("the first wait, reconnect-timeout = %s, is longer than the longest, reconnect-interval = %s", config.FormatDuration(c.ReconnectTimeout), config.FormatDuration(c.ReconnectInterval)), Hint: "raise reconnect-interval"})
	}
	return append(ps, c.Foreign.validate(where)...)
}

// Title is what people see: the name, or the uid.
func (c *Config) Title(uid string) string {
	if c.Name != "" {
		return c.Name
	}
	return uid
}

// DriverName is what to ask the plugin host for: the forced driver, or the
// scheme of the URL.
func (c *Config) DriverName() string {
	if c.Driver != "" {
		return c.Driver
	}
	scheme, _, _ := strings.Cut(c.URL, "://")
	return strings.ToLower(scheme)
}

// Subscription is what the driver is asked for. Two configs with equal
// subscriptions capture the same.
func (c *Config) Subscription(uid string) Subscription {
	return Subscription{
		UID: uid, URL: c.URL, Settings: maps.Clone(c.DriverKeys), Kinds: c.Kinds(),
		ReconnectFirst: c.ReconnectTimeout, ReconnectMax: c.ReconnectInterval,
		ReconnectNumbers: c.ReconnectNumbers, ReadTimeout: c.ReadTimeout,
	}
}

// Kinds are the kinds of track to capture; empty = all.
func (c *Config) Kinds() []media.Kind {
	var kinds []media.Kind
	for _, k := range []media.Kind{media.Video, media.Audio, media.Data} {
		if slices.Contains(c.Tracks, k.String()) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 3 {
		return nil
	}
	return kinds
}

// Rules are what the archive is told about keeping the footage.
func (c *Config) Rules() archive.Rules {
	return archive.Rules{
		Pool: c.DVR.Pool, Duration: c.DVR.Duration, Keep: c.DVR.Keep,
		Capacity: c.DVR.Capacity, Chunk: c.DVR.Chunk,
	}
}

// Modes are when the stream is recorded, times of the schedule by zone.
func (c *Config) Modes(zone *time.Location) Modes {
	m := Modes{Zone: zone, Pre: c.DVR.Pre, Post: c.DVR.Post}
	switch c.DVR.Mode {
	case "event":
		w := schedule.Always(schedule.Event)
		m.Week = &w
	case "schedule":
		if w, err := schedule.Parse(c.DVR.Schedule); err == nil { // checked when it was read
			m.Week = &w
		}
	}
	return m
}

func checkSchedule(text string) (what, hint string) {
	if text == "" {
		return "", ""
	}
	_, err := schedule.Parse(text)
	var e *schedule.SyntaxError
	if errors.As(err, &e) {
		return fmt.Sprintf("%s (at character %d of the schedule)", e.What, e.At+1), e.Hint
	}
	return "", ""
}

var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// checkURL looks only at what holds for every driver, and never parses the rest
// as a URL: camera passwords with # or / in them are no valid ones.
func checkURL(text string) (what, hint string) {
	if text == "" {
		return "", "" // Validate tells; a template may leave it to the files
	}
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case !ok:
		return "not a URL", "write scheme://host/path, for example rtsp://user:password@10.0.0.7/main"
	case !schemePattern.MatchString(scheme):
		return fmt.Sprintf("%q cannot be a scheme", scheme), "write for example rtsp://"
	case strings.ContainsAny(text, " \t"):
		return "there is a blank in it", "write %20 for a blank"
	case rest == "" && !strings.EqualFold(scheme, "sim"):
		return "the host is missing", "write " + scheme + "://host/path"
	}
	return "", ""
}

var wordPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

func checkWord(text string) (what, hint string) {
	if text == "" || wordPattern.MatchString(text) {
		return "", ""
	}
	return "not a name", "letters, digits, - and _"
}
