package config

import (
	"fmt"
	"slices"
	"strings"

	"media-server/core/fault"
)

// Layer is one block that gives values to a section; later layers win.
type Layer struct {
	File  *File
	Block *Block
}

// Load gives the values in files to the fields bound in s, later files winning,
// and reports every problem. The bound Configs are only to be used when no
// problem is an error.
func (s *Set) Load(env *Env, files ...*File) (Effective, fault.Problems) {
	var problems fault.Problems
	layers := map[string][]Layer{}
	var order []string
	for _, sec := range s.sections {
		order = append(order, sec.Name)
		layers[sec.Name] = nil
	}
	for _, f := range files {
		for _, b := range f.Blocks {
			if !s.accept(f, b, &problems) {
				continue
			}
			if _, known := layers[b.Name]; !known {
				order = append(order, b.Name)
			}
			layers[b.Name] = append(layers[b.Name], Layer{f, b})
		}
	}
	var all Effective
	for _, name := range order {
		items, ps := s.open(name).load(env, s, layers[name])
		all = append(all, items...)
		problems = append(problems, ps...)
	}
	problems.Sort()
	return all, problems
}

// open returns the section for a block name that accept let through.
func (s *Set) open(name string) *Section {
	for _, sec := range s.sections {
		if sec.Name == name {
			return sec
		}
	}
	kind, _, _ := strings.Cut(name, ".")
	for _, n := range s.named {
		if n.kind == kind {
			sec := NewSection(name, n.doc)
			n.bind(sec)
			return sec
		}
	}
	panic("config: section " + name + " was accepted but is not known")
}

// accept tells whether the block's section is known, and reports it if not.
func (s *Set) accept(f *File, b *Block, problems *fault.Problems) bool {
	for _, sec := range s.sections {
		if sec.Name == b.Name {
			return true
		}
	}
	refuse := func(what, hint string) bool {
		problems.Add(fault.Problem{What: what, Hint: hint}.At(f.Path, b.Line, b.Col))
		return false
	}
	kind, name, dotted := strings.Cut(b.Name, ".")
	if s.later[b.Name] || dotted && s.later[kind+".*"] {
		return refuse(fmt.Sprintf("section [%s]: %s", Name(b.Name), NotYet), "remove it")
	}
	for _, n := range s.named {
		switch {
		case n.kind != kind:
		case !dotted || !nameOK(name):
			return refuse(fmt.Sprintf("section [%s] needs a name", Name(b.Name)), fmt.Sprintf("write [%s.NAME]; names are letters, digits, - and _", kind))
		default:
			return true
		}
	}
	return refuse(fmt.Sprintf("unknown section [%s]", Name(b.Name)), hintFor(b.Name, s.names(), "sections"))
}

func nameOK(name string) bool {
	if name == "" || len(name) > 36 {
		return false
	}
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return true
}

// Load gives the values of layers to the bound fields, later layers winning.
func (sec *Section) Load(env *Env, layers ...Layer) (Effective, fault.Problems) {
	return sec.load(env, nil, layers)
}

func (sec *Section) load(env *Env, set *Set, layers []Layer) (Effective, fault.Problems) {
	l := loading{sec: sec, env: env, set: set, found: map[string]Item{}}
	for _, layer := range layers {
		for _, e := range layer.Block.Entries {
			l.entry(layer, e)
		}
	}
	var items Effective
	for _, k := range sec.Keys {
		item, set := l.found[k.Name]
		if !set {
			item = Item{Section: sec.Name, Key: k.Name, Value: k.Default, Default: true, Effect: k.Effect, full: k.Default}
			if k.lookup && k.Default != "" {
				k.parse(env, k.Default)
			}
		}
		items = append(items, item)
		delete(l.found, k.Name)
	}
	others := make([]string, 0, len(l.found))
	for name := range l.found {
		others = append(others, name)
	}
	slices.Sort(others)
	for _, name := range others {
		items = append(items, l.found[name])
	}
	return items, l.problems
}

type loading struct {
	sec      *Section
	set      *Set // may be nil
	env      *Env
	found    map[string]Item
	problems fault.Problems
}

func (l *loading) entry(layer Layer, e *Entry) {
	report := func(p fault.Problem, col int) {
		p.Key = Name(e.Key)
		l.problems.Add(p.At(layer.File.Path, e.Line, col))
	}
	k := l.sec.Key(e.Key)
	if k == nil {
		if p, ok := l.special(layer, e); !ok {
			report(p, e.Col)
			return
		} else if p.What != "" {
			report(p, e.Col)
			return
		}
	}
	text, p := l.env.expand(e.Value)
	if p != nil {
		p.What = fmt.Sprintf("value of %s: %s", Name(e.Key), p.What)
		report(*p, e.ValueCol)
		return
	}
	item := Item{
		Section: l.sec.Name, Key: e.Key, Value: mask(e.Value), full: text,
		Origin: Origin{layer.File.Path, e.Line, e.Col},
	}
	if k == nil {
		item.Effect = l.sec.rest.Effect
		if isSecretKey(e.Key) && e.Value != "" && e.Value == text {
			item.Value = Hidden
		}
		if *l.sec.rest.Into == nil {
			*l.sec.rest.Into = map[string]string{}
		}
		(*l.sec.rest.Into)[strings.TrimPrefix(e.Key, l.sec.rest.Prefix)] = text
		l.found[e.Key] = item
		return
	}
	item.Effect = k.Effect
	if k.Secret && e.Value != "" && e.Value == text {
		item.Value = Hidden // a ${reference} tells nothing and may be shown
	}
	for _, parse := range append([]func(string) *bad{func(t string) *bad { return k.parse(l.env, t) }}, k.checks...) {
		if b := parse(text); b != nil {
			report(k.problem(b, item.Value), e.ValueCol)
			return
		}
	}
	l.found[e.Key] = item
}

// special handles a key the section does not bind. ok tells that there is no
// error; a Problem with text is then a warning, and without lets the key pass.
func (l *loading) special(layer Layer, e *Entry) (p fault.Problem, ok bool) {
	name := layer.Block.Name
	if why, is := l.sec.warned[e.Key]; is {
		return fault.Problem{Level: fault.Warning, What: fmt.Sprintf("key %q has no effect: %s", e.Key, why)}, true
	}
	if l.sec.later[e.Key] {
		return fault.Problem{What: fmt.Sprintf("key %q in [%s]: %s", e.Key, name, NotYet), Hint: "remove it"}, false
	}
	if r := l.sec.rest; r != nil {
		bare, has := strings.CutPrefix(e.Key, r.Prefix)
		// Drivers' keys behind a prefix cannot be mistaken; others can.
		if has && bare != "" && (r.Prefix != "" || Nearest(e.Key, l.sec.names()) == "") {
			return fault.Problem{}, true
		}
	}
	hint := hintFor(e.Key, l.sec.names(), "keys here")
	if l.set != nil && !strings.HasPrefix(hint, "did you mean") {
		for _, other := range l.set.sections {
			if other.Key(e.Key) != nil {
				hint = fmt.Sprintf("it belongs in [%s]", other.Name)
			}
		}
	}
	return fault.Problem{What: fmt.Sprintf("unknown key %q in [%s]", Name(e.Key), name), Hint: hint}, false
}
