package browser

import (
	"fmt"
	"os"
	"testing"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

func TestDup(t *testing.T) {
	s := harness.New(t, harness.Options{Ini: "[auth]\nlockout = 1m\n"})
	s.Put("demo", "stream-name = Demo", "stream-url = sim://", "stream-access = public")
	s.Start()
	b := cdp.Start(t)
	t.Run("first login", func(t *testing.T) { firstLogin(t, s, b) })
	p := b.Page(t)
	login(p, s, "#demo")
	for i := range 25 {
		fmt.Fprintln(os.Stderr, "GO", i)
		plays(p)
		p.Eval("await Promise.all([1,2,3,4,5].map(i => fetch('/api/v1/no'+i)))", nil)
		plays(p)
		p.Quiet("404")
		expired(p, s)
		p.Quiet()
		enter(p, own)
	}
	p.Forget()
}
