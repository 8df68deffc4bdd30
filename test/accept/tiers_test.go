package accept

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
	"media-server/test/s3server"
)

// TestArchiveToS3: footage moves to an S3 server that hangs, cuts, and lets go
// while the core is killed; recording loses nothing, and what is played is the
// same before and after, byte for byte.
func TestArchiveToS3(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	srv := s3server.Start(t)
	proxy := s3server.NewProxy(t, srv.Addr)
	proxy.Hang(true)
	dir := t.TempDir()
	ini := "[space.disk]\npath = " + filepath.Join(dir, "disk") + "\n[space.cloud]\ndriver = s3\n"
	for k, v := range s3server.Settings(proxy.Addr, "site/a") {
		ini += k + " = " + v + "\n"
	}
	ini += "[pool.default]\nspaces = disk\nsign = true\narchive-to = archive\n[pool.archive]\nspaces = cloud\nsign = true\n"
	s := harness.New(t, harness.Options{Ini: ini, Restart: "1s"})
	still := harness.Camera{UID: "still", Sent: s.Sim("still", "audio=pcma", "dvr-chunk = 1s")}
	on := harness.Camera{UID: "goes-on", Sent: s.Sim("goes-on", "bitrate=8M", "dvr-chunk = 2s")}
	s.Start()
	footage(s, "still", "goes-on")
	time.Sleep(harness.Pick(20*time.Second, 5*time.Second))
	still.Rules.To, still.Rules.Tail = s.Close("still"), -1
	before := fingerprintOf(t, s, "still")
	middle := (before.footage.Ranges[0].From + before.footage.Ranges[0].To) / 2
	part := fetch(t, s, "still", middle-1500, middle+1500)
	if n := len(harness.Files(filepath.Join(srv.Dir, "site/a"))); n != 0 {
		t.Fatalf("%d files were moved to a server that hangs", n)
	}
	s.Until("the move to be said to fail", func() bool { return strings.Contains(fmt.Sprint(s.Problems()), "cloud") })

	// It lets go; cuts now and then; the core is killed on the way.
	proxy.Hang(false)
	kills := harness.Pick(20, 2)
	for i := range kills {
		s.Until("files to be moved", func() bool { return len(harness.Files(filepath.Join(srv.Dir, "site/a"))) > i })
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		if rng.IntN(2) == 0 {
			proxy.Reset()
		}
		s.Kill()
		s.Start()
		if again := fingerprintOf(t, s, "still"); again.sum != before.sum || !reflect.DeepEqual(again.footage, before.footage) {
			t.Fatalf("after kill %d: %+v, before %+v", i+1, again.footage, before.footage)
		}
	}
	proxy.Hang(true)
	since := time.Now()
	time.Sleep(harness.Pick(30*time.Second, 4*time.Second))
	s.Past(since.UnixMilli()+2000, "goes-on")
	proxy.Hang(false)
	on.Rules.To, on.Rules.Tail, on.Rules.Gaps = s.Close("goes-on"), -1, map[string][]ledger.Gap{}
	s.Until("everything to be moved", func() bool { return len(harness.Files(filepath.Join(dir, "disk"))) == 0 })

	after := fingerprintOf(t, s, "still")
	if after.sum != before.sum || !reflect.DeepEqual(after.footage, before.footage) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if got := fetch(t, s, "still", middle-1500, middle+1500); got != part {
		t.Errorf("a range of 3 s: %d bytes before, %d after", len(part), len(got))
	}
	line := s.Judge("still", s.Account(still))
	still.Door = "hls"
	hls := s.Judge("still by hls", s.Account(still))
	line2 := s.Judge("goes-on", s.Account(on))
	var moves struct {
		Items []struct{ From, To, State string }
	}
	if code, err := s.Call("GET", "moves", &moves); err != nil || code != 200 || len(moves.Items) != 1 || moves.Items[0].To != "archive" {
		t.Errorf("moves: %d %v %+v", code, err, moves)
	}
	verified := inBucket(t, s, filepath.Join(srv.Dir, "site/a"), proxy)
	secret(t, s)
	harness.Row(t, "footage moved to an S3 server that hangs and resets, core killed meanwhile", seed,
		"%d kills; %d bytes of record.mp4 and all ranges identical; %s; by HLS %s; recorded meanwhile: %s; verified where it is: %s", kills, before.size, line, hls, line2, verified)
}

