package main

import (
	"fmt"
	"io"

	"media-server/core/web/api"
)

// printMoves says how moving footage between pools goes, where there is any.
func printMoves(out io.Writer, ms []api.Move) {
	for _, m := range ms {
		what := fmt.Sprintf("pool %s: moved to pool %s", m.From, m.To)
		if m.Stage {
			what = fmt.Sprintf("pool %s: moved from its stage", m.To)
		}
		line := fmt.Sprintf("%s, %s: %d files since the start, %s", what, m.State, m.Files, size(m.Bytes))
		if m.DueFiles > 0 {
			line += fmt.Sprintf("; %d files wait, %s", m.DueFiles, size(m.DueBytes))
		}
		if m.Failures > 0 {
			line += fmt.Sprintf("; failed %d times", m.Failures)
		}
		if m.Why != "" {
			line += "; " + m.Why
		}
		fmt.Fprintln(out, line)
	}
}
