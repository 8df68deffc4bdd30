package node

import (
	"fmt"
	"slices"
	"strings"

	"media-server/core/config"
	"media-server/core/fault"
)

// UnknownStorage warns of spaces whose driver no plugin is; known are the storage
// plugins found. No error: a plugin may come later.
func (s *Settings) UnknownStorage(known []string) fault.Problems {
	var ps fault.Problems
	for _, sp := range s.Archive.Spaces {
		if slices.Contains(known, sp.Driver) {
			continue
		}
		hint := "install its plugin in [server] plugins-dir; storage drivers there: " + strings.Join(known, ", ")
		if n := config.Nearest(sp.Driver, known); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		ps.Add(fault.Problem{Level: fault.Warning, Where: "space." + sp.Name, Key: "driver", What: fmt.Sprintf("there is no storage driver %q", config.Name(sp.Driver)), Hint: hint})
	}
	return s.Keys.Locate(ps)
}
