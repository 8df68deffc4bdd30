package accept

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// saver is a player that was opened before the core is killed and writes what it
// plays to a file.
type saver struct {
	name string
	file string
	end  func() (said string, alive bool) // ends it in good order
}

// ffmpegSaver copies what it plays into fragments, which are whole whenever it
// ends. Its reader takes one refused playlist for the end of the stream.
func ffmpegSaver(t *testing.T, name, u string) *saver {
	t.Helper()
	dir := playersDir(t)
	file := filepath.Join(dir, "played.mp4")
	return save(t, name, file, dir, "ffmpeg", "-v", "warning", "-nostdin", "-i", u, "-map", "0", "-c", "copy",
		"-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-flush_packets", "1", "-f", "mp4", file)
}

// gstSaver keeps the fragments that hlsdemux hands on, one behind the other.
func gstSaver(t *testing.T, u string) *saver {
	t.Helper()
	dir := playersDir(t)
	file := filepath.Join(dir, "played.mp4")
	return save(t, "GStreamer", file, dir, "gst-launch-1.0", "-e", "souphttpsrc", "location="+u, "!", "hlsdemux", "!", "filesink", "buffer-mode=2", "location="+file)
}

func playersDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func save(t *testing.T, name, file, dir, tool string, args ...string) *saver {
	t.Helper()
	out, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := command(ctx, dir, tool, args...)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	var once sync.Once
	s := &saver{name: name, file: file}
	s.end = func() (said string, alive bool) {
		once.Do(func() {
			select {
			case <-done:
			default:
				alive = true
			}
			stop()
			<-done
			out.Close()
		})
		b, _ := os.ReadFile(out.Name())
		return string(b), alive
	}
	t.Cleanup(func() {
		if said, _ := s.end(); t.Failed() {
			t.Logf("%s said: %s", name, tail(said))
		}
	})
	return s
}

// has tells whether the player has written something.
func (s *saver) has(bytes int64) bool {
	fi, err := os.Stat(s.file)
	return err == nil && fi.Size() >= bytes
}

// poller asks for playlists as fast as it can (in the shortened run it leaves
// the machine to others in between), and fetches every segment once.
type poller struct {
	client  *http.Client
	base    *url.URL
	file    *os.File
	seen    map[string]bool
	refused atomic.Uint64
	cut     atomic.Uint64 // connections that died with the core that had accepted them
	asked   atomic.Uint64
	answers sync.Map // status → *atomic.Uint64
	last    string
}

func newPoller(t *testing.T, u string, keepAlive bool) *poller {
	t.Helper()
	base, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "played.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	return &poller{base: base, file: f, seen: map[string]bool{}, client: &http.Client{Timeout: harness.Patience,
		Transport: &http.Transport{DisableKeepAlives: !keepAlive, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
}

// get fetches once; an error was counted.
func (p *poller) get(ctx context.Context, ref string) (string, bool) {
	u, err := p.base.Parse(ref)
	if err != nil {
		return "", false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", false
	}
	p.asked.Add(1)
	resp, err := p.client.Do(req)
	if err == nil {
		var b []byte
		b, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			n, _ := p.answers.LoadOrStore(resp.StatusCode, new(atomic.Uint64))
			n.(*atomic.Uint64).Add(1)
			if resp.StatusCode != http.StatusOK {
				p.last = string(b)
			}
			return string(b), resp.StatusCode == http.StatusOK
		}
	}
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, syscall.ECONNREFUSED):
		p.refused.Add(1)
	default:
		p.cut.Add(1)
	}
	return "", false
}

// run polls until ctx ends.
func (p *poller) run(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	for ; ctx.Err() == nil; time.Sleep(harness.Pick(0, 3*time.Millisecond)) {
		text, ok := p.get(ctx, "media.m3u8")
		for l := range strings.SplitSeq(text, "\n") {
			ref := l
			if m, is := strings.CutPrefix(l, `#EXT-X-MAP:URI="`); is {
				ref, _, _ = strings.Cut(m, `"`)
			} else if !ok || l == "" || strings.HasPrefix(l, "#") {
				continue
			}
			for !p.seen[ref] && ctx.Err() == nil {
				if b, ok := p.get(ctx, ref); ok {
					p.seen[ref] = true
					if _, err := p.file.WriteString(b); err != nil {
						return err
					}
				}
			}
		}
	}
	return p.file.Close()
}

func (p *poller) others() (n uint64) {
	p.answers.Range(func(status, count any) bool {
		if status != http.StatusOK {
			n += count.(*atomic.Uint64).Load()
		}
		return true
	})
	return n
}

// https switches HTTPS on, which the harness leaves off.
func https(t *testing.T, s *harness.Server) (base string) {
	t.Helper()
	addr := harness.FreePort(t)
	dir := filepath.Join(filepath.Dir(s.Conf), "conf.d")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "https.ini"), []byte("[https]\nenable = true\nlisten = "+addr+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return "https://" + addr
}

// descriptors lists what a process has open: the kind and the path of each, and
// of a socket whether it listens.
func descriptors(t *testing.T, pid int) (out []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	d, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range d {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if kind, inode, ok := strings.Cut(to, ":["); ok {
			to = kind + listens(strings.TrimSuffix(inode, "]"))
		}
		out = append(out, to)
	}
	slices.Sort(out)
	return out
}

