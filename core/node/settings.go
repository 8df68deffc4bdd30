package node

import (
	"maps"
	"path/filepath"
	"slices"

	"media-server/core/access"
	"media-server/core/archive"
	"media-server/core/backup"
	"media-server/core/config"
	"media-server/core/export/jobs"
	"media-server/core/fault"
	"media-server/core/keys"
	"media-server/core/pluginhost"
	"media-server/core/rtsp"
	"media-server/core/urls"
	"media-server/core/web"
	"media-server/core/webrtc"
)

// Settings is everything the files say: media-server.ini, conf.d/*.ini beside
// it, and the streams' folder. It is immutable after Load and may be shared.
//
//	media-server.ini ┐
//	conf.d/*.ini     ┴▶ Server, Log, Web, Access, Archive, Plugins, Addresses
//	streams-dir/_defaults.ini, _defaults.<application>.ini, _<template>.ini, <uid>.ini ─▶ Streams
//
// What is refused keeps the last good settings of the Settings it follows: the
// server's keys as a whole, each stream for itself, each defaults file for itself.
type Settings struct {
	Path string // of media-server.ini, absolute

	Server  ServerConfig
	Log     LogConfig
	Web     web.Config
	RTSP    rtsp.Config
	WebRTC  webrtc.Config
	Access  access.Config
	Archive archive.Config
	Plugins pluginhost.Config
	Signing keys.Config
	Backup  backup.Config
	Export  jobs.Config

	Addresses urls.Config // the map of addresses

	Keys    config.Effective           // the server's keys in force
	Streams map[string]*StreamSettings // in force, by uid
	Refused map[string]fault.Problems  // uids whose file is refused and why; one may still run on its last good settings

	listed    bool            // the streams' folder could be read
	wholeOnly map[string]bool // spaces whose files do not grow, as their drivers say

	problems fault.Problems
	usable   bool
	layers   map[string]*config.File // last good defaults and templates, by file name

	drivers func(*StreamSettings) fault.Problems // what a stream's running driver says; may be nil
}

// Load reads everything from the disk. The Settings are never nil; see Usable.
func Load(path string) (*Settings, fault.Problems) {
	return LoadFrom(config.Disk{}, path, nil)
}

// LoadFrom reads everything through source, after prev, which may be nil.
func LoadFrom(source config.Source, path string, prev *Settings) (*Settings, fault.Problems) {
	return load(source, path, prev, nil)
}

func load(source config.Source, path string, prev *Settings, drivers func(*StreamSettings) fault.Problems) (*Settings, fault.Problems) {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	env := &config.Env{Base: filepath.Dir(path), Source: source}
	s := newSettings(path)
	s.drivers = drivers
	s.loadServer(env)
	if !s.usable {
		problems := s.problems
		if prev == nil || !prev.usable {
			// Nothing will run, but `check` lists every problem at once.
			if s.Keys != nil && filepath.IsAbs(s.Server.StreamsDir) {
				s.loadStreams(env, nil)
				s.Streams = nil
			}
			s.problems.Sort()
			return s, s.problems
		}
		kept := *prev
		s = &kept
		s.problems, s.drivers = problems, drivers
	}
	s.loadStreams(env, prev)
	s.problems = append(s.problems, s.neverGroomed()...)
	s.problems = append(s.problems, s.subs()...)
	s.drivers = nil
	s.problems.Sort()
	return s, s.problems
}

// Next reads everything again through source; what is refused stays as it is
// in s. drivers, which may be nil, says what a stream's driver finds wrong.
func (s *Settings) Next(source config.Source, drivers func(*StreamSettings) fault.Problems) (*Settings, fault.Problems) {
	return load(source, s.Path, s, drivers)
}

// Usable tells whether there are settings for the server at all: false only if
// media-server.ini is refused at the first load. Refused streams do not count:
// the others must run.
func (s *Settings) Usable() bool { return s.usable }

// Problems is everything wrong with the files, sorted.
func (s *Settings) Problems() fault.Problems { return slices.Clone(s.problems) }

// UIDs lists the streams in force, sorted.
func (s *Settings) UIDs() []string { return slices.Sorted(maps.Keys(s.Streams)) }

func newSettings(path string) *Settings {
	return &Settings{
		Path:   path,
		Server: defaultServer(), Log: defaultLog(), Web: web.DefaultConfig(), RTSP: rtsp.DefaultConfig(), WebRTC: webrtc.DefaultConfig(), Access: access.DefaultConfig(),
		Archive: archive.DefaultConfig(), Plugins: pluginhost.DefaultConfig(), Backup: backup.DefaultConfig(), Export: jobs.DefaultConfig(),
	}
}

// bind declares every section of media-server.ini, in the order of the shipped
// file.
func (s *Settings) bind() *config.Set {
	set := config.NewSet()
	s.Server.bind(set)
	s.Log.bind(set)
	s.Web.Bind(set)
	s.RTSP.Bind(set)
	s.WebRTC.Bind(set)
	s.Access.Bind(set)
	s.Archive.Bind(set)
	s.Plugins.Bind(set)
	s.Signing.Bind(set)
	s.Backup.Bind(set)
	s.Export.Bind(set)
	s.Addresses.Bind(set)
	set.Later("cluster", "lua", "lua.*")
	return set
}

// Schema describes every key of media-server.ini.
func Schema() []*config.Section { return newSettings("").bind().Describe() }

// loadServer reads media-server.ini and conf.d/*.ini.
func (s *Settings) loadServer(env *config.Env) {
	paths := []string{s.Path}
	confD := filepath.Join(env.Base, "conf.d")
	// A folder that is not there is the normal case; asking makes it watched.
	names, _ := env.Source.ReadDir(confD)
	for _, name := range names {
		if filepath.Ext(name) == ".ini" {
			paths = append(paths, filepath.Join(confD, name))
		}
	}
	var files []*config.File
	for _, path := range paths {
		f, ps := config.Read(env.Source, path, shown(path))
		files = append(files, f)
		s.problems = append(s.problems, ps...)
	}
	if s.problems.HasErrors() && len(files[0].Blocks) == 0 {
		return // unreadable: defaults would only add confusing problems
	}
	keys, ps := s.bind().Load(env, files...)
	s.Keys = keys
	s.problems = append(s.problems, ps...)
	s.Archive.Complete(s.Server.DataDir)
	s.Addresses.Complete()
	mapped := func() fault.Problems { return s.Addresses.Validate(s.services()) }
	for _, check := range []func() fault.Problems{s.Server.Validate, s.Web.Validate, s.RTSP.Validate, s.Archive.Validate, s.Plugins.Validate, mapped} {
		s.problems = append(s.problems, keys.Locate(check())...)
	}
	s.readDrivers()
	s.problems = append(s.problems, keys.Locate(s.checkAppend())...)
	s.usable = !s.problems.HasErrors()
}
