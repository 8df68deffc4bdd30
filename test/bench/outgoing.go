package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"media-server/test/bench/cameras"
)

// outgoing compares what 500 viewers cost the core, beside 20 cameras that are recorded,
// with what the same viewers cost nginx, which has the same playlist and segments as
// files and sends them from there (sendfile on, no log, one worker).
func outgoing(ctx context.Context, b *bench, p *Page) error {
	if _, err := exec.LookPath("nginx"); err != nil {
		return fmt.Errorf("nginx is what viewers are measured beside: install the Debian package nginx-light: %w", err)
	}
	if _, err := cameras.Load(ctx, b.keep); err != nil {
		return err
	}
	t := p.Table("", "HLS viewers of one of 20 cameras, core and nginx")
	for range b.rounds {
		if err := b.outgoingOnce(ctx, t, pick(b, 20, 4), pick(b, 500, 50)); err != nil {
			return err
		}
	}
	p.Note("Each viewer asks for the live playlist every 2 s and for each new segment (2 s, 0.5 MB) over one connection. nginx serves what a mirror fetches from the server as it appears. Both are measured in one run, one after the other, with the cameras recorded all the time; what the core needs for the cameras and the mirror alone is taken off.")
	return nil
}

func (b *bench) outgoingOnce(ctx context.Context, t *Table, recorded, watching int) error {
	defer endAll()
	load, addr, err := b.cameraLoad(recorded, "", 1, "")
	if err != nil {
		return err
	}
	s, err := b.recorder(ctx, options{dir: filepath.Join(b.work, "outgoing")}, addr, recorded)
	if s != nil {
		defer s.discard()
	}
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.settle()+6*time.Second); err != nil {
		return err
	}
	root := filepath.Join(b.work, "mirror")
	mctx, stop := context.WithCancel(ctx)
	mirrored := make(chan error, 1)
	go func() { mirrored <- mirror(mctx, "http://"+s.http+"/live/"+cameras.Name(0)+"/", root) }()
	defer func() { stop(); <-mirrored }()
	static, worker, end, err := startNginx(b.work, root)
	if err != nil {
		return err
	}
	defer end()
	if err := sleep(ctx, b.settle()); err != nil {
		return err
	}
	idle, err := window(ctx, b.watch(), s.pids(), load)
	if err != nil {
		return err
	}
	label := fmt.Sprintf("%d viewers", watching)
	for _, by := range []struct{ name, url string }{{"core", "http://" + s.http + "/live/" + cameras.Name(0) + "/playlist.m3u8"}, {"nginx", static + "/media.m3u8"}} {
		v, err := spawn("viewers", "-n", fmt.Sprint(watching), "-url", by.url)
		if err != nil {
			return err
		}
		var ready string
		var v0, v1 viewerStats
		if err := v.line(&ready); err != nil {
			return err
		}
		if err := sleep(ctx, b.settle()); err != nil {
			return err
		}
		if err := v.ask("stats", &v0); err != nil {
			return err
		}
		before := cpuOf(worker)[worker]
		w, err := window(ctx, b.watch(), s.pids(), load)
		if err != nil {
			return err
		}
		if err := v.ask("stats", &v1); err != nil {
			return err
		}
		cost := w.cores["core"] - idle.cores["core"]
		if by.name == "nginx" {
			cost = (cpuOf(worker)[worker] - before).Seconds() / b.watch().Seconds()
		}
		t.Add(label, by.name+" a 100 viewers", cost*100/float64(watching))
		t.Add(label, by.name+" Mbit/s", float64(v1.Bytes-v0.Bytes)*8/1e6/b.watch().Seconds())
		t.Add(label, by.name+" errors and stalls", float64(v1.Errors-v0.Errors+v1.Stalls-v0.Stalls))
		v.stop()
	}
	return nil
}

// mirror keeps the live playlist of a stream and its segments as files in dir, until ctx
// ends.
func mirror(ctx context.Context, base, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	have := map[string]bool{}
	for ctx.Err() == nil {
		list, err := fetch(ctx, base+"media.m3u8")
		if err == nil {
			for l := range strings.SplitSeq(string(list), "\n") {
				if _, uri, ok := strings.Cut(l, `URI="`); ok {
					l, _, _ = strings.Cut(uri, `"`)
				}
				name, _, _ := strings.Cut(l, "?")
				if name == "" || name[0] == '#' || have[name] || strings.Contains(l, "#EXT") || strings.Count(name, ".") > 1 {
					continue
				}
				body, err := fetch(ctx, base+l)
				if err != nil || os.WriteFile(filepath.Join(dir, name), body, 0o644) != nil {
					continue
				}
				have[name] = true
			}
			if err := os.WriteFile(filepath.Join(dir, "new"), list, 0o644); err == nil {
				_ = os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "media.m3u8"))
			}
		}
		if sleep(ctx, 500*time.Millisecond) != nil {
			break
		}
	}
	return nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// startNginx serves a folder; worker is the process that does the work.
func startNginx(work, root string) (url string, worker int, end func(), err error) {
	port, err := freePort()
	if err != nil {
		return "", 0, nil, err
	}
	conf := filepath.Join(work, "nginx.conf")
	text := fmt.Sprintf(`daemon off; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log; worker_processes 1;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
server { listen %[2]s; root %[3]s; } }
`, work, port, root)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return "", 0, nil, err
	}
	cmd := exec.Command("nginx", "-c", conf)
	if err := cmd.Start(); err != nil {
		return "", 0, nil, err
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if worker != 0 {
			if p, err := os.FindProcess(worker); err == nil {
				_ = p.Kill()
			}
		}
	}
	for range 100 {
		time.Sleep(50 * time.Millisecond)
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		if _, err := fmt.Sscan(string(b), &worker); err == nil {
			return "http://" + port, worker, end, nil
		}
	}
	end()
	return "", 0, nil, fmt.Errorf("nginx does not begin; see %s/nginx.log", work)
}
