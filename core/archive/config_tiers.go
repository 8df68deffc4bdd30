package archive

import (
	"fmt"
	"slices"
	"strings"

	"media-server/core/archive/retain"
	"media-server/core/config"
	"media-server/core/fault"
)

// bindTiers declares the keys of [pool.NAME] about moving footage.
func (p *PoolConfig) bindTiers(s *config.Section) {
	s.String("archive-to", &p.ArchiveTo, "Pool that footage is moved to; it can be played all the time. Each pool has its own days; they count from the recording, not from the move.")
	s.Duration("archive-after", &p.ArchiveAfter, 0, 0, "Age at which it is moved. 0 = as soon as a file is complete.")
	hours := ""
	k := s.String("archive-at", &hours, "Hours of the day in which it is moved, by the server's time-zone: 02:00-05:00, or a list. Empty = at any time.")
	k.Check(func(text string) (string, string) {
		if strings.TrimSpace(text) == "" {
			p.ArchiveAt = nil
			return "", ""
		}
		h, err := retain.ParseHours(text)
		if err != nil {
			return err.Error(), "from-to in hours and minutes; 22:00-04:00 passes midnight"
		}
		p.ArchiveAt = h
		return "", ""
	})
	s.Bytes("archive-rate", &p.ArchiveRate, 0, "Most bytes a second that moving, or grooming, reads or writes. 0 = no limit.")
	s.String("stage", &p.Stage, "Space that the pool is recorded in before complete files go to its spaces. Needed where those take whole files only (s3).")
}

// minArchiveRate keeps a file of two minutes from taking half a day.
const minArchiveRate = 64 << 10

// checkTiers lists what cannot be about moving footage.
func (c *Config) checkTiers(ps *fault.Problems) {
	for i := range c.Pools {
		p := &c.Pools[i]
		bad := func(key, what, hint string) {
			ps.Add(fault.Problem{Where: "pool." + p.Name, Key: key, What: what, Hint: hint})
		}
		c.checkStage(p, bad)
		if p.ArchiveRate > 0 && p.ArchiveRate < minArchiveRate {
			bad("archive-rate", "archive-rate is too small for footage to leave faster than it comes", "64K or more, or 0 for no limit")
		}
		if p.ArchiveTo == "" {
			switch {
			case p.ArchiveAfter > 0:
				bad("archive-after", "nothing says where footage is moved to", "add archive-to = POOL")
			case len(p.ArchiveAt) > 0:
				bad("archive-at", "nothing says where footage is moved to", "add archive-to = POOL")
			}
			continue
		}
		c.checkTier(p, bad)
	}
}

func (c *Config) checkTier(p *PoolConfig, bad func(key, what, hint string)) {
	to, ok := c.Pool(p.ArchiveTo)
	switch {
	case p.ArchiveTo == p.Name:
		bad("archive-to", fmt.Sprintf("pool %q is moved to itself", p.Name), "name another pool")
		return
	case !ok:
		hint := "add a [pool." + p.ArchiveTo + "] section"
		if n := config.Nearest(p.ArchiveTo, c.poolNames()); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		bad("archive-to", fmt.Sprintf("there is no pool %q", p.ArchiveTo), hint)
		return
	}
	if round := c.circle(p); round != "" {
		bad("archive-to", "footage would be moved in a circle: "+round, "the last pool has no archive-to")
		return
	}
	if p.Days > 0 && p.Days <= p.ArchiveAfter {
		bad("archive-after", fmt.Sprintf("footage is deleted after days = %s, before it would be moved at %s", config.FormatDuration(p.Days), config.FormatDuration(p.ArchiveAfter)), "archive-after shorter than days")
	}
	if to.Days > 0 && to.Days <= p.ArchiveAfter {
		bad("archive-after", fmt.Sprintf("pool %q keeps footage for days = %s from its recording: it would delete what comes at %s at once", to.Name, config.FormatDuration(to.Days), config.FormatDuration(p.ArchiveAfter)),
			"archive-after shorter than the days of the archive pool")
	}
	if to.ArchiveTo != "" && to.ArchiveAfter <= p.ArchiveAfter {
		bad("archive-after", fmt.Sprintf("pool %q moves footage on at %s already, both ages count from the recording", to.Name, config.FormatDuration(to.ArchiveAfter)),
			"archive-after grows from pool to pool")
	}
}

// circle is the way from a pool back to itself, "" when there is none.
func (c *Config) circle(p *PoolConfig) string {
	way := []string{p.Name}
	for next := p.ArchiveTo; next != ""; {
		way = append(way, next)
		if next == p.Name {
			return strings.Join(way, " → ")
		}
		q, ok := c.Pool(next)
		if !ok || slices.Contains(way[:len(way)-1], next) {
			return ""
		}
		next = q.ArchiveTo
	}
	return ""
}

func (c *Config) checkStage(p *PoolConfig, bad func(key, what, hint string)) {
	if p.Stage == "" {
		return
	}
	i := slices.IndexFunc(c.Spaces, func(s SpaceConfig) bool { return s.Name == p.Stage })
	if i < 0 {
		var names []string
		for _, s := range c.Spaces {
			names = append(names, s.Name)
		}
		bad("stage", fmt.Sprintf("there is no space %q", p.Stage), "spaces: "+strings.Join(names, ", "))
		return
	}
	for _, q := range c.Pools {
		if slices.Contains(q.Spaces, p.Stage) {
			bad("stage", fmt.Sprintf("space %q belongs to pool %q", p.Stage, q.Name), "a stage is a space of its own")
		}
		if q.Name != p.Name && q.Stage == p.Stage {
			bad("stage", fmt.Sprintf("space %q is the stage of pool %q as well", p.Stage, q.Name), "a stage serves one pool")
		}
	}
}

func (c *Config) poolNames() (out []string) {
	for _, p := range c.Pools {
		out = append(out, p.Name)
	}
	return out
}