// inBucket verifies signed footage where it is, in a bucket, through the running
// server and while none runs. A byte changed there and an object taken away are
// named; a bucket that does not answer is not passed over.
func inBucket(t *testing.T, s *harness.Server, dir string, proxy *s3server.Proxy) (summary string) {
	t.Helper()
	files := harness.Files(dir)
	good := func(when, out string, code int) {
		t.Helper()
		if code != 0 || !strings.Contains(out, fmt.Sprintf("%d signed and as they were recorded", len(files))) || !strings.Contains(out, " 0 never signed") || !strings.Contains(out, " 0 findings") || strings.Contains(out, "not read") {
			t.Errorf("untouched footage in a bucket, %s: exit %d\n%s", when, code, out)
		}
	}
	out, code := verb(t, "verify", "-c", s.Conf)
	good("through the server", out, code)
	summary = lastLine(out)
	out, code = verb(t, "verify", "--space", "cloud", "-c", s.Conf)
	good("that space alone", out, code)
	if out, code = verb(t, "verify", "--space", "clod", "-c", s.Conf); code != 2 || !strings.Contains(out, "clod") {
		t.Errorf("of a space that is not there: exit %d\n%s", code, out)
	}
	s.Stop()
	out, code = verb(t, "verify", "-c", s.Conf)
	good("while no server runs", out, code)
	s.Start()

	touched, taken := files[1], files[len(files)/2]
	b, err := os.ReadFile(filepath.Join(dir, touched))
	if err == nil {
		b[len(b)/2] ^= 0x10
		err = os.WriteFile(filepath.Join(dir, touched), b, 0o644)
	}
	if err = errors.Join(err, os.Remove(filepath.Join(dir, taken))); err != nil {
		t.Fatal(err)
	}
	named := func(when string) {
		t.Helper()
		out, code := verb(t, "verify", "-c", s.Conf)
		if code != 1 || !strings.Contains(out, "space cloud/"+touched+" ") || !strings.Contains(out, "space cloud/"+taken+" ") || strings.Contains(out, "cannot be read") {
			t.Errorf("%s, a byte of %s changed, %s taken away: exit %d\n%s", when, touched, taken, code, out)
		}
	}
	named("through the server")
	s.Stop()
	named("while no server runs")
	proxy.Refuse(true)
	proxy.Reset()
	if out, code = verb(t, "verify", "-c", s.Conf); code != 1 || !strings.Contains(out, "space cloud was not read and is not verified") {
		t.Errorf("of a bucket that does not answer: exit %d\n%s", code, out)
	}
	proxy.Refuse(false)
	return summary
}

// fetch is a record.mp4 as text.
func fetch(t *testing.T, s *harness.Server, uid string, from, to int64) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", s.HTTP, uid, from, to))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("record.mp4 of %s: %s %v", uid, resp.Status, err)
	}
	return string(b)
}

// secret looks for the secret key where it must not be.
func secret(t *testing.T, s *harness.Server) {
	t.Helper()
	if strings.Contains(s.Verb("config", "show", "--effective"), s3server.Secret) {
		t.Error("config show tells the secret key")
	}
	for _, dir := range []string{s.Run, s.Data, s.Dir} {
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || p == s.Conf || !d.Type().IsRegular() {
				return nil
			}
			if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), s3server.Secret) {
				t.Errorf("%s holds the secret key", p)
			}
			return nil
		})
	}
}
