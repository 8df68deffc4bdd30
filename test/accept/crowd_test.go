package accept

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"media-server/test/ledger"
)

// hlsViewer watches a live playlist as a player does: over one connection, the list every
// second, each segment of it once.
type hlsViewer struct {
	client  *http.Client
	list    *url.URL
	seen    map[string]bool
	numbers []uint64 // of pictures
	err     error
}

func newHLSViewer(address string) *hlsViewer {
	u, err := url.Parse(address)
	return &hlsViewer{client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}, list: u, seen: map[string]bool{}, err: err}
}

func (v *hlsViewer) get(u string) string {
	resp, err := v.client.Get(u)
	if err != nil {
		v.err = err
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", u, resp.Status)
	}
	if err != nil {
		v.err = err
		return ""
	}
	return string(b)
}

// watch goes on until stop is closed, or something fails.
func (v *hlsViewer) watch(stop <-chan struct{}) {
	defer v.client.CloseIdleConnections()
	for v.err == nil && running(stop) {
		variant := ""
		for l := range strings.Lines(v.get(v.list.String())) {
			l = strings.TrimSpace(l)
			if l == "" || l[0] == '#' {
				continue
			}
			u, err := v.list.Parse(l)
			if err != nil {
				v.err = err
				return
			}
			if strings.HasSuffix(u.Path, ".m3u8") {
				variant = l
				break
			}
			if v.seen[u.Path] {
				continue
			}
			v.seen[u.Path] = true
			for _, f := range ledger.Search([]byte(v.get(u.String()))) {
				if f.ID.Track == 'v' {
					v.numbers = append(v.numbers, f.Number)
				}
			}
		}
		if variant != "" {
			if v.list, v.err = v.list.Parse(variant); v.err != nil {
				return
			}
			continue
		}
		select {
		case <-stop:
		case <-time.After(time.Second):
		}
	}
}

// breaks tells how many pictures are missing between the first and the last, or came twice.
func (v *hlsViewer) breaks() (n int) {
	slices.Sort(v.numbers)
	for i := 1; i < len(v.numbers); i++ {
		if d := int(v.numbers[i] - v.numbers[i-1]); d != 1 {
			n += max(1, d-1)
		}
	}
	return n
}
