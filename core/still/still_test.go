package still

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/core/media"
)

// jpeg is the least that counts as one.
const jpeg = `\377\330picture\377\331`

// fake is an ffmpeg made of a shell script; it has read its input when rest begins.
func fake(t *testing.T, rest string) func() (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+rest+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() (string, error) { return path, nil }
}

// server runs a Server until the test ends.
func server(t *testing.T, opt Options) *Server {
	t.Helper()
	s := New(opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func shot(n int) Shot { return Shot{UID: "gate", At: media.Wall(n)} }

func movie() ([]byte, error) { return []byte("movie"), nil }

// alive tells whether a process runs that has word among its arguments.
func alive(word string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && strings.Contains("\x00"+string(b), "\x00"+word+"\x00") {
			return true
		}
	}
	return false
}

// gone waits until no such process runs: SIGKILL is not waited for.
func gone(t *testing.T, word string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); alive(word); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a process was left behind: %s", word)
		}
	}
}

func TestPrograms(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   string // in the error; "" = a picture
		behind string // must not run afterwards
	}{
		"well":                 {`cat >/dev/null; printf '` + jpeg + `'`, "", ""},
		"reads nothing":        {`printf '` + jpeg + `'`, "", ""},
		"hangs":                {`exec sleep 7331`, "too long", "7331"},
		"hangs and holds on":   {`trap '' TERM INT HUP; sleep 7332; sleep 7332`, "too long", "7332"},
		"rubbish":              {`cat >/dev/null; echo rubbish`, "no JPEG", ""},
		"half a picture":       {`printf '\377\330pict'`, "no JPEG", ""},
		"nothing":              {`cat >/dev/null`, "wrote nothing", ""},
		"too much":             {`cat >/dev/null; exec cat /dev/zero`, "more than a picture takes", ""},
		"too much, and hangs":  {`head -c 17000000 /dev/zero; exec sleep 7333`, "too long", "7333"},
		"fails":                {`cat >/dev/null; printf '\033[31mbad\nstream\n' >&2; printf '` + jpeg + `'; exit 1`, "exit status 1: [31mbad stream", ""},
		"complains at length":  {`head -c 1000000 /dev/zero | tr '\0' x >&2; exit 1`, "xxx…", ""},
		"leaves a child":       {`sleep 7334 & printf '` + jpeg + `'`, "", "7334"},
		"leaves a child, dies": {`sleep 7335 & exit 3`, "exit status 3", "7335"},
		"crashes":              {`kill -SEGV $$`, "segmentation fault", ""},
		"writes a file":        {`cat >/dev/null; printf x >"$0.made"`, "file size limit exceeded", ""},
		"is limited":           {`cat >/dev/null; ulimit -v | grep -qx 1048576 && test "$(ulimit -t)" = 10 && test "$(nice)" = 10 && printf '` + jpeg + `'`, "", ""},
		"has no environment":   {`test -z "$HOME$MS_SECRET$USER" && printf '` + jpeg + `'`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("MS_SECRET", "secret")
			opt := Options{Program: fake(t, c.script), Longest: 20 * time.Second}
			if strings.Contains(c.want, "too long") {
				opt.Longest = 300 * time.Millisecond
			}
			s := server(t, opt)
			b, err := s.JPEG(shot(1), movie)
			if c.want == "" && (err != nil || !bytes.Equal(b, []byte("\xff\xd8picture\xff\xd9"))) {
				t.Errorf("%q %v", b, err)
			}
			if c.want != "" && (!errors.Is(err, ErrDecode) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400) {
				t.Errorf("%q %v", b, err)
			}
			if c.behind != "" {
				gone(t, c.behind)
			}
			if n := s.Counts(); n.Decoded+n.Failed != 1 || (n.Failed == 1) != (c.want != "") {
				t.Errorf("%+v", n)
			}
			if len(s.slots) != 0 {
				t.Error("the slot was not given back")
			}
		})
	}
}

// TestEscapes: what has left the process group cannot be killed; it is not waited
// for either.
func TestEscapes(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Fatal("setsid is not there: install the Debian package util-linux")
	}
	s := server(t, Options{Program: fake(t, `setsid sleep 5 & while [ "$(cut -d' ' -f6 /proc/$!/stat)" != $! ]; do :; done; printf '`+jpeg+`'`)})
	if b, err := s.JPEG(shot(1), movie); !errors.Is(err, ErrDecode) || !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("%q %v", b, err)
	}
}

func TestNoProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := server(t, Options{})
	_, err := s.JPEG(shot(1), func() ([]byte, error) { t.Error("the footage was read"); return nil, nil })
	if n := s.Counts(); !errors.Is(err, ErrNoDecoder) || n.NoDecoder != 1 {
		t.Errorf("%v %+v", err, n)
	}
	_, err = server(t, Options{Program: func() (string, error) { return "/nonexistent/ffmpeg", nil }}).JPEG(shot(1), movie)
	if !errors.Is(err, ErrDecode) {
		t.Error(err)
	}
}

// TestMovieFails: the footage's own error comes through, and the next one is asked anew.
func TestMovieFails(t *testing.T) {
	s := server(t, Options{Program: fake(t, `printf '`+jpeg+`'`)})
	away := errors.New("away")
	if _, err := s.JPEG(shot(1), func() ([]byte, error) { return nil, away }); !errors.Is(err, away) || errors.Is(err, ErrDecode) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = s.JPEG(shot(1), func() ([]byte, error) { panic("made for the test") })
	}()
	if b, err := s.JPEG(shot(1), movie); err != nil || len(b) == 0 {
		t.Error(err)
	}
}

// TestOnce: a hundred requests for a picture decode it once.
func TestOnce(t *testing.T) {
	s := server(t, Options{Program: fake(t, `cat >/dev/null; printf '`+jpeg+`'`)})
	begun, go_ := make(chan bool, 100), make(chan bool)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			b, err := s.JPEG(shot(1), func() ([]byte, error) { begun <- true; <-go_; return movie() })
			if err != nil || len(b) == 0 {
				t.Error(err)
			}
		})
	}
	<-begun
	close(go_)
	all.Wait()
	if n := s.Counts(); n.Decoded != 1 || len(begun) != 0 {
		t.Errorf("%+v, read %d times more", n, len(begun))
	}
	if n := s.Counts(); n.Decoded+n.Cached > 100 {
		t.Errorf("%+v", n)
	}
}

// TestQueue: two at a time, so many wait, one more is refused.
func TestQueue(t *testing.T) {
	s := server(t, Options{Program: fake(t, `cat >/dev/null; printf '`+jpeg+`'`), Waiting: 3})
	begun, go_ := make(chan bool, 100), make(chan bool)
	errs := make(chan error, 100)
	ask := func(n int) {
		_, err := s.JPEG(shot(n), func() ([]byte, error) { begun <- true; <-go_; return movie() })
		errs <- err
	}
	for n := range 5 {
		go ask(n)
	}
	<-begun
	<-begun
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		w := s.waiting
		s.mu.Unlock()
		if w == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait", w)
		}
	}
	if _, err := s.JPEG(shot(99), movie); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if len(begun) != 0 {
		t.Error("more than two at a time")
	}
	close(go_)
	for range 5 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := s.Counts(); n.Decoded != 5 || n.Refused != 1 {
		t.Errorf("%+v", n)
	}
}

// TestWaitEnds: who waits for a slot too long is refused.
func TestWaitEnds(t *testing.T) {
	s := server(t, Options{Program: fake(t, `exec sleep 7336`), LongWait: 10 * time.Millisecond, Longest: 2 * time.Second})
	errs := make(chan error, 2)
	for n := range 2 {
		go func() { _, err := s.JPEG(shot(n), movie); errs <- err }()
	}
	for len(s.slots) < 2 {
		time.Sleep(time.Millisecond)
	}
	if _, err := s.JPEG(shot(9), movie); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	<-errs
	<-errs
}

// TestStop: the end of Run kills what is decoded and lets nobody wait.
func TestStop(t *testing.T) {
	s := New(Options{Program: fake(t, `sleep 7337 & exec sleep 7337`)})
	ctx, cancel := context.WithCancel(context.Background())
	done, errs := make(chan error, 1), make(chan error, 3)
	go func() { done <- s.Run(ctx) }()
	for n := range 3 {
		go func() { _, err := s.JPEG(shot(n), movie); errs <- err }()
	}
	for !alive("7337") {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-errs; !errors.Is(err, ErrStopping) {
			t.Error(err)
		}
	}
	gone(t, "7337")
	if _, err := s.JPEG(shot(1), movie); !errors.Is(err, ErrStopping) {
		t.Error(err)
	}
}

