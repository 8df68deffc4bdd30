package node

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"media-server/core/config"
	"media-server/core/fault"
	"media-server/core/stream"
)

// StreamSettings is one stream in force.
type StreamSettings struct {
	UID    string
	File   string // path of its file, absolute
	Config stream.Config
	Keys   config.Effective // with the origin of each: file, template, defaults
	Stale  bool             // its file is refused; these are the last good settings
}

var uidPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,35}$`)

// reservedUIDs are the first parts of URLs that are not streams.
var reservedUIDs = []string{"api", "v1", "cpanel", "live", "dvr", "pictures", "metrics", "healthz", "readyz"}

// CheckUID returns what is wrong with a stream's id, or nil.
func CheckUID(uid string) *fault.Problem {
	switch {
	case !uidPattern.MatchString(uid):
		return &fault.Problem{What: fmt.Sprintf("%q cannot be the id of a stream", uid), Hint: "1 to 36 letters, digits, - and _, beginning with a letter or digit"}
	case slices.Contains(reservedUIDs, strings.ToLower(uid)):
		return &fault.Problem{What: fmt.Sprintf("the id %q is reserved", uid), Hint: "reserved are " + strings.Join(reservedUIDs, ", ")}
	}
	return nil
}

// StreamSchema describes every key of a stream file.
func StreamSchema() *config.Section {
	sec := config.NewSection("uid", "One stream. The section's name is the file's name and the stream's id.")
	c := stream.DefaultConfig()
	c.Bind(sec)
	return sec
}

// UnknownDrivers warns of streams that no known driver takes; known are the
// schemes and names of the plugins found. No error: a plugin may come later.
// Where of each is the stream's uid.
func (s *Settings) UnknownDrivers(known []string) fault.Problems {
	var ps fault.Problems
	for _, uid := range s.UIDs() {
		st := s.Streams[uid]
		name, key := st.Config.DriverName(), "stream-url"
		if st.Config.Driver != "" {
			key = "stream-driver"
		}
		if !st.Config.Enable || slices.Contains(known, name) {
			continue
		}
		hint := "install its plugin in [server] plugins-dir"
		if n := config.Nearest(name, known); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		it, _ := st.Keys.Get(uid, key)
		what := fmt.Sprintf("no driver takes %s://", config.Name(name))
		if key == "stream-driver" {
			what = fmt.Sprintf("there is no driver %q", config.Name(name))
		}
		p := fault.Problem{Level: fault.Warning, Key: key, What: what, Hint: hint}.At(it.Origin.File, it.Origin.Line, it.Origin.Col)
		p.Where = uid
		ps.Add(p)
	}
	return ps
}

// subs warns of sub-streams that are not there, or are the stream itself.
func (s *Settings) subs() fault.Problems {
	var ps fault.Problems
	for _, uid := range s.UIDs() {
		st := s.Streams[uid]
		sub := st.Config.Sub
		if sub == "" || sub != uid && s.Streams[sub] != nil {
			continue
		}
		p := fault.Problem{Level: fault.Warning, Key: "stream-sub", What: fmt.Sprintf("there is no stream %q", sub), Hint: "write its file, or take stream-sub out"}
		if sub == uid {
			p.What, p.Hint = "stream-sub names the stream itself", "name the camera's smaller stream"
		} else if n := config.Nearest(sub, s.UIDs()); n != "" {
			p.Hint = fmt.Sprintf("did you mean %q?", n)
		}
		it, _ := st.Keys.Get(uid, "stream-sub")
		ps.Add(p.At(it.Origin.File, it.Origin.Line, it.Origin.Col))
	}
	return ps
}

// streamLoader reads the streams' folder once.
type streamLoader struct {
	env   *config.Env
	s     *Settings
	prev  *Settings // may be nil
	dir   string
	known map[string]string // lower-case uid → uid, to tell ids apart that differ in case only
}

func (s *Settings) loadStreams(env *config.Env, prev *Settings) {
	l := &streamLoader{env: env, s: s, prev: prev, dir: s.Server.StreamsDir, known: map[string]string{}}
	s.Streams, s.Refused, s.layers = map[string]*StreamSettings{}, map[string]fault.Problems{}, map[string]*config.File{}
	names, err := env.Source.ReadDir(l.dir)
	if err != nil {
		// No folder is no order to stop everything: an unmounted disk looks so.
		s.problems.Add(fault.Problem{File: shown(l.dir), What: "the streams' folder cannot be read: " + err.Error(), Hint: "make it, or set [server] streams-dir", Key: "streams-dir", Err: err})
		if prev != nil {
			s.Streams, s.layers = prev.Streams, prev.layers
		}
		return
	}
	var uids []string
	for _, name := range names {
		base, ok := strings.CutSuffix(name, ".ini")
		s.listed = s.listed || ok // an empty folder may be where a disk is to be mounted
		switch {
		case !ok:
		case strings.HasPrefix(base, "_"):
			l.layer(name)
		default:
			uids = append(uids, base)
		}
	}
	// Of two ids that differ in case only, the one that runs already stays.
	slices.SortStableFunc(uids, func(a, b string) int { return l.rank(a) - l.rank(b) })
	for _, uid := range uids {
		l.stream(uid)
	}
}

func (l *streamLoader) rank(uid string) int {
	if l.prev != nil && l.prev.Streams[uid] != nil {
		return 0
	}
	return 1
}

// layer reads a defaults or template file. A refused one leaves its last good
// text in force, so that no stream notices.
func (l *streamLoader) layer(name string) {
	f, ps := config.Read(l.env.Source, filepath.Join(l.dir, name), shown(filepath.Join(l.dir, name)))
	want := "defaults"
	if base := strings.TrimSuffix(name[1:], ".ini"); base != "defaults" && !strings.HasPrefix(base, "defaults.") {
		want = base
	}
	for _, b := range f.Blocks {
		if b.Name != want && b.Name != "defaults" {
			ps.Add(fault.Problem{What: fmt.Sprintf("section [%s] in %s", config.Name(b.Name), name), Hint: fmt.Sprintf("this file holds one section, [%s]", want)}.At(f.Path, b.Line, b.Col))
			continue
		}
		c := stream.DefaultConfig()
		sec := config.NewSection(b.Name, "")
		c.Bind(sec)
		_, more := sec.Load(l.env, config.Layer{File: f, Block: b})
		ps = append(ps, more...)
		if e := b.Entry("stream-template"); e != nil && want != "defaults" {
			ps.Add(fault.Problem{What: "a template cannot take another", Hint: "set stream-template in stream files or defaults", Key: e.Key}.At(f.Path, e.Line, e.Col))
		}
	}
	if len(f.Blocks) > 1 {
		b := f.Blocks[1]
		ps.Add(fault.Problem{What: "a second section", Hint: fmt.Sprintf("this file holds one section, [%s]", want)}.At(f.Path, b.Line, b.Col))
	}
	if ps.HasErrors() {
		f = nil
		if l.prev != nil {
			f = l.prev.layers[name]
		}
	}
	// A nil entry: the file is there but has never been good.
	l.s.layers[name] = f
	l.s.problems = append(l.s.problems, ps...)
}

// stream reads one stream file.
func (l *streamLoader) stream(uid string) {
	path := filepath.Join(l.dir, uid+".ini")
	next, ps := l.read(uid, path)
	l.s.problems = append(l.s.problems, ps...)
	if ps.HasErrors() {
		l.s.Refused[uid] = ps
		if l.prev == nil || l.prev.Streams[uid] == nil {
			return
		}
		last := *l.prev.Streams[uid]
		last.Stale = true
		next = &last
	}
	if next != nil {
		l.s.Streams[uid] = next
	}
	l.known[strings.ToLower(uid)] = uid
}

// read returns the settings of a stream, or its problems; a warning alone for
// a file that is empty and was never anything else.
func (l *streamLoader) read(uid, path string) (*StreamSettings, fault.Problems) {
	if p := CheckUID(uid); p != nil {
		p.File = shown(path)
		p.Hint += "; rename the file"
		return nil, fault.Problems{*p}
	}
	if other := l.known[strings.ToLower(uid)]; other != "" {
		return nil, fault.Problems{{File: shown(path), What: fmt.Sprintf("the ids %q and %q differ in upper and lower case only", uid, other), Hint: "rename one of the files"}}
	}
	f, ps := config.Read(l.env.Source, path, shown(path))
	if len(f.Blocks) == 0 && !ps.HasErrors() {
		if l.prev != nil && l.prev.Streams[uid] != nil {
			// A full disk leaves such files; only a removed one ends a stream.
			return nil, fault.Problems{{File: f.Path, What: "the file is empty; stream " + uid + " goes on as it was", Hint: "write [" + uid + "] and its keys, or remove the file"}}
		}
		return nil, fault.Problems{{Level: fault.Warning, File: f.Path, What: "the file is empty; there is no stream " + uid, Hint: "write [" + uid + "] and its keys, or remove the file"}}
	}
	for _, b := range f.Blocks {
		if b.Name != uid {
			ps.Add(fault.Problem{What: fmt.Sprintf("section [%s] in the file of stream %q", config.Name(b.Name), uid), Hint: fmt.Sprintf("the file holds one section, [%s]; a stream's id is its file's name", uid)}.At(f.Path, b.Line, b.Col))
		}
	}
	block := f.Block(uid)
	if block == nil {
		return nil, ps
	}
	layers, more := l.layersFor(f, block)
	ps = append(ps, more...)
	out := &StreamSettings{UID: uid, File: path, Config: stream.DefaultConfig()}
	sec := config.NewSection(uid, "")
	out.Config.Bind(sec)
	keys, more := sec.Load(l.env, append(layers, config.Layer{File: f, Block: block})...)
	out.Keys = keys
	for _, p := range more {
		// A warning about a defaults file was given with that file.
		if p.Level == fault.Error || p.File == f.Path {
			ps = append(ps, p)
		}
	}
	if ps.HasErrors() {
		return nil, ps
	}
	check := out.Config.Validate(uid)
	if archived := out.Config.Foreign.Archive; archived != "" && out.Config.Foreign.On && out.Config.DVR.Enable && l.s.usable {
		named := ""
		if it, ok := keys.Get(uid, "dvr-pool"); ok && it.Origin.File != "" {
			named = out.Config.DVR.Pool
		}
		if pool, p := l.poolAt(uid, archived, named); p != nil {
			check.Add(*p)
		} else {
			out.Config.DVR.Pool = pool
			if it, ok := keys.Get(uid, "dvr-archive"); ok {
				keys.Put(uid, "dvr-pool", pool, it.Origin) // a change of it is one of the stream
			}
		}
	}
	// While media-server.ini is refused its pools may be incomplete.
	if _, ok := l.s.Archive.Pool(out.Config.DVR.Pool); !ok && out.Config.DVR.Enable && l.s.usable {
		check.Add(l.noPool(uid, out.Config.DVR.Pool))
	} else if ok && out.Config.DVR.Enable && l.s.usable {
		check = append(check, l.s.noAppend(uid, out.Config.DVR.Pool)...)
	}
	for i := range check {
		check[i].File = "" // Locate fills it in where the key was set
	}
	check = keys.Locate(check)
	for i, p := range check {
		if p.File == "" {
			check[i].File, check[i].Line, check[i].Col = f.Path, block.Line, block.Col
		}
	}
	ps = append(ps, check...)
	if l.s.drivers != nil && !ps.HasErrors() {
		ps = append(ps, l.s.drivers(out)...)
	}
	return out, ps
}

// poolAt finds the pool that records into the space in which a folder lies: the one that is
// named, which has to be one of them, or else the first.
func (l *streamLoader) poolAt(uid, folder, named string) (string, *fault.Problem) {
	space, longest := "", -1
	var paths []string
	for _, sp := range l.s.Archive.Spaces {
		if sp.Path == "" {
			continue
		}
		paths = append(paths, sp.Path)
		if rest, err := filepath.Rel(sp.Path, folder); err == nil && filepath.IsLocal(rest) && len(sp.Path) > longest {
			space, longest = sp.Name, len(sp.Path)
		}
	}
	if space == "" {
		return "", &fault.Problem{Where: uid, Key: "dvr-archive", What: fmt.Sprintf("%s lies in no space", folder), Hint: "paths of spaces: " + strings.Join(paths, ", ") + "; or write dvr-pool in its place"}
	}
	first := ""
	for _, p := range l.s.Archive.Pools {
		if !slices.Contains(p.Spaces, space) {
			continue
		}
		if p.Name == named {
			return named, nil
		}
		if first == "" {
			first = p.Name
		}
	}
	if named != "" {
		return "", &fault.Problem{Where: uid, Key: "dvr-archive", What: fmt.Sprintf("%s lies in space %s, which dvr-pool = %s does not record into", folder, space, config.Name(named)), Hint: "remove one of the two"}
	}
	if first == "" {
		return "", &fault.Problem{Where: uid, Key: "dvr-archive", What: fmt.Sprintf("%s lies in space %s, which no pool records into", folder, space), Hint: "name the space in a pool, or write dvr-pool in place of dvr-archive"}
	}
	return first, nil
}

func (l *streamLoader) noPool(uid, pool string) fault.Problem {
	var names []string
	for _, p := range l.s.Archive.Pools {
		names = append(names, p.Name)
	}
	hint := "pools: " + strings.Join(names, ", ")
	if n := config.Nearest(pool, names); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	return fault.Problem{Where: uid, Key: "dvr-pool", What: fmt.Sprintf("there is no pool %q", config.Name(pool)), Hint: hint}
}

// layersFor finds what lies under a stream file: _defaults.ini, then
// _defaults.<application>.ini, then _<template>.ini.
func (l *streamLoader) layersFor(f *config.File, block *config.Block) (layers []config.Layer, ps fault.Problems) {
	var common, byApplication, template *config.Layer
	add := func(name string) *config.Layer {
		file, there := l.s.layers[name]
		if there && file == nil {
			ps.Add(fault.Problem{What: fmt.Sprintf("%s applies to [%s] and is refused", name, block.Name), Hint: "its problems are listed apart"}.At(f.Path, block.Line, block.Col))
		}
		if file == nil || len(file.Blocks) == 0 {
			return nil
		}
		return &config.Layer{File: file, Block: file.Blocks[0]}
	}
	common = add("_defaults.ini")
	lookup := func(key string, from ...*config.Layer) *config.Entry {
		for _, layer := range append([]*config.Layer{{File: f, Block: block}}, from...) {
			if layer != nil {
				if e := layer.Block.Entry(key); e != nil {
					return e
				}
			}
		}
		return nil
	}
	application := stream.DefaultConfig().Application
	if e := lookup("application", common); e != nil {
		application = e.Value
	}
	byApplication = add("_defaults." + application + ".ini")
	if e := lookup("stream-template", byApplication, common); e != nil && e.Value != "" {
		name := "_" + e.Value + ".ini"
		if _, there := l.s.layers[name]; !there {
			ps.Add(fault.Problem{Key: e.Key, What: fmt.Sprintf("there is no template %q", config.Name(e.Value)), Hint: l.templateHint(e.Value)}.At(f.Path, block.Line, block.Col))
		}
		template = add(name)
	}
	for _, layer := range []*config.Layer{common, byApplication, template} {
		if layer != nil {
			layers = append(layers, *layer)
		}
	}
	return layers, ps
}

func (l *streamLoader) templateHint(name string) string {
	var have []string
	for file := range maps.Keys(l.s.layers) {
		if base := strings.TrimSuffix(file[1:], ".ini"); base != "defaults" && !strings.HasPrefix(base, "defaults.") {
			have = append(have, base)
		}
	}
	if n := config.Nearest(name, have); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "make _" + config.Name(name) + ".ini in the streams' folder"
}
