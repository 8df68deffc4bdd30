package pluginhost

import (
	"path/filepath"

	"media-server/core/fault"
)

// Look reads the plugin folders of o and starts nothing: what `check` can say
// of them. State is StateOff, StateRefused or empty.
func Look(o Options) []Status {
	o = o.withDefaults()
	var f finder
	f.scan(&o) // a folder counts once it was seen twice alike
	specs, _ := f.scan(&o)
	list := make([]Status, 0, len(specs))
	for i := range specs {
		sp := &specs[i]
		st := Status{Name: sp.name, Version: sp.version, Kind: sp.kind, Schemes: sp.schemes, Endpoint: sp.endpoint, Problem: sp.problem}
		switch {
		case sp.disabled:
			st.State = StateOff
		case sp.problem != nil:
			st.State = StateRefused
		}
		list = append(list, st)
	}
	return list
}

// Manifest is what a plugin's folder says, for trying it by hand.
type Manifest struct {
	Name, Version, Kind string
	Schemes             []string
	Dir                 string   // absolute
	Command             []string // begins with an absolute path
}

// ReadManifest reads and checks one plugin folder as the host does.
func ReadManifest(dir string) (Manifest, *fault.Problem) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Manifest{}, fault.New(dir, err.Error(), "")
	}
	s := readSpec(abs)
	return Manifest{Name: s.name, Version: s.version, Kind: s.kind, Schemes: s.schemes, Dir: s.dir,
		Command: append([]string{s.path}, s.args...)}, s.problem
}
