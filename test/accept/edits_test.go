package accept

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// rescan is how often the server looks at files that nothing has told it of.
const rescan = 30 * time.Second

// editor is somebody who edits the settings of a server that records.
type editor struct {
	*harness.Server
	t     *testing.T
	slow  time.Duration // the slowest of edits
	edits int
	gone  time.Duration // the slowest removal
}

// write saves a file in place, as most editors do.
func (e *editor) write(path, text string) {
	e.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		e.t.Fatal(err)
	}
}

// took polls for a fact and notes how long after the write it was there.
func (e *editor) took(what string, wrote time.Time, is func() bool) time.Duration {
	e.t.Helper()
	for end := wrote.Add(harness.Patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("waited %v in vain for %s\n%s", harness.Patience, what, e.Log(4000))
		}
	}
	return time.Since(wrote)
}

// applied notes an edit that was taken up by itself.
func (e *editor) applied(what string, wrote time.Time, is func() bool) {
	e.t.Helper()
	d := e.took(what, wrote, is)
	e.slow, e.edits = max(e.slow, d), e.edits+1
	if harness.Full() && d > time.Second {
		e.t.Errorf("%s: %v after the write", what, d)
	}
}

// setting is what a stream runs with.
func (e *editor) setting(uid, key string) string { return e.Stream(uid).Settings[key] }

// days is what pool default runs with.
func (e *editor) days() string {
	var p struct{ Settings map[string]string }
	_, _ = e.Call("GET", "pools/default", &p)
	return p.Settings["days"]
}

// told says where a problem is told: the API, the command line, the log.
func (e *editor) told(says []string) (api, line, log bool) {
	all := func(text string) bool {
		return !slices.ContainsFunc(says, func(w string) bool { return !strings.Contains(text, w) })
	}
	api = slices.ContainsFunc(e.Problems(), func(p harness.Problem) bool { return all(p.String()) })
	out, _ := verb(e.t, "problems", "-c", e.Conf)
	line = slices.ContainsFunc(strings.Split(out, "\n"), all)
	log = slices.ContainsFunc(strings.Split(e.Log(1<<20), "\n"), func(l string) bool { return all(strings.ReplaceAll(l, `\"`, `"`)) })
	return api, line, log
}

// refused waits until a mistake is told everywhere.
func (e *editor) refused(says ...string) {
	e.t.Helper()
	e.Until(fmt.Sprintf("%q in problems and log", says), func() bool {
		api, line, log := e.told(says)
		return api && line && log
	})
}

// mended waits until nobody speaks of a mistake any more.
func (e *editor) mended(says ...string) {
	e.t.Helper()
	e.Until(fmt.Sprintf("%q to be gone", says), func() bool {
		api, line, _ := e.told(says)
		return !api && !line
	})
}

// place is where a text stands in another, as line:column.
func place(text, what string) string {
	before := text[:strings.Index(text, what)]
	return fmt.Sprintf("%d:%d", 1+strings.Count(before, "\n"), len(before)-strings.LastIndexByte(before, '\n'))
}

// TestSettings: whoever edits by night can spoil nothing. A mistake is told with
// place and remedy wherever one looks, the last good settings stay in force and
// recording goes on without a gap; mended, all is well again. Good edits are
// taken up by themselves, and by each way there is to ask for it.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Ini: "[pool.default]\nspaces = main\ndays = 30d\n[space.main]\npath = " + filepath.Join(t.TempDir(), "main")})
	e := &editor{Server: s, t: t}
	// Beside its log and the ledgers of its cameras the server would look at its
	// settings all the time.
	etc := filepath.Join(t.TempDir(), "media-server.ini")
	e.write(etc, text(t, s.Conf))
	s.Conf = etc
	cams := []harness.Camera{{UID: "gate", Sent: s.Sim("gate", "", "dvr-chunk = 3s")}, {UID: "yard", Sent: s.Sim("yard", "codec=h265", "dvr-chunk = 3s")}}
	elsewhere := filepath.Join(t.TempDir(), "lane.ini") // where nothing tells the server of edits
	lane := func(name string) string {
		return "[lane]\nstream-url = sim://\nstream-enable = false\nstream-name = " + name + "\n"
	}
	e.write(elsewhere, lane("First"))
	if err := os.Symlink(elsewhere, filepath.Join(s.Streams, "lane.ini")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Start()
	reloaded(e, began, elsewhere, lane)
	footage(s, "gate", "yard")
	before := map[string]map[string]uint64{"gate": disturbances(s, "gate"), "yard": disturbances(s, "yard")}
	badStreams(e, filepath.Join(s.Streams, "gate.ini"))
	badServer(e)
	good(e, cams[0].Sent)
	s.Past(time.Now().UnixMilli()+1000, "gate", "yard")
	for uid, b := range before {
		if a := disturbances(s, uid); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: before %v, after %v", uid, b, a)
		}
	}
	to := s.Close("gate", "yard")
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
	}
	judge(t, s, "settings edited by night, and spoilt", 0, cams, "mp4")
	harness.Row(t, "settings", 0, "%d mistakes in a stream's file and %d in media-server.ini, each told with file:line:column in log, API and `problems`, the last good settings in force; taken up by SIGHUP, reload and POST reload; %d valid edits in force by themselves, the slowest %v after its write (1 s allowed); a removed file, which must stay away for 1 s, after %v at most",
		len(nightStreams), len(nightServer), e.edits, e.slow.Round(10*time.Millisecond), e.gone.Round(10*time.Millisecond))
}

