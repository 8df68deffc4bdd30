package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/pluginhost"
	"media-server/core/web/api"
)

// storedTime is how long a listing or a read of what is stored may take.
const storedTime = time.Minute

// errFull ends a listing of which enough is known.
var errFull = errors.New("enough")

// StoredFiles implements api.Stored.
func (b backend) StoredFiles(space, prefix, after string, most int) (out []api.StoredFile, more bool, err error) {
	p, ok := b.n.places.get(space)
	if !ok {
		return nil, false, api.ErrNoSpace
	}
	ctx, cancel := context.WithTimeout(b.n.web.ctx, storedTime)
	defer cancel()
	err = p.storage.List(ctx, prefix, after, func(es []archive.Entry) error {
		for _, e := range es {
			if len(out) == most {
				return errFull
			}
			out = append(out, api.StoredFile{Name: e.Name, Size: e.Size})
		}
		return nil
	})
	if errors.Is(err, errFull) {
		return out, true, nil
	}
	return out, false, err
}

// ReadStored implements api.Stored.
func (b backend) ReadStored(space, name string, off int64, p []byte) (int, error) {
	at, ok := b.n.places.get(space)
	if !ok {
		return 0, api.ErrNoSpace
	}
	ctx, cancel := context.WithTimeout(b.n.web.ctx, storedTime)
	defer cancel()
	return at.storage.ReadAt(ctx, name, off, p)
}

// OpenStored opens spaces for reading while no server runs: it takes the data
// folder's lock, so that none can start meanwhile, changes nothing in it, and starts
// the storage plugins that are needed, which end by themselves after end was called. Spaces
// that cannot be opened are in left, with the reason.
func OpenStored(ctx context.Context, set *Settings, version string, spaces []archive.SpaceConfig) (files map[string]archive.Files, left map[string]error, end func() error, err error) {
	n := &Node{opt: Options{Version: version}, log: slog.New(slog.DiscardHandler), boot: set}
	var open []func() error // in the order in which they are closed
	end = func() (err error) {
		for _, f := range slices.Backward(open) {
			err = errors.Join(err, f())
		}
		return err
	}
	fail := func(err error) (map[string]archive.Files, map[string]error, func() error, error) {
		return nil, nil, nil, errors.Join(err, end())
	}
	if n.home, err = lookHome(set.Server.DataDir); err != nil {
		return fail(err)
	}
	n.home.gives = set // what root has made
	open = append(open, n.home.Close)
	lock, err := takeRunDir(set.Server.RunDir)
	if err != nil {
		return fail(err)
	}
	open = append(open, lock.Close)
	o := n.hostOptions(set)
	o.Notify, o.Events = nil, nil
	o.Allow = allowed(o.Allow, spaces) // drivers that keep frames for the next server are left alone
	n.host = pluginhost.New(o)
	g := newGroup(ctx)
	g.run("plugins", n.host.Run)
	open = append(open, g.stop)
	files, left = map[string]archive.Files{}, map[string]error{}
	for _, sp := range spaces {
		d, err := n.host.Storage(sp.Driver)
		if err != nil {
			left[sp.Name] = err
			continue
		}
		st := d.Space(sp.Name, spaceSettings(sp))
		_, err = st.Open(ctx, n.home.epoch, 0, false)
		if err == nil { // a plugin that has it open already may not have asked what is behind it
			err = st.List(ctx, "", "", func([]archive.Entry) error { return errFull })
		}
		if err != nil && !errors.Is(err, errFull) {
			left[sp.Name] = err
			continue
		}
		files[sp.Name] = st
	}
	return files, left, end, nil
}

// allowed are the storage plugins of spaces that may run.
func allowed(allow []string, spaces []archive.SpaceConfig) (out []string) {
	for _, sp := range spaces {
		if len(allow) == 0 || slices.Contains(allow, sp.Driver) {
			out = append(out, sp.Driver)
		}
	}
	if out == nil {
		return []string{""} // none: an empty list would be all
	}
	return out
}
