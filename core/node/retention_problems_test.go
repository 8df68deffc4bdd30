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

// TestKeepProblem: a stream that is not kept as promised is one problem, with
// what would keep it longer.
func TestKeepProblem(t *testing.T) {
	at, day := time.UnixMilli(5000), 24*time.Hour
	for _, c := range []struct {
		name, says, hint string
		k                archive.KeepAlarm
	}{
		{"a disk too small", "3.0 days, by overwrite-free; dvr-keep promises 5.0 days", "add a space to pool p", archive.KeepAlarm{By: "overwrite-free", Pool: "p", Kept: 3 * day, Keep: 5 * day, Risk: at}},
		{"the pool's days", "by days;", "raise days in [pool.p]", archive.KeepAlarm{By: "days", Pool: "p", Kept: 3 * day, Keep: 5 * day, Risk: at}},
		{"capacity", "by dvr-capacity;", "raise dvr-capacity", archive.KeepAlarm{By: "dvr-capacity", Kept: 3 * day, Keep: 5 * day, Risk: at}},
		{"broken", "footage went earlier than dvr-keep promises", "add a space", archive.KeepAlarm{Broken: at}},
		{"both", "went earlier than dvr-keep promises; footage will be kept for 3.0 days", "raise dvr-duration", archive.KeepAlarm{By: "dvr-duration", Kept: 3 * day, Keep: 5 * day, Risk: time.UnixMilli(9), Broken: at}},
	} {
		c.k.UID = "gate"
		p := keepProblem(&c.k)
		if !strings.Contains(p.What, c.says) || !strings.Contains(p.Hint, c.hint) || p.UID != "gate" || p.Since != 5000 {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
}
