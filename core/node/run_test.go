package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/fault"
	"media-server/core/pluginhost"
	"media-server/core/ports"
)

var buildPlugins = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "node-test-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"sim", "local"} {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return dir, err
		}
		ini, err := os.ReadFile("../../plugins/" + name + "/plugin.ini")
		if err == nil {
			err = os.WriteFile(filepath.Join(to, "plugin.ini"), ini, 0o644)
		}
		if err != nil {
			return dir, err
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(to, name), "./plugins/"+name)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	if n := len(os.Args); n >= 3 && os.Args[n-2] == ports.Verb { // started by a test as a holder
		if err := ports.Serve(os.Args[n-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if dir, err := buildPlugins(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// rig is a server in this process with real plugins.
type rig struct {
	*place
	run    string   // run-dir
	holder []string // see Options
	reload chan os.Signal
	base   string // of HTTP
	cancel context.CancelFunc
	done   chan error
	http   http.Client // over the control socket
}

// newRig writes settings; more goes behind them.
func newRig(t *testing.T, more string, files ...string) *rig {
	t.Helper()
	plugins, err := buildPlugins()
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("", "n") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{place: newPlace(t, files...), run: run, reload: make(chan os.Signal, 1)}
	t.Cleanup(func() {
		r.stop()
		if err := pluginhost.StopRecorded(run); err != nil {
			t.Error(err)
		}
		os.RemoveAll(run)
	})
	r.write("media-server.ini", "[server]\ndata-dir = var\nrun-dir = "+run+"\nplugins-dir = "+plugins+
		"\n[http]\nlisten = 127.0.0.1:0\n[https]\nenable = false\n[admin]\nlisten = 127.0.0.1:0\n[webrtc]\nlisten = 127.0.0.1:0\n[log]\nlevel = error\n"+more)
	socket := filepath.Join(run, "control.sock")
	r.http.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	return r
}

var panelAt = regexp.MustCompile(`control panel at (?:(http://\S+)/cpanel/|\(nothing listens)`)

// start runs the server and waits until it has said where it is.
func (r *rig) start() {
	r.t.Helper()
	pr, pw := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() {
		err := Run(ctx, Options{Path: filepath.Join(r.dir, "media-server.ini"), Version: "test", Out: pw, Reload: r.reload, Holder: r.holder})
		pw.Close()
		r.done <- err
	}()
	said := make([]byte, 4096)
	n, err := pr.Read(said)
	go io.Copy(io.Discard, pr)
	m := panelAt.FindSubmatch(said[:n])
	if m == nil {
		r.t.Fatalf("the server said %q, %v; it ended with %v", said[:n], err, <-r.done)
	}
	r.base = string(m[1])
}

// stop ends the server; a second call does nothing.
func (r *rig) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		r.t.Fatal("the server does not end")
	}
}

func (r *rig) get(url string, into any) int {
	r.t.Helper()
	resp, err := r.http.Get("http://control" + url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", url, err, b)
	}
	return resp.StatusCode
}

type streamState struct {
	State, Reason string
	Recording     bool
	Counters      map[string]uint64
	Problems      []struct{ What string }
}

// until asks for a stream until it is as wanted.
func (r *rig) until(uid, what string, ok func(s streamState) bool) {
	r.t.Helper()
	var s streamState
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s = streamState{}
		if r.get("/api/v1/streams/"+uid, &s) == 200 && ok(s) {
			return
		}
	}
	r.t.Fatalf("stream %s never was %s: %+v", uid, what, s)
}

func active(s streamState) bool    { return s.State == "active" }
func recording(s streamState) bool { return s.State == "active" && s.Recording }

func (r *rig) reloadNow() (problems []struct{ Level, What string }) {
	r.t.Helper()
	resp, err := r.http.Post("http://control/api/v1/reload", "application/json", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Problems []struct{ Level, What string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		r.t.Fatal(err)
	}
	return a.Problems
}

// play asks as a viewer does.
func (r *rig) play(path, player string) (int, string) {
	r.t.Helper()
	req, _ := http.NewRequest("GET", r.base+path, nil)
	req.Header.Set("User-Agent", player)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(b)
}

// list waits for a playlist and returns it.
func (r *rig) list(path string) string {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := r.http.Get("http://control" + path)
		if err != nil {
			r.t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == 200 {
			return string(b)
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s: %s", path, b)
		}
	}
}

const simStream = "stream-url = sim://\nstream-access = public\n"

// TestServer takes a server through its life: streams that come, go and change
// while it runs, a viewer too many, a second server, a restart.
func TestServer(t *testing.T) {
	r := newRig(t, "[limits]\nviewers = 4\n", "streams.d/rec.ini", "[rec]\n"+simStream, "streams.d/ring.ini", "[ring]\n"+simStream+"dvr-enable = false\n",
		"streams.d/odd.ini", "[odd]\nstream-url = nobody://x\n")
	r.start()
	r.until("rec", "recording", recording)
	r.until("ring", "active", func(s streamState) bool { return active(s) && !s.Recording })
	r.until("odd", "told that no driver takes it", func(s streamState) bool { return s.State == "lost" && strings.Contains(s.Reason, "nobody://") })

	t.Run("a second server", func(t *testing.T) {
		for _, name := range []string{"data-dir", "run-dir"} {
			other := newPlace(t)
			dirs := "data-dir = " + filepath.Join(r.dir, "var") + "\nrun-dir = " + filepath.Join(other.dir, "run")
			if name == "run-dir" {
				dirs = "data-dir = var\nrun-dir = " + r.run
			}
			other.write("media-server.ini", "[server]\n"+dirs+"\n[http]\nlisten = 127.0.0.1:0\n[https]\nenable = false\n[admin]\nenable = false\n[webrtc]\nenable = false\n")
			err := Run(context.Background(), Options{Path: filepath.Join(other.dir, "media-server.ini")})
			var p *fault.Problem
			if !errors.As(err, &p) || p.Where != name || !strings.Contains(p.What, "another server") {
				t.Errorf("on one %s: %v", name, err)
			}
		}
	})

	t.Run("files that come and go", func(t *testing.T) {
		r.write("streams.d/more.ini", "[more]\n"+simStream)
		r.write("streams.d/worse.ini", "[worse]\nstream-url = never://y\n")
		if ps := r.reloadNow(); len(ps) > 0 {
			t.Logf("reload: %v", ps)
		}
		r.until("more", "recording", recording)
		r.until("worse", "lost", func(s streamState) bool { return s.State == "lost" })
		r.remove("streams.d/more.ini")
		r.remove("streams.d/worse.ini")
		r.reloadNow()
		r.until("more", "removed", func(s streamState) bool { return s.State == "off" })
		r.write("streams.d/More.ini", "[More]\n"+simStream)
		r.reloadNow()
		r.until("More", "recording", recording)
	})

	t.Run("what is not to restart a capture", func(t *testing.T) {
		before := streamState{}
		r.get("/api/v1/streams/rec", &before)
		r.write("streams.d/rec.ini", "[rec]\n"+simStream+"stream-name = other\ndvr-duration = 3d\nlabels = x\n")
		r.reloadNow()
		r.write("media-server.ini", r.server()+"[space.main]\npath = var/media\n[space.two]\npath = two\n[pool.default]\nspaces = main\n[pool.later]\nspaces = two\n")
		r.write("streams.d/rec.ini", "[rec]\n"+simStream+"dvr-pool = later\n")
		r.reloadNow()
		r.until("rec", "going on into its new pool", func(s streamState) bool {
			return recording(s) && len(s.Problems) == 0 && s.Counters["units"] > before.Counters["units"]+20
		})
		var pool struct{ Streams []string }
		if code := r.get("/api/v1/pools/later", &pool); code != 200 || !slices.Contains(pool.Streams, "rec") {
			t.Errorf("pool later: %d %+v", code, pool)
		}
		after := streamState{}
		r.get("/api/v1/streams/rec", &after)
		if after.Counters["runs"] != before.Counters["runs"] {
			t.Errorf("%d runs have become %d", before.Counters["runs"], after.Counters["runs"])
		}
	})

	t.Run("recording switched on and off", func(t *testing.T) {
		var before, after streamState
		sequence := regexp.MustCompile(`MEDIA-SEQUENCE:(\d+)`)
		number := func() (n uint64) {
			if m := sequence.FindStringSubmatch(r.list("/live/ring/media.m3u8")); m != nil {
				fmt.Sscan(m[1], &n)
			}
			return n
		}
		first := number()
		r.get("/api/v1/streams/ring", &before)
		r.write("streams.d/ring.ini", "[ring]\n"+simStream)
		r.reloadNow()
		r.until("ring", "recording", func(s streamState) bool { return recording(s) && s.Counters["units"] > before.Counters["units"]+100 })
		second := number()
		r.write("streams.d/ring.ini", "[ring]\n"+simStream+"dvr-enable = false\n")
		r.reloadNow()
		r.until("ring", "not recorded", func(s streamState) bool { return active(s) && !s.Recording })
		r.get("/api/v1/streams/ring", &after)
		if after.Counters["runs"] != before.Counters["runs"] || after.Counters["lost"] != 0 {
			t.Errorf("%v has become %v", before.Counters, after.Counters)
		}
		if third := number(); first == 0 || second < first || third < second {
			t.Errorf("media sequence %d, %d, %d", first, second, third)
		}
	})

	t.Run("names that are not built", func(t *testing.T) {
		for _, path := range []string{"/api/v1/log.csv"} {
			if code, body := r.play(path, "one"); code != 501 || !strings.Contains(body, "not_in_this_version") {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
	})

	t.Run("viewers", func(t *testing.T) {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if code, _ := r.play("/live/ring/playlist.m3u8", "one"); code == 200 {
				break
			} else if time.Now().After(end) {
				t.Fatalf("no live playlist: %d", code)
			}
		}
		code, list := r.play("/live/ring/media.m3u8", "one")
		if code != 200 {
			t.Fatal(code, list)
		}
		name := regexp.MustCompile(`(?m)^\d+-\d+\.m4s\?s=[0-9a-f]{16}$`).FindString(list)
		if code, b := r.play("/live/ring/"+name, "one"); code != 200 || len(b) < 1000 {
			t.Errorf("segment %q of the ring: %d, %d bytes", name, code, len(b))
		}
		r.write("streams.d/rec.ini", "[rec]\n"+simStream+"stream-limit = 1\n")
		r.reloadNow()
		r.list("/live/rec/media.m3u8")
		for _, c := range []struct {
			stream, player, limit string // "" = may watch
		}{{"ring", "one", ""}, {"rec", "one", ""}, {"rec", "two", "stream-limit"}, {"ring", "two", ""}, {"ring", "three", ""}, {"ring", "four", "[limits] viewers"}, {"rec", "one", ""}} {
			code, body := r.play("/live/"+c.stream+"/media.m3u8", c.player)
			if c.limit == "" && code != 200 || c.limit != "" && (code != 429 || !strings.Contains(body, "too_many_viewers") || !strings.Contains(body, c.limit)) {
				t.Errorf("viewer %s of %s: %d %.200s", c.player, c.stream, code, body)
			}
		}
	})

	t.Run("protected", func(t *testing.T) {
		for _, c := range []struct {
			list string
			code int
		}{{"stream-whitelist = 10.0.0.0/8, 127.0.0.0/8", 200}, {"stream-whitelist = 10.0.0.0/8", 403}, {"", 403}} { // the last is refused
			r.write("streams.d/ring.ini", "[ring]\nstream-url = sim://\ndvr-enable = false\nstream-access = protected\n"+c.list+"\n")
			ps := fmt.Sprint(r.reloadNow())
			if strings.Contains(ps, "without a stream-whitelist") != (c.list == "") {
				t.Errorf("for %q: %s", c.list, ps)
			}
			if code, body := r.play("/live/ring/media.m3u8", "one"); code != c.code || code == 403 && !strings.Contains(body, `"address"`) {
				t.Errorf("for %q: %d %.200s", c.list, code, body)
			}
		}
	})

	r.stop()
	r.start()
	r.until("rec", "recording", recording)
	var ranges struct {
		Ranges []struct{ From, To int64 }
		Gaps   []struct{ Why string }
	}
	r.get("/api/v1/streams/rec/ranges", &ranges)
	if len(ranges.Ranges) != 1 || len(ranges.Gaps) != 0 {
		t.Errorf("after a restart: %+v", ranges)
	}
}

// server is media-server.ini as newRig wrote it.
func (r *rig) server() string {
	b, err := os.ReadFile(filepath.Join(r.dir, "media-server.ini"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// TestStorm: everything that asks and everything that changes at once; for the
// race detector, and for locks that wait for each other.
func TestStorm(t *testing.T) {
	r := newRig(t, "", "streams.d/a.ini", "[a]\n"+simStream, "streams.d/b.ini", "[b]\n"+simStream+"dvr-enable = false\n")
	r.start()
	r.until("a", "recording", recording)
	r.until("b", "active", active)
	ctx, end := context.WithTimeout(context.Background(), 4*time.Second)
	defer end()
	var wg sync.WaitGroup
	again := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				f(i)
			}
		})
	}
	admin := func(url string) {
		resp, err := r.http.Get("http://control" + url)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	for _, url := range []string{"/api/v1/server", "/api/v1/streams", "/api/v1/problems", "/live/a/media.m3u8", "/live/b/media.m3u8", "/dvr/a/media.m3u8?from=-1m",
		"/dvr/a/record.mp4?from=-1m", "/live/b/preview.mp4", "/dvr/a/ranges.json", "/api/v1/events"} {
		again(func(int) { admin(url); time.Sleep(2 * time.Millisecond) })
	}
	again(func(int) {
		select {
		case r.reload <- syscall.SIGHUP:
		default:
		}
		time.Sleep(time.Millisecond)
	})
	again(func(i int) {
		text := "[c]\n" + simStream
		switch i % 5 {
		case 1:
			text += "dvr-enable = false\n"
		case 2:
			text += "stream-enable = false\n"
		case 3:
			text = "[c]\nstream-url = nobody://\n"
		case 4:
			text = "rubbish\n"
		}
		r.write("streams.d/c.ini", text)
		if resp, err := r.http.Post("http://control/api/v1/reload", "", nil); err == nil {
			resp.Body.Close()
		}
	})
	again(func(i int) { // a driver that dies again and again
		time.Sleep(1500 * time.Millisecond)
		var rec struct{ PID int }
		b, err := os.ReadFile(filepath.Join(r.run, "plugins", "sim.json"))
		if err == nil && json.NewDecoder(bytes.NewReader(b)).Decode(&rec) == nil && rec.PID > 1 {
			unix.Kill(rec.PID, unix.SIGKILL)
		}
	})
	wg.Wait()
	r.write("streams.d/c.ini", "[c]\n"+simStream)
	r.reloadNow()
	for _, uid := range []string{"a", "c"} {
		r.until(uid, "recording", recording)
	}
	r.until("b", "active", active)
	r.stop()
}

// TestStopWhileStarting: told to stop at any moment, the server ends without an
// error and without leaving its ports or its locks.
func TestStopWhileStarting(t *testing.T) {
	r := newRig(t, "", "streams.d/a.ini", "[a]\n"+simStream, "streams.d/b.ini", "[b]\nstream-url = nobody://\n")
	for _, after := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(after, cancel)
		if err := Run(ctx, Options{Path: filepath.Join(r.dir, "media-server.ini"), Version: "test"}); err != nil {
			t.Errorf("stopped after %v: %v", after, err)
		}
		cancel()
	}
	r.start()
	r.until("a", "recording", recording)
}

// TestPortInUse: the error names the port and what to do, nothing stays behind.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := newRig(t, "")
	good := r.server()
	for _, section := range []string{"[http]\nlisten = ", "[admin]\nlisten = "} {
		r.write("media-server.ini", strings.Replace(good, section+"127.0.0.1:0", section+l.Addr().String(), 1))
		err = Run(context.Background(), Options{Path: filepath.Join(r.dir, "media-server.ini")})
		if err == nil || strings.Count(err.Error(), l.Addr().String()) != 1 || !strings.Contains(err.Error(), "change listen") {
			t.Errorf("%q: %v", section, err)
		}
		if _, err := os.Stat(filepath.Join(r.run, "control.sock")); !os.IsNotExist(err) {
			t.Errorf("the control socket: %v", err)
		}
	}
	r.write("media-server.ini", good)
	r.start()
}
