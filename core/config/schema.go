package config

import (
	"fmt"
	"slices"
	"strings"
)

// Effect says what a changed value costs.
type Effect uint8

const (
	// Live: takes effect at once and disturbs nothing. The default.
	Live Effect = iota
	// RestartStream: the capture of the stream begins anew.
	RestartStream
	// RestartServer: stands as pending until the server is started again.
	RestartServer
)

// String returns "live", "restart-stream" or "restart-server".
func (e Effect) String() string {
	return [...]string{"live", "restart-stream", "restart-server"}[e]
}

// MarshalText makes JSON use the same words.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// NotYet is what a key, section or word says that is part of the interface but
// not built.
const NotYet = "not in this version"

// Section describes the keys of one [section] and where their values go. It is
// built by a room, used for one load, and not safe for concurrent use.
type Section struct {
	Name string
	Doc  string
	Keys []*Key

	later  map[string]bool   // keys refused by name
	warned map[string]string // keys accepted without effect, and why
	rest   *Rest
}

// NewSection returns a section without keys.
func NewSection(name, doc string) *Section {
	return &Section{Name: name, Doc: doc, later: map[string]bool{}, warned: map[string]string{}}
}

// Rest takes keys the schema does not name: those a driver or plugin defines.
type Rest struct {
	Prefix string // only keys beginning so; cut off before Into
	Doc    string
	Effect Effect
	Into   *map[string]string
}

// Rest lets keys through that the section does not name. A key that is nearly
// one of the named keys is refused all the same: it is a slip of the pen.
func (s *Section) Rest(r Rest) { s.rest = &r }

// Later names keys that are part of the interface but not built.
func (s *Section) Later(keys ...string) {
	for _, k := range keys {
		s.later[k] = true
	}
}

// Warned accepts a key that has no effect, with a warning that says why.
func (s *Section) Warned(why string, keys ...string) {
	for _, k := range keys {
		s.warned[k] = why
	}
}

// Key returns the named key, or nil.
func (s *Section) Key(name string) *Key {
	if i := slices.IndexFunc(s.Keys, func(k *Key) bool { return k.Name == name }); i >= 0 {
		return s.Keys[i]
	}
	return nil
}

func (s *Section) names() []string {
	var names []string
	for _, k := range s.Keys {
		names = append(names, k.Name)
	}
	for k := range s.later {
		names = append(names, k)
	}
	for k := range s.warned {
		names = append(names, k)
	}
	return names
}

func (s *Section) add(k *Key) *Key {
	if s.Key(k.Name) != nil {
		panic(fmt.Sprintf("config: key %s bound twice in [%s]", k.Name, s.Name))
	}
	s.Keys = append(s.Keys, k)
	return k
}

// Set is all the sections of one kind of file, or set of files.
type Set struct {
	sections []*Section
	named    []namedKind
	later    map[string]bool
}

type namedKind struct {
	kind, doc string
	bind      func(*Section)
}

// NewSet returns an empty set.
func NewSet() *Set { return &Set{later: map[string]bool{}} }

// Section returns the section of that name, made when it is not there yet: two
// rooms may each bind keys of their own in one section.
func (s *Set) Section(name, doc string) *Section {
	for _, sec := range s.sections {
		if sec.Name == name {
			return sec
		}
	}
	sec := NewSection(name, doc)
	s.sections = append(s.sections, sec)
	return sec
}

// Named accepts any number of sections [kind.NAME]; bind is called for each and
// binds its keys.
func (s *Set) Named(kind, doc string, bind func(name string, sec *Section)) {
	s.named = append(s.named, namedKind{kind, doc, func(sec *Section) {
		bind(strings.TrimPrefix(sec.Name, kind+"."), sec)
	}})
}

// Later names sections that are part of the interface but not built; "kind.*"
// stands for [kind.NAME].
func (s *Set) Later(sections ...string) {
	for _, n := range sections {
		s.later[n] = true
	}
}

// Describe lists every section, the named ones bound under the name "NAME". Use
// it on a Set made for the purpose: binding may add an item to a Config.
func (s *Set) Describe() []*Section {
	list := slices.Clone(s.sections)
	for _, n := range s.named {
		sec := NewSection(n.kind+".NAME", n.doc)
		n.bind(sec)
		list = append(list, sec)
	}
	return list
}

func (s *Set) names() []string {
	var names []string
	for _, sec := range s.sections {
		names = append(names, sec.Name)
	}
	for _, n := range s.named {
		names = append(names, n.kind+".NAME")
	}
	for n := range s.later {
		names = append(names, n)
	}
	return names
}
