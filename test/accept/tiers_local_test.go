package accept

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// moveNow is what the tests read of GET moves.
type moveNow struct {
	From, To, State, Why string
	Stage                bool
	Files                int64
	Due                  int64 `json:"due_files"`
	Done                 int64 `json:"done_bytes"`
}

func moveOf(s *harness.Server, from, to string) (m moveNow) {
	var l struct{ Items []moveNow }
	_, _ = s.Call("GET", "moves", &l)
	for _, x := range l.Items {
		if x.From == from && x.To == to {
			m = x
		}
	}
	return m
}

// hours is archive-at for the hours around an instant.
func hours(at time.Time) string {
	return at.Add(-time.Hour).Format("15:04") + "-" + at.Add(time.Hour).Format("15:04")
}

// dated is a complete media file and the second in which it begins.
type dated struct {
	space, name string
	at          time.Time
}

// datedFiles lists the complete files of a stream, oldest first.
func datedFiles(t *testing.T, uid string, spaces map[string]string) (out []dated) {
	t.Helper()
	for space, dir := range spaces {
		for _, f := range harness.Files(dir) {
			if !strings.HasPrefix(f, uid+"/") {
				continue
			}
			at, err := time.Parse("2006-01-02/150405", strings.TrimPrefix(f[:strings.LastIndex(f, "-")], uid+"/"))
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			out = append(out, dated{space, f, at})
		}
	}
	slices.SortFunc(out, func(a, b dated) int { return strings.Compare(a.name, b.name) })
	return out
}

