package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNotifier is poked by the test, as synctest's clock stands still while
// inotify's goroutine waits in the kernel.
type fakeNotifier struct{ events chan struct{} }

func (f *fakeNotifier) Add(dir string) error    { _, err := os.Stat(dir); return err }
func (f *fakeNotifier) Events() <-chan struct{} { return f.events }
func (f *fakeNotifier) Close() error            { return nil }

// watching is a folder under a running Watcher. Each change is logged with its
// time and what the folder then reads.
type watching struct {
	t     *testing.T
	dir   string
	w     *Watcher
	n     *fakeNotifier
	start time.Time
	got   []string
}

func (x *watching) load() {
	text := fmt.Sprint(time.Since(x.start))
	names, err := x.w.ReadDir(x.dir)
	if err != nil {
		text += " no folder"
	}
	for _, name := range names {
		data, err := x.w.ReadFile(filepath.Join(x.dir, name))
		if err != nil {
			data = []byte("error")
		}
		text += fmt.Sprintf(" %s=%s", name, data)
	}
	x.got = append(x.got, text)
}

func (x *watching) write(name, text string) {
	if err := os.WriteFile(filepath.Join(x.dir, name), []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
	x.poke()
}

func (x *watching) remove(name string) {
	if err := os.RemoveAll(filepath.Join(x.dir, name)); err != nil {
		x.t.Fatal(err)
	}
	x.poke()
}

func (x *watching) poke() {
	select {
	case x.n.events <- struct{}{}:
	default:
	}
	synctest.Wait()
}

func TestWatcher(t *testing.T) {
	sleep := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
	for _, c := range []struct {
		name string
		do   func(x *watching)
		want []string
	}{
		{"a new file is noticed after the debounce time", func(x *watching) {
			x.write("b.ini", "2")
			sleep(time.Second)
		}, []string{"0s a.ini=1", "300ms a.ini=1 b.ini=2"}},
		{"several steps are one change", func(x *watching) {
			x.write("a.ini", "2")
			sleep(200 * time.Millisecond)
			x.write("a.ini", "3")
			sleep(time.Second)
		}, []string{"0s a.ini=1", "500ms a.ini=3"}},
		{"a file that never rests is still noticed", func(x *watching) {
			for i := range 10 {
				x.write("a.ini", fmt.Sprint(i))
				sleep(200 * time.Millisecond)
			}
		}, []string{"0s a.ini=1", "600ms a.ini=2", "1.2s a.ini=5", "1.8s a.ini=8"}},
		{"an emptied file is held, then let go", func(x *watching) {
			x.write("a.ini", " \n")
			sleep(5 * time.Second)
		}, []string{"0s a.ini=1", "1s a.ini= \n"}},
		{"a removed file is held, then let go", func(x *watching) {
			x.remove("a.ini")
			sleep(5 * time.Second)
		}, []string{"0s a.ini=1", "1s"}},
		{"a file written anew within the hold is one change", func(x *watching) {
			x.remove("a.ini")
			sleep(900 * time.Millisecond)
			x.write("a.ini", "2")
			sleep(5 * time.Second)
		}, []string{"0s a.ini=1", "1.2s a.ini=2"}},
		{"the same bytes again are no change", func(x *watching) {
			x.remove("a.ini")
			sleep(500 * time.Millisecond)
			x.write("a.ini", "1")
			sleep(time.Minute)
		}, []string{"0s a.ini=1"}},
		{"another file does not wait for one that is held", func(x *watching) {
			x.remove("a.ini")
			x.write("b.ini", "2")
			sleep(5 * time.Second)
		}, []string{"0s a.ini=1", "300ms a.ini=1 b.ini=2", "1s b.ini=2"}},
		{"the folder removed", func(x *watching) {
			x.remove("")
			sleep(5 * time.Second)
		}, []string{"0s a.ini=1", "1s no folder"}},
		{"editors' files are nothing", func(x *watching) {
			for _, name := range []string{".a.ini.swp", "a.ini~", "a.ini.bak", "x.tmp", "a.ini.dpkg-new", "#", ".hidden.ini"}[:5] {
				x.write(name, "x")
			}
			sleep(time.Minute)
		}, []string{"0s a.ini=1"}},
		{"without events a rescan notices", func(x *watching) {
			if err := os.WriteFile(x.dir+"/a.ini", []byte("2"), 0o600); err != nil {
				x.t.Fatal(err)
			}
			sleep(time.Minute)
		}, []string{"0s a.ini=1", "30s a.ini=2"}},
		{"reload calls back at once, changed or not", func(x *watching) {
			x.w.Reload()
			sleep(time.Second)
		}, []string{"0s a.ini=1", "0s a.ini=1"}},
		{"a refresh is taken over by its caller", func(x *watching) {
			x.write("a.ini", "2")
			x.w.Refresh()
			x.load()
			sleep(time.Second)
		}, []string{"0s a.ini=1", "0s a.ini=2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir() + "/d"
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				n := &fakeNotifier{events: make(chan struct{}, 1)}
				w := NewWatcher(WatchConfig{notify: func() (notifier, error) { return n, nil }})
				x := &watching{t: t, dir: dir, w: w, n: n, start: time.Now()}
				if err := os.WriteFile(dir+"/a.ini", []byte("1"), 0o600); err != nil {
					t.Fatal(err)
				}
				x.load()
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- w.Run(ctx, x.load) }()
				synctest.Wait()
				c.do(x)
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if fmt.Sprintf("%q", x.got) != fmt.Sprintf("%q", c.want) {
					t.Errorf("got  %q\nwant %q", x.got, c.want)
				}
			})
		})
	}
}

// TestInotify is the real thing once: events arrive, also for a folder that
// comes into being later and one that is removed and made again.
func TestInotify(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "streams.d")
	w := NewWatcher(WatchConfig{Debounce: time.Millisecond, Hold: 2 * time.Millisecond, Rescan: time.Hour})
	if _, err := w.ReadDir(sub); err == nil {
		t.Fatal("the folder is there already")
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan int, 100)
	done := make(chan error)
	go func() {
		done <- w.Run(ctx, func() {
			names, err := w.ReadDir(sub)
			if err != nil {
				seen <- -1
				return
			}
			seen <- len(names)
		})
	}()
	await := func(want int) {
		t.Helper()
		for got := range seen {
			if got == want {
				return
			}
		}
	}
	for range 2 {
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		await(0)
		if err := os.WriteFile(sub+"/a.ini", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		await(1)
		if err := os.RemoveAll(sub); err != nil {
			t.Fatal(err)
		}
		await(-1)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