// reloaded edits where nothing tells the server of it, and asks it to look: before
// it has looked by itself for the first time.
func reloaded(e *editor, began time.Time, path string, text func(string) string) {
	e.t.Helper()
	named := func(name string) func() bool { return func() bool { return e.setting("lane", "stream-name") == name } }
	e.Until("the stream that lies elsewhere", named("First"))

	e.write(path, text("By signal"))
	sent := time.Since(began)
	if err := syscall.Kill(e.PID(), syscall.SIGHUP); err != nil {
		e.t.Fatal(err)
	}
	e.took("SIGHUP to be obeyed", time.Now(), named("By signal"))
	if by := time.Since(began); by > rescan && sent < rescan-10*time.Second {
		e.t.Errorf("SIGHUP after %v was not obeyed before %v, when the server looks by itself", sent, by)
	}
	// These answer when it is done.
	e.write(path, text("By command"))
	if out, code := verb(e.t, "reload", "-c", e.Conf); code != 0 || !named("By command")() {
		e.t.Errorf("media-server reload: exit %d, %s; the name is %q", code, out, e.setting("lane", "stream-name"))
	}
	e.write(path, text("By POST"))
	if code, err := e.Call("POST", "reload", nil); code != 200 || err != nil || !named("By POST")() {
		e.t.Errorf("POST reload: %d %v; the name is %q", code, err, e.setting("lane", "stream-name"))
	}
}

// nightStreams are mistakes in the file of a stream that records, and what is
// said of each behind its place.
var nightStreams = []struct{ line, at, says, remedy string }{
	{"dvr-chnk = 5s", "dvr-chnk", `unknown key "dvr-chnk" in [gate]`, `did you mean "dvr-chunk"?`},
	{"dvr-duration = ten days", "ten days", "ten days", "10d"},
}

func badStreams(e *editor, path string) {
	e.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, m := range nightStreams {
		// With the mistake comes a change that is none: a file is taken or refused
		// as a whole.
		text := string(b) + "stream-name = Spoilt\n" + m.line + "\n"
		e.write(path, text)
		says := []string{"gate.ini:" + place(text, m.at), m.says, m.remedy}
		e.refused(says...)
		e.Past(time.Now().UnixMilli()+1000, "gate", "yard") // recording goes on
		st := e.Stream("gate")
		if st.State != "active" || !st.Recording || st.Settings["stream-name"] == "Spoilt" || st.Settings["dvr-chunk"] != "3s" {
			e.t.Errorf("with %q in its file gate is %+v", m.line, st)
		}
		if !slices.ContainsFunc(st.Problems, func(p harness.Problem) bool { return strings.Contains(p.String(), says[0]) }) {
			e.t.Errorf("gate itself says nothing of %s: %v", says[0], st.Problems)
		}
		e.write(path, string(b))
		e.mended(says...)
	}
}

// nightServer are mistakes in media-server.ini, likewise.
var nightServer = []struct{ section, line, at, says, remedy string }{
	{"[admin]", "listne = :1", "listne", `unknown key "listne" in [admin]`, `did you mean "listen"?`},
	{"[plugins]", "buffer-max = much", "much", "much", "512M"},
}

func badServer(e *editor) {
	e.t.Helper()
	b, err := os.ReadFile(e.Conf)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, m := range nightServer {
		text := strings.Replace(string(b), "days = 30d", "days = 2d", 1)
		text = strings.Replace(text, m.section+"\n", m.section+"\n"+m.line+"\n", 1)
		e.write(e.Conf, text)
		says := []string{"media-server.ini:" + place(text, m.at), m.says, m.remedy}
		e.refused(says...)
		e.Past(time.Now().UnixMilli()+1000, "gate", "yard")
		if d := e.days(); d != "30d" {
			e.t.Errorf("with %q in media-server.ini pool default has days = %q", m.line, d)
		}
		// A stream's file is taken all the same.
		name := "Beside " + m.at
		e.Put("beside", "stream-url = sim://", "stream-enable = false", "stream-name = "+name)
		e.Until("a stream beside the mistake", func() bool { return e.setting("beside", "stream-name") == name })
		e.write(e.Conf, string(b))
		e.mended(says...)
	}
	e.Until("the journal to say that all is well", func() bool {
		return slices.ContainsFunc(e.Events("server.settings"), func(x harness.Event) bool { return strings.Contains(x.Message, "in order again") })
	})
}

