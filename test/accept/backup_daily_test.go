package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// logsIn tells how a login at the control panel is answered.
func logsIn(t *testing.T, s *harness.Server, user, password string) int {
	t.Helper()
	body, err := json.Marshal(map[string]string{"user": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.HTTP+"/cpanel/login", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", s.HTTP)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestDailyBackup: the daily backup comes by itself at its minute. A server that
// is set up anew beside it, with nothing but the folders of backups and footage,
// offers it; restored, streams, users, tokens and the events of before are back.
func TestDailyBackup(t *testing.T) {
	t.Parallel()
	settings := func(s *harness.Server, at string) {
		text := "[space.main]\npath = SPACE\n[pool.default]\nspaces = main\n[backup]\npath = BACKUPS\npassphrase = ${file:PASS}\nat = " + at + "\n"
		b, err := os.ReadFile(s.Conf)
		if err == nil {
			err = os.WriteFile(s.Conf, append(b, strings.NewReplacer("SPACE", filepath.Join(s.Dir, "footage"), "BACKUPS", filepath.Join(s.Dir, "backups"), "PASS", filepath.Join(s.Dir, "pass")).Replace(text)...), 0o644)
		}
		if err = errors.Join(err, os.WriteFile(filepath.Join(s.Dir, "pass"), []byte("a long winter's night\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s := harness.New(t, harness.Options{Restart: "1s", Linger: "1s"})
	ended := func() { s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 }) }
	plain, err := os.ReadFile(s.Conf)
	if err != nil {
		t.Fatal(err)
	}
	// The next minute but for one that is nearly there: a server that is not up
	// in time makes its backup a day later, as it should.
	at := time.Now().Truncate(time.Minute).Add(time.Minute)
	if time.Until(at) < 40*time.Second {
		at = at.Add(time.Minute)
	}
	settings(s, at.Format("15:04"))
	gate := harness.Camera{UID: "gate", Sent: s.Sim("gate", "", "dvr-chunk = 2s", "stream-name = North gate", "labels = critical, site:north")}
	s.PutText("_defaults", "[defaults]\ndvr-duration = 9d\n")
	s.Start()
	footage(s, "gate")
	if out, code := verbIn(t, "first and second thoughts", "passwd", "admin", "-c", s.Conf); code != 0 {
		t.Fatalf("passwd: exit %d\n%s", code, out)
	}
	s.Verb("token", "api", "--name", "of before", "--ttl", "0")
	if out, _ := verb(t, "status", "-c", s.Conf); !strings.Contains(out, "last backup: none yet") && time.Now().Before(at) {
		t.Errorf("status:\n%s", out)
	}
	var was harness.Stream
	var list struct {
		Items []struct {
			Name    string
			Own     bool
			Offered bool
			Made    int64 `json:"made_ms"`
		}
	}
	backups := func() int {
		if code, err := s.Call("GET", "backups", &list); err != nil || code != 200 {
			t.Errorf("backups: %d %v", code, err)
		}
		return len(list.Items)
	}
	if n := backups(); n != 0 && time.Now().Before(at) {
		t.Errorf("%d backups before their time", n)
	}
	time.Sleep(time.Until(at)) // the clock on the wall
	s.Until("the daily backup", func() bool { return backups() == 1 })
	made := time.UnixMilli(list.Items[0].Made)
	if late := made.Sub(at); late < 0 || late > 20*time.Second || !list.Items[0].Own {
		t.Errorf("set for %s, made %v later: %+v", at.Format("15:04"), late, list.Items)
	}
	file := filepath.Join(s.Dir, "backups", list.Items[0].Name)
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm()&0o077 != 0 {
		t.Errorf("the backup: %v %v", fi, err)
	}
	if out, _ := verb(t, "backup", "list", "-c", s.Conf); !strings.Contains(out, file) || !strings.Contains(out, "this one") || !strings.Contains(out, made.Format("2006-01-02 15:04:05")) {
		t.Errorf("backup list:\n%s", out)
	}
	s.Until("an event and the status to tell it", func() bool {
		out, _ := verb(t, "status", "-c", s.Conf)
		es := s.Events("server.backup")
		return len(es) == 1 && es[0].Data["file"] == file && strings.Contains(out, "last backup: "+made.Format("2006-01-02 15:04")) && strings.Contains(out, filepath.Base(file))
	})
	was = s.Stream("gate")
	started := len(s.Events("server.started"))
	gate.Rules.To, gate.Rules.Tail = time.Now().Add(-2*time.Second).UnixNano(), -1
	s.Past(time.Now().UnixMilli(), "gate")
	s.Stop()
	ended()

	// Set up anew: data, streams and settings are those of a fresh install.
	err = errors.Join(os.RemoveAll(s.Data), os.Mkdir(s.Data, 0o755), os.RemoveAll(s.Streams), os.Mkdir(s.Streams, 0o755), os.WriteFile(s.Conf, plain, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	settings(s, "03:00")
	s.Start()
	offered := false
	for _, p := range s.Problems() {
		offered = offered || strings.Contains(p.What, "started anew, and there is a backup: "+file) && strings.Contains(p.Hint, "media-server restore "+file)
	}
	if !offered {
		t.Errorf("beside the backup it says %v", s.Problems())
	}
	if backups(); len(list.Items) != 1 || !list.Items[0].Offered {
		t.Errorf("the list of the new one: %+v", list.Items)
	}
	if out, _ := verb(t, "problems", "-c", s.Conf); !strings.Contains(out, "media-server restore "+file) {
		t.Errorf("problems:\n%s", out)
	}
	if got := logsIn(t, s, "admin", "first and second thoughts"); got != 401 {
		t.Errorf("the password of before at a fresh install: %d", got)
	}
	if st := s.Stream("gate"); st.UID != "" && !st.Removed {
		t.Errorf("the test proves nothing: gate is there: %+v", st)
	}
	if out, code := verb(t, "restore", file, "-c", s.Conf); code == 0 || !strings.Contains(out, "stop it first") {
		t.Errorf("restored under a running server: exit %d\n%s", code, out)
	}
	s.Stop()
	ended()
	if out, code := verb(t, "restore", file, "-c", s.Conf); code == 0 || !strings.Contains(out, "say --yes") {
		t.Errorf("restored without a yes: exit %d\n%s", code, out)
	}
	out, code := verb(t, "restore", "--yes", file, "-c", s.Conf)
	if code != 0 || !strings.Contains(out, "left as it is: ") || !strings.Contains(out, filepath.Base(s.Conf)) {
		t.Fatalf("restore: exit %d\n%s", code, out)
	}
	since := time.Now()
	s.Start()
	now := s.Stream("gate")
	if fmt.Sprint(now.Settings) != fmt.Sprint(was.Settings) || now.Settings["dvr-duration"] != "9d" {
		t.Errorf("settings of gate were %v, are %v", was.Settings, now.Settings)
	}
	if got := logsIn(t, s, "admin", "first and second thoughts"); got != 200 {
		t.Errorf("the password of before: %d", got)
	}
	var tokens struct{ Items []struct{ Name string } }
	if _, err := s.Call("GET", "tokens", &tokens); err != nil || !strings.Contains(fmt.Sprint(tokens.Items), "of before") {
		t.Errorf("tokens: %v %v", tokens.Items, err)
	}
	s.Until("the journal to know the starts of before", func() bool { return len(s.Events("server.started")) == started+1 })
	for _, p := range s.Problems() {
		if strings.Contains(p.What, "there is a backup") {
			t.Errorf("what was restored is offered on: %v", p)
		}
	}
	s.Past(since.UnixMilli()+2000, "gate")
	line := s.Judge("gate", s.Account(gate))
	harness.Row(t, "the daily backup, restored after a fresh install", 0, "made by itself at %s, offered by the fresh install, restored: stream, defaults, password, token and journal are back; its footage never left: %s", at.Format("15:04"), line)
}
