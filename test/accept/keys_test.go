package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// verbIn is verb with a line on standard input.
func verbIn(t *testing.T, line string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(harness.Bin, "media-server"), args...)
	cmd.Stdin = strings.NewReader(line + "\n")
	b, err := cmd.CombinedOutput()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e != nil {
		code = e.ExitCode()
	}
	return string(b), code
}

// door is what somebody who asks for footage is answered.
type door struct {
	name   string
	status int    // of an export its exit
	body   string // what it was told, or given
}

// doorsOf asks for a range of a stream in every way there is; of HLS for a
// segment, where a playlist lists one.
func doorsOf(t *testing.T, s *harness.Server, uid string, span harness.Span) (out []door) {
	t.Helper()
	ask := func(name, path string) string {
		status, body := s.Get(s.HTTP + path)
		out = append(out, door{name, status, body})
		return body
	}
	q := fmt.Sprintf("?from=%d&to=%d", span.From, span.To)
	ask("record.mp4", "/dvr/"+uid+"/record.mp4"+q)
	ask("videoshot.mp4", fmt.Sprintf("/dvr/%s/videoshot.mp4?time=%d", uid, span.From+500))
	list := ask("playlist.m3u8", "/dvr/"+uid+"/playlist.m3u8"+q)
	base, _ := url.Parse("/dvr/" + uid + "/playlist.m3u8")
	for depth := 0; depth < 2 && out[len(out)-1].status == 200; depth++ {
		i := slices.IndexFunc(strings.Split(list, "\n"), func(l string) bool { return l != "" && l[0] != '#' })
		if i < 0 {
			break
		}
		next, err := base.Parse(strings.Split(list, "\n")[i])
		if err != nil {
			t.Fatal(err)
		}
		base = next
		list = ask("HLS "+filepath.Base(base.Path), base.RequestURI())
	}
	file := filepath.Join(t.TempDir(), "export.mp4")
	said, code := verb(t, "export", uid, "-c", s.Conf, "--from", fmt.Sprint(span.From), "--to", fmt.Sprint(span.To), "-o", file)
	if b, err := os.ReadFile(file); err == nil {
		said += string(b)
	}
	return append(out, door{"export", code, said}, background(t, s, uid, span))
}

// background asks for an export that is made in the background.
func background(t *testing.T, s *harness.Server, uid string, span harness.Span) door {
	t.Helper()
	var x exported
	status, err := s.Send("POST", "exports", fmt.Sprintf(`{"uid":%q,"from":%d,"to":%d}`, uid, span.From, span.To), &x)
	if err != nil {
		return door{"exports", status, err.Error()}
	}
	s.Until("the export to be over", func() bool {
		_, err = s.Call("GET", "exports/"+x.ID, &x)
		return err != nil || x.State != "queued" && x.State != "running"
	})
	b, readErr := os.ReadFile(filepath.Join(s.Data, "exports", x.FileName))
	if err != nil || readErr != nil || x.State != "done" {
		return door{"exports", 0, fmt.Sprintf("%v %v %+v", err, readErr, x)}
	}
	return door{"exports", 200, string(b)}
}

// opens wants footage through every door.
func opens(t *testing.T, s *harness.Server, when, uid string, span harness.Span) {
	t.Helper()
	ds := doorsOf(t, s, uid, span)
	for _, d := range ds {
		if d.name == "export" && d.status != 0 || d.name != "export" && d.status != 200 || len(d.body) < 100 {
			t.Errorf("%s: %s of %s: %d, %d bytes, %.200s", when, d.name, uid, d.status, len(d.body), d.body)
		}
	}
	if len(ds) < 5 {
		t.Errorf("%s: %s has only %d doors", when, uid, len(ds))
	}
}

// shut wants every door to say why there is no footage, and no picture behind
// any.
func shut(t *testing.T, s *harness.Server, when, uid string, span harness.Span, status int, why string) {
	t.Helper()
	refused := 0
	for _, d := range doorsOf(t, s, uid, span) {
		switch {
		case strings.Contains(d.body, "MSL1:"), strings.Contains(d.body, "mdat"):
			t.Errorf("%s: %s of %s gives footage", when, d.name, uid)
		case strings.HasSuffix(d.name, ".m3u8") && d.status == 200: // its segments say it
		case d.name == "export" && d.status == 1 && len(d.body) > 0, d.status == status && strings.Contains(d.body, why):
			refused++
		default:
			t.Errorf("%s: %s of %s: %d %.300s", when, d.name, uid, d.status, d.body)
		}
	}
	if refused < 4 {
		t.Errorf("%s: only %d doors of %s are shut", when, refused, uid)
	}
}

