package accept

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// TestBackup: a backup made while streams record brings accounts, locks and
// keys back to a server that lost its data folder; the footage needed none.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s", Linger: "2s", Ini: "[pool.default]\nspaces = main\nsign = true\n[space.main]\npath = SPACE\n[backup]\npath = BACKUPS\npassphrase = ${file:PASS}\n"})
	space, backups, pass := filepath.Join(s.Dir, "footage"), filepath.Join(s.Dir, "backups"), filepath.Join(s.Dir, "pass")
	text, err := os.ReadFile(s.Conf)
	if err == nil {
		text = []byte(strings.NewReplacer("SPACE", space, "BACKUPS", backups, "PASS", pass).Replace(string(text)))
		err = errors.Join(os.WriteFile(s.Conf, text, 0o644), os.WriteFile(pass, []byte("a long winter's night\n"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	c := harness.Camera{UID: "gate", Sent: s.Sim("gate", "", "dvr-chunk = 2s")}
	s.Start()
	footage(s, "gate")
	time.Sleep(5 * time.Second)
	s.Verb("lock", "add", "gate", "--from=-4s", "--to=now", "--reason", "case 12")
	public, _ := verb(t, "keys", "public", "-c", s.Conf)
	out, _ := verb(t, "status", "-c", s.Conf)
	for _, want := range []string{"last backup: none yet; media-server backup\n", "locks: 1\n", "signing: key ", "; not saved elsewhere yet: media-server keys export -o FILE\n", "encryption: off, no keys\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("status before any backup lacks %q: %s", want, out)
		}
	}
	if out, _ := verb(t, "status", "gate", "-c", s.Conf); !strings.Contains(out, "  last frame 20") || !strings.Contains(out, "  recording  yes, continuous") || !strings.Contains(out, "  free days  ") {
		t.Errorf("status of a stream: %s", out)
	}
	file := s.Verb("backup")
	if out, _ := verb(t, "status", "-c", s.Conf); !strings.Contains(out, "last backup: "+time.Now().Format("2006-01-02")) || !strings.Contains(out, " s ago), ") || !strings.Contains(out, filepath.Base(file)+" in "+filepath.Dir(file)) {
		t.Errorf("status after the backup %s: %s", file, out)
	}
	since := time.Now().UnixMilli()
	s.Past(since+2000, "gate")
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })

	if err := os.RemoveAll(s.Data); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	s.Start() // as whoever does not know of the backup
	offered := func() (is bool) {
		for _, p := range s.Problems() {
			is = is || strings.Contains(p.Hint, "restore "+file)
		}
		return is
	}
	if !offered() {
		t.Errorf("a server that starts anew beside a backup says %v", s.Problems())
	}
	own := s.Verb("backup")
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	s.Start()
	if !offered() {
		t.Errorf("started again, with a backup of its own, it says %v", s.Problems())
	}
	if out, _ := verb(t, "backup", "list", "-c", s.Conf); strings.Count(out, "offered") != 1 || strings.Count(out, "this one") != 1 || !strings.Contains(out, file) || !strings.Contains(out, own) {
		t.Errorf("the list of backups: %s", out)
	}
	s.Verb("backup", "dismiss")
	if offered() {
		t.Error("what was dismissed is offered on")
	}
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	s.Start()
	if offered() {
		t.Error("what was dismissed is offered by the next start")
	}
	if got, _ := verb(t, "keys", "public", "-c", s.Conf); got == public {
		t.Fatal("the test proves nothing: the key came from elsewhere")
	}
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	s.Verb("restore", "--yes", file)
	s.Start()
	var locks struct {
		Items []struct{ Reason string } `json:"items"`
	}
	if _, err := s.Call("GET", "streams/gate/locks", &locks); err != nil || len(locks.Items) != 1 || locks.Items[0].Reason != "case 12" {
		t.Errorf("locks after the restore: %v %v", locks, err)
	}
	// What was signed in between needs its key as well.
	if got, _ := verb(t, "keys", "public", "-c", s.Conf); !strings.Contains(got, public) {
		t.Errorf("public key after the restore %s, before %s", got, public)
	}
	back := time.Now().UnixMilli()
	s.Past(back+2000, "gate")
	// Lost once more, and restored before any server starts there: the disk has
	// noted more starts of this node than the backup knows of.
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	if err := errors.Join(os.RemoveAll(s.Data), os.Mkdir(s.Data, 0o755)); err != nil {
		t.Fatal(err)
	}
	s.Verb("restore", "--yes", file)
	s.Start()
	if _, err := s.Call("GET", "streams/gate/locks", &locks); err != nil || len(locks.Items) != 1 {
		t.Errorf("locks after the second restore: %v %v", locks, err)
	}
	back = time.Now().UnixMilli()
	s.Past(back+2000, "gate")
	c.Rules.To, c.Rules.Tail, c.Rules.GapSlack = s.Close("gate"), -1, 250*time.Millisecond
	harness.Row(t, "backup and restore", 0, "twice, beside the disk it left and before any server had started: lock and key are back, the footage never left: %s", s.Judge("gate", s.Account(c)))
}