// listens tells what the kernel says about a socket.
func listens(inode string) string {
	for _, f := range []string{"tcp", "tcp6", "unix"} {
		b, _ := os.ReadFile("/proc/net/" + f)
		for l := range strings.Lines(string(b)) {
			w := strings.Fields(l)
			switch {
			case f == "unix" && len(w) > 6 && w[6] == inode: // the core's connection has a name or, of the core that started it, none
				return " unix " + w[3]
			case f != "unix" && len(w) > 9 && w[9] == inode:
				return " " + f + " " + w[1] + " " + w[3]
			}
		}
	}
	return ""
}

// TestPlayersAreNeverRefused: connections made while no core runs are served by
// the next one, so that players which take a refused connection for the end of
// the stream play on; every frame between the first and the last that a player
// has shown is there.
func TestPlayersAreNeverRefused(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	s := harness.New(t, harness.Options{Restart: "1s"})
	secure := https(t, s)
	const uid = "door"
	sent := s.Sim(uid, "", "dvr-chunk = 4s")
	s.Start()
	footage(s, uid)
	s.Until("a live playlist", func() bool { code, _ := s.Get(s.HTTP + "/live/door/playlist.m3u8"); return code == 200 })
	live := s.HTTP + "/live/" + uid + "/"
	var savers []*saver
	if _, err := exec.LookPath("ffmpeg"); err == nil {
		savers = append(savers, ffmpegSaver(t, "ffmpeg", live+"playlist.m3u8"))
	}
	if _, err := exec.LookPath("gst-launch-1.0"); err == nil {
		savers = append(savers, gstSaver(t, live+"playlist.m3u8"))
	}
	ctx, stop := context.WithCancel(context.Background())
	pollers := map[string]*poller{"plain client": newPoller(t, live, false), "client that keeps connections": newPoller(t, live, true),
		"client over TLS": newPoller(t, secure+"/live/"+uid+"/", false)}
	var wg sync.WaitGroup
	for _, p := range pollers {
		wg.Go(func() {
			if err := p.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { stop(); wg.Wait() })
	for _, p := range savers {
		s.Until(p.name+" to play", func() bool { return p.has(100 << 10) })
	}
	kills, holders := harness.Pick(60, 6), 0
	var away []time.Duration // without a core
	first := descriptors(t, s.Holder())
	for i := range kills {
		if i%3 == 2 { // disturbs nobody, and its successor has all
			s.KillHolder(2)
			holders++
		}
		s.Kill()
		dead := time.Now()
		if rng.IntN(3) == 0 { // the next core is late
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
		}
		s.Start()
		away = append(away, time.Since(dead))
		time.Sleep(time.Duration(500+rng.IntN(4000)) * time.Millisecond)
	}
	if now := descriptors(t, s.Holder()); !slices.Equal(now, first) {
		t.Errorf("the holder had at first\n%s\nand has\n%s", strings.Join(first, "\n"), strings.Join(now, "\n"))
	}
	last := time.Now()
	s.Past(last.UnixMilli()+12000, uid) // players lag behind
	said := map[string]string{}
	for _, p := range savers {
		text, alive := p.end()
		if said[p.name] = text; !alive {
			t.Errorf("%s has ended by itself:\n%s", p.name, tail(text))
		}
	}
	stop()
	wg.Wait()
	var figures []string
	account := func(name, file string) {
		line, err := played(sent, file, last)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, tail(said[name]))
		}
		figures = append(figures, name+": "+line)
	}
	for _, p := range savers {
		account(p.name, p.file)
	}
	for _, name := range slices.Sorted(maps.Keys(pollers)) {
		p := pollers[name]
		account(name, p.file.Name())
		if p.refused.Load() > 0 {
			t.Errorf("%s: %d connections of %d were refused", name, p.refused.Load(), p.asked.Load())
		}
		if n := p.others(); n > 0 {
			t.Errorf("%s: %d answers were not 200, the last: %s", name, n, p.last)
		}
		if n := p.cut.Load(); n > uint64(4*kills) {
			t.Errorf("%s: %d connections were cut by %d kills", name, n, kills)
		}
		figures = append(figures, fmt.Sprintf("of its %d connections %d refused, %d cut", p.asked.Load(), p.refused.Load(), p.cut.Load()))
	}
	harness.Row(t, "players opened before core kills, frame by frame", seed, "%d kills of the core, %d of the holder of its ports, no core for %v at most; %s",
		kills, holders, slices.Max(away).Round(10*time.Millisecond), strings.Join(figures, "; "))
}

// played accounts for what a player has written: of the frames sent from the
// first that it has to the last not one may be missing, and the last is one
// that was sent after the last kill.
func played(sentFile, file string, last time.Time) (string, error) {
	sent, err := ledger.ReadSent(sentFile)
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	m, err := ledger.Read(ctx, ledger.Source{URL: file})
	if err != nil {
		return "", err
	}
	var newest int64
	for _, f := range m.Found {
		newest = max(newest, f.Token)
	}
	r := ledger.Compare(sent, m, ledger.Rules{Head: time.Hour, Tail: time.Minute})
	var totals harness.Totals
	totals.Add(r)
	var b strings.Builder
	r.Write(&b)
	line := fmt.Sprintf("%d frames, %d lost, %d doubled, %d out of order", totals.Present, totals.Lost, totals.Doubled, totals.Disorder)
	switch {
	case r.Failures() > 0:
		return line, errors.New(b.String())
	case newest < last.UnixNano():
		return line, fmt.Errorf("the last frame played was sent %v before the last kill was over", time.Duration(last.UnixNano()-newest))
	}
	return line, nil
}
