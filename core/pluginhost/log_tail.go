package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A plugin's standard output and error are its log file from the first
// instruction on, so that nothing it prints can block it or end it when the
// core is gone. The tail reads the handshake line out of that file, hands the
// other lines to slog, and keeps the file small.
type tail struct {
	path   string
	offset int64 // up to here lines were handled
	max    int64 // bytes before rotation
	log    *slog.Logger

	handshake chan string // gets the handshake line, once
	shaken    bool        // it did, or there will be none

	carry   []byte // a line that has not ended yet
	cut     bool   // carry was too long; the rest of the line is dropped
	budget  int    // lines that may still be logged in this second
	dropped int
	second  time.Time
	flood   func() // told when lines were left out; may be nil

	mu   sync.Mutex
	last []string // newest lines, for messages
}

const (
	tailPoll    = 250 * time.Millisecond
	tailStart   = 10 * time.Millisecond // until the handshake
	lineMax     = 16 << 10
	linesBurst  = 200 // handed to slog at once, and then
	linesSecond = 20  // a second; the file holds the others
	lastLines   = 5
)

var handshakePattern = regexp.MustCompile(`\b1\|\d+\|(unix|tcp)\|[^|\n]+\|[a-z]+(\|[^\s]*)?`)

// newTail starts behind what the file holds now.
func newTail(path string, max int64, log *slog.Logger) (*tail, error) {
	st, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("plugin log: %w", err)
	}
	t := &tail{path: path, max: max, log: log, handshake: make(chan string, 1)}
	if err == nil {
		t.offset = st.Size()
	}
	return t, nil
}

// run follows the file until ctx ends, then takes what is left.
func (t *tail) run(ctx context.Context) {
	every := tailStart
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.poll()
			t.report(time.Now(), true)
			return
		case <-tick.C:
		}
		t.poll()
		if t.shaken {
			every = tailPoll
		}
		tick.Reset(every)
	}
}

// poll reads to the end of the file and rotates it when it is large. The
// plugin holds the file open for append, so it is copied and truncated, not
// renamed; what is written between the last read and the truncation, a few
// microseconds, is lost to the copy but not to the rule that a plugin must
// never block.
func (t *tail) poll() {
	f, err := os.OpenFile(t.path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	if st.Size() < t.offset {
		t.offset, t.carry = 0, nil // somebody truncated it
	}
	t.drain(f)
	if t.offset > t.max {
		if err := t.rotate(f); err != nil {
			t.log.Warn("cannot rotate plugin log", "err", err)
		}
	}
	t.report(time.Now(), false)
}

func (t *tail) drain(f *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(buf, t.offset)
		t.offset += int64(n)
		t.feed(buf[:n])
		if err != nil || n == 0 {
			return
		}
	}
}

func (t *tail) rotate(f *os.File) error {
	old, err := os.OpenFile(t.path+".1", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		// Bounded all the same: the plugin's lines are worth less than the disk.
		return errors.Join(err, f.Truncate(0))
	}
	_, err = io.Copy(old, io.NewSectionReader(f, max(0, t.offset-t.max), t.max))
	err = errors.Join(err, old.Close())
	t.drain(f)
	err = errors.Join(err, f.Truncate(0))
	t.offset = 0
	return err
}

// feed splits bytes into lines.
func (t *tail) feed(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i]
		}
		if room := lineMax - len(t.carry); len(part) > room {
			part, t.cut = part[:room], true
		}
		t.carry = append(t.carry, part...)
		if i < 0 {
			return
		}
		t.line(string(t.carry))
		t.carry, t.cut = t.carry[:0], false
		b = b[i+1:]
	}
}

func (t *tail) line(s string) {
	if !t.shaken {
		if h := handshakePattern.FindString(s); h != "" {
			t.shaken = true
			t.handshake <- h
			return
		}
	}
	if s = strings.TrimRight(s, "\r \t"); s == "" {
		return
	}
	t.mu.Lock()
	if t.last = append(t.last, s); len(t.last) > lastLines {
		t.last = slices.Delete(t.last, 0, 1)
	}
	t.mu.Unlock()
	t.report(time.Now(), false)
	if t.budget <= 0 {
		t.dropped++
		return
	}
	t.budget--
	logLine(t.log, s)
}

// report opens a new second and says how many lines the last one dropped.
func (t *tail) report(now time.Time, end bool) {
	if !end && now.Sub(t.second) < time.Second {
		return
	}
	if t.dropped > 0 {
		t.log.Warn("plugin prints too much", "dropped", t.dropped, "hint", "all lines are in "+t.path)
		if t.flood != nil {
			t.flood()
		}
	}
	more := linesBurst
	if d := now.Sub(t.second); d < linesBurst/linesSecond*time.Second {
		more = int(d.Seconds() * linesSecond)
	}
	t.second, t.budget, t.dropped = now, min(linesBurst, t.budget+more), 0
}

// newest returns the last lines printed.
func (t *tail) newest() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.last, " / ")
}

// logLine hands one line to slog: JSON objects with level and msg as they
// are, anything else as an info message.
func logLine(log *slog.Logger, s string) {
	level, msg, attrs := parseLine(s)
	log.LogAttrs(context.Background(), level, msg, attrs...)
}

func parseLine(s string) (slog.Level, string, []slog.Attr) {
	var m map[string]any
	if s[0] != '{' || json.Unmarshal([]byte(s), &m) != nil {
		return slog.LevelInfo, s, nil
	}
	get := func(keys ...string) string {
		for _, k := range keys {
			if v, ok := m[k].(string); ok {
				delete(m, k)
				return v
			}
		}
		return ""
	}
	msg := get("msg", "@message", "message")
	if msg == "" {
		return slog.LevelInfo, s, nil
	}
	level := slog.LevelInfo
	switch l := strings.ToLower(get("level", "@level")); {
	case l == "trace" || strings.HasPrefix(l, "debug"):
		level = slog.LevelDebug
	case strings.HasPrefix(l, "warn"):
		level = slog.LevelWarn
	case strings.HasPrefix(l, "err") || l == "fatal" || l == "critical":
		level = slog.LevelError
	}
	delete(m, "time")
	delete(m, "@timestamp")
	delete(m, "plugin")
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	attrs := make([]slog.Attr, 0, len(keys))
	for _, k := range keys {
		attrs = append(attrs, slog.Any(k, m[k]))
	}
	return level, msg, attrs
}
