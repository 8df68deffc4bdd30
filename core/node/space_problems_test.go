package node

import (
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
)

// TestSpaceProblem: each trouble of a space is one problem, the worst of them.
func TestSpaceProblem(t *testing.T) {
	low := time.UnixMilli(5000)
	for _, c := range []struct {
		name  string
		s     archive.SpaceStatus
		level string // "" = nothing ails it
		says  string
	}{
		{"well", archive.SpaceStatus{State: archive.SpaceNormal}, "", ""},
		{"low", archive.SpaceStatus{State: archive.SpaceNormal, Low: low, AlarmFree: 10 << 20, Usage: archive.Usage{Total: 100 << 20, Free: 3 << 20}}, "warning", "3 of 100 MB are free, less than alarm-free (10 MB)"},
		{"low while it is read", archive.SpaceStatus{State: archive.SpaceScanning, Low: low}, "warning", "alarm-free"},
		{"full and low", archive.SpaceStatus{State: archive.SpaceFull, Low: low}, "error", "full"},
	} {
		p, ails := spaceProblem(c.s)
		switch {
		case ails != (c.level != ""):
			t.Errorf("%s: %t, %+v", c.name, ails, p)
		case !ails:
		case p.Level != c.level || !strings.Contains(p.What, c.says) || p.Hint == "":
			t.Errorf("%s: %+v", c.name, p)
		case c.level == "warning" && p.Since != 5000:
			t.Errorf("%s: since %d", c.name, p.Since)
		}
	}
}
