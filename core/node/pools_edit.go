package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"media-server/core/config"
	"media-server/core/fault"
	"media-server/core/web/api"
)

// AddPool implements api.Spaces.
func (b backend) AddPool(name string, keys []api.Setting) error {
	n := b.n
	n.editing.Lock()
	defer n.editing.Unlock()
	section := "pool." + name
	if !placeName.MatchString(name) {
		return refuseKey(section, "name", fmt.Sprintf("%q cannot be the name of a pool", config.Name(name)), "1 to 36 letters, digits, - and _, beginning with a letter or digit")
	}
	if len(keys) == 0 {
		return refuseKey(section, "spaces", fmt.Sprintf("pool %q has no spaces", name), `write "spaces": "NAME, NAME"`)
	}
	e, err := n.editPlaces()
	if err != nil {
		return err
	}
	_, taken := e.set.Archive.Pool(name)
	if it, _ := e.set.Keys.Get(section, "spaces"); taken && it.Section == "" {
		taken = false // it is the one that is there when none is written: now it is written
	}
	if err := e.free(section, taken); err != nil {
		return err
	}
	if err := e.holdOnlyPool(name); err != nil {
		return refuseKey(section, "", err.Error(), "")
	}
	if err := e.change(e.file.AddSection(section, pairsOf(keys))); err != nil {
		return refuseKey(section, "", err.Error(), "")
	}
	return e.commit(n.web.ctx)
}

// holdOnlyPool writes down the spaces of the only pool, if nobody has: it has
// them only as long as it is the only one.
func (e *placesFile) holdOnlyPool(but string) error {
	if len(e.set.Archive.Pools) != 1 || e.set.Archive.Pools[0].Name == but {
		return nil
	}
	p := e.set.Archive.Pools[0]
	section := "pool." + p.Name
	if it, _ := e.set.Keys.Get(section, "spaces"); it.Origin.File != "" {
		return nil
	}
	return e.change(e.file.Set(section, "spaces", strings.Join(p.Spaces, ", ")))
}

// RemovePool implements api.Spaces.
func (b backend) RemovePool(name string) error {
	n := b.n
	n.editing.Lock()
	defer n.editing.Unlock()
	e, err := n.editPlaces()
	if err != nil {
		return err
	}
	if _, ok := e.set.Archive.Pool(name); !ok {
		return api.ErrNoPool
	}
	if err := e.poolUnused(name); err != nil {
		return err
	}
	section := "pool." + name
	if err := e.mine(section); err != nil {
		return err
	}
	if err := e.change(e.file.RemoveSection(section), nil); err != nil {
		return err
	}
	if err := e.commit(n.web.ctx); err != nil {
		return err
	}
	if _, place := n.current.Load().writtenIn(section); place != "" {
		err := fault.New("["+section+"]", "it is written in "+place+" too", "take it out there and run: media-server reload")
		return errors.Join(err, e.undo(n.web.ctx))
	}
	return nil
}

// poolUnused refuses the removal of a pool that something is recorded in or
// moved to.
func (e *placesFile) poolUnused(name string) error {
	var uids []string
	for _, uid := range e.set.UIDs() {
		if e.set.Streams[uid].Config.DVR.Pool == name {
			uids = append(uids, uid)
		}
	}
	for _, r := range e.n.streams.list() {
		if r.pool == name && r.set.Config.DVR.Enable && !slices.Contains(uids, r.set.UID) {
			uids = append(uids, r.set.UID)
		}
	}
	if n := len(uids); n > 0 {
		if n > 5 {
			uids = append(uids[:5:5], fmt.Sprintf("and %d more", n-5))
		}
		return fault.New("pool "+name, "streams are recorded in it: "+strings.Join(uids, ", "), "give them another dvr-pool first; what was recorded stays where it is")
	}
	for _, p := range e.set.Archive.Pools {
		if p.ArchiveTo == name {
			it, _ := e.set.Keys.Get("pool."+p.Name, "archive-to")
			return fault.New("pool "+name, fmt.Sprintf("footage of pool %s is moved to it (%s)", p.Name, it.Origin), "change or remove that archive-to first")
		}
	}
	return nil
}

// ChangePool implements api.Spaces.
func (b backend) ChangePool(name string, keys []api.Setting) error {
	return b.changePlace("pool."+name, keys, func(set *Settings) error {
		if _, ok := set.Archive.Pool(name); ok {
			return nil
		}
		return api.ErrNoPool
	})
}
