package accept

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// TestSignedFootage: what a server under kills has recorded and signed verifies
// on another machine, with nothing but the folder and the public key; a byte
// changed or a file taken away is named.
func TestSignedFootage(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s", Ini: "[pool.default]\nspaces = main\nsign = true\n[space.main]\npath = SPACE\n[log]\nlevel = warn"})
	space := filepath.Join(s.Data, "media")
	text, err := os.ReadFile(s.Conf)
	if err == nil {
		err = os.WriteFile(s.Conf, []byte(strings.Replace(string(text), "SPACE", space, 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	uids := []string{"one", "two", "three"}
	var cams []harness.Camera
	for i, q := range []string{"", "codec=h265&audio=pcma&metadata=on", "codec=none"} {
		cams = append(cams, harness.Camera{UID: uids[i], Sent: s.Sim(uids[i], q, "dvr-chunk = 2s")})
	}
	s.Start()
	footage(s, uids...)
	kills := harness.Pick(10, 2)
	for range kills {
		time.Sleep(2500 * time.Millisecond) // real cameras take real time
		since := time.Now()
		s.Kill()
		s.Start()
		s.Past(since.UnixMilli()+1000, uids...)
	}
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail = to, -1
	}
	sum := judge(t, s, "signed footage under kills", 0, cams, "mp4")
	s.Until("everything to be sealed", func() bool {
		open, _ := filepath.Glob(filepath.Join(space, "open", "*.mp4"))
		return len(open) == 0
	})
	pub := filepath.Join(s.Dir, "public.pem")
	key, err := exec.Command(filepath.Join(harness.Bin, "media-server"), "keys", "public", "-c", s.Conf).Output()
	if err == nil {
		err = os.WriteFile(pub, key, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Another machine: a copy of the folder and the public key.
	away := filepath.Join(s.Dir, "away")
	if err := os.CopyFS(away, os.DirFS(space)); err != nil {
		t.Fatal(err)
	}
	out, code := verb(t, "verify", "--key", pub, away)
	if code != 0 || !strings.Contains(out, "0 findings") || !strings.Contains(out, " 0 never signed") {
		t.Errorf("untouched footage: exit %d\n%s", code, out)
	}
	summary := lastLine(out)
	if out, code = verb(t, "verify", "-c", s.Conf); code != 0 {
		t.Errorf("verify beside the running server: exit %d\n%s", code, out)
	}
	files := harness.Files(away)
	touched, taken := files[1], files[len(files)/2]
	b, err := os.ReadFile(filepath.Join(away, touched))
	if err == nil {
		b[len(b)/2] ^= 0x10
		err = os.WriteFile(filepath.Join(away, touched), b, 0o644)
	}
	if err = errors.Join(err, os.Remove(filepath.Join(away, taken))); err != nil {
		t.Fatal(err)
	}
	out, code = verb(t, "verify", "--key", pub, away)
	if code != 1 || !strings.Contains(out, touched+" ") || !strings.Contains(out, taken+" ") {
		t.Errorf("a byte of %s changed, %s taken away: exit %d\n%s", touched, taken, code, out)
	}
	// Nor does it pass where nothing was looked at.
	if out, code = verb(t, "verify", "--key", pub, t.TempDir()); code != 1 || !strings.Contains(out, "no space lies there") {
		t.Errorf("a folder where no disk is mounted: exit %d\n%s", code, out)
	}
	if out, code = verb(t, "verify", "-c", s.Conf, "nobody"); code == 0 || !strings.Contains(out, `nothing is known of a stream "nobody"`) {
		t.Errorf("a stream that nobody knows: exit %d\n%s", code, out)
	}
	// Nothing is signed any more. What was goes by rule all the same, and nobody
	// took it.
	s.Stop()
	edit(t, s, "sign = true", "sign = false\ndelete-most = 100%")
	s.Sim("one", "", "dvr-chunk = 2s", "dvr-capacity = 1M")
	oldest := filepath.Join(space, files[slices.IndexFunc(files, func(f string) bool { return strings.HasPrefix(f, "one/") })])
	s.Start()
	s.Until("the oldest signed file to go by rule", func() bool {
		_, err := os.Stat(oldest)
		return errors.Is(err, os.ErrNotExist)
	})
	s.Stop()
	if out, code = verb(t, "verify", "-c", s.Conf); code != 0 || !strings.Contains(out, " 0 findings") {
		t.Errorf("signed files have gone by rule, since nothing is signed: exit %d\n%s", code, out)
	}
	harness.Row(t, "signed footage verifies elsewhere", 0, "%d kills, %d frames; %s; a byte changed and a file taken away are named; none that went by rule after signing was ended", kills, sum.Present, summary)
}

func verb(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	b, err := exec.Command(filepath.Join(harness.Bin, "media-server"), args...).CombinedOutput()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e != nil {
		code = e.ExitCode()
	}
	return string(b), code
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return fmt.Sprint(lines[len(lines)-1])
}
