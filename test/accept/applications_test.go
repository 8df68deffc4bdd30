package accept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// slowReader asks for a URL and takes as little of the answer as it can until
// it is told to go on: what waits in buffers on the way is small.
func slowReader(t *testing.T, address string) (resp *http.Response) {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
		}), err)
	}}
	client := http.Client{Transport: &http.Transport{DialContext: d.DialContext, ReadBufferSize: 4 << 10, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err = client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %v %v", address, resp, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestApplications: the streams of an application share where, how and how long
// they are recorded, but for what one of them says itself; a change for the
// application disturbs nobody else, and whether its streams are recorded is one
// of these keys. What a rule deletes is read to the end by whoever reads it, for
// a minute.
func TestApplications(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := harness.New(t, harness.Options{Restart: "1s", Ini: fmt.Sprintf("[space.main]\npath = %[1]s/main\n[space.shop]\npath = %[1]s/shop\n[space.safe]\npath = %[1]s/safe\n"+
		"[pool.default]\nspaces = main\n[pool.shop]\nspaces = shop\ndelete-most = 100%%\n;days\n[pool.safe]\nspaces = safe\n", dir)})
	at := func(name string) string { return filepath.Join(dir, name) }
	defaults := func(lines ...string) {
		s.PutText("_defaults.shop", "[defaults]\n"+strings.Join(append([]string{"dvr-pool = shop", "dvr-chunk = 1m", "dvr-duration = 3d"}, lines...), "\n")+"\n")
	}
	s.PutText("_defaults", "[defaults]\ndvr-duration = 9d\ndvr-chunk = 4s\n")
	defaults()
	s.Sim("till", "bitrate=16M", "application = shop")
	gate := harness.Camera{UID: "gate", Sent: s.Sim("gate", "")}
	door := harness.Camera{UID: "door", Sent: s.Sim("door", "", "application = shop", "dvr-pool = safe", "dvr-duration = 20d")}
	s.Start()
	footage(s, "till", "gate", "door")
	effective := func() map[string][3]string {
		out := map[string][3]string{}
		for _, uid := range []string{"till", "door", "gate"} {
			k := s.Stream(uid).Settings
			out[uid] = [3]string{k["dvr-pool"], k["dvr-duration"], k["dvr-chunk"]}
		}
		return out
	}
	if now, want := effective(), map[string][3]string{"till": {"shop", "3d", "1m"}, "door": {"safe", "20d", "1m"}, "gate": {"default", "9d", "4s"}}; !reflect.DeepEqual(now, want) {
		t.Errorf("in force %v, want %v", now, want)
	}
	out, _ := verb(t, "config", "show", "--effective", "door", "-c", s.Conf)
	for _, want := range []string{"_defaults.shop.ini:3", "door.ini:"} {
		if !strings.Contains(out, want) {
			t.Errorf("config show lacks %q:\n%s", want, out)
		}
	}

	// For the application alone.
	before := map[string]map[string]uint64{"gate": disturbances(s, "gate"), "door": disturbances(s, "door"), "till": disturbances(s, "till")}
	defaults("dvr-keep = 1h")
	s.Until("the key to be in force", func() bool { return s.Stream("till").Settings["dvr-keep"] == "1h" })
	if s.Stream("door").Settings["dvr-keep"] != "1h" || s.Stream("gate").Settings["dvr-keep"] == "1h" {
		t.Errorf("dvr-keep: door %q, gate %q", s.Stream("door").Settings["dvr-keep"], s.Stream("gate").Settings["dvr-keep"])
	}
	s.Past(s.Footage("till").Ranges[0].From+harness.Pick[int64](30_000, 12_000), "till", "gate", "door")
	for uid, b := range before {
		if a := disturbances(s, uid); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: before %v, after %v", uid, b, a)
		}
	}
	for space, uid := range map[string]string{"main": "gate", "shop": "till", "safe": "door"} {
		for _, f := range harness.Files(at(space)) {
			if !strings.HasPrefix(f, uid+"/") && !strings.HasPrefix(f, "open/") {
				t.Errorf("in space %s lies %s", space, f)
			}
		}
	}

	// Record or not.
	defaults("dvr-enable = false")
	s.Until("the application to be recorded no more", func() bool { return !s.Stream("till").Recording && !s.Stream("door").Recording })
	if !s.Stream("gate").Recording {
		t.Error("gate is not recorded any more")
	}
	s.Until("its files to be complete", func() bool {
		return len(datedFiles(t, "till", map[string]string{"": at("shop")})) == len(harness.Files(at("shop")))
	})
	f := s.Footage("till").Ranges[0]
	if files := harness.Files(at("shop")); len(files) != 1 { // a response holds what it is at, not all that it will come to
		t.Fatalf("files of a minute: %v", files)
	}

	// Two read what a rule deletes then, one of them for longer than a minute.
	from := fmt.Sprintf("%s/dvr/till/record.mp4?from=%d&to=%d", s.HTTP, f.From, f.To)
	whole := fetch(t, s, "till", f.From, f.To)
	reader := slowReader(t, from)
	type end struct {
		n   int64
		err error
	}
	late := make(chan end, 1)
	if harness.Full() {
		r := slowReader(t, from)
		go func() {
			for e := (end{}); ; time.Sleep(500 * time.Millisecond) {
				n, err := io.CopyN(io.Discard, r.Body, 64<<10)
				if e.n += n; err != nil {
					late <- end{e.n, err}
					return
				}
			}
		}()
	}
	s.Until("all of it to be old enough", func() bool { return time.Now().UnixMilli() > f.To+1500 })
	edit(t, s, ";days", "days = 1s")
	began := time.Now()
	s.Verb("reload")
	s.Until("the footage to be listed no more", func() bool { return len(s.Footage("till").Ranges) == 0 })
	// Its end may still be in the memory of a stream that is no longer recorded.
	early := fmt.Sprintf("%s/dvr/till/record.mp4?from=%d&to=%d", s.HTTP, f.From, (f.From+f.To)/2)
	if status, body := s.Get(early); status != 404 && status != 410 {
		t.Errorf("for who comes later: %d %.200s", status, body)
	}
	time.Sleep(2 * time.Second) // a pass that did not wait would be through
	if n := len(harness.Files(at("shop"))); n != 1 {
		t.Errorf("%d files lie there while somebody reads one", n)
	}
	b, err := io.ReadAll(reader.Body)
	if err != nil || string(b) != whole {
		t.Errorf("who was reading got %d of %d bytes: %v", len(b), len(whole), err)
	}
	read := time.Since(began)
	s.Until("the file to go", func() bool { return len(harness.Files(at("shop"))) == 0 })
	cut := "at full length alone"
	if harness.Full() {
		if held := time.Since(began); held < 55*time.Second {
			t.Errorf("the file went after %v, though somebody read it", held)
		}
		e := <-late
		if e.err == nil || errors.Is(e.err, io.EOF) || e.n >= int64(len(whole)) {
			t.Errorf("who took longer than a minute got %d of %d bytes: %v", e.n, len(whole), e.err)
		}
		cut = fmt.Sprintf("cut after %d of %d bytes", e.n, len(whole))
	}
	if f := s.Footage("door"); len(f.Ranges) == 0 {
		t.Error("what has a pool of its own went as well")
	}
	rules := ledger.Rules{Tail: -1, Gaps: map[string][]ledger.Gap{}}
	gate.Rules, door.Rules = rules, rules
	gate.Rules.To = s.Close("gate")
	door.Rules.To = s.Footage("door").Ranges[0].To*1e6 - int64(200*time.Millisecond)
	harness.Row(t, "defaults of an application; reading what a rule deletes", 0, "pool, chunk, duration and whether to record by application, but for what a stream says itself; gate %s; door %s; a file of %d bytes that a rule deleted was read to the end after %v, and went then; who takes longer than a minute: %s",
		s.Judge("gate", s.Account(gate)), s.Judge("door", s.Account(door)), len(whole), read.Round(time.Second), cut)
}
