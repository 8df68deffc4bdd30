package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"

	"media-server/core/fault"
	"media-server/core/process"
)

// spec is a plugin as it should run: plugin.ini, [plugin.NAME] and the files
// they name, checked. problem says why it must not be started.
type spec struct {
	name     string
	dir      string // its folder; empty: endpoint only
	version  string
	pack     string
	kind     string // driver, storage; empty: not known before Info
	schemes  []string
	path     string // absolute, of the executable
	args     []string
	env      []string
	endpoint string // path of a socket; excludes path
	sum      string // SHA-256 of the plugin's own file
	code     string // digest of the files beside a script that have its suffix
	settings map[string]string
	problem  *fault.Problem
	disabled bool
}

// launch is a digest of all that makes a running process outdated.
func (s *spec) launch() string {
	h := sha256.New()
	for _, v := range [][]string{{s.endpoint, s.path, s.sum, s.code}, s.args, s.env} {
		fmt.Fprintf(h, "%q\n", v)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// finder looks through plugin folders. Files are hashed only when name, size,
// time or inode changed, and a folder that is still being copied (different
// from one look to the next) is left for the next look.
type finder struct {
	cache  map[string]*found // by folder
	owners map[string]string // folder by name, as of the last look
}

type found struct {
	stamp, hashed string
	spec          spec
}

// scan returns the plugins of all folders and whether a folder is still
// changing. Of several of one name that of the earliest root wins; within a
// root the one that had the name before, so that a copy dropped beside a
// running plugin does not replace it, else the one whose folder is so named.
func (f *finder) scan(o *Options) (specs []spec, unsettled bool) {
	if f.cache == nil {
		f.cache = map[string]*found{}
	}
	seen, names := map[string]bool{}, map[string]string{}
	owners := map[string]string{}
	for _, root := range o.Dirs {
		entries, err := os.ReadDir(root)
		if err != nil {
			continue // not there yet; a check of the settings says so
		}
		rootProblem := refuseWritable(root)
		var here []spec
		for _, e := range entries {
			dir := filepath.Join(root, e.Name())
			if strings.HasPrefix(e.Name(), ".") || !isDir(dir) {
				continue
			}
			if _, err := os.Stat(filepath.Join(dir, "plugin.ini")); err != nil {
				continue
			}
			seen[dir] = true
			s, whole, changed := f.look(dir)
			unsettled = unsettled || changed
			if whole {
				here = append(here, s)
			}
		}
		slices.SortStableFunc(here, func(a, b spec) int { return f.claim(&a) - f.claim(&b) })
		for _, s := range here {
			s.settle(o.Plugins[s.name], o.Allow)
			if s.problem == nil && rootProblem != nil {
				s.problem = rootProblem
			}
			if first, ok := names[s.name]; ok {
				s.problem = fault.New("plugin "+s.name, fmt.Sprintf("%s holds a second plugin named %s", s.dir, s.name), "the one in "+first+" is used; rename or remove one")
				s.name = s.dir
			} else {
				names[s.name], owners[s.name] = s.dir, s.dir
			}
			specs = append(specs, s)
		}
	}
	f.owners = owners
	for dir := range f.cache {
		if !seen[dir] {
			delete(f.cache, dir)
		}
	}
	return append(specs, endpointOnly(o, names)...), unsettled
}

// look reads a folder if it changed. whole: it has been seen twice alike.
func (f *finder) look(dir string) (s spec, whole, changed bool) {
	stamp := stampOf(dir)
	c := f.cache[dir]
	if c == nil {
		c = &found{}
		f.cache[dir] = c
	}
	if c.stamp != stamp {
		c.stamp, changed = stamp, true
	} else if c.hashed != stamp {
		c.hashed, c.spec = stamp, readSpec(dir)
	}
	return c.spec, c.hashed != "", changed
}

// claim orders folders of one root that hold plugins of one name.
func (f *finder) claim(s *spec) int {
	switch {
	case f.owners[s.name] == s.dir:
		return 0
	case filepath.Base(s.dir) == s.name:
		return 1
	}
	return 2
}

// endpointOnly makes plugins of sections that name an endpoint and have no
// folder.
func endpointOnly(o *Options, names map[string]string) (specs []spec) {
	for name, p := range o.Plugins {
		if _, ok := names[name]; ok || p.Endpoint == "" {
			continue
		}
		s := spec{name: name}
		s.settle(p, o.Allow)
		specs = append(specs, s)
	}
	sort.Slice(specs, func(i, j int) bool { return specs[i].name < specs[j].name })
	return specs
}

// readSpec reads and checks one plugin folder.
func readSpec(dir string) spec {
	file := filepath.Join(dir, "plugin.ini")
	s := spec{name: filepath.Base(dir), dir: dir}
	if s.problem = refuseWritable(dir); s.problem != nil {
		return s
	}
	if s.problem = refuseWritable(file); s.problem != nil {
		return s
	}
	text, err := os.ReadFile(file)
	if err != nil {
		s.problem = fault.New("plugin "+s.name, err.Error(), "")
		return s
	}
	m, err := parseManifest(file, s.name, string(text))
	s.name, s.version, s.pack, s.kind, s.schemes = m.name, m.version, m.pack, m.kind, m.schemes
	if err != nil {
		s.name = filepath.Base(dir)
		ps := fault.Of(err)
		s.problem = &ps[0]
		return s
	}
	s.resolve(m.exec, m.sha256)
	return s
}

// resolve finds the executable and the plugin's own file, and checks both.
func (s *spec) resolve(words []string, sum string) {
	where := "plugin " + s.name
	path, err := lookPath(s.dir, words[0])
	if err != nil {
		s.problem = fault.New(where, fmt.Sprintf("cannot run %q: %v", words[0], err), "exec names a file of the plugin's folder, an absolute path or a program of /usr/bin")
		return
	}
	s.path, s.args = path, slices.Clone(words[1:])
	if s.problem = refuseWritable(path); s.problem != nil {
		return
	}
	own := path
	for _, w := range words {
		p := filepath.Join(s.dir, w)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && filepath.IsLocal(w) {
			own = p
			break
		}
	}
	if s.problem = refuseWritable(own); s.problem != nil {
		return
	}
	if s.sum, err = sumOf(own); err != nil {
		s.problem = fault.New(where, err.Error(), "")
		return
	}
	s.code = codeBeside(own)
	s.checkSum(sum, own)
}

// codeBeside sums up the other files of a plugin that is written in a script
// language, so that a change of any of them starts it again. Files of other
// suffixes are not looked at: a plugin may write some.
func codeBeside(own string) string {
	ext := filepath.Ext(own)
	if ext == "" {
		return ""
	}
	list, _ := filepath.Glob(filepath.Join(filepath.Dir(own), "*"+ext))
	slices.Sort(list)
	h := sha256.New()
	for _, p := range list {
		sum, _ := sumOf(p)
		fmt.Fprintf(h, "%q %s\n", p, sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (s *spec) checkSum(want, own string) {
	if want == "" || s.problem != nil || strings.EqualFold(want, s.sum) {
		return
	}
	s.problem = fault.New("plugin "+s.name, fmt.Sprintf("%s has SHA-256 %s, expected %s", own, s.sum, strings.ToLower(want)), "install the right file, or correct sha256")
}

// settle lays [plugin.NAME] over what the folder says.
func (s *spec) settle(p Plugin, allow []string) {
	where := "plugin " + s.name
	s.settings, s.disabled = p.Settings, p.Disabled
	if len(allow) > 0 && !slices.Contains(allow, s.name) {
		s.disabled = true
		s.problem = fault.New(where, "not in [plugins] allow", "add its name there to let it run")
		return
	}
	if p.Endpoint != "" {
		path, ok := strings.CutPrefix(p.Endpoint, "unix:")
		if s.endpoint = path; !ok || !filepath.IsAbs(path) || len(path) > maxSocketPath {
			s.problem = fault.New(where, fmt.Sprintf("endpoint %q cannot be used", p.Endpoint), "endpoint = unix:/absolute/path, at most 107 bytes")
			return
		}
		s.problem = nil // of an executable that is not used
		return
	}
	if p.Exec != "" {
		words, err := splitWords(p.Exec)
		if err != nil || len(words) == 0 {
			s.problem = fault.New(where, fmt.Sprintf("exec %q cannot be used", p.Exec), "")
			return
		}
		s.problem = nil
		s.resolve(words, "")
	}
	s.checkSum(p.SHA256, s.path)
	s.args = append(slices.Clone(s.args), p.Args...)
	for _, kv := range p.Env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			s.problem = fault.New(where, "env wants NAME=value", "")
			return
		}
	}
	s.env = p.Env
}

// refuseWritable refuses what somebody else could replace with a program of
// theirs: another owner than root and us, or writable by others. A group may
// write if it is our own primary group, which Debian makes private.
func refuseWritable(path string) *fault.Problem {
	st, err := os.Stat(path)
	if err != nil {
		return fault.New(path, err.Error(), "")
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	mode := st.Mode()
	switch {
	case mode&0o002 != 0 && mode&fs.ModeSticky == 0, mode&0o002 != 0 && mode.IsRegular():
		return fault.New(path, fmt.Sprintf("writable by everybody (mode %04o), so it is not run", mode.Perm()), "chmod o-w "+path)
	case mode&0o020 != 0 && int(sys.Gid) != os.Getegid():
		return fault.New(path, fmt.Sprintf("writable by group %d (mode %04o), so it is not run", sys.Gid, mode.Perm()), "chmod g-w "+path)
	case sys.Uid != 0 && int(sys.Uid) != os.Geteuid():
		return fault.New(path, fmt.Sprintf("belongs to user %d, so it is not run", sys.Uid), "chown it to root or to the server's user")
	}
	return nil
}

func lookPath(dir, word string) (string, error) {
	var tries []string
	switch {
	case filepath.IsAbs(word):
		tries = []string{word}
	case strings.Contains(word, "/"):
		if !filepath.IsLocal(word) {
			return "", errors.New("outside the plugin's folder")
		}
		tries = []string{filepath.Join(dir, word)}
	default:
		tries = []string{filepath.Join(dir, word)}
		for _, d := range filepath.SplitList(process.SearchPath) {
			tries = append(tries, filepath.Join(d, word))
		}
	}
	for _, t := range tries {
		st, err := os.Stat(t)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		if st.Mode()&0o111 == 0 {
			if t == tries[0] {
				return "", fmt.Errorf("%s is not executable", t)
			}
			continue
		}
		return filepath.Abs(t)
	}
	return "", errors.New("no such executable")
}

// stampOf sums up names, sizes, times and inodes of the files in a plugin's
// folder, so that a change is seen without reading them.
func stampOf(dir string) string {
	h := sha256.New()
	add := func(p string) {
		st, err := os.Stat(p)
		if err != nil {
			return
		}
		sys, _ := st.Sys().(*syscall.Stat_t)
		fmt.Fprintf(h, "%q %d %d %o %d %d\n", p, st.Size(), st.ModTime().UnixNano(), st.Mode(), sys.Ino, sys.Uid)
	}
	// Of the folder itself only the rights count: its time changes with
	// every cache file a script interpreter drops into it.
	if st, err := os.Stat(dir); err == nil {
		sys, _ := st.Sys().(*syscall.Stat_t)
		fmt.Fprintf(h, "%o %d %d\n", st.Mode(), sys.Ino, sys.Uid)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			add(filepath.Join(dir, e.Name()))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
