package main

import (
	"fmt"

	"media-server/core/web/api"
)

// printGroomings says how grooming goes, where there is any.
func printGroomings(cl *client) {
	var gs struct{ Items []api.Grooming }
	if err := cl.do("GET", "/api/v1/groomings", nil, &gs); err != nil {
		return // of an older server
	}
	for _, g := range gs.Items {
		line := fmt.Sprintf("pool %s: groomed after %s, %s: %d files since the start, %s freed", g.Pool, g.After, g.State, g.Files, size(g.Freed))
		if g.DueFiles > 0 {
			line += fmt.Sprintf("; %d files wait, about %s to gain", g.DueFiles, size(g.DueGain))
		}
		if g.Why != "" {
			line += "; " + g.Why
		}
		fmt.Println(line)
	}
}
