package node

import (
	"fmt"
	"slices"

	"media-server/core/archive"
	"media-server/core/fault"
	"media-server/core/pluginhost"
)

// Whether files grow in a space is known when its driver runs, and then it is
// too late for an operator who edits settings: plugin.ini says it before. A
// driver that is not there yet, or does not say, is taken for one that appends;
// the archive finds out when the space opens and says so then.

// readDrivers notes the spaces whose drivers take whole files only.
func (s *Settings) readDrivers() {
	s.wholeOnly = map[string]bool{}
	for _, sp := range s.Archive.Spaces {
		if sp.Driver != "local" && pluginhost.WholeOnly(s.Server.PluginsDir, sp.Driver) {
			s.wholeOnly[sp.Name] = true
		}
	}
}

// recordedWhole is the first space of a pool that recording would begin in and
// that takes whole files only; "" = none.
func (s *Settings) recordedWhole(p *archive.PoolConfig) string {
	if p.Stage != "" {
		if s.wholeOnly[p.Stage] {
			return p.Stage
		}
		return ""
	}
	if i := slices.IndexFunc(p.Spaces, func(name string) bool { return s.wholeOnly[name] }); i >= 0 {
		return p.Spaces[i]
	}
	return ""
}

func (s *Settings) appendHint(p *archive.PoolConfig) string {
	for _, sp := range s.Archive.Spaces {
		taken := slices.ContainsFunc(s.Archive.Pools, func(q archive.PoolConfig) bool { return q.Stage == sp.Name || slices.Contains(q.Spaces, sp.Name) })
		if sp.Driver == "local" && !taken {
			return "write stage = " + sp.Name
		}
	}
	return fmt.Sprintf("add a local space of its own, [space.stage] with path = /folder, and write stage = stage in [pool.%s]; or record in a pool of local spaces with archive-to = %s", p.Name, p.Name)
}

// checkAppend lists the pools that only live recording can fill and that
// cannot take it.
func (s *Settings) checkAppend() fault.Problems {
	var ps fault.Problems
	for i := range s.Archive.Pools {
		p := &s.Archive.Pools[i]
		name := s.recordedWhole(p)
		if name == "" {
			continue
		}
		archived := slices.ContainsFunc(s.Archive.Pools, func(q archive.PoolConfig) bool { return q.ArchiveTo == p.Name })
		switch {
		case name == p.Stage:
			ps.Add(fault.Problem{Where: "pool." + p.Name, Key: "stage", What: fmt.Sprintf("space %q takes whole files only: nothing can be recorded there", name), Hint: "a stage is a local space"})
		case !archived:
			ps.Add(fault.Problem{Where: "pool." + p.Name, Key: "spaces", What: fmt.Sprintf("space %q takes whole files only, and pool %q has no stage: nothing can be recorded there", name, p.Name), Hint: s.appendHint(p)})
		}
	}
	return ps
}

// noAppend refuses a stream that would be recorded in a pool meant to be moved
// to only.
func (s *Settings) noAppend(uid, pool string) (ps []fault.Problem) {
	p, ok := s.Archive.Pool(pool)
	if !ok {
		return nil
	}
	if name := s.recordedWhole(&p); name != "" {
		ps = append(ps, fault.Problem{Where: uid, Key: "dvr-pool", What: fmt.Sprintf("space %q of pool %q takes whole files only, and the pool has no stage: nothing can be recorded there", name, pool), Hint: s.appendHint(&p)})
	}
	return ps
}
