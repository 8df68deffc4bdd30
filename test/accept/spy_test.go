package accept

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// counter takes what the spy in a page tells.
type counter struct {
	mu        sync.Mutex
	n, before int // pictures of this media element, and of those before it
	said      string
}

func (c *counter) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/__seen" {
			next.ServeHTTP(w, r)
			return
		}
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		c.mu.Lock()
		defer c.mu.Unlock()
		if n < c.n { // the element counts anew
			c.before += c.n
		}
		c.n, c.said = n, r.URL.RawQuery
		w.WriteHeader(http.StatusNoContent)
	})
}

// spyOn puts the spy into the page, and takes away the policy that forbids it.
func (c *counter) spyOn(r *http.Response) error {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
		return nil
	}
	b, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return err
	}
	b = bytes.Replace(b, []byte("</body>"), []byte(spy), 1)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	r.Header.Set("Content-Length", strconv.Itoa(len(b)))
	r.Header.Del("Content-Security-Policy")
	return nil
}

func (c *counter) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.before + c.n
}

// at is the position of the media, in seconds, and what went wrong.
func (c *counter) at() (float64, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, _ := url.ParseQuery(c.said)
	s, _ := strconv.ParseFloat(q.Get("t"), 64)
	return s, q.Get("e")
}

func (c *counter) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%d pictures, last heard %q", c.before+c.n, c.said)
}
