package node

import (
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/web/api"
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

// TestHeldSpaceProblem: what a limit would delete comes with how to let it.
func TestHeldSpaceProblem(t *testing.T) {
	p := heldSpaceProblem(&api.HeldBack{Space: "main", Why: "size-limit", Goes: 900 << 20, Bytes: 1000 << 20, Since: 5000})
	if p.Where != "space main" || !strings.Contains(p.What, "size-limit would delete 900 of 1000 MB") || !strings.HasSuffix(p.Hint, "retention confirm --space main") || p.Since != 5000 {
		t.Errorf("%+v", p)
	}
}

// TestTryLimits: what can be tried of pools and spaces in a preview.
func TestTryLimits(t *testing.T) {
	ch := archive.Changes{Days: map[string]time.Duration{}, Groom: map[string]time.Duration{}, OverwriteFree: map[string]archive.Threshold{}, Overwrite: map[string]bool{}}
	for k, v := range map[string]string{"days": "3d", "groom-after": "30d", "overwrite-free": "90%", "overwrite": "false"} {
		if err := tryPool(&ch, "p", k, v); err != nil {
			t.Errorf("%s = %s: %v", k, v, err)
		}
	}
	if no, ok := ch.Overwrite["p"]; ch.Days["p"] != 72*time.Hour || ch.OverwriteFree["p"].Percent != 90 || no || !ok {
		t.Errorf("%+v", ch)
	}
	l := archive.Limits{Reserve: archive.Threshold{Bytes: 5}}
	if err := tryLimit(&l, "size-limit", "1G"); err != nil || l.Size.Bytes != 1<<30 || l.Reserve.Bytes != 5 {
		t.Errorf("%+v %v", l, err)
	}
	if err := tryLimit(&l, "reserve", "60%"); err != nil || l.Reserve.Percent != 60 || l.Reserve.Bytes != 0 {
		t.Errorf("%+v %v", l, err)
	}
	for _, err := range []error{tryPool(&ch, "p", "overwrite", "maybe"), tryPool(&ch, "p", "overwrite-free", "much"), tryPool(&ch, "p", "spaces", "a"), tryLimit(&l, "path", "/a"), tryLimit(&l, "reserve", "much")} {
		if err == nil {
			t.Error("what cannot be tried was taken")
		}
	}
}
