package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

// TestDestroyedDay: whoever asks the page for footage whose key was destroyed
// is told so; another stream's day plays on.
func TestDestroyedDay(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(root, "testdata", "encrypted-day"))); err != nil {
		t.Fatal(err)
	}
	s := harness.New(t, harness.Options{Data: data, Ini: "[space.main]\npath = " + filepath.Join(data, "media") + "\n[pool.default]\nspaces = main\nencrypt = true\n"})
	for _, uid := range []string{"gate", "yard"} {
		s.Put(uid, "stream-url = sim://", "stream-enable = false", "stream-access = public", "dvr-duration = 0")
	}
	s.Start()
	var from int64
	for _, uid := range []string{"gate", "yard"} {
		s.Until("footage of "+uid, func() bool { return len(s.Footage(uid).Ranges) == 1 })
		from = s.Footage(uid).Ranges[0].From
	}
	passwd := exec.Command(filepath.Join(harness.Bin, "media-server"), "passwd", "admin", "-c", s.Conf)
	passwd.Stdin = strings.NewReader(own + "\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := cdp.Start(t)
	p := b.Page(t)
	p.Go(fmt.Sprintf("%s/cpanel/#yard@%d", s.HTTP, from+1000))
	enter(p, own)
	p.Wait("the first page", home)
	plays(p)
	p.Quiet()
	if code, err := s.Send("POST", "keys/destroy", `{"uid":"gate","day":"2026-11-28","confirm":"gate 2026-11-28"}`, nil); code != 200 || err != nil {
		t.Fatalf("destroy: %d %v", code, err)
	}
	p.Eval(fmt.Sprintf("location.hash = 'gate@%d'", from+1000), nil)
	p.Wait("why there is no picture of that time", "/^Nothing is recorded from .* \\(key destroyed\\)/.test(document.querySelector('#notice').textContent)")
	p.Shot("destroyed")
	p.Wait("the stream as it is now", "document.querySelector('#veil').textContent.includes('Switched off')")
	p.Eval(fmt.Sprintf("location.hash = 'yard@%d'", from+1000), nil)
	p.Wait("the replay of the other", "document.querySelector('#badge').textContent == 'Replay'")
	plays(p)
	p.Quiet()
}
