package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/fault"
)

// places follows the [space.NAME] and [pool.NAME] sections while the server
// runs.
//
//	reload ─▶ grow: new spaces, thresholds, all pools, old ones still in use ─▶ streams change
//	       ─▶ shrink: pools that no stream names, spaces that are empty or lost
//	every few seconds ─▶ shrink again, while something waits to go
//
// A space that is taken out of the settings while footage is in it stays, as one
// that nothing new comes to, until it is empty: nothing that can be played
// disappears with a line of text. It is the reload's lock that its changes are
// made under.
type places struct {
	n  *Node
	mu sync.Mutex
	in map[string]*placed // spaces in the archive
}

// placed is a space in the archive.
type placed struct {
	cfg     archive.SpaceConfig // as it works
	storage archive.Storage
	stays   error // why it is still there though the settings do not have it; nil = they do
}

func newPlaces(n *Node) *places { return &places{n: n, in: map[string]*placed{}} }

// space makes what the archive needs of a space.
func (p *places) space(sp archive.SpaceConfig) (archive.Space, error) {
	dialer, err := p.n.host.Storage(sp.Driver)
	if err != nil {
		return archive.Space{}, err
	}
	st := dialer.Space(sp.Name, spaceSettings(sp))
	p.mu.Lock()
	p.in[sp.Name] = &placed{cfg: sp, storage: st}
	p.mu.Unlock()
	return archive.Space{Name: sp.Name, Storage: st, Create: true, Limits: limitsOf(sp), Fsync: sp.Fsync}, nil
}

// limitsOf are the limits that the storage of a space is told.
func limitsOf(sp archive.SpaceConfig) archive.Limits {
	return archive.Limits{Size: thresholdOf(sp.SizeLimit), Reserve: thresholdOf(sp.Reserve)}
}

func thresholdOf(s config.Size) archive.Threshold {
	return archive.Threshold{Bytes: s.Bytes, Percent: float64(s.Percent)}
}

func (p *places) forget(name string) {
	p.mu.Lock()
	delete(p.in, name)
	p.mu.Unlock()
}

func (p *places) get(name string) (placed, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.in[name]
	if x == nil {
		return placed{}, false
	}
	return *x, true
}

// grow takes over what is new, so that streams find it.
func (p *places) grow(set *Settings) {
	n := p.n
	for _, sp := range set.Archive.Spaces {
		was, there := p.get(sp.Name)
		if there {
			p.tune(was, sp)
			continue
		}
		as, err := p.space(sp)
		if err == nil {
			err = n.archive.AddSpace(as)
		}
		if err != nil {
			p.forget(sp.Name)
			n.log.Error("space cannot be used", "space", sp.Name, "err", err)
		}
	}
	p.pools(set)
}

// tune takes over the keys of a space that take effect at once.
func (p *places) tune(was placed, now archive.SpaceConfig) {
	p.mu.Lock()
	x := p.in[now.Name]
	x.stays = nil
	x.cfg.SizeLimit, x.cfg.Reserve, x.cfg.Fsync = now.SizeLimit, now.Reserve, now.Fsync
	is := x.cfg
	p.mu.Unlock()
	if was.cfg.SizeLimit == is.SizeLimit && was.cfg.Reserve == is.Reserve && was.cfg.Fsync == is.Fsync {
		return
	}
	if s, ok := was.storage.(interface{ SetSettings(map[string]string) }); ok {
		s.SetSettings(spaceSettings(is))
	}
	if err := p.n.archive.TuneSpace(now.Name, limitsOf(is), is.Fsync); err != nil {
		p.n.log.Error("settings of a space could not be taken over", "space", now.Name, "err", err)
	}
}

// pools puts the pools of the settings in force, and those that are not there
// any more but still in use.
func (p *places) pools(set *Settings) {
	pools := poolOptions(set.Archive.Pools)
	pools = append(pools, p.lingering(pools)...)
	if err := p.n.archive.SetPools(pools); err != nil {
		p.n.log.Error("pools could not be taken over", "err", err)
	}
}

// lingering are pools in force that the settings do not have, and that a stream
// is recorded in by its last good settings, or that footage of such a one is
// moved to.
func (p *places) lingering(pools []archive.Pool) (out []archive.Pool) {
	has := func(list []archive.Pool, name string) bool {
		return slices.ContainsFunc(list, func(x archive.Pool) bool { return x.Name == name })
	}
	wanted := map[string]bool{}
	for _, r := range p.n.streams.list() {
		if r.pool != "" && r.set.Config.DVR.Enable {
			wanted[r.pool] = true
		}
	}
	now := p.n.archive.Pools()
	for more := true; more; {
		more = false
		for _, x := range now {
			if !wanted[x.Name] || has(pools, x.Name) || has(out, x.Name) {
				continue
			}
			out, more = append(out, x), true
			if x.ArchiveTo != "" {
				wanted[x.ArchiveTo] = true
			}
		}
	}
	return out
}

// shrink takes away what the settings do not have and nobody needs any more.
func (p *places) shrink(ctx context.Context, set *Settings) {
	p.pools(set)
	p.mu.Lock()
	names := slices.Sorted(maps.Keys(p.in))
	p.mu.Unlock()
	for _, name := range names {
		if slices.ContainsFunc(set.Archive.Spaces, func(s archive.SpaceConfig) bool { return s.Name == name }) {
			continue
		}
		if x, ok := p.get(name); ok && x.stays != nil && p.n.archive.Holds(name) {
			continue // as was told
		}
		err := p.n.archive.RemoveSpace(ctx, name)
		if err == nil || errors.Is(err, archive.ErrNoSuchSpace) {
			p.forget(name)
			continue
		}
		p.mu.Lock()
		first := p.in[name].stays == nil
		p.in[name].stays = err
		p.mu.Unlock()
		if first {
			p.n.log.Warn("a space that the settings do not have any more stays for now", "space", name, "err", err)
			p.n.emit(event("storage.leaving", "", "warning", fmt.Sprintf("space %s is not in the settings any more and stays until it is empty: %v", name, err), map[string]any{"space": name}))
		}
	}
}

