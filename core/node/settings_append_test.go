package node

import (
	"strings"
	"testing"
)

// TestLivePoolMustAppend: what is recorded into a space whose driver says that
// files do not grow there is refused with the place and the remedy, before any
// plugin runs.
func TestLivePoolMustAppend(t *testing.T) {
	const server = "[server]\ndata-dir = var\nstreams-dir = streams.d\nplugins-dir = plugins\nrun-dir = /run/x\n"
	const cloud = "[space.cloud]\ndriver = cloud\n"
	const disk = "[space.disk]\npath = var/disk\n"
	plugin := "[plugin]\nname = cloud\nkind = storage\nprotocol = 1\nexec = cloud\nappend = no\n"
	for name, c := range map[string]struct{ ini, stream, plugin, want string }{
		"the only pool": {cloud + "[pool.default]\nspaces = cloud\n", "", plugin,
			`media-server.ini:9:1: space "cloud" takes whole files only, and pool "default" has no stage: nothing can be recorded there; add a local space of its own, [space.stage]`},
		"with a space to stage in": {cloud + disk + "[pool.default]\nspaces = cloud\n", "", plugin, `media-server.ini:11:1: space "cloud" takes whole files only, and pool "default" has no stage: nothing can be recorded there; write stage = disk`},
		"behind a local space":     {cloud + disk + "[pool.default]\nspaces = disk, cloud\n", "", plugin, `media-server.ini:11:1: space "cloud" takes whole files only`},
		"with a stage":             {cloud + disk + "[pool.default]\nspaces = cloud\nstage = disk\n", "", plugin, ""},
		"a stage of the kind":      {cloud + "[space.other]\ndriver = cloud\n[pool.default]\nspaces = cloud\nstage = other\n", "", plugin, `media-server.ini:12:1: space "other" takes whole files only: nothing can be recorded there; a stage is a local space`},
		"an archive pool":          {cloud + disk + "[pool.default]\nspaces = disk\narchive-to = old\n[pool.old]\nspaces = cloud\n", "", plugin, ""},
		"a stream in an archive pool": {cloud + disk + "[pool.default]\nspaces = disk\narchive-to = old\n[pool.old]\nspaces = cloud\n", "dvr-pool = old\n", plugin,
			`streams.d/gate.ini:3:1: space "cloud" of pool "old" takes whole files only, and the pool has no stage: nothing can be recorded there`},
		"a driver that appends": {cloud + "[pool.default]\nspaces = cloud\n", "", strings.Replace(plugin, "append = no\n", "", 1), ""},
		"a driver not there":    {cloud + "[pool.default]\nspaces = cloud\n", "", strings.Replace(plugin, "= cloud", "= other", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, "media-server.ini", server+c.ini, "plugins/cloud/plugin.ini", c.plugin, "streams.d/gate.ini", "[gate]\nstream-url = sim://\n"+c.stream)
			_, got := p.load()
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
