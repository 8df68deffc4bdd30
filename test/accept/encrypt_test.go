package accept

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// clearUnits lists the files below folders that hold a readable frame: its
// stamp lies in every one.
func clearUnits(t *testing.T, dirs ...string) (bad []string, looked int64) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // deleted meanwhile; sockets
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return nil
			}
			looked += int64(len(b))
			if bytes.Contains(b, []byte("MSL1:")) {
				bad = append(bad, p)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return bad, looked
}

// TestEncryptedFootage: while core and storage are killed no frame is lost and
// none lies readable anywhere; the footage verifies without the key; without
// the passphrase the server starts, says what is wrong, records and plays what
// is clear, and with it everything plays again.
func TestEncryptedFootage(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s", Linger: "5s", Ini: "[pool.vault]\nspaces = main\nsign = true\nencrypt = true\n[pool.open]\nspaces = other\n" +
		"[space.main]\npath = SPACE\n[space.other]\npath = OTHER\n[keys]\npassphrase = ${file:PASS}\n[log]\nlevel = warn"})
	space, other, pass := filepath.Join(s.Dir, "secret"), filepath.Join(s.Dir, "other"), filepath.Join(s.Dir, "pass")
	const words = "the tide turns at noon"
	text, err := os.ReadFile(s.Conf)
	if err == nil {
		text = []byte(strings.NewReplacer("SPACE", space, "OTHER", other, "PASS", pass).Replace(string(text)))
		err = errors.Join(os.WriteFile(s.Conf, text, 0o644), os.WriteFile(pass, []byte(words+"\n"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	uids := []string{"one", "two", "three"}
	var cams []harness.Camera
	for i, q := range []string{"audio=pcma", "codec=h265", "codec=none"} {
		cams = append(cams, harness.Camera{UID: uids[i], Sent: s.Sim(uids[i], q, "dvr-chunk = 2s", "dvr-pool = vault"), HLS: []string{"va", "va", "a"}[i]})
	}
	s.Sim("plain", "codec=none", "dvr-chunk = 2s", "dvr-pool = open")
	s.Start()
	footage(s, uids...)
	looked := int64(0)
	look := func() {
		t.Helper()
		bad, n := clearUnits(t, space, s.Run, s.Data)
		if len(bad) > 0 {
			t.Fatalf("clear frames in %v", bad)
		}
		looked = max(looked, n)
	}
	kills := harness.Pick(20, 4)
	for i := range kills {
		time.Sleep(1500 * time.Millisecond) // real cameras take real time
		since := time.Now()
		if i%2 == 0 {
			s.Kill()
			look()
			s.Start()
		} else {
			s.Serving()
			s.KillPlugin("local")
		}
		s.Past(since.UnixMilli()+1000, uids...)
		look()
		if i == kills/2 {
			s.Verb("keys", "rotate", "--only=encryption")
		}
	}
	if bad, n := clearUnits(t, other); len(bad) == 0 {
		t.Errorf("the test proves nothing: %d bytes of clear footage and no stamp in them", n)
	}
	if out, code := verb(t, "keys", "destroy", "one", time.Now().UTC().Format("2006-01-02"), "--yes", "-c", s.Conf); code == 0 || !strings.Contains(out, "not over") {
		t.Errorf("today's key was destroyed: exit %d %s", code, out)
	}
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail = to, -1
	}
	judge(t, s, "encrypted footage under kills", 0, cams, "hls")
	sum := judge(t, s, "encrypted footage under kills", 0, cams, "mp4")
	s.Until("everything to be sealed", func() bool {
		open, _ := filepath.Glob(filepath.Join(space, "open", "*.mp4"))
		return len(open) == 0
	})
	look()
	verifies(t, s, space)
	ranged(t, s, uids[0])
	hidden(t, s, words)
	s.Stop()
	locked(t, s, pass, words, uids)
	again := judge(t, s, "encrypted footage, the passphrase is back", 0, cams, "mp4")
	if again.Present != sum.Present {
		t.Errorf("%d frames before, %d now", sum.Present, again.Present)
	}
	restored(t, s, cams, sum.Present)
	harness.Row(t, "encrypted footage", 0, "%d kills of core and storage, one rotation, %s; no stamp in %d MB of space, run and data folder", kills, sum, looked>>20)
}

// verifies: on another machine with the public key alone, and here with all.
func verifies(t *testing.T, s *harness.Server, space string) {
	t.Helper()
	pub, away := filepath.Join(s.Dir, "public.pem"), filepath.Join(s.Dir, "away")
	key, code := verb(t, "keys", "public", "-c", s.Conf)
	if code != 0 {
		t.Fatal(key)
	}
	if err := errors.Join(os.WriteFile(pub, []byte(key), 0o644), os.CopyFS(away, os.DirFS(space))); err != nil {
		t.Fatal(err)
	}
	n := len(harness.Files(away))
	out, code := verb(t, "verify", "--key", pub, away)
	if code != 0 || !strings.Contains(out, "0 findings") || !strings.Contains(out, fmt.Sprintf("of %d of them the units were not looked into", n)) {
		t.Errorf("with the public key alone: exit %d\n%s", code, out)
	}
	out, code = verb(t, "verify", "-c", s.Conf, "one", "two", "three")
	if code != 0 || !strings.Contains(out, "of 0 of them the units were not looked into") {
		t.Errorf("with all keys: exit %d\n%s", code, out)
	}
}

// ranged: any range of an answer is that of the whole.
func ranged(t *testing.T, s *harness.Server, uid string) {
	t.Helper()
	f := s.Footage(uid)
	u := fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", s.HTTP, uid, f.Ranges[0].From, f.Ranges[0].To)
	part := func(from, to int) []byte {
		t.Helper()
		req, err := http.NewRequest("GET", u, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := 200
		if to > 0 {
			want = 206
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || int64(len(b)) != resp.ContentLength {
			t.Fatalf("bytes %d to %d: %s, %d of %d: %v", from, to, resp.Status, len(b), resp.ContentLength, err)
		}
		return b
	}
	whole := part(0, 0)
	if !bytes.Contains(whole, []byte("MSL1:"+uid)) {
		t.Error("what comes out is not clear")
	}
	for at := 0; at < len(whole); at += len(whole)/37 + 1 {
		for _, n := range []int{1, 1000, 100_000} {
			if to := min(at+n, len(whole)); !bytes.Equal(part(at, to), whole[at:to]) {
				t.Fatalf("bytes %d to %d are not those of the whole", at, to)
			}
		}
	}
}

// told: no secret is in a log, a page, the settings that are shown, the folders.
func hidden(t *testing.T, s *harness.Server, words string) {
	t.Helper()
	if out, code := verb(t, "config", "show", "--effective", "-c", s.Conf); code != 0 || strings.Contains(out, words) {
		t.Errorf("config show tells the passphrase, or nothing: exit %d", code)
	}
	list, code := verb(t, "keys", "list", "-c", s.Conf)
	if code != 0 || !strings.Contains(list, " keys of 3 streams") {
		t.Errorf("keys list: exit %d\n%s", code, list)
	}
	saved := filepath.Join(s.Dir, "keys.pem")
	export := exec.Command(filepath.Join(harness.Bin, "media-server"), "keys", "export", "-o", saved, "-c", s.Conf)
	export.Stdin = strings.NewReader("a lighthouse in the fog\n")
	if out, err := export.CombinedOutput(); err != nil {
		t.Errorf("keys export: %v %s", err, out)
	}
	if b, err := os.ReadFile(saved); err != nil || !bytes.Contains(b, []byte("MEDIA-SERVER SIGNING KEY")) || !bytes.Contains(b, []byte("MEDIA-SERVER ENCRYPTION KEYS")) ||
		!bytes.Contains(b, []byte("Opens: "+time.Now().UTC().Format("2006-01"))) {
		t.Errorf("the export: %v\n%s", err, b)
	}
	for _, p := range []string{"keys", "problems", "events", "server"} {
		var out json.RawMessage
		if status, err := s.Call("GET", p, &out); err != nil || status != 200 || strings.Contains(string(out), words) {
			t.Errorf("%s: %d %v %s", p, status, err, out)
		}
	}
	for _, dir := range []string{s.Run, s.Data} {
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(words)) {
					t.Errorf("%s holds the passphrase", p)
				}
			}
			return nil
		})
	}
}

