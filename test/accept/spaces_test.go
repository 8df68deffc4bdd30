package accept

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// TestDiskNotMounted: a server starts while its disk is not mounted. Nothing is
// written into the empty mount point, somebody is told what to do, and when the
// disk comes recording begins and the footage is there, without a restart.
func TestDiskNotMounted(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s", Linger: "2s", Ini: "[space.main]\npath = SPACE\n"})
	mount := filepath.Join(s.Dir, "mount")
	text, err := os.ReadFile(s.Conf)
	if err == nil {
		err = os.WriteFile(s.Conf, []byte(strings.Replace(string(text), "SPACE", mount, 1)), 0o644)
	}
	if err == nil {
		err = os.Mkdir(mount, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := harness.Camera{UID: "gate", Sent: s.Sim("gate", "", "dvr-chunk = 2s")}
	s.Start()
	footage(s, "gate")
	time.Sleep(4 * time.Second)
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	disk := filepath.Join(s.Dir, "disk")
	if err := os.Rename(mount, disk); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	s.Start()
	var told harness.Problem
	s.Until("the loss to be told", func() bool {
		for _, p := range s.Problems() {
			if p.Where == "space main" {
				told = p
			}
		}
		return told.Hint != ""
	})
	if !strings.Contains(told.Hint, "mount") {
		t.Errorf("told %v", told)
	}
	time.Sleep(2 * time.Second)
	if left, err := os.ReadDir(mount); err != nil || len(left) != 0 {
		t.Errorf("in the empty mount point there is %v %v", left, err)
	}
	if err := os.Remove(mount); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(disk, mount); err != nil { // mounted
		t.Fatal(err)
	}
	back := time.Now()
	s.Past(back.UnixMilli()+4000, "gate")
	s.Until("the problem to be over", func() bool {
		for _, p := range s.Problems() {
			if p.Where == "space main" {
				return false
			}
		}
		return true
	})
	c.Rules.To, c.Rules.Tail, c.Rules.GapSlack = s.Close("gate"), -1, 250*time.Millisecond
	c.Rules.From = back.Add(2 * time.Second).UnixNano()
	c.Rules.Gaps = map[string][]ledger.Gap{}
	harness.Row(t, "disk not mounted at the start", 0, "says %q; nothing written into the empty folder; once it is mounted %s", told.What, s.Judge("gate", s.Account(c)))
}
