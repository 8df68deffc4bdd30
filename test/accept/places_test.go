package accept

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// spaceNow is what the tests read of GET spaces/{name}.
type spaceNow struct {
	Name, State, Why, Hint string
	Leaving                bool
	Progress               float64
	Total                  int64 `json:"total_bytes"`
	Free                   int64 `json:"free_bytes"`
	Used                   int64 `json:"used_bytes"`
}

func spaceOf(s *harness.Server, name string) (x spaceNow) {
	_, _ = s.Call("GET", "spaces/"+name, &x)
	return x
}

// bytesIn is what the files of a space take.
func bytesIn(t *testing.T, dir string) (sum int64) {
	t.Helper()
	for _, f := range harness.Files(dir) {
		if info, err := os.Stat(filepath.Join(dir, f)); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// must calls the API and wants a status.
func must(t *testing.T, s *harness.Server, status int, method, path, body string, says ...string) {
	t.Helper()
	code, err := s.Send(method, path, body, nil)
	text := fmt.Sprint(err)
	if code != status {
		t.Errorf("%s %s %s: %d %s, want %d", method, path, body, code, text, status)
	}
	for _, w := range says {
		if !strings.Contains(text, w) {
			t.Errorf("%s %s %s: %s does not say %q", method, path, body, text, w)
		}
	}
}

func conf(t *testing.T, s *harness.Server) (path, text string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(s.Conf), "conf.d", "spaces.ini")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(b)
}

// TestSpacesWhileRecording: while five cameras are recorded, spaces and pools are
// added by API, one camera is pointed at them, one of its spaces fills up, and
// what can go is taken away again. Not a frame is lost, and the others do not
// notice.
func TestSpacesWhileRecording(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	s := harness.New(t, harness.Options{Linger: "2s", Ini: "[space.main]\npath = " + base + "/main\n[pool.default]\nspaces = main\n"})
	var cams []harness.Camera
	var others []string
	for i := range 5 {
		uid := fmt.Sprintf("cam-%d", i)
		query := ""
		if i == 0 {
			query = "bitrate=4M"
		} else {
			others = append(others, uid)
		}
		cams = append(cams, harness.Camera{UID: uid, Sent: s.Sim(uid, query, "dvr-chunk = 2s")})
	}
	dir := func(name string) string { return filepath.Join(base, name) }
	s.Start()
	footage(s, "cam-0", "cam-1", "cam-2", "cam-3", "cam-4")
	before := map[string]map[string]uint64{}
	for _, uid := range others {
		before[uid] = disturbances(s, uid)
	}
	for _, name := range []string{"two", "three", "four"} {
		must(t, s, 201, "POST", "spaces", fmt.Sprintf(`{"name":%q,"path":%q}`, name, dir(name)))
		if x := spaceOf(s, name); x.State != "normal" || x.Total == 0 {
			t.Errorf("space %s: %+v", name, x)
		}
	}
	must(t, s, 201, "POST", "pools", `{"name":"second","spaces":["two","three"],"overwrite":false}`)
	must(t, s, 204, "DELETE", "spaces/four", "")
	if spaceOf(s, "four").Name != "" {
		t.Error("space four is still there")
	}
	s.Put("cam-0", "stream-url = sim://?ledger="+cams[0].Sent+"&bitrate=4M", "stream-access = public", "dvr-chunk = 2s", "dvr-pool = second")
	s.Until("cam-0 to be recorded in its new pool", func() bool { return len(harness.Files(dir("two")))+len(harness.Files(dir("three"))) > 2 })
	must(t, s, 409, "DELETE", "pools/second", "", "cam-0", "dvr-pool")

	// The space that it is in may hold no more: it goes on in the other one.
	full, next := "two", "three"
	if len(harness.Files(dir("three"))) > 0 {
		full, next = next, full
	}
	if n := len(harness.Files(dir(next))); n > 0 {
		t.Errorf("cam-0 goes to and fro: %d files in %s, %d in %s", len(harness.Files(dir(full))), full, n, next)
	}
	// While a file grows there that does not end by itself: one that ended just then
	// would leave a rest, too small for another, and the space would be passed over
	// without being full.
	cam0 := func(chunk string) {
		s.Put("cam-0", "stream-url = sim://?ledger="+cams[0].Sent+"&bitrate=4M", "stream-access = public", "dvr-chunk = "+chunk, "dvr-pool = second")
	}
	cam0("1h")
	s.Until("a file of more than 2 s", func() bool {
		return slices.ContainsFunc(harness.Files(dir(full)), func(f string) bool {
			info, err := os.Stat(filepath.Join(dir(full), f))
			return err == nil && strings.HasPrefix(f, "open/") && info.Size() > 3<<20
		})
	})
	must(t, s, 200, "PATCH", "spaces/"+full, `{"size-limit":"1T"}`)
	s.Until("what it holds to be known", func() bool { return spaceOf(s, full).Used > 0 })
	limit := spaceOf(s, full).Used // with what is reserved for the file that grows
	must(t, s, 200, "PATCH", "spaces/"+full, fmt.Sprintf(`{"size-limit":%d}`, limit))
	s.Until("it to be full", func() bool { return spaceOf(s, full).State == "full" })
	if out, _ := verb(t, "status", "-c", s.Conf); !strings.Contains(out, "space "+full+": full") {
		t.Errorf("status says\n%s", out)
	}
	// With its end the file gives back what was reserved for an hour of it: the space has
	// room again then, sooner or later.
	cam0("2s")
	s.Until("cam-0 to go on elsewhere", func() bool { return len(harness.Files(dir(next))) > 1 })
	var told []string
	for _, e := range s.Events("storage.*") {
		if e.Data["space"] == full {
			told = append(told, e.Type)
		}
	}
	if !slices.Contains(told, "storage.reserve") {
		t.Errorf("events of %s: %v", full, told)
	}
	if used := bytesIn(t, dir(full)); used > limit {
		t.Errorf("%d bytes where size-limit is %d", used, limit)
	}
	must(t, s, 200, "PATCH", "spaces/"+full, `{"size-limit":null}`)
	s.Until("it to have room again", func() bool { return spaceOf(s, full).State == "normal" })

	// What holds footage stays; a section taken away by hand is no order to lose it.
	must(t, s, 409, "DELETE", "spaces/"+full, "", "pool second", "spaces.ini:")
	must(t, s, 200, "PATCH", "pools/second", fmt.Sprintf(`{"spaces":%q}`, next))
	must(t, s, 409, "DELETE", "spaces/"+full, "", "cam-0", "files", "initialize")
	path, text := conf(t, s)
	cut := text[:strings.Index(text, "[space."+full+"]")]
	rest := text[len(cut):]
	rest = rest[strings.Index(rest[1:], "[")+1:]
	if err := os.WriteFile(path, []byte(cut+rest), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Verb("reload")
	s.Until("the space to be told to go", func() bool { return spaceOf(s, full).Leaving })
	if !strings.Contains(fmt.Sprint(s.Problems()), "space "+full) {
		t.Errorf("nobody is told: %v", s.Problems())
	}
	// And back to where it came from; the pool may go then.
	s.Put("cam-0", "stream-url = sim://?ledger="+cams[0].Sent+"&bitrate=4M", "stream-access = public", "dvr-chunk = 2s")
	s.Until("cam-0 to be in pool default", func() bool {
		code, _ := s.Send("DELETE", "pools/second", "", nil)
		return code == 204
	})
	since := time.Now().UnixMilli()
	s.Past(since+3000, "cam-0", "cam-1", "cam-2", "cam-3", "cam-4")
	for uid, b := range before {
		if a := disturbances(s, uid); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: before %v, after %v", uid, b, a)
		}
	}
	to := s.Close("cam-0", "cam-1", "cam-2", "cam-3", "cam-4")
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
	}
	judge(t, s, "spaces and pools added, filled and taken away while recording", 0, cams, "mp4")
}

