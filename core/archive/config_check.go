package archive

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"media-server/core/config"
	"media-server/core/fault"
)

// Validate lists what the keys say together that cannot be. It is called after
// Complete.
func (c *Config) Validate() fault.Problems {
	var ps fault.Problems
	c.checkSpaces(&ps)
	c.checkTiers(&ps)
	c.checkGroom(&ps)
	c.checkMembers(&ps)
	used := map[string]bool{}
	for _, p := range c.Pools {
		for _, name := range append(slices.Clone(p.Spaces), p.Stage) {
			used[name] = true
		}
	}
	for _, s := range c.Spaces {
		if !used[s.Name] {
			ps.Add(fault.Problem{Level: fault.Warning, Where: "space." + s.Name, Key: "path", What: fmt.Sprintf("space %q is in no pool, nothing is recorded there", s.Name)})
		}
	}
	return ps
}

func (c *Config) checkSpaces(ps *fault.Problems) {
	for i, s := range c.Spaces {
		section := "space." + s.Name
		bad := func(key, what, hint string) { ps.Add(fault.Problem{Where: section, Key: key, What: what, Hint: hint}) }
		if s.Path == "" && s.Driver == "local" {
			bad("path", fmt.Sprintf("space %q has no path", s.Name), "write path = /folder")
		}
		if why := SystemFolder(s.Path); why != "" && s.Driver == "local" {
			bad("path", fmt.Sprintf("path %s %s", s.Path, why), "name a folder made for footage, such as /srv/media or the mount point of a disk")
		}
		for _, other := range c.Spaces[:i] {
			if s.Path != "" && s.Driver == other.Driver && overlap(s.Path, other.Path) {
				bad("path", fmt.Sprintf("path %s overlaps that of space %q", s.Path, other.Name), "each space needs a folder of its own")
			}
		}
	}
}

// checkMembers lists what is wrong with the spaces of pools.
func (c *Config) checkMembers(ps *fault.Problems) {
	names := c.spaceNames()
	for n := range c.Pools {
		p := &c.Pools[n]
		bad := func(key, what, hint string) {
			ps.Add(fault.Problem{Where: "pool." + p.Name, Key: key, What: what, Hint: hint})
		}
		if p.DeleteMost.Bytes != 0 {
			bad("delete-most", fmt.Sprintf("delete-most = %s is not a share", p.DeleteMost), "write for example delete-most = 50%")
		}
		if len(p.Spaces) == 0 {
			bad("spaces", fmt.Sprintf("pool %q has no spaces", p.Name), "write spaces = "+strings.Join(names, ", "))
		}
		for i, name := range p.Spaces {
			switch {
			case !slices.Contains(names, name):
				hint := "spaces: " + strings.Join(names, ", ")
				if n := config.Nearest(name, names); n != "" {
					hint = fmt.Sprintf("did you mean %q?", n)
				}
				bad("spaces", fmt.Sprintf("there is no space %q", name), hint)
			case slices.Contains(p.Spaces[:i], name):
				bad("spaces", fmt.Sprintf("space %q is there twice", name), "name it once")
			default:
				c.checkShared(p, c.Pools[:n], name, bad)
			}
		}
	}
}

// checkShared tells what speaks against a pool having a space that an earlier
// one has. What is in a shared space is told apart by the streams' pools; that is
// good enough to keep each stream by the rules of its own, but not to move what
// is in it, nor to overwrite some of it and not the rest.
func (c *Config) checkShared(p *PoolConfig, earlier []PoolConfig, name string, bad func(key, what, hint string)) {
	for i := range earlier {
		q := &earlier[i]
		if !slices.Contains(q.Spaces, name) {
			continue
		}
		for _, x := range []*PoolConfig{p, q} {
			if x.ArchiveTo != "" || x.Stage != "" {
				bad("spaces", fmt.Sprintf("space %q belongs to pool %q already", name, q.Name), fmt.Sprintf("pool %q moves what is in its spaces: those belong to it alone", x.Name))
				return
			}
		}
		if p.Overwrite != q.Overwrite {
			bad("spaces", fmt.Sprintf("space %q belongs to pool %q already, which has overwrite = %t", name, q.Name, q.Overwrite), "pools that share a space agree on overwrite")
			return
		}
	}
}

func (c *Config) spaceNames() (out []string) {
	for _, s := range c.Spaces {
		out = append(out, s.Name)
	}
	return out
}

// Folders that footage must not fill: the system's own, alone or with all that
// is in them.
var (
	systemTrees = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr"}
	systemRoots = []string{"/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var", "/var/cache", "/var/lib", "/var/log", "/var/tmp"}
)

// SystemFolder says why a path cannot be a space's; "" = it can.
func SystemFolder(path string) string {
	if path == "" {
		return ""
	}
	path = filepath.Clean(path)
	if slices.Contains(systemRoots, path) {
		return "is a folder of the system"
	}
	for _, dir := range systemTrees {
		// Memory that programs share lies below /dev, and is nobody's system.
		if (path == dir || strings.HasPrefix(path, dir+"/")) && !strings.HasPrefix(path, "/dev/shm/") {
			return "is, or lies in, the system's " + dir
		}
	}
	return ""
}

// overlap tells whether one folder is the other or lies in it.
func overlap(a, b string) bool {
	a, b = filepath.Clean(a)+"/", filepath.Clean(b)+"/"
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}