func TestCache(t *testing.T) {
	c := newCache(100)
	for n := range 50 {
		c.put(shot(n), make([]byte, 10))
		if _, ok := c.get(shot(0)); !ok {
			t.Fatal("what is used was pushed out")
		}
		if c.bytes > 100 || len(c.by) != c.order.Len() || c.bytes != 10*len(c.by) {
			t.Fatalf("%d bytes, %d pictures, %d in order", c.bytes, len(c.by), c.order.Len())
		}
	}
	if _, ok := c.get(shot(1)); ok {
		t.Error("what is not used was kept")
	}
	c.put(shot(0), make([]byte, 20)) // again: the same picture
	c.put(shot(100), make([]byte, 26))
	if _, ok := c.get(shot(100)); ok || c.bytes != 100 {
		t.Errorf("one picture took the place of many: %d bytes", c.bytes)
	}
}

// TestCached: a second request costs nothing; another width is another picture.
func TestCached(t *testing.T) {
	s := server(t, Options{Program: fake(t, `cat >/dev/null; printf '`+jpeg+`'`)})
	for _, of := range []Shot{{UID: "a"}, {UID: "a"}, {UID: "a", Width: 80}, {UID: "b"}, {UID: "a", At: 1}, {UID: "a", Run: media.RunID{1}}, {UID: "a"}} {
		if _, err := s.JPEG(of, movie); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Counts(); n.Decoded != 5 || n.Cached != 2 || n.Bytes != 5*11 {
		t.Errorf("%+v", n)
	}
}

func TestStep(t *testing.T) {
	for n, want := range map[int]int{16: 80, 80: 80, 81: 160, 640: 640, 641: 960, 4096: 4096, 4097: 4096} {
		if got := Step(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// TestDecodes has the real one decode what it made itself: sizes, and no size
// beyond the picture's own.
func TestDecodes(t *testing.T) {
	exe, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is not there: install the Debian package ffmpeg")
	}
	s := server(t, Options{})
	for n, c := range []struct {
		codec       string
		width       int
		want        string
		pixelFormat string
	}{
		{"libx264", 0, "1280,720", "yuv420p"}, {"libx264", 320, "320,180", "yuv420p"}, {"libx264", 2560, "1280,720", "yuv420p"},
		{"libx265", 640, "640,360", "yuv420p10le"}, {"mjpeg", 160, "160,90", "yuvj422p"},
	} {
		in, err := exec.Command(exe, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=1280x720", "-frames:v", "1", "-c:v", c.codec, "-pix_fmt", c.pixelFormat,
			"-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "pipe:1").Output()
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.JPEG(Shot{UID: "gate", At: media.Wall(n), Width: c.width}, func() ([]byte, error) { return in, nil })
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		probe := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", "-")
		probe.Stdin = bytes.NewReader(b)
		if out, err := probe.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "mjpeg,"+c.want {
			t.Errorf("%+v: %s %v", c, out, err)
		}
	}
	if b, err := s.JPEG(shot(-1), func() ([]byte, error) { return bytes.Repeat([]byte("rubbish"), 1000), nil }); !errors.Is(err, ErrDecode) {
		t.Errorf("%d bytes of rubbish: %v", len(b), err)
	}
}

// TestNothingElse: a file that names others leads nowhere.
func TestNothingElse(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is not there: install the Debian package ffmpeg")
	}
	secret := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := server(t, Options{})
	for n, in := range []string{
		"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://" + secret + "\n#EXT-X-ENDLIST\n",
		"ffconcat version 1.0\nfile '" + secret + "'\n",
	} {
		if b, err := s.JPEG(shot(n), func() ([]byte, error) { return []byte(in), nil }); !errors.Is(err, ErrDecode) || strings.Contains(err.Error(), "secret.txt") {
			t.Errorf("%q %v", b, err)
		}
	}
}
