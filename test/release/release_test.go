package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
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

var makeRelease = flag.Int("make", 0, "make testdata/release-N with this server instead of testing")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "release")
	if err == nil {
		defer os.RemoveAll(dir)
		err = harness.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// answers is what the server said when the release was made.
type answers struct {
	Token   string // API token, role viewer, without end
	Streams []streamAnswer
	Locks   []lock `json:",omitempty"` // of gate, from release 2 on; footage is signed since then, too
	Play    string `json:",omitempty"` // play token of safe, from release 4 on; an account of Digest since then, too
}

// player and its password are the account of Digest.
const player, playerWord = "wall", "screens in the hall"

type lock struct {
	ID, Reason string
	From, To   int64
}

// settings are sections of media-server.ini that a release was made with; DATA
// stands for its data-dir.
const settings = "server.ini"

// sections reads those of a release, for a data-dir.
func sections(t *testing.T, dir, data string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, settings))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "DATA", data)
}

type streamAnswer struct {
	UID    string
	Ranges []harness.Span
	Gaps   []harness.Span
	Record string // SHA-256 of record.mp4 over everything
}

func root(t *testing.T) string {
	t.Helper()
	r, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(r, "testdata")
}

// TestReleases opens every release: with its catalogue, and without.
func TestReleases(t *testing.T) {
	if *makeRelease > 0 {
		makeIt(t, filepath.Join(root(t), fmt.Sprintf("release-%d", *makeRelease)))
		return
	}
	dirs, err := filepath.Glob(filepath.Join(root(t), "release-*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("there is no release to open: %v", err)
	}
	for _, dir := range dirs {
		for _, rebuilt := range []bool{false, true} {
			name := filepath.Base(dir)
			if rebuilt {
				name += " without its catalogue"
			}
			t.Run(name, func(t *testing.T) { open(t, dir, rebuilt) })
		}
	}
}

func open(t *testing.T, dir string, rebuilt bool) {
	var want answers
	b, err := os.ReadFile(filepath.Join(dir, "answers.json"))
	if err == nil {
		err = json.Unmarshal(b, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(dir, "data"))); err != nil {
		t.Fatal(err)
	}
	if rebuilt {
		for _, f := range []string{"catalogue.db", "catalogue.db-wal", "catalogue.db-shm"} {
			os.Remove(filepath.Join(data, f))
		}
	}
	ini, rtsp := sections(t, dir, data), harness.FreePort(t)
	if want.Play != "" {
		ini += "[rtsp]\nenable = true\nudp-ports =\nauth = digest\nlisten = " + rtsp + "\n"
	}
	s := harness.New(t, harness.Options{Data: data, Ini: ini})
	for _, st := range want.Streams {
		text, err := os.ReadFile(filepath.Join(dir, "streams.d", st.UID+".ini"))
		if err != nil {
			t.Fatal(err)
		}
		s.PutText(st.UID, string(text))
	}
	s.Start()
	for _, st := range want.Streams {
		s.Until("the footage of "+st.UID, func() bool { return len(s.Footage(st.UID).Ranges) == len(st.Ranges) })
		got := s.Footage(st.UID)
		for i := range got.Ranges {
			if st.Ranges[i].Kind == "" { // of before ranges had kinds
				got.Ranges[i].Kind = ""
			}
		}
		if fmt.Sprint(got.Ranges) != fmt.Sprint(st.Ranges) || fmt.Sprint(got.Gaps) != fmt.Sprint(st.Gaps) {
			t.Errorf("%s: ranges %v, gaps %v\nwant %v, %v", st.UID, got.Ranges, got.Gaps, st.Ranges, st.Gaps)
		}
		if sum := record(t, s, st.UID, st.Ranges, want.Token); sum != st.Record {
			t.Errorf("%s: record.mp4 has other bytes than when it was made", st.UID)
		}
	}
	tokenWorks(t, s, want.Token)
	if len(want.Locks) > 0 {
		signedAndLocked(t, s, want.Locks)
	}
	if want.Play != "" {
		stillPlays(t, s, want, rtsp)
	}
	for _, p := range s.Problems() {
		t.Errorf("problem: %s", p)
	}
}

// signedAndLocked: locks are those of that release, and all footage verifies.
func signedAndLocked(t *testing.T, s *harness.Server, want []lock) {
	t.Helper()
	if got := locks(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("locks %v, want %v", got, want)
	}
	if said := s.Verb("verify"); !strings.Contains(said, "of 0 of them the units were not looked into") {
		t.Errorf("verify does not look into encrypted footage: %s", said)
	}
}

func locks(t *testing.T, s *harness.Server) []lock {
	t.Helper()
	var out struct{ Items []lock }
	if status, err := s.Call("GET", "streams/gate/locks", &out); err != nil || status != 200 {
		t.Fatalf("locks: %d %v", status, err)
	}
	return out.Items
}

// tokenWorks: an API token of that release still opens the API.
func tokenWorks(t *testing.T, s *harness.Server, token string) {
	t.Helper()
	for tok, want := range map[string]int{token: 200, token + "x": 401} {
		req, err := http.NewRequest("GET", s.HTTP+"/api/v1/streams", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tok)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("the API answers %s, want %d", resp.Status, want)
		}
	}
}