// shrinkEvery is how often what waits to go is looked at.
const shrinkEvery = 5 * time.Second

// run lets go of spaces and pools once nothing holds them any more.
func (p *places) run(ctx context.Context) error {
	t := time.NewTicker(shrinkEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if !p.n.reloading.TryLock() {
			continue
		}
		set := p.n.current.Load()
		if p.waits(set) {
			p.shrink(ctx, set)
		}
		p.n.reloading.Unlock()
	}
}

// waits tells whether anything is in force that the settings do not have.
func (p *places) waits(set *Settings) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.in {
		if !slices.ContainsFunc(set.Archive.Spaces, func(s archive.SpaceConfig) bool { return s.Name == name }) {
			return true
		}
	}
	return len(p.n.archive.Pools()) > len(set.Archive.Pools)
}

// pending lists the keys of spaces and pools that wait for a restart of the
// server.
func (p *places) pending(set *Settings) (out []config.Change) {
	add := func(section, key string) {
		it, _ := set.Keys.Get(section, key)
		out = append(out, config.Change{Section: section, Key: key, Effect: config.RestartServer, New: it.Value, Origin: it.Origin})
	}
	for _, sp := range set.Archive.Spaces {
		x, ok := p.get(sp.Name)
		if !ok {
			continue
		}
		section := "space." + sp.Name
		if x.cfg.Driver != sp.Driver {
			add(section, "driver")
		}
		if x.cfg.Path != sp.Path {
			add(section, "path")
		}
		for _, k := range slices.Sorted(maps.Keys(sp.Settings)) {
			if x.cfg.Settings[k] != sp.Settings[k] {
				add(section, k)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(x.cfg.Settings)) {
			if _, still := sp.Settings[k]; !still {
				add(section, k)
			}
		}
	}
	for _, q := range set.Archive.Pools {
		if q.Sign && p.n.signer == nil {
			add("pool."+q.Name, "sign")
		}
	}
	return out
}

// pending lists the keys that wait for a restart of the server.
func (n *Node) pending(set *Settings) []config.Change {
	out := withoutPlaces(Pending(n.boot, set))
	return append(out, n.places.pending(set)...)
}

// withoutPlaces leaves out keys of spaces and pools: those are not held against
// what the server was started with, but against what works.
func withoutPlaces(cs []config.Change) []config.Change {
	return slices.DeleteFunc(slices.Clone(cs), func(c config.Change) bool {
		return strings.HasPrefix(c.Section, "space.") || strings.HasPrefix(c.Section, "pool.")
	})
}

// problems are spaces that should be gone and are not.
func (p *places) problems() (out fault.Problems) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.in)) {
		if err := p.in[name].stays; err != nil {
			q := fault.Problem{Level: fault.Warning, Where: "space " + name, What: "it is not in the settings any more and stays until it is empty: " + err.Error(),
				Hint: "write its section again, or let go of what holds it"}
			if f := new(fault.Problem); errors.As(err, &f) {
				q.What, q.Hint = "it is not in the settings any more and stays for now: "+f.What, f.Hint+"; write its section again before a restart of the server: without it what is in it cannot be played then"
			}
			out.Add(q)
		}
	}
	return out
}

func poolOptions(ps []archive.PoolConfig) (out []archive.Pool) {
	for _, p := range ps {
		out = append(out, archive.Pool{Name: p.Name, Spaces: p.Spaces, Overwrite: p.Overwrite, Days: p.Days,
			OverwriteFree: archive.Threshold{Bytes: p.OverwriteFree.Bytes, Percent: float64(p.OverwriteFree.Percent)},
			AlarmFree:     archive.Threshold{Bytes: p.AlarmFree.Bytes, Percent: float64(p.AlarmFree.Percent)},
			LockMax:       archive.Threshold{Bytes: p.LockMax.Bytes, Percent: float64(p.LockMax.Percent)},
			Sign:          p.Sign,
			Encrypt:       p.Encrypt,
			DeleteMost:    float64(p.DeleteMost.Percent),
			ArchiveTo:     p.ArchiveTo, ArchiveAfter: p.ArchiveAfter, ArchiveAt: p.ArchiveAt, ArchiveRate: p.ArchiveRate, GroomAfter: p.GroomAfter, Stage: p.Stage})
	}
	return out
}

// poolInForce is a pool as a section that the settings do not have any more
// would give it: poolOptions the other way round.
func poolInForce(p *archive.Pool) archive.PoolConfig {
	size := func(t archive.Threshold) config.Size { return config.Size{Bytes: t.Bytes, Percent: int(t.Percent)} }
	return archive.PoolConfig{Name: p.Name, Spaces: p.Spaces, Overwrite: p.Overwrite, Days: p.Days,
		OverwriteFree: size(p.OverwriteFree), AlarmFree: size(p.AlarmFree), LockMax: size(p.LockMax), DeleteMost: config.Size{Percent: int(p.DeleteMost)},
		Sign: p.Sign, Encrypt: p.Encrypt, ArchiveTo: p.ArchiveTo, ArchiveAfter: p.ArchiveAfter, ArchiveAt: p.ArchiveAt, ArchiveRate: p.ArchiveRate,
		GroomAfter: p.GroomAfter, Stage: p.Stage}
}
