package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/fault"
	"media-server/core/pluginhost"
	"media-server/core/web/api"
)

// apiFile is where spaces and pools made by API are written, in conf.d beside
// media-server.ini.
const apiFile = "spaces.ini"

const apiFileHead = "# Spaces and pools made by API. May be edited by hand; the API changes only the lines it is asked to.\n"

// placeName is what a space or a pool may be called.
var placeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,35}$`)

// placesFile is one edit of conf.d/spaces.ini.
type placesFile struct {
	n    *Node
	path string
	old  []byte // nil = it was not there
	file *config.File
	set  *Settings // in force
}

// editPlaces begins an edit; the caller holds n.editing until it is over.
func (n *Node) editPlaces() (*placesFile, error) {
	set := n.current.Load()
	e := &placesFile{n: n, set: set, path: filepath.Join(filepath.Dir(set.Path), "conf.d", apiFile)}
	b, err := os.ReadFile(e.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b = []byte(apiFileHead)
	case err != nil:
		return nil, fault.Wrap(err, shown(e.path), "the file cannot be read", "the server needs to read and write it")
	default:
		e.old = b
	}
	var ps fault.Problems
	if e.file, ps = config.Parse(shown(e.path), b); len(ps.Errors()) > 0 { // what cannot be read would not be written again
		return nil, refusedPlaces(ps.Errors())
	}
	return e, nil
}

// change applies one change to the text that will be written.
func (e *placesFile) change(b []byte, err error) error {
	if err == nil {
		e.file, _ = config.Parse(e.file.Path, b)
	}
	return err
}

// commit checks the settings as they would be, writes the file, and takes it
// over. What is refused changes nothing.
func (e *placesFile) commit(ctx context.Context) error {
	next, ps := load(config.Overlay{Source: config.Disk{}, Path: e.path, Data: e.file.Bytes()}, e.set.Path, nil, nil)
	bad := ps.Errors()
	if next.Usable() { // streams that are refused already are none of this change's business
		known := map[string]bool{}
		for _, p := range e.set.Problems() {
			known[p.Error()] = true
		}
		bad = slices.DeleteFunc(bad, func(p fault.Problem) bool { return known[p.Error()] })
	}
	if len(bad) > 0 {
		return refusedPlaces(bad)
	}
	if err := os.MkdirAll(filepath.Dir(e.path), 0o750); err != nil {
		return fault.Wrap(err, shown(filepath.Dir(e.path)), "the folder cannot be made", "let the server write in the folder of media-server.ini, or write the section there by hand")
	}
	if err := config.WriteFile(e.path, e.file.Bytes()); err != nil {
		return fault.Wrap(err, shown(e.path), "the file cannot be written", "let the server write there, or write the section by hand")
	}
	e.reload(ctx)
	return nil
}

func (e *placesFile) reload(ctx context.Context) {
	e.n.watcher.Refresh()
	_ = e.n.reload(ctx) // what is wrong elsewhere is told there; the caller looks for its own section
}

// undo puts the file back as it was.
func (e *placesFile) undo(ctx context.Context) error {
	old := e.old
	if old == nil {
		old = []byte(apiFileHead)
	}
	err := config.WriteFile(e.path, old)
	e.reload(ctx)
	return err
}

func refusedPlaces(ps fault.Problems) error {
	out := &api.RefusedSettings{}
	for _, p := range ps {
		out.Problems = append(out.Problems, problemOf(&p))
	}
	return out
}

func refuseKey(section, key, what, hint string) error {
	return refusedPlaces(fault.Problems{{Where: "[" + section + "]", Key: key, What: what, Hint: hint}})
}

// writtenIn is where a section stands: file and line of its first key; "" when
// nobody wrote it.
func (s *Settings) writtenIn(section string) (file, place string) {
	for _, it := range s.Keys {
		if it.Section == section && it.Origin.File != "" {
			return it.Origin.File, it.Origin.String()
		}
	}
	return "", ""
}

// mine refuses to change a section that was not made by API.
func (e *placesFile) mine(section string) error {
	if e.file.Block(section) != nil {
		return nil
	}
	if _, place := e.set.writtenIn(section); place != "" {
		return fault.New("["+section+"]", "it is written in "+place, "change it there and run: media-server reload")
	}
	return fault.New("["+section+"]", "it is there because no section of its kind is written", "it goes, or can be changed, once another one is made")
}

// AddSpace implements api.Spaces.
func (b backend) AddSpace(name string, keys []api.Setting) error {
	n := b.n
	n.editing.Lock()
	defer n.editing.Unlock()
	section := "space." + name
	if !placeName.MatchString(name) {
		return refuseKey(section, "name", fmt.Sprintf("%q cannot be the name of a space", config.Name(name)), "1 to 36 letters, digits, - and _, beginning with a letter or digit")
	}
	e, err := n.editPlaces()
	if err != nil {
		return err
	}
	if err := e.free(section, slices.ContainsFunc(e.set.Archive.Spaces, func(s archive.SpaceConfig) bool { return s.Name == name })); err != nil {
		return err
	}
	if p, ok := n.places.get(name); ok && p.stays != nil {
		return fault.New("space "+name, "a space of that name was taken out of the settings and is still there", "wait until it is empty, or choose another name")
	}
	if err := n.checkSpace(section, keys); err != nil {
		return err
	}
	if file, _ := e.set.writtenIn("space." + archive.DefaultSpace); file == "" && len(e.set.Archive.Spaces) == 1 && e.set.Archive.Spaces[0].Name == archive.DefaultSpace {
		// It is there only as long as no other one is written.
		err = e.change(e.file.AddSection("space."+archive.DefaultSpace, []config.Pair{{Key: "path", Value: e.set.Archive.Spaces[0].Path}}))
	}
	if err == nil {
		err = e.change(e.file.AddSection(section, pairsOf(keys)))
	}
	if err != nil {
		return refuseKey(section, "", err.Error(), "")
	}
	if err := e.commit(n.web.ctx); err != nil {
		return err
	}
	if err := n.opensWell(n.web.ctx, name); err != nil {
		return errors.Join(err, e.undo(n.web.ctx))
	}
	return nil
}

// free refuses a name that is taken.
func (e *placesFile) free(section string, taken bool) error {
	if !taken {
		return nil
	}
	_, place := e.set.writtenIn(section)
	if place == "" {
		place = "the defaults"
	}
	return fault.New("["+section+"]", "it is there already, in "+place, "choose another name")
}

func pairsOf(keys []api.Setting) (out []config.Pair) {
	for _, k := range keys {
		if !k.Unset {
			out = append(out, config.Pair{Key: k.Key, Value: k.Value})
		}
	}
	return out
}

// openWait is how long a new space has to open before the answer is given.
const openWait = 10 * time.Second

// opensWell waits until a new space was opened and tells what is wrong with it:
// not a folder, something else's folder, a backend that refuses its keys. A lost
// one is no mistake: it waits to be restored or initialised.
func (n *Node) opensWell(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	s, err := n.archive.SpaceTried(ctx, name)
	if err != nil {
		return nil // it goes on trying: its state tells
	}
	switch s.State {
	case archive.SpaceFailing, archive.SpaceReadOnly:
		hint := s.Hint
		if hint == "" {
			hint = "nothing was changed; mend it, or choose another place"
		}
		return refuseKey("space."+name, "path", s.Why, hint)
	}
	return nil
}

// checkSpace looks at what the settings alone cannot tell: the driver, and of a
// local one the folder.
func (n *Node) checkSpace(section string, keys []api.Setting) error {
	driver, path := "local", ""
	for _, k := range keys {
		switch k.Key {
		case "driver":
			driver = k.Value
		case "path":
			path = k.Value
		}
	}
	if err := n.knownDriver(section, driver); err != nil {
		return err
	}
	if driver != "local" || path == "" {
		return nil // a path that is missing is told by the settings
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(n.current.Load().Path), path)
	}
	var others []archive.SpaceConfig
	for _, sp := range n.current.Load().Archive.Spaces {
		if sp.Driver == driver {
			others = append(others, sp)
		}
	}
	found := make(chan *fault.Problem, 1)
	go func() { found <- checkFolder(path, others) }() // a mount that hangs holds this one up, nobody else
	select {
	case p := <-found:
		if p != nil {
			return refuseKey(section, "path", p.What, p.Hint)
		}
	case <-time.After(folderWait):
		return refuseKey(section, "path", "the folder does not answer: its mount hangs", "see the mount; nothing was changed")
	}
	return nil
}

const folderWait = 5 * time.Second

func (n *Node) knownDriver(section, driver string) error {
	var names []string
	for _, p := range n.host.Plugins() {
		if p.Kind == "storage" && p.State != pluginhost.StateOff {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 || slices.Contains(names, driver) {
		return nil
	}
	hint := "storage drivers: " + strings.Join(names, ", ")
	if near := config.Nearest(driver, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	return refuseKey(section, "driver", fmt.Sprintf("there is no storage driver %q", config.Name(driver)), hint)
}

// RemoveSpace implements api.Spaces.
func (b backend) RemoveSpace(name string) error {
	n := b.n
	n.editing.Lock()
	defer n.editing.Unlock()
	e, err := n.editPlaces()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(e.set.Archive.Spaces, func(s archive.SpaceConfig) bool { return s.Name == name }) {
		return api.ErrNoSpace
	}
	for _, p := range e.set.Archive.Pools {
		it, _ := e.set.Keys.Get("pool."+p.Name, "spaces")
		if p.Stage == name {
			it, _ = e.set.Keys.Get("pool."+p.Name, "stage")
		}
		if (slices.Contains(p.Spaces, name) || p.Stage == name) && it.Origin.File != "" {
			return fault.New("space "+name, fmt.Sprintf("it belongs to pool %s (%s)", p.Name, it.Origin), "take it out of the pool first; footage in it stays and can be played")
		}
	}
	section := "space." + name
	if err := e.mine(section); err != nil {
		return err
	}
	if err := n.archive.MayRemove(n.web.ctx, name); err != nil && !errors.Is(err, archive.ErrNoSuchSpace) {
		return err
	}
	if err := e.change(e.file.RemoveSection(section), nil); err != nil {
		return err
	}
	if err := e.commit(n.web.ctx); err != nil {
		return err
	}
	if p, ok := n.places.get(name); ok {
		err := p.stays
		if err == nil {
			if _, place := n.current.Load().writtenIn(section); place != "" {
				err = fault.New("["+section+"]", "it is written in "+place+" too", "take it out there and run: media-server reload")
			} else {
				err = fault.New("space "+name, "it could not be removed", "see problems")
			}
		}
		return errors.Join(err, e.undo(n.web.ctx))
	}
	return nil
}

// ChangeSpace implements api.Spaces.
func (b backend) ChangeSpace(name string, keys []api.Setting) error {
	return b.changePlace("space."+name, keys, func(set *Settings) error {
		if slices.ContainsFunc(set.Archive.Spaces, func(s archive.SpaceConfig) bool { return s.Name == name }) {
			return nil
		}
		return api.ErrNoSpace
	})
}

// changePlace changes keys of a section that was made by API.
func (b backend) changePlace(section string, keys []api.Setting, there func(*Settings) error) error {
	n := b.n
	n.editing.Lock()
	defer n.editing.Unlock()
	e, err := n.editPlaces()
	if err == nil {
		err = there(e.set)
	}
	if err == nil {
		err = e.mine(section)
	}
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Unset {
			err = e.change(e.file.Unset(section, k.Key), nil)
		} else {
			err = e.change(e.file.Set(section, k.Key, k.Value))
		}
		if err != nil {
			return refuseKey(section, k.Key, err.Error(), "")
		}
	}
	return e.commit(n.web.ctx)
}
