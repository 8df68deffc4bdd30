package cdp

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestToldOnce: what Chromium tells a second time is no second complaint, and what
// happens a second time is one.
func TestToldOnce(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><link rel=icon href=data:,>"))
	}))
	defer s.Close()
	p := Start(t).Page(t)
	p.Go(s.URL)
	for range 2 {
		p.Eval("await fetch('/missing'), console.error('missed'), setTimeout(() => { throw new Error('thrown') }), await new Promise(done => setTimeout(done, 100))", nil)
		if got := p.Forget(); len(got) != 3 {
			t.Fatalf("the page complains three times: %q", got)
		}
		for _, d := range []string{"Log", "Runtime"} {
			p.Call(d+".disable", map[string]any{}, nil)
			p.Call(d+".enable", map[string]any{}, nil)
		}
		p.Quiet()
	}
}
