package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"media-server/test/bench/cameras"
)

// viewerStats are totals of all viewers.
type viewerStats struct{ Requests, Bytes, Segments, Errors, Stalls int64 }

// roleViewers plays a live playlist n times, as a player does: the playlist
// every GOP, the init segment once, every new segment once, one connection.
func roleViewers(args []string) error {
	f := flag.NewFlagSet("viewers", flag.ContinueOnError)
	n := f.Int("n", 1, "")
	url := f.String("url", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	v := &watching{}
	for i := range *n {
		go func() {
			time.Sleep(2 * time.Second * time.Duration(i) / time.Duration(*n))
			v.watch(*url)
		}()
	}
	say("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		say(viewerStats{v.requests.Load(), v.bytes.Load(), v.segments.Load(), v.errors.Load(), v.stalls.Load()})
	}
	return nil
}

type watching struct{ requests, bytes, segments, errors, stalls atomic.Int64 }

// watch goes on until the process ends.
func (v *watching) watch(url string) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 20 * time.Second}
	buf := &bytes.Buffer{}
	get := func(u string, to io.Writer) bool {
		v.requests.Add(1)
		resp, err := c.Get(u)
		if err != nil {
			v.errors.Add(1)
			return false
		}
		n, err := io.Copy(to, resp.Body)
		resp.Body.Close()
		v.bytes.Add(n)
		if err != nil || resp.StatusCode != 200 {
			v.errors.Add(1)
			return false
		}
		return true
	}
	base := url[:strings.LastIndexByte(url, '/')+1]
	seen, fresh := map[string]bool{}, time.Now()
	for first := true; ; {
		buf.Reset()
		if get(url, buf) {
			var list []string
			for line := range strings.SplitSeq(buf.String(), "\n") {
				line = strings.TrimSpace(line)
				if line != "" && (line[0] != '#' || strings.HasPrefix(line, "#EXT-X-MAP:")) {
					list = append(list, line)
				}
			}
			if len(list) > 0 && strings.Contains(list[len(list)-1], ".m3u8") { // the media playlist of a multivariant one
				url = base + list[len(list)-1]
				continue
			}
			if first && len(list) > 4 {
				for _, l := range list[:len(list)-3] { // three from the live edge
					if l[0] != '#' {
						seen[l] = true
					}
				}
			}
			first = false
			for _, l := range list {
				if _, uri, ok := strings.Cut(l, `URI="`); ok {
					l, _, _ = strings.Cut(uri, `"`)
				} else if l[0] == '#' {
					continue
				}
				if seen[l] {
					continue
				}
				seen[l] = true
				v.segments.Add(1)
				fresh = time.Now()
				get(base+l, io.Discard)
			}
		}
		if time.Since(fresh) > 8*time.Second {
			v.stalls.Add(1)
			fresh = time.Now()
		}
		time.Sleep(2 * time.Second)
	}
}

// viewers compares the core's CPU with nobody and with 100 watching one camera.
func viewers(ctx context.Context, b *bench, p *Page) error {
	if _, err := cameras.Load(ctx, b.keep); err != nil {
		return err
	}
	t := p.Table("", "HLS viewers of one camera")
	for range b.rounds {
		if err := b.viewersOnce(ctx, t); err != nil {
			return err
		}
	}
	p.Note("One camera is recorded; each viewer asks for the live playlist every 2 s and for each new segment (2 s, 0.5 MB) over one connection. The viewers are a process of their own.")
	return nil
}

func (b *bench) viewersOnce(ctx context.Context, t *Table) error {
	defer endAll()
	load, addr, err := b.cameraLoad(1, "", 1, "")
	if err != nil {
		return err
	}
	dir := filepath.Join(b.work, "viewers")
	s, err := b.recorder(ctx, options{dir: dir}, addr, 1)
	if s != nil {
		defer s.discard()
	}
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.settle()+4*time.Second); err != nil {
		return err
	}
	idle := 0.0
	for _, n := range []int{0, 100} {
		label := fmt.Sprint(n)
		var v *child
		var v0, v1 viewerStats
		if n > 0 {
			if v, err = spawn("viewers", "-n", label, "-url", "http://"+s.http+"/live/"+cameras.Name(0)+"/playlist.m3u8"); err != nil {
				return err
			}
			var ready string
			if err := v.line(&ready); err != nil {
				return err
			}
			if err := sleep(ctx, b.settle()); err != nil {
				return err
			}
			if err := v.ask("stats", &v0); err != nil {
				return err
			}
		}
		w, err := window(ctx, b.watch(), s.pids(), load)
		if err != nil {
			return err
		}
		t.Add(label, "core", w.cores["core"])
		t.Add(label, "all three", w.total)
		if n == 0 {
			idle = w.cores["core"]
			continue
		}
		if err := v.ask("stats", &v1); err != nil {
			return err
		}
		t.Add(label, "for the viewers", w.cores["core"]-idle)
		t.Add(label, "requests/s", float64(v1.Requests-v0.Requests)/b.watch().Seconds())
		t.Add(label, "Mbit/s", float64(v1.Bytes-v0.Bytes)*8/1e6/b.watch().Seconds())
		t.Add(label, "errors", float64(v1.Errors-v0.Errors))
		t.Add(label, "stalls", float64(v1.Stalls-v0.Stalls))
	}
	return nil
}
