package main

import (
	"fmt"
	"io"

	"media-server/core/web/api"
)

// printGroomings says how grooming goes, where there is any.
func printGroomings(out io.Writer, gs []api.Grooming) {
	for _, g := range gs {
		line := fmt.Sprintf("pool %s: groomed after %s, %s: %d files since the start, %s freed", g.Pool, g.After, g.State, g.Files, size(g.Freed))
		if g.DueFiles > 0 {
			line += fmt.Sprintf("; %d files wait, about %s to gain", g.DueFiles, size(g.DueGain))
		}
		if g.Why != "" {
			line += "; " + g.Why
		}
		fmt.Fprintln(out, line)
	}
}