// tampered changes a byte in the middle of a file of a stream.
func tampered(t *testing.T, space, uid string) (mend func()) {
	t.Helper()
	files := slices.DeleteFunc(harness.Files(space), func(f string) bool { return !strings.HasPrefix(f, uid+"/") })
	path := filepath.Join(space, files[len(files)/2])
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := func() {
		b[len(b)/2] ^= 0x20
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	return flip
}

// restored: a server that lost its data folder plays encrypted footage again
// when a backup brought the keys back, and nothing of it before.
func restored(t *testing.T, s *harness.Server, cams []harness.Camera, want int) {
	t.Helper()
	ended := func() { s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 }) }
	file := filepath.Join(s.Dir, "saved.backup")
	s.Verb("backup", "-o", file)
	s.Remove("plain")
	s.Stop()
	ended()
	if err := errors.Join(os.RemoveAll(s.Data), os.Mkdir(s.Data, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, c := range cams { // who may see it was known to the data folder alone
		s.Put(c.UID, "stream-url = sim://", "stream-enable = false", "stream-access = public", "dvr-pool = vault")
	}
	s.Start()
	uid := cams[0].UID
	s.Until("the footage to be listed", func() bool { return len(s.Footage(uid).Ranges) > 0 })
	s.Until("a problem to name the keys", func() bool {
		return slices.ContainsFunc(s.Problems(), func(p harness.Problem) bool { return strings.Contains(p.What, "keys that this server does not have") })
	})
	f := s.Footage(uid)
	if status, body := s.Get(fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", s.HTTP, uid, f.Ranges[0].From, f.Ranges[0].To)); status != 503 || !strings.Contains(body, "no_key") {
		t.Errorf("with other keys: %d %.200s", status, body)
	}
	s.Stop()
	ended()
	s.Verb("restore", "--yes", file)
	mend := tampered(t, filepath.Join(s.Dir, "secret"), uid)
	s.Start()
	s.Until("the footage to be listed", func() bool { return len(s.Footage(uid).Ranges) > 0 })
	resp, err := http.Get(fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", s.HTTP, uid, f.Ranges[0].From, f.Ranges[0].To))
	if err == nil {
		var n int64
		n, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == 200 {
			t.Errorf("a changed part was given out, with %d bytes", n)
		}
	}
	s.Until("the damage to be told", func() bool { return len(s.Events("archive.damaged")) > 0 })
	mend()
	if again := judge(t, s, "encrypted footage, keys restored", 0, cams, "mp4"); again.Present != want {
		t.Errorf("%d frames before, %d now", want, again.Present)
	}
}

// locked starts the server with a wrong passphrase, and with the right one
// again; it is left running.
func locked(t *testing.T, s *harness.Server, pass, words string, uids []string) {
	t.Helper()
	const wrong = "the tide turns at one"
	if err := os.WriteFile(pass, []byte(wrong+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	s.Start()
	s.Past(since.UnixMilli(), "plain")
	found := false
	for _, p := range s.Problems() {
		found = found || p.Level == "error" && strings.Contains(p.What, "passphrase") && p.Hint != ""
	}
	if !found {
		t.Errorf("no problem names the passphrase: %v", s.Problems())
	}
	f := s.Footage(uids[0])
	if len(f.Ranges) == 0 {
		t.Fatal("what is encrypted is not listed any more")
	}
	for _, file := range []string{"record.mp4", "videoshot.mp4"} {
		status, body := s.Get(fmt.Sprintf("%s/dvr/%s/%s?from=%d&to=%d&time=%d", s.HTTP, uids[0], file, f.Ranges[0].From, f.Ranges[0].To, f.Ranges[0].From+1000))
		if status != 503 || !strings.Contains(body, "no_key") || !strings.Contains(body, uids[0]+"/"+time.Now().UTC().Format("2006")) || !strings.Contains(body, "passphrase") {
			t.Errorf("%s: %d %s", file, status, body)
		}
	}
	before := harness.Files(filepath.Join(s.Dir, "secret"))
	s.Put("four", "stream-url = sim://", "stream-access = public", "dvr-pool = vault", "dvr-chunk = 2s")
	if _, err := s.Call("POST", "reload", nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	if f := s.Footage("four"); len(f.Ranges) > 0 {
		t.Errorf("recorded without the key: %v", f.Ranges)
	}
	if n := len(harness.Files(filepath.Join(s.Dir, "secret"))); n != len(before) {
		t.Errorf("%d files before, %d now", len(before), n)
	}
	if bad, _ := clearUnits(t, filepath.Join(s.Dir, "secret"), s.Run, s.Data); len(bad) > 0 {
		t.Errorf("clear frames in %v", bad)
	}
	log := s.Log(1 << 20)
	if strings.Contains(log, wrong) || strings.Contains(log, words) {
		t.Error("a passphrase is in the log")
	}
	s.Stop()
	if err := os.WriteFile(pass, []byte(words+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Remove("four")
	s.Start()
}