// TestAttachWhileRecording: the media folder of an earlier installation is given
// to a server that records. It says what it is and what to do; restored, all of
// it plays, with its locks and what was known of its gaps.
func TestAttachWhileRecording(t *testing.T) {
	t.Parallel()
	old := harness.New(t, harness.Options{Linger: "1s"})
	gate := harness.Camera{UID: "gate", Sent: old.Sim("gate", "", "dvr-chunk = 2s")}
	old.Start()
	footage(old, "gate")
	time.Sleep(3 * time.Second)
	old.Sim("gate", "", "dvr-chunk = 2s", "stream-enable = false")
	old.Until("gate to stop", func() bool { return old.Stream("gate").State == "off" })
	time.Sleep(2 * time.Second)
	old.Sim("gate", "", "dvr-chunk = 2s")
	old.Until("the gap to be told", func() bool { return len(old.Footage("gate").Gaps) == 1 })
	old.Verb("lock", "add", "gate", "--from=-4s", "--to=now", "--reason", "case 9")
	gate.Rules.To, gate.Rules.Tail, gate.Rules.GapSlack = old.Close("gate"), -1, 250*time.Millisecond
	was := old.Footage("gate")
	old.Stop()
	old.Until("the plugins to end", func() bool { return len(old.Processes()) == 0 })
	folder := filepath.Join(old.Data, "media")

	s := harness.New(t, harness.Options{Linger: "1s"})
	yard := harness.Camera{UID: "yard", Sent: s.Sim("yard", "", "dvr-chunk = 2s")}
	s.Put("gate", "stream-url = sim://", "stream-access = public", "stream-enable = false")
	s.Start()
	footage(s, "yard")
	must(t, s, 201, "POST", "pools", `{"name":"more","spaces":"main"}`) // what was there unwritten is written down
	must(t, s, 201, "POST", "spaces", fmt.Sprintf(`{"name":"old","path":%q}`, folder))
	if _, text := conf(t, s); !strings.Contains(text, "[space.main]\npath = "+s.Data+"/media\n") || !strings.Contains(text, "[pool.default]\nspaces = main\n") {
		t.Errorf("conf.d/spaces.ini:\n%s", text)
	}
	x := spaceOf(s, "old")
	if x.State != "lost" || !strings.Contains(x.Why, "earlier installation") || !strings.Contains(x.Hint, "/spaces/old/restore") {
		t.Errorf("%+v", x)
	}
	before := harness.Files(folder)
	must(t, s, 409, "POST", "spaces/old/initialize", "", `"confirm"`, "would_delete", "gate", `"locked_bytes"`)
	if after := harness.Files(folder); !reflect.DeepEqual(before, after) || len(s.Footage("gate").Ranges) > 0 {
		t.Errorf("before anybody said so: %v has become %v", before, after)
	}
	must(t, s, 202, "POST", "spaces/old/restore", "")
	states := []string{}
	s.Until("it to be restored", func() bool {
		now := spaceOf(s, "old").State
		if !slices.Contains(states, now) {
			states = append(states, now)
		}
		return now == "normal"
	})
	now := s.Footage("gate")
	if !reflect.DeepEqual(now, was) || len(now.Gaps) != 1 || now.Gaps[0].Why != "disabled" {
		t.Errorf("ranges were %+v, are %+v", was, now)
	}
	var locks struct{ Items []struct{ Reason string } }
	if _, err := s.Call("GET", "streams/gate/locks", &locks); err != nil || len(locks.Items) != 1 || locks.Items[0].Reason != "case 9" {
		t.Errorf("locks: %+v %v", locks, err)
	}
	since := time.Now().UnixMilli()
	s.Past(since+2000, "yard")
	line := s.Judge("gate", s.Account(gate))
	yard.Rules.To, yard.Rules.Tail, yard.Rules.Gaps = s.Close("yard"), -1, map[string][]ledger.Gap{}
	live := s.Judge("yard", s.Account(yard))

	// Confirmed, it is emptied; what is locked wants a word of its own.
	var ask struct {
		Error struct {
			Would struct{ Confirm string } `json:"would_delete"`
		}
	}
	_, err := s.Send("POST", "spaces/old/initialize", "", nil)
	body := fmt.Sprint(err)
	if i := strings.Index(body, "{"); i < 0 || json.NewDecoder(strings.NewReader(body[i:])).Decode(&ask) != nil || ask.Error.Would.Confirm == "" {
		t.Fatalf("%s", body)
	}
	must(t, s, 409, "POST", "spaces/old/initialize", fmt.Sprintf(`{"confirm":%q}`, ask.Error.Would.Confirm), "locked")
	must(t, s, 202, "POST", "spaces/old/initialize", fmt.Sprintf(`{"confirm":%q,"locked":true}`, ask.Error.Would.Confirm))
	s.Until("it to be empty", func() bool { return len(harness.Files(folder)) == 0 && spaceOf(s, "old").State == "normal" })
	if r := s.Footage("gate").Ranges; len(r) > 0 {
		t.Errorf("what was deleted is listed: %+v", r)
	}
	harness.Row(t, "a space of an earlier installation attached while recording", 0, "states %v; its footage: %s; recorded meanwhile: %s", states, line, live)
}

