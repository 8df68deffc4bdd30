package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"media-server/core/archive"
	"media-server/core/pluginhost"
)

// Rebuild makes the catalogue anew from the media files while no server runs:
// the whole of it, or what a space contributes ("" = all spaces).
func Rebuild(ctx context.Context, set *Settings, version, space string, progress func(done, total int)) (err error) {
	if space != "" {
		known := false
		for _, s := range set.Archive.Spaces {
			known = known || s.Name == space
		}
		if !known {
			return fmt.Errorf("there is no space %q", space)
		}
	}
	n := &Node{opt: Options{Version: version}, log: slog.New(slog.DiscardHandler)}
	if n.home, err = offlineHome(set); err != nil {
		return err
	}
	defer n.home.Close()
	lock, err := takeRunDir(set.Server.RunDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	n.boot = set
	if n.signer, err = openSigner(set, nil, n.log); err != nil {
		return err
	}
	o := n.hostOptions(set)
	o.Notify, o.Events = nil, nil
	n.host = pluginhost.New(o)
	n.places = newPlaces(n)
	g := newGroup(ctx)
	g.run("plugins", n.host.Run)
	defer func() { err = errors.Join(err, g.stop()) }()
	ao := n.archiveOptions(set)
	ao.Notify = nil
	a, err := archive.Open(ctx, ao)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Opened(ctx); err != nil {
		return err
	}
	return a.Rebuild(ctx, space, progress)
}