// TestKeysMoveAndDie: encrypted footage of another installation is unreadable
// until its keys are imported, and is then the same to the byte, through a
// rotation too; the key of a day that is over can be destroyed, and nobody reads
// that day again, whatever is restarted, rebuilt or imported.
func TestKeysMoveAndDie(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	const day = "2026-11-28"
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(root, "testdata", "encrypted-day"))); err != nil {
		t.Fatal(err)
	}
	media := filepath.Join(data, "media")
	encrypts := "[pool.default]\nspaces = main\nsign = true\nencrypt = true\n[backup]\nat =\n"
	old := harness.New(t, harness.Options{Data: data, Linger: "1s", Ini: encrypts + "[space.main]\npath = " + media + "\n"})
	uids := []string{"gate", "yard", "door"}
	off := func(s *harness.Server, uids ...string) {
		for _, uid := range uids {
			s.Put(uid, "stream-url = sim://", "stream-access = public", "stream-enable = false", "dvr-duration = 0")
		}
	}
	off(old, "gate", "yard")
	old.Sim("door", "", "dvr-chunk = 2s", "dvr-duration = 0")
	old.Start()
	footage(old, uids...)
	time.Sleep(3 * time.Second) // real cameras take real time
	old.Close("door")
	was, span := map[string]string{}, map[string]harness.Span{}
	for _, uid := range uids {
		r := old.Footage(uid).Ranges
		if len(r) != 1 {
			t.Fatalf("%s: %+v", uid, r)
		}
		span[uid] = r[0]
		was[uid] = fetch(t, old, uid, r[0].From, r[0].To)
		opens(t, old, "where it was recorded", uid, r[0])
	}
	file := filepath.Join(old.Dir, "saved.keys")
	if out, code := verbIn(t, "moved house", "keys", "export", "-c", old.Conf, "-o", file); code != 0 {
		t.Fatalf("keys export: exit %d\n%s", code, out)
	}
	old.Stop()
	old.Until("the plugins to end", func() bool { return len(old.Processes()) == 0 })

	// On another machine.
	s := harness.New(t, harness.Options{Linger: "1s", Ini: encrypts + "[space.main]\npath = MEDIA\n"})
	edit(t, s, "MEDIA", filepath.Join(s.Dir, "own"))
	off(s, uids...)
	s.Sim("own", "codec=none", "dvr-chunk = 2s")
	s.Start()
	footage(s, "own")
	must(t, s, 201, "POST", "spaces", fmt.Sprintf(`{"name":"old","path":%q}`, media))
	must(t, s, 202, "POST", "spaces/old/restore", "")
	s.Until("the footage to be listed", func() bool {
		return !slices.ContainsFunc(uids, func(uid string) bool { return len(s.Footage(uid).Ranges) == 0 })
	})
	strange := func() bool {
		return slices.ContainsFunc(s.Problems(), func(p harness.Problem) bool {
			return strings.Contains(p.What, "keys that this server does not have") && strings.Contains(p.Hint, "keys import FILE")
		})
	}
	s.Until("a problem to name the keys", strange)
	for _, uid := range uids {
		shut(t, s, "before the import", uid, span[uid], 503, "no_key")
	}
	if out, code := verbIn(t, "another word", "keys", "import", "-c", s.Conf, file); code != 1 || !strings.Contains(out, "passphrase") {
		t.Errorf("import with a wrong passphrase: exit %d\n%s", code, out)
	}
	out, code := verbIn(t, "moved house", "keys", "import", "-c", s.Conf, file)
	if code != 0 || !strings.Contains(out, "3 keys of encrypted footage and 1 public keys were taken over") {
		t.Fatalf("keys import: exit %d\n%s", code, out)
	}
	readable := func(when string, uids ...string) {
		t.Helper()
		for _, uid := range uids {
			opens(t, s, when, uid, span[uid])
			if now := fetch(t, s, uid, span[uid].From, span[uid].To); now != was[uid] {
				t.Errorf("%s: record.mp4 of %s has %d bytes, had %d, or others", when, uid, len(now), len(was[uid]))
			}
		}
	}
	readable("after the import", uids...)
	s.Until("the problem to be over", func() bool { return !strange() })
	if out, code = verb(t, "verify", "-c", s.Conf, "gate", "yard", "door"); code != 0 || !strings.Contains(out, " 0 findings") || !strings.Contains(out, "of 0 of them the units were not looked into") {
		t.Errorf("verify: exit %d\n%s", code, out)
	}

	// Another master key.
	before, _ := verb(t, "keys", "list", "-c", s.Conf)
	if out, code = verb(t, "keys", "rotate", "--only=encryption", "-c", s.Conf); code != 0 || strings.Contains(before, out[:16]) {
		t.Errorf("keys rotate: exit %d\n%s", code, out)
	}
	s.Kill()
	s.Start()
	footage(s, uids...)
	readable("behind a rotation and a crash", uids...)

	// A day dies.
	destroy := func(uid string, more ...string) (string, int) {
		return verb(t, append([]string{"keys", "destroy", uid, day, "-c", s.Conf, "--yes"}, more...)...)
	}
	s.Verb("lock", "add", "gate", "--from", fmt.Sprint(span["gate"].From), "--to", fmt.Sprint(span["gate"].To), "--reason", "case 12")
	if out, code = destroy("gate"); code != 1 || !strings.Contains(out, `for "case 12"`) || !strings.Contains(out, "destroy with force") {
		t.Errorf("destroyed though it is locked: exit %d\n%s", code, out)
	}
	s.Verb("lock", "remove", "gate", locksOf(s, "gate")[0].ID)
	must(t, s, 409, "POST", "keys/destroy", `{"uid":"gate","day":"`+day+`"}`, "UID 2006-01-02", "unreadable for ever")
	if out, code = verbIn(t, "gate", "keys", "destroy", "gate", day, "-c", s.Conf); code != 1 || !strings.Contains(out, "nothing was destroyed") {
		t.Errorf("not confirmed: exit %d\n%s", code, out)
	}
	if out, code = verb(t, "keys", "destroy", "door", time.Now().UTC().Format("2006-01-02"), "-c", s.Conf, "--yes"); code != 1 || !strings.Contains(out, "not over") {
		t.Errorf("today's key: exit %d\n%s", code, out)
	}
	readable("before it is confirmed", "gate")
	if out, code = verbIn(t, "gate "+day, "keys", "destroy", "gate", day, "-c", s.Conf); code != 0 || !strings.Contains(out, "1 keys of gate for "+day+" are destroyed, 2 files cannot be read any more") {
		t.Fatalf("keys destroy: exit %d\n%s", code, out)
	}
	dead := func(when string) {
		t.Helper()
		shut(t, s, when, "gate", span["gate"], 410, "key_destroyed")
		if status, body := s.Get(s.HTTP + "/live/gate/preview.mp4"); status == 200 {
			t.Errorf("%s: the newest picture is given out, %d bytes", when, len(body))
		}
		f := s.Footage("gate")
		if len(f.Ranges) > 0 {
			t.Errorf("%s: ranges %+v", when, f.Ranges)
		}
		ranges := struct{ Gaps []harness.Span }{}
		_, body := s.Get(fmt.Sprintf("%s/dvr/gate/ranges.json?from=%d&to=%d", s.HTTP, span["gate"].From-1000, span["gate"].To+1000))
		if err := json.Unmarshal([]byte(body), &ranges); err != nil || len(ranges.Gaps) != 1 || ranges.Gaps[0].Why != "key_destroyed" || ranges.Gaps[0].From > span["gate"].From || ranges.Gaps[0].To < span["gate"].To {
			t.Errorf("%s: gaps %s", when, body)
		}
		readable(when, "yard", "door")
	}
	dead("destroyed")
	if out, _ := verb(t, "why", "gate", "-c", s.Conf, "--at", fmt.Sprint(span["gate"].From+1000)); !strings.Contains(out, "the key of this day's footage was destroyed") || !strings.Contains(out, "keys list") {
		t.Errorf("why:\n%s", out)
	}
	if list, _ := verb(t, "keys", "list", "-c", s.Conf); !strings.Contains(list, "of gate for "+day+"  destroyed ") || !strings.Contains(list, " by root, control socket") {
		t.Errorf("keys list:\n%s", list)
	}
	s.Until("an event to tell it", func() bool {
		return slices.ContainsFunc(s.Events("record.key_destroyed"), func(e harness.Event) bool {
			return e.UID == "gate" && e.Data["day"] == day && strings.Contains(fmt.Sprint(e.Data["who"]), "control socket")
		})
	})
	out, code = verb(t, "verify", "-c", s.Conf, "gate", "yard", "door")
	if code != 0 || !strings.Contains(out, " 0 findings") || !strings.Contains(out, "of 2 of them the units were not looked into") || !strings.Contains(out, "2 of those nobody can read again: their keys were destroyed") {
		t.Errorf("verify: exit %d\n%s", code, out)
	}
	if out, code = verbIn(t, "moved house", "keys", "import", "-c", s.Conf, file); code != 0 || !strings.Contains(out, "0 keys of encrypted footage") {
		t.Errorf("the export imported once more: exit %d\n%s", code, out)
	}
	dead("imported once more")
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	dropCatalogue(t, s, false)
	s.Start()
	footage(s, "yard", "door")
	dead("rebuilt")
	if strange() {
		t.Errorf("a key that was destroyed is missed: %v", s.Problems())
	}
	harness.Row(t, "keys of encrypted footage move, rotate and die", 0, "of another installation: unreadable through every door, after keys import the same %d, %d and %d bytes; behind a rotation too; the day %s of one stream destroyed: every door says so, also after a restart, a rebuild and another import, and the other stream's day plays on",
		len(was["gate"]), len(was["yard"]), len(was["door"]), day)
}
