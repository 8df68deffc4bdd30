package export

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

const (
	firstLine = "media-server proof 1"
	message   = "MSPROOF1\n" // what the signature's message begins with
	mostLine  = 16 << 10
)

// Statement is what the server says of an export.
type Statement struct {
	Server   string     `json:"server"`
	Node     string     `json:"node"` // 32 hex digits
	Program  string     `json:"program"`
	UID      string     `json:"uid"`
	Name     string     `json:"name"`
	Asked    media.Span `json:"-"`
	Covers   media.Span `json:"-"` // first picture to the end of the last
	Gaps     []Gap      `json:"-"` // what was known to be missing in it
	Exporter string     `json:"exporter"`
	Reason   string     `json:"reason"`
	Made     media.Wall `json:"-"`
	Key      [8]byte    `json:"-"` // of the proof's own signature
	Size     int64      `json:"size_bytes"`
	Files    int        `json:"files"`
}

// Gap is a stretch without footage, and its cause.
type Gap struct {
	Span media.Span
	Why  archive.GapCause
}

func clock(w media.Wall) string { return w.Time().Format(time.RFC3339Nano) }

// quoted is a text in one line: a JSON string.
func quoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(strings.ToValidUTF8(s, "�")) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// text writes the statement.
func (s *Statement) text() []byte {
	var b bytes.Buffer
	line := func(key string, words ...string) { fmt.Fprintf(&b, "%s = %s\n", key, strings.Join(words, " ")) }
	b.WriteString(firstLine + "\n")
	line("server", quoted(s.Server))
	line("node", s.Node)
	line("program", quoted(s.Program))
	line("stream", s.UID, quoted(s.Name))
	line("asked", clock(s.Asked.From), clock(s.Asked.To))
	line("covers", clock(s.Covers.From), clock(s.Covers.To))
	for _, g := range s.Gaps {
		line("gap", clock(g.Span.From), clock(g.Span.To), quoted(string(g.Why)))
	}
	line("exporter", quoted(s.Exporter))
	line("reason", quoted(s.Reason))
	line("made", clock(s.Made))
	line("key", hex.EncodeToString(s.Key[:]))
	line("size", strconv.FormatInt(s.Size, 10))
	line("files", strconv.Itoa(s.Files))
	return b.Bytes()
}

// keys of the statement, in the order in which they are written; gap may be
// missing or come several times.
var keys = []string{"server", "node", "program", "stream", "asked", "covers", "gap", "exporter", "reason", "made", "key", "size", "files"}

// set takes in the value of a line.
func (s *Statement) set(key, v string) (err error) {
	switch key {
	case "server":
		s.Server, err = unquoted(v)
	case "node":
		s.Node = v
		if b, e := hex.DecodeString(v); e != nil || len(b) != 16 {
			err = fmt.Errorf("%q is no node", v)
		}
	case "program":
		s.Program, err = unquoted(v)
	case "stream":
		uid, name, _ := strings.Cut(v, " ")
		s.UID = uid
		s.Name, err = unquoted(name)
	case "asked":
		s.Asked, err = spanOf(v)
	case "covers":
		s.Covers, err = spanOf(v)
	case "gap":
		i := strings.LastIndexByte(v, ' ')
		if i < 0 {
			return fmt.Errorf("%q is no gap", v)
		}
		var g Gap
		var why string
		if g.Span, err = spanOf(v[:i]); err == nil {
			why, err = unquoted(v[i+1:])
		}
		g.Why = archive.GapCause(why)
		s.Gaps = append(s.Gaps, g)
	case "exporter":
		s.Exporter, err = unquoted(v)
	case "reason":
		s.Reason, err = unquoted(v)
	case "made":
		s.Made, err = wallOf(v)
	case "key":
		b, e := hex.DecodeString(v)
		if e != nil || len(b) != len(s.Key) {
			return fmt.Errorf("%q is no key id", v)
		}
		copy(s.Key[:], b)
	case "size":
		s.Size, err = number(v)
	case "files":
		var n int64
		n, err = number(v)
		s.Files = int(n)
	}
	return err
}

func unquoted(v string) (s string, err error) {
	if err = json.Unmarshal([]byte(v), &s); err != nil {
		err = fmt.Errorf("%q is no text in quotation marks", v)
	}
	return s, err
}

func wallOf(v string) (media.Wall, error) {
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return 0, fmt.Errorf("%q is no time", v)
	}
	return media.WallOf(t), nil
}

func spanOf(v string) (s media.Span, err error) {
	from, to, _ := strings.Cut(v, " ")
	if s.From, err = wallOf(from); err == nil {
		s.To, err = wallOf(to)
	}
	return s, err
}

// number is one that is not negative.
func number(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number", v)
	}
	return n, nil
}
