package harness

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// Verb runs a verb of the command line on the server's settings and returns
// the last line that it printed.
func (s *Server) Verb(args ...string) string {
	s.T.Helper()
	cmd := exec.Command(filepath.Join(Bin, "media-server"), append(args, "-c", s.Conf)...)
	out, err := cmd.Output()
	if err != nil {
		s.T.Fatalf("media-server %s: %v: %s", strings.Join(args, " "), err, out)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	return lines[len(lines)-1]
}