// stillPlays: a play token of that release is known as one of this server's, expired or
// not, and an account of Digest opens RTSP.
func stillPlays(t *testing.T, s *harness.Server, want answers, rtsp string) {
	t.Helper()
	s.Put("safe", "stream-enable = false", "stream-access = private", "dvr-duration = 0", "dvr-pool = vault")
	s.Until("safe to be private", func() bool { code, _ := s.Get(s.HTTP + "/dvr/safe/ranges.json"); return code == 401 })
	for tok, ok := range map[string]bool{want.Play: true, want.Play[:len(want.Play)-8] + "AAAAAAAA": false} {
		code, body := s.Get(s.HTTP + "/dvr/safe/ranges.json?token=" + tok)
		if known := code == 200 || code == 401 && strings.Contains(body, "token_expired"); known != ok {
			t.Errorf("a play token: %d %s", code, body)
		}
	}
	r := want.Streams[0].Ranges[0]
	for word, ok := range map[string]bool{playerWord: true, "another word": false} {
		u := url.URL{Scheme: "rtsp", Host: rtsp, Path: "/dvr/gate", User: url.UserPassword(player, word), RawQuery: fmt.Sprintf("from=%d&to=%d", r.From, r.To)}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=codec_name", "-of", "csv=p=0", u.String()).CombinedOutput()
		stop()
		if got := strings.Contains(string(out), "h264"); got != ok {
			t.Errorf("RTSP with the word %q: %v %s", word, err, out)
		}
	}
}

