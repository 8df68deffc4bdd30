package node

import (
	"fmt"

	"media-server/core/web/api"
)

// Moves implements api.Moves.
func (b backend) Moves() (out []api.Move) {
	for _, m := range b.n.archive.Moves() {
		x := api.Move{From: m.From, To: m.To, Stage: m.Stage, State: m.State, Why: m.Why, Files: m.Files, Bytes: m.Bytes, Failures: m.Failures,
			DueFiles: m.DueFiles, DueBytes: m.DueBytes, UID: m.UID, Done: m.Done, Size: m.Size}
		if m.File != 0 {
			x.File = m.File.String()
		}
		out = append(out, x)
	}
	return out
}

// moveProblems are pools that footage cannot be moved to.
func (b backend) moveProblems() (out []api.Problem) {
	for _, m := range b.n.archive.Moves() {
		if m.State == "failing" {
			out = append(out, api.Problem{Level: "warning", Where: "pool " + m.To,
				What: fmt.Sprintf("%d MB of pool %s wait to be moved: %s", m.DueBytes>>20, m.From, m.Why),
				Hint: "footage stays where it is and is tried again; see the spaces of the pool"})
		}
	}
	return out
}