// TestBadSpaces: what cannot be is refused with its place and what to do, and
// nothing is changed by it.
func TestBadSpaces(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, name := range []string{"a", "other"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "other", "letter.txt"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "a"), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	s := harness.New(t, harness.Options{Linger: "1s", Ini: "[space.a]\npath = " + base + "/a\n[pool.default]\nspaces = a\n"})
	c := harness.Camera{UID: "gate", Sent: s.Sim("gate", "", "dvr-chunk = 2s")}
	s.Start()
	footage(s, "gate")
	before := disturbances(s, "gate")
	for _, b := range []struct {
		name, method, path, body string
		status                   int
		says                     []string
	}{
		{"twice", "POST", "spaces", `{"name":"a","path":"/srv/x"}`, 409, []string{"media-server.ini:", "another name"}},
		{"a name that is not allowed", "POST", "spaces", `{"name":"a b","path":"/srv/x"}`, 400, []string{"letters, digits"}},
		{"a name out of the file", "POST", "spaces", `{"name":"x]\n[http","path":"/srv/x"}`, 400, []string{"letters, digits"}},
		{"no path", "POST", "spaces", `{"name":"b","size-limit":"1G"}`, 400, []string{"path = /folder"}},
		{"the same folder", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/a"}`, base), 400, []string{"overlaps", `\"a\"`}},
		{"inside another", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/a/b"}`, base), 400, []string{"overlaps"}},
		{"around another", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":%q}`, base), 400, []string{"overlaps"}},
		{"another by a link", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/link"}`, base), 400, []string{"overlaps"}},
		{"inside another by a link", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/link/b"}`, base), 400, []string{"overlaps"}},
		{"a folder of the system", "POST", "spaces", `{"name":"b","path":"/etc/media"}`, 400, []string{"/etc", "such as /srv/media"}},
		{"the root", "POST", "spaces", `{"name":"b","path":"/"}`, 400, []string{"path"}},
		{"a file", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/file"}`, base), 400, []string{"is a file"}},
		{"under a file", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/file/b"}`, base), 400, []string{"is a file"}},
		{"somebody else's folder", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/other"}`, base), 400, []string{"letter.txt", "empty"}},
		{"a read-only file system", "POST", "spaces", `{"name":"b","path":"/sys/fs/cgroup/b"}`, 400, []string{"path"}},
		{"a driver that is none", "POST", "spaces", `{"name":"b","driver":"lcoal","path":"/srv/b"}`, 400, []string{"lcoal", `did you mean`, "local"}},
		{"a key that is none", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/b","szie-limit":"1G"}`, base), 400, []string{"spaces.ini:", "size-limit"}},
		{"a value that is none", "POST", "spaces", fmt.Sprintf(`{"name":"b","path":"%s/b","size-limit":"much"}`, base), 400, []string{"spaces.ini:", "much"}},
		{"a pool over nothing", "POST", "pools", `{"name":"p"}`, 400, []string{"spaces"}},
		{"a pool over a space that is missing", "POST", "pools", `{"name":"p","spaces":"aa"}`, 400, []string{"spaces.ini:", `did you mean \"a\"`}},
		{"a pool moved to itself", "POST", "pools", `{"name":"p","spaces":"a","archive-to":"p"}`, 400, []string{"itself"}},
		{"a pool that moves what is another's", "POST", "pools", `{"name":"p","spaces":"a","archive-to":"default"}`, 400, []string{"belongs to it alone", "belong"}[1:]},
		{"a pool there is", "POST", "pools", `{"name":"default","spaces":"a"}`, 409, []string{"media-server.ini:"}},
		{"a pool in use taken away", "DELETE", "pools/default", "", 409, []string{"gate", "dvr-pool"}},
		{"a space in use taken away", "DELETE", "spaces/a", "", 409, []string{"pool default", "media-server.ini:"}},
		{"a space that is none", "DELETE", "spaces/zz", "", 404, []string{"zz"}},
		{"a hand-made one changed", "PATCH", "spaces/a", `{"size-limit":"1G"}`, 409, []string{"media-server.ini:", "reload"}},
		{"a space that is not lost", "POST", "spaces/a/restore", "", 409, []string{"not lost"}},
		{"the only space emptied", "POST", "spaces/a/initialize", `{"confirm":"yes"}`, 409, []string{"would delete", "gate"}},
	} {
		t.Run(b.name, func(t *testing.T) { must(t, s, b.status, b.method, b.path, b.body, b.says...) })
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(s.Conf), "conf.d", "spaces.ini")); err == nil {
		if _, text := conf(t, s); strings.Contains(text, "[") {
			t.Errorf("something was written:\n%s", text)
		}
	}
	if b, err := os.ReadDir(filepath.Join(base, "other")); err != nil || len(b) != 1 {
		t.Errorf("somebody else's folder: %v %v", b, err)
	}
	// A circle over three pools.
	for _, name := range []string{"b", "c"} {
		must(t, s, 201, "POST", "spaces", fmt.Sprintf(`{"name":%q,"path":"%s/%s"}`, name, base, name))
	}
	must(t, s, 201, "POST", "pools", `{"name":"cold","spaces":"c"}`)
	must(t, s, 201, "POST", "pools", `{"name":"warm","spaces":"b","archive-to":"cold","archive-after":"1d"}`)
	must(t, s, 400, "PATCH", "pools/cold", `{"archive-to":"warm","archive-after":"2d"}`, "circle", "spaces.ini:")
	must(t, s, 409, "DELETE", "pools/cold", "", "warm", "archive-to")
	must(t, s, 204, "DELETE", "pools/warm", "")
	must(t, s, 204, "DELETE", "pools/cold", "")
	must(t, s, 204, "DELETE", "spaces/b", "")
	// A file that somebody has damaged by hand is not written over.
	path, text := conf(t, s)
	damaged := text + "; K\xf6ln\n" // Latin-1
	if err := os.WriteFile(path, []byte(damaged), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, s, 400, "POST", "spaces", fmt.Sprintf(`{"name":"late","path":"%s/late"}`, base), "spaces.ini:", "UTF-8")
	if _, now := conf(t, s); now != damaged {
		t.Errorf("spaces.ini was\n%q\nand is\n%q", damaged, now)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if a := disturbances(s, "gate"); !reflect.DeepEqual(a, before) {
		t.Errorf("before %v, after %v", before, a)
	}
	c.Rules.To, c.Rules.Tail, c.Rules.Gaps = s.Close("gate"), -1, map[string][]ledger.Gap{}
	harness.Row(t, "spaces and pools that cannot be", 0, "all refused with place and remedy; recorded meanwhile: %s", s.Judge("gate", s.Account(c)))
}
