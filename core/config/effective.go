package config

import (
	"fmt"
	"slices"
)

// Origin is the place a value came from; without a File it is the default.
type Origin struct {
	File      string
	Line, Col int
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
	Section string
	Key     string
	Value   string // as written, secrets hidden; a ${reference} stays one
	Origin  Origin
	Default bool
	Effect  Effect

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

// Change is a key whose value differs.
type Change struct {
	Section, Key string
	Effect       Effect
	Old, New     string // as shown; "" also when the key is not there
	Origin       Origin // of the new value
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
