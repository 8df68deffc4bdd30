package pluginhost

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestManifest(t *testing.T) {
	m, err := parseManifest("x/plugin.ini", "x", `
; what it is
[plugin]
name = rtsp
version = 1.2.0
kind = driver
protocol = 1
exec = "my driver" --fast ; a comment
schemes = rtsp, rtsps
sha256 =
pack = regular
`)
	want := manifest{name: "rtsp", version: "1.2.0", kind: "driver", pack: "regular", exec: []string{"my driver", "--fast"}, schemes: []string{"rtsp", "rtsps"}}
	if err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, %v", m, err)
	}
	for text, want := range map[string]string{
		"":                                 "no exec",
		"[plugin]\nexec = \"a":             "quote",
		"[plugin]\nkind = camera":          "x/plugin.ini:2:1",
		"[other]":                          "unknown section",
		"exec = a":                         "outside [plugin]",
		"[plugin]\nexec":                   "is not key = value",
		"[plugin]\nexec = a\nexec = b":     "twice",
		"[plugin]\nschemes = RTSP://":      "not a URL scheme",
		"[plugin]\nappend = maybe":         "append = \"maybe\"",
		"[plugin]\nsha256 = 12":            "64 hex digits",
		"[plugin]\nname = Über\nexec = a":  "cannot name a plugin",
		"[plugin]\nname = ../up\nexec = a": "cannot name a plugin",
	} {
		if _, err := parseManifest("x/plugin.ini", "x", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add("[plugin]\nname = a\nkind = driver\nprotocol = 1\nexec = a \"b c\" ; d\nschemes = x,y\n")
	f.Add("[plugin\n=\n\"\n")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseManifest("f", "d", s)
		if err == nil && (len(m.exec) == 0 || m.kind == "" || !namePattern.MatchString(m.name)) {
			t.Errorf("taken: %+v", m)
		}
	})
}

func TestRecordIsReplacedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	want := record{Version: 1, Name: "a", PID: 7, Start: 9, Boot: "b", Socket: "/s", Protocol: 1, SHA256: "x", Launch: "y", Epoch: 3}
	for range 2 {
		if err := writeRecord(path, want); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readRecord(path); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

func FuzzRecord(f *testing.F) {
	b, _ := json.Marshal(record{Version: 1, PID: 5, Name: "a"})
	f.Add(b)
	f.Add([]byte(`{"version":1,"pid":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRecord(b); err == nil && r.PID <= 0 {
			t.Errorf("taken: %+v", r)
		}
	})
}

// collector is a slog handler that keeps lines.
type collector struct{ lines []string }

func (c *collector) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
}

func (c *collector) Write(p []byte) (int, error) {
	c.lines = append(c.lines, strings.TrimSpace(string(p)))
	return len(p), nil
}

func TestTailLines(t *testing.T) {
	var c collector
	tl := &tail{log: c.log(), handshake: make(chan string, 1), budget: 100, second: time.Now()}
	tl.feed([]byte("hello\n{\"level\":\"warn\",\"msg\":\"odd\",\"n\":3}\nwarning without end 1|1|unix|/run/x/plugin1|grpc|\nsplit "))
	tl.feed([]byte("line\n\n{\"@level\":\"error\",\"@message\":\"bad\"}\n{broken\n"))
	tl.feed([]byte(strings.Repeat("x", 3*lineMax) + "\n1|1|unix|/other|grpc\n"))
	if got := <-tl.handshake; got != "1|1|unix|/run/x/plugin1|grpc|" {
		t.Errorf("handshake %q", got)
	}
	want := []string{"level=INFO msg=hello", `level=WARN msg=odd n=3`, `level=INFO msg="split line"`, "level=ERROR msg=bad", "level=INFO msg={broken"}
	if len(c.lines) != 7 || !reflect.DeepEqual(c.lines[:5], want) {
		t.Errorf("%q", c.lines)
	}
	if n := len(c.lines[5]); n > lineMax+40 {
		t.Errorf("a line of %d bytes", n)
	}
}

func TestTailRotatesAndLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.log")
	var c collector
	tl, err := newTail(path, 10000, c.log())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := []byte(strings.Repeat("y", 99) + "\n")
	for range 50 {
		for range 50 {
			f.Write(line)
		}
		tl.poll()
	}
	now, err1 := os.Stat(path)
	old, err2 := os.Stat(path + ".1")
	if err1 != nil || err2 != nil || now.Size() > 10000 || old.Size() > 10000 || old.Size() == 0 {
		t.Errorf("sizes %v %v, %v %v", now, old, err1, err2)
	}
	if len(c.lines) > 3*(linesBurst+1) || len(c.lines) < linesBurst {
		t.Errorf("%d lines of 2500 were logged", len(c.lines))
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("a\n{\"msg\":1}\n{\"level\":3,\"msg\":\"x\"}\n1|1|unix|a|grpc\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c collector
		tl := &tail{log: c.log(), handshake: make(chan string, 1), budget: 1 << 20, second: time.Now()}
		tl.feed(b)
		tl.feed(b)
		if len(tl.carry) > lineMax {
			t.Errorf("%d bytes carried", len(tl.carry))
		}
	})
}

func TestBackOff(t *testing.T) {
	var got []time.Duration
	for i := range 10 {
		got = append(got, backOff(i, 30*time.Second))
	}
	ms := time.Millisecond
	want := []time.Duration{0, 0, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 16000 * ms, 30000 * ms, 30000 * ms}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if backOff(1<<40, 30*time.Second) != 30*time.Second {
		t.Error("overflow")
	}
}
