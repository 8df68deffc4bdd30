package main

import (
	"fmt"
	"io"
	"strings"

	"media-server/core/web/api"
)

// printSpaces writes a line for each space: how it is, how far what it is busy
// with has come, what is free, and what to do where something is wrong.
func printSpaces(w io.Writer, spaces []api.SpaceStatus) {
	for _, s := range spaces {
		var b strings.Builder
		fmt.Fprintf(&b, "space %s: %s", s.Name, s.State)
		if s.Found > 0 {
			fmt.Fprintf(&b, " %.0f%% (%d of %d files)", s.Progress*100, s.Done, s.Found)
		}
		fmt.Fprintf(&b, ", %s of %s free", size(s.Free), size(s.Total))
		switch len(s.Pools) {
		case 0:
			b.WriteString(", in no pool")
		case 1:
			b.WriteString(", pool " + s.Pools[0])
		default:
			fmt.Fprintf(&b, ", %d pools", len(s.Pools))
		}
		if s.Leaving {
			b.WriteString(", goes once it is empty")
		}
		if s.Why != "" {
			b.WriteString(": " + s.Why)
		}
		if s.Hint != "" {
			b.WriteString("; " + s.Hint)
		}
		fmt.Fprintln(w, b.String())
	}
}
