package node

import (
	"fmt"
	"time"

	"media-server/core/config"
	"media-server/core/fault"
)

// neverGroomed warns of a groom-after that no stream's footage lives to see:
// with the dvr-duration that streams have by default 30d would do nothing.
func (s *Settings) neverGroomed() fault.Problems {
	var ps fault.Problems
	for _, p := range s.Archive.Pools {
		if p.GroomAfter == 0 {
			continue
		}
		streams, longest := 0, time.Duration(0)
		for _, st := range s.Streams {
			dvr := &st.Config.DVR
			if !dvr.Enable || !s.leadsTo(dvr.Pool, p.Name) {
				continue
			}
			if streams++; dvr.Duration == 0 || dvr.Duration > p.GroomAfter { // 0 = kept for ever
				streams = 0
				break
			}
			longest = max(longest, dvr.Duration)
		}
		if streams > 0 {
			ps.Add(fault.Problem{Level: fault.Warning, Where: "pool." + p.Name, Key: "groom-after",
				What: fmt.Sprintf("nothing is ever groomed: all %d streams of the pool are deleted after dvr-duration = %s or less, before groom-after = %s", streams, config.FormatDuration(longest), config.FormatDuration(p.GroomAfter)),
				Hint: "groom-after shorter than the streams' dvr-duration, or a longer dvr-duration"})
		}
	}
	if s.Keys == nil {
		return nil
	}
	return s.Keys.Locate(ps)
}

// leadsTo tells whether footage recorded in one pool comes to another.
func (s *Settings) leadsTo(from, to string) bool {
	for range s.Archive.Pools { // a circle is refused; here it only ends
		if from == to {
			return true
		}
		p, ok := s.Archive.Pool(from)
		if !ok || p.ArchiveTo == "" {
			return false
		}
		from = p.ArchiveTo
	}
	return false
}
