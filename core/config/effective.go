package config

import (
	"fmt"
	"slices"
	"strings"

	"media-server/core/fault"
)

// Origin is the place a value came from; without a File it is the default.
type Origin struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"column,omitempty"`
}

// String is "file:line", or "default".
func (o Origin) String() string {
	if o.File == "" {
		return "default"
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// Item is one key in force.
type Item struct {
	Section string `json:"section"`
	Key     string `json:"key"`
	Value   string `json:"value"` // as written, secrets hidden; a ${reference} stays one
	Origin  Origin `json:"origin,omitzero"`
	Default bool   `json:"default"`
	Effect  Effect `json:"effect"`

	full string // what it came to, for comparing only
}

// Effective is every key in force, in the order of the schema.
type Effective []Item

// Get returns the item of a key.
func (e Effective) Get(section, key string) (Item, bool) {
	i := slices.IndexFunc(e, func(it Item) bool { return it.Section == section && it.Key == key })
	if i < 0 {
		return Item{}, false
	}
	return e[i], true
}

// Put sets what a key came to where another key decides it; from is the place of that one.
func (e Effective) Put(section, key, value string, from Origin) {
	for i := range e {
		if it := &e[i]; it.Section == section && it.Key == key {
			it.Value, it.full, it.Origin, it.Default = value, value, from, false
		}
	}
}

// Locate gives problems of a room's Validate, which names section (Where) and
// key, the place where that key was set.
func (e Effective) Locate(ps fault.Problems) fault.Problems {
	for i, p := range ps {
		if p.File != "" {
			continue
		}
		if it, ok := e.Get(p.Where, p.Key); ok && it.Origin.File != "" {
			ps[i] = p.At(it.Origin.File, it.Origin.Line, it.Origin.Col)
		} else if p.Where != "" && !strings.HasPrefix(p.Where, "[") {
			ps[i].Where = "[" + p.Where + "]"
		}
	}
	return ps
}

// Change is a key whose value differs.
type Change struct {
	Section string `json:"section"`
	Key     string `json:"key"`
	Effect  Effect `json:"effect"`
	Old     string `json:"old"` // as shown; "" also when the key is not there
	New     string `json:"new"`
	Origin  Origin `json:"origin,omitzero"` // of the new value
}

// Diff lists what differs from e in next, in the order of next, then what next
// lacks. Values count, not where or how they are written.
func (e Effective) Diff(next Effective) []Change {
	type id struct{ section, key string }
	old := make(map[id]Item, len(e))
	for _, it := range e {
		old[id{it.Section, it.Key}] = it
	}
	var changes []Change
	for _, it := range next {
		was, had := old[id{it.Section, it.Key}]
		delete(old, id{it.Section, it.Key})
		if !had || was.full != it.full {
			changes = append(changes, Change{it.Section, it.Key, it.Effect, was.Value, it.Value, it.Origin})
		}
	}
	for _, it := range e {
		if _, gone := old[id{it.Section, it.Key}]; gone {
			changes = append(changes, Change{it.Section, it.Key, it.Effect, it.Value, "", Origin{}})
		}
	}
	return changes
}
