package browser

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "browser")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = harness.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

const own = "harbour lights 22"

// login goes through the first login, or a later one, to the first page.
func login(p *cdp.Page, s *harness.Server, hash string) {
	p.T.Helper()
	p.Go(s.HTTP + "/cpanel/" + hash)
	enter(p, own)
	p.Wait("the first page", home)
}

func enter(p *cdp.Page, password string) {
	p.T.Helper()
	p.Wait("the login", "document.querySelector('#login')")
	p.Type("[name=user]", "admin")
	p.Type("[name=password]", password)
	p.Key("Enter")
}

const home = "document.body.classList.contains('home') && document.querySelector('#streams a')"

// plays waits until pictures are decoded and time goes on.
func plays(p *cdp.Page) {
	p.T.Helper()
	p.Wait("a picture", `(v => v.getVideoPlaybackQuality().totalVideoFrames > 0 && v.videoWidth > 0 && v.readyState > 2)(document.querySelector('video'))`)
	p.Eval("globalThis.t0 = document.querySelector('video').currentTime", nil)
	p.Wait("the picture to move", `Math.abs(document.querySelector('video').currentTime - t0) > .5`)
}

// firstPassword reads the password of the first start.
func firstPassword(t *testing.T, s *harness.Server) string {
	t.Helper()
	b, err := os.ReadFile(s.Data + "/first-password")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