// record is the hash of record.mp4 over all ranges, asked for with the token.
func record(t *testing.T, s *harness.Server, uid string, ranges []harness.Span, token string) string {
	t.Helper()
	url := fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", s.HTTP, uid, ranges[0].From, ranges[len(ranges)-1].To)
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h := sha256.New()
	if n, err := io.Copy(h, resp.Body); err != nil || resp.StatusCode != 200 || n != resp.ContentLength {
		t.Fatalf("record.mp4: %s, %d of %d bytes, %v", resp.Status, n, resp.ContentLength, err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// made is what a release is made with: all footage signed, that of one stream
// encrypted as well, in a space of its own.
const made = `[space.main]
path = DATA/media
[space.vault]
path = DATA/vault
[pool.default]
spaces = main
sign = true
[pool.vault]
spaces = vault
sign = true
encrypt = true
[keys]
passphrase = of a release
`

// makeIt records a few seconds of three streams, with a gap and a lock, makes a
// backup, and keeps everything the server wrote.
func makeIt(t *testing.T, dir string) {
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s is there; a release is made once", dir)
	}
	data := filepath.Join(t.TempDir(), "data")
	s := harness.New(t, harness.Options{Linger: "1s", Data: data, Ini: strings.ReplaceAll(made, "DATA", data)})
	s.Start()
	uids := []string{"gate", "yard", "safe"}
	streams := map[string][]string{
		"gate": {"stream-url = sim://?bitrate=300k", "stream-access = public", "dvr-duration = 0"},
		"yard": {"stream-url = sim://?codec=h265&audio=pcma&metadata=on&bitrate=300k", "stream-access = public", "dvr-duration = 0"},
		"safe": {"stream-url = sim://?bitrate=300k", "stream-access = public", "dvr-duration = 0", "dvr-pool = vault"},
	}
	put := func(more ...string) {
		for _, uid := range uids {
			s.Put(uid, append(slices.Clone(streams[uid]), more...)...)
		}
	}
	recorded := func(n int) bool {
		return !slices.ContainsFunc(uids, func(uid string) bool {
			r := s.Footage(uid).Ranges
			return len(r) != n || r[n-1].To-r[n-1].From <= 4000
		})
	}
	put()
	s.Active(uids...)
	s.Until("four seconds", func() bool { return recorded(1) })
	s.Close(uids...)
	put()
	s.Until("another run", func() bool { return recorded(2) })
	put("stream-enable = false")
	s.Until("the end", func() bool {
		return !slices.ContainsFunc(uids, func(uid string) bool { return s.Stream(uid).State != "off" })
	})
	s.Until("sealed files", func() bool {
		files := append(harness.Files(filepath.Join(s.Data, "media")), harness.Files(filepath.Join(s.Data, "vault"))...)
		return len(files) == 6 && !slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, "open/") })
	})
	s.Verb("lock", "add", "gate", "--from=-10s", "--to=now", "--reason", "kept")
	s.Verb("backup")
	export := exec.Command(filepath.Join(harness.Bin, "media-server"), "keys", "export", "-c", s.Conf, "-o", filepath.Join(s.Dir, "keys"))
	export.Stdin = strings.NewReader("apart from the machine\n")
	if out, err := export.CombinedOutput(); err != nil {
		t.Fatalf("keys export: %v %s", err, out)
	}
	digest := exec.Command(filepath.Join(harness.Bin, "media-server"), "passwd", "-c", s.Conf, "--digest", player)
	digest.Stdin = strings.NewReader(playerWord + "\n")
	if out, err := digest.CombinedOutput(); err != nil {
		t.Fatalf("passwd --digest: %v %s", err, out)
	}
	a := answers{Token: token(t, s), Locks: locks(t, s), Play: s.Verb("token", "play", "safe", "--ttl", "366d")}
	for _, uid := range uids {
		f := s.Footage(uid)
		a.Streams = append(a.Streams, streamAnswer{UID: uid, Ranges: f.Ranges, Gaps: f.Gaps, Record: record(t, s, uid, f.Ranges, a.Token)})
	}
	s.Stop()
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	keep(t, s.Data, filepath.Join(dir, "data"))
	keep(t, s.Streams, filepath.Join(dir, "streams.d"))
	err = errors.Join(os.WriteFile(filepath.Join(dir, "answers.json"), append(b, '\n'), 0o644), os.WriteFile(filepath.Join(dir, settings), []byte(made), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}

func token(t *testing.T, s *harness.Server) string {
	t.Helper()
	return s.Verb("token", "api", "--role", "viewer", "--ttl", "0", "--name", "release")
}

// keep copies what a release keeps: not sockets, not locks, not shared memory.
func keep(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || strings.HasSuffix(rel, "-shm") || rel == "lock" || strings.HasPrefix(rel, "run/") || strings.HasPrefix(rel, "plugins/") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil || strings.HasSuffix(rel, "-wal") && len(bytes.TrimSpace(b)) == 0 {
			return err
		}
		dst := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		return os.WriteFile(dst, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
