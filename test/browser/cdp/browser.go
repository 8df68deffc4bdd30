package cdp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait for a fact.
const Patience = 40 * time.Second

// Browser is one running Chromium.
type Browser struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   *os.File
	dead chan struct{} // the reader has ended

	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	pages   map[string]*Page // by session
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start runs Chromium until the end of the test.
func Start(t testing.TB) *Browser {
	t.Helper()
	exe, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: install the Debian package chromium (make setup does)")
	}
	home, err := os.MkdirTemp("", "cdp")
	if err != nil {
		t.Fatal(err)
	}
	toR, toW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromR, fromW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, in: toW, dead: make(chan struct{}), waiting: map[int]chan message{}, pages: map[string]*Page{}}
	b.cmd = exec.Command(exe, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
		"--disable-component-update", "--disable-dev-shm-usage", "--mute-audio", "--lang=en", "--user-data-dir="+home, "--remote-debugging-pipe", "about:blank")
	b.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	b.cmd.ExtraFiles = []*os.File{toR, fromW}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toR.Close()
	fromW.Close()
	go b.read(fromR)
	t.Cleanup(func() { b.close(fromR, home) })
	return b
}

// close ends the browser. Its helpers outlive it by moments and still write
// their profile, so the folder may need a second try.
func (b *Browser) close(from *os.File, home string) {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	_ = b.cmd.Wait()
	b.in.Close()
	from.Close()
	<-b.dead
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := os.RemoveAll(home)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.t.Error(err)
			return
		}
	}
}

func (b *Browser) read(f *os.File) {
	defer close(b.dead)
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			for id, c := range b.waiting {
				delete(b.waiting, id)
				close(c)
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		c, p := b.waiting[m.ID], b.pages[m.Session]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case m.ID != 0 && c != nil:
			c <- m
		case m.Method != "" && p != nil:
			p.event(m.Method, m.Params)
		}
	}
}

var errGone = errors.New("the browser has ended")

// call asks the browser, or a page when session is given.
func (b *Browser) call(session, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	c := make(chan message, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return errGone
	}
	b.next++
	m := message{ID: b.next, Session: session, Method: method, Params: raw}
	b.waiting[m.ID] = c
	line, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(line, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m, ok := <-c:
		switch {
		case !ok:
			return errGone
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-time.After(Patience):
		return fmt.Errorf("%s: no answer within %v", method, Patience)
	}
}

// Page opens an empty page in a profile of its own: no cookies of others.
func (b *Browser) Page(t testing.TB) *Page {
	t.Helper()
	var ctx struct{ BrowserContextID string }
	var target struct{ TargetID string }
	var session struct{ SessionID string }
	err := b.call("", "Target.createBrowserContext", map[string]any{}, &ctx)
	if err == nil {
		err = b.call("", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": ctx.BrowserContextID, "width": 1440, "height": 900}, &target)
	}
	if err == nil {
		err = b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{T: t, b: b, session: session.SessionID, told: map[string]bool{}}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, d := range strings.Fields("Page Runtime Log Network Audits") {
		p.Call(d+".enable", map[string]any{}, nil)
	}
	t.Cleanup(func() {
		if err := b.call("", "Target.disposeBrowserContext", map[string]any{"browserContextId": ctx.BrowserContextID}, nil); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return p
}