// TestTiersBetweenDisks: footage stays where it is recorded until it is old
// enough and the hour has come, then moves to a second disk while core and
// storage are killed; a pool with a stage hands its complete files on. Nothing is
// lost or doubled, and each pool lets go by days of its own, which count from
// the recording.
func TestTiersBetweenDisks(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ini := ""
	for _, space := range []string{"disk", "second", "fast", "slow"} {
		ini += "[space." + space + "]\npath = " + at(space) + "\n"
	}
	closed := "archive-at = " + hours(time.Now().Add(12*time.Hour))
	ini += "[pool.live]\nspaces = disk\narchive-to = cold\narchive-after = 3s\narchive-rate = 4M\ndelete-most = 100%\n" + closed + "\n;live\n" +
		"[pool.cold]\nspaces = second\ndelete-most = 100%\n;cold\n" +
		"[pool.late]\nspaces = slow\nstage = fast\n"
	s := harness.New(t, harness.Options{Ini: ini, Restart: "1s"})
	gate := harness.Camera{UID: "gate", Sent: s.Sim("gate", "bitrate=2M&audio=pcma", "dvr-chunk = 1s", "dvr-pool = live")}
	door := harness.Camera{UID: "door", Sent: s.Sim("door", "", "dvr-chunk = 1s", "dvr-pool = late")}
	s.Sim("yard", "", "dvr-chunk = 1s", "dvr-pool = live", "dvr-duration = 0")
	s.Start()
	footage(s, "gate", "door", "yard")

	// It is old enough, but the hour has not come.
	s.Until("the move to wait for its hour", func() bool { return moveOf(s, "live", "cold").State == "waiting" })
	until := strings.TrimPrefix(closed, "archive-at = ")
	if m := moveOf(s, "live", "cold"); m.Why != "until "+until || m.Due < 5 || len(harness.Files(at("second"))) > 0 {
		t.Errorf("out of hours: %+v; %v", m, harness.Files(at("second")))
	}
	out, _ := verb(t, "status", "-c", s.Conf)
	for _, want := range []string{"pool live: moved to pool cold, waiting: 0 files since the start", "files wait, ", "; until " + until, "pool late: moved from its stage, "} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	if m := moveOf(s, "late", "late"); !m.Stage || m.Files < 5 || len(harness.Files(at("slow"))) < 5 {
		t.Errorf("the stage: %+v, %d files in the space behind it", m, len(harness.Files(at("slow"))))
	}
	if staged := datedFiles(t, "door", map[string]string{"": at("fast")}); len(staged) > 5 {
		t.Errorf("%d complete files stay in the stage", len(staged))
	}

	// It comes; core and storage are killed on the way.
	open := "archive-at = " + hours(time.Now())
	edit(t, s, closed, open)
	s.Verb("reload")
	kills := 0
	for range harness.Pick(8, 1) {
		moving := func() {
			s.Until("a file to be on its way", func() bool { m := moveOf(s, "live", "cold"); return m.State == "moving" && m.Done > 0 })
			time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		}
		moving()
		s.KillPlugin("local")
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		s.Kill()
		s.Start()
		kills += 2
	}
	rules := ledger.Rules{To: s.Close("gate", "door"), Tail: -1, Gaps: map[string][]ledger.Gap{}}
	gate.Rules, door.Rules = rules, rules
	s.Until("all of gate to be moved", func() bool { return len(datedFiles(t, "gate", map[string]string{"": at("disk")})) == 0 })
	s.Until("all of door to leave the stage", func() bool { return len(datedFiles(t, "door", map[string]string{"": at("fast")})) == 0 })
	var lines []string
	for _, c := range []harness.Camera{gate, door} {
		for _, c.Door = range []string{"mp4", "hls"} {
			lines = append(lines, c.UID+" by "+c.Door+" "+s.Judge(c.UID+" by "+c.Door, s.Account(c)))
		}
	}
	if n := len(datedFiles(t, "gate", map[string]string{"": at("second")})); n < 8 {
		t.Errorf("%d files of gate in the second pool", n)
	}

	// Each pool has days of its own.
	edit(t, s, open, closed)
	s.Verb("reload")
	s.Until("some footage of yard to stay in the first pool", func() bool { return len(datedFiles(t, "yard", map[string]string{"": at("disk")})) > 5 })
	moved := datedFiles(t, "yard", map[string]string{"": at("second")})
	age := time.Since(moved[len(moved)/2].at).Round(time.Second)
	days := fmt.Sprintf("%.0fs", age.Seconds())
	told := s.Verb("retention", "preview", "--set", "pool.cold.days="+days)
	if !strings.Contains(told, "files, ") || strings.HasPrefix(told, "0 files") {
		t.Errorf("the preview says %q", told)
	}
	disks := map[string]string{"live": at("disk"), "cold": at("second")}
	before := datedFiles(t, "yard", disks)
	edit(t, s, ";live", "days = 4s")
	edit(t, s, ";cold", "days = "+days)
	early := time.Now()
	s.Verb("reload") // other days are looked at at once
	gone := func(f dated) bool { _, err := os.Stat(filepath.Join(disks[f.space], f.name)); return err != nil }
	var went, stay [2]int
	limit := map[string]time.Duration{"live": 4 * time.Second, "cold": age}
	index := map[string]int{"live": 0, "cold": 1}
	for i, f := range before[:len(before)-1] {
		end := before[i+1].at.Add(time.Second) // at the latest
		switch {
		case end.Before(early.Add(-limit[f.space])):
			s.Until(f.name+" to go from pool "+f.space, func() bool { return gone(f) })
			went[index[f.space]]++
		case f.space == "cold" && f.at.After(time.Now().Add(-limit["cold"])):
			stay[1]++
		}
	}
	for _, f := range before {
		// Whether it is there comes first: what grows too old meanwhile may go.
		if f.space == "cold" && gone(f) && f.at.After(time.Now().Add(-limit["cold"])) {
			t.Errorf("%s went from pool cold before its time", f.name)
		}
	}
	if went[0] == 0 || went[1] == 0 || stay[1] == 0 {
		t.Errorf("the test proves nothing: of the first pool %d went, of the second %d, and %d were to stay; %v", went[0], went[1], stay[1], before)
	}
	harness.Row(t, "footage moves to a second disk by age and hour, core and storage killed meanwhile", seed,
		"none before its hour; %d kills; %s; then by days of its own each: %d files of the first pool went at 4s, %d of the second at %v, %d younger ones of it stayed",
		kills, strings.Join(lines, "; "), went[0], went[1], age, stay[1])
}
