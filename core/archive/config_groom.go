package archive

import (
	"fmt"
	"time"

	"media-server/core/config"
	"media-server/core/fault"
)

// bindGroom declares the key of [pool.NAME] about grooming.
func (p *PoolConfig) bindGroom(s *config.Section) {
	s.Duration("groom-after", &p.GroomAfter, 0, 0, "Age at which a file keeps its key frames only: a picture every second or so, no sound, no metadata. What is locked stays whole; sound alone and MJPEG do, too. It cannot be undone; what it would free is told by media-server retention preview --set pool.NAME.groom-after=30d. archive-rate bounds it. 0 = never.")
}

// minGroomAfter is the shortest age that makes sense: younger files are needed
// as they are when a recording goes on after a restart.
const minGroomAfter = time.Second

// checkGroom lists what cannot be about grooming.
func (c *Config) checkGroom(ps *fault.Problems) {
	for i := range c.Pools {
		p := &c.Pools[i]
		if p.GroomAfter == 0 {
			continue
		}
		after := config.FormatDuration(p.GroomAfter)
		say := func(level fault.Level, what, hint string) {
			ps.Add(fault.Problem{Level: level, Where: "pool." + p.Name, Key: "groom-after", What: what, Hint: hint})
		}
		switch {
		case p.GroomAfter < minGroomAfter:
			say(fault.Error, fmt.Sprintf("groom-after = %s is no age", after), "write for example groom-after = 30d, or 0 for never")
		case p.ArchiveTo != "" && p.ArchiveAfter <= p.GroomAfter:
			say(fault.Error, fmt.Sprintf("footage is moved to pool %q at %s, before it would be groomed here at %s", p.ArchiveTo, config.FormatDuration(p.ArchiveAfter), after),
				fmt.Sprintf("write groom-after in [pool.%s], or one shorter than archive-after", p.ArchiveTo))
		case p.Days > 0 && p.Days <= p.GroomAfter:
			say(fault.Warning, fmt.Sprintf("nothing is ever groomed: footage is deleted after days = %s, before groom-after = %s", config.FormatDuration(p.Days), after), "groom-after shorter than days")
		}
	}
}
