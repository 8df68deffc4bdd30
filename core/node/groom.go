package node

import (
	"fmt"

	"media-server/core/config"
	"media-server/core/web/api"
)

// Groomings implements api.Groomings.
func (b backend) Groomings() (out []api.Grooming) {
	for _, g := range b.n.archive.Groomings() {
		x := api.Grooming{Pool: g.Pool, After: config.FormatDuration(g.After), State: g.State, Why: g.Why, Files: g.Files, Freed: g.Bytes, Failures: g.Failures, Damaged: g.Damaged,
			DueFiles: g.DueFiles, DueBytes: g.DueBytes, DueGain: g.DueGain, UID: g.UID, Done: g.Done, Size: g.Size}
		if g.File != 0 {
			x.File = g.File.String()
		}
		out = append(out, x)
	}
	return out
}

// groomProblems are pools whose footage cannot be groomed, and damage that was
// found on the way.
func (b backend) groomProblems() (out []api.Problem) {
	for _, g := range b.n.archive.Groomings() {
		if g.State == "failing" {
			out = append(out, api.Problem{Level: "warning", Where: "pool " + g.Pool,
				What: fmt.Sprintf("%d MB wait to be groomed: %s", g.DueBytes>>20, g.Why),
				Hint: "footage stays whole and is tried again; see the spaces of the pool"})
		}
		if g.Damaged > 0 {
			out = append(out, api.Problem{Level: "warning", Where: "pool " + g.Pool,
				What: fmt.Sprintf("%d files are damaged and are not groomed", g.Damaged),
				Hint: "media-server events names them; look at the disk"})
		}
	}
	return out
}