// good makes edits that are right, and sees each taken up.
func good(e *editor, sent string) {
	e.t.Helper()
	for i := range harness.Pick(10, 1) {
		name := fmt.Sprintf("Title %d", i)
		wrote := time.Now()
		e.Sim("gate", "", "dvr-chunk = 3s", "stream-name = "+name)
		e.applied("a title", wrote, func() bool { return e.setting("gate", "stream-name") == name })

		uid := fmt.Sprintf("new-%d", i)
		wrote = time.Now()
		e.Put(uid, "stream-url = sim://", "stream-enable = false")
		e.applied("a new stream", wrote, func() bool { return e.Stream(uid).UID == uid })

		wrote = time.Now() // editors move a file away before they write it: it must stay away for a second
		e.Remove(uid)
		d := e.took("a stream to go", wrote, func() bool { return e.Stream(uid).UID == "" })
		e.gone = max(e.gone, d)
		if harness.Full() && d > 2*time.Second {
			e.t.Errorf("a removed stream was there for %v", d)
		}

		days := fmt.Sprintf("%dd", 31+i)
		b, err := os.ReadFile(e.Conf)
		if err != nil {
			e.t.Fatal(err)
		}
		wrote = time.Now()
		e.write(e.Conf, strings.Replace(string(b), "days = "+e.days(), "days = "+days, 1))
		e.applied("days of a pool", wrote, func() bool { return e.days() == days })
	}
}

// TestSettingsRefusedAtOnce: `check` lists every mistake of a folder at once,
// and a server that is started on a bad media-server.ini says the same; both
// exit with 78.
func TestSettingsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Ini: "[log]\nlevel = loud\n[htp]\nlisten = :1\n[pool.default]\nspaces = nowhere\n"})
	s.Put("good", "stream-url = sim://")
	s.PutText("key", "[key]\nstream-url = sim://\ndvr-chnk = 5s\nread-timeout = never\n")
	s.PutText("section", "[other]\nstream-url = sim://\n")
	s.PutText("noend", "[noend\nstream-url = sim://\n")
	s.PutText("latin", "[latin]\nstream-name = K\xf6ln\nstream-url = sim://\n")
	s.PutText("_defaults", "[defaults]\ndvr-duration = 10 dayz\n")
	wants := []string{"media-server.ini:", `"loud"`, "[htp]", `did you mean "http"?`, "nowhere", "key.ini:3:1: ", `did you mean "dvr-chunk"?`, "key.ini:4:16: ",
		"section.ini:1:", "noend.ini:1:", "latin.ini:2:", "UTF-8", "_defaults.ini:2:16: "}
	checked, code := verb(t, "check", "-c", s.Conf)
	if code != 78 {
		t.Errorf("check: exit %d", code)
	}
	for _, w := range wants {
		if !strings.Contains(checked, w) {
			t.Errorf("check does not say %q", w)
		}
	}
	json, code := verb(t, "check", "--json", "-c", s.Conf)
	if code != 78 || !strings.Contains(json, `"ok": false`) || strings.Count(json, `"message"`) != strings.Count(checked, "\n")-1 {
		t.Errorf("check --json: exit %d\n%s", code, json)
	}
	ran, code := verb(t, "run", "-c", s.Conf)
	if code != 78 {
		t.Errorf("run: exit %d", code)
	}
	lines := strings.Split(strings.TrimSpace(checked), "\n")
	for _, l := range lines[:len(lines)-1] {
		if !strings.Contains(ran, l) {
			t.Errorf("a start does not say %q", l)
		}
	}
	if t.Failed() {
		t.Logf("check:\n%s\nrun:\n%s", checked, ran)
	}
	// A server whose own settings are good starts, whatever its streams say.
	s.Remove("_defaults") // it is in all of them
	if err := os.WriteFile(s.Conf, []byte(strings.NewReplacer("level = loud", "level = info", "[htp]\nlisten = :1\n", "", "[pool.default]\nspaces = nowhere\n", "").Replace(text(t, s.Conf))), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.Until("the good stream", func() bool { return s.Stream("good").UID == "good" })
	left, code := verb(t, "check", "-c", s.Conf)
	if code != 78 || strings.Contains(left, "media-server.ini") || !strings.Contains(left, "key.ini:3:1: ") {
		t.Errorf("check of bad stream files alone: exit %d\n%s", code, left)
	}
	for _, uid := range []string{"key", "section", "noend", "latin"} {
		s.Remove(uid)
	}
	if out, code := verb(t, "check", "-c", s.Conf); code != 0 {
		t.Errorf("check of what is left: exit %d\n%s", code, out)
	}
	harness.Row(t, "settings refused at once", 0, "check lists %d mistakes of 6 files at once and exits with 78; so does a start, with the same words", len(lines)-1)
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
