package export

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Lines of a proof behind its statement.
type (
	fileLine struct {
		id          uint64
		at, size    int64
		state, over string
		head, sig   []byte // of the lines h and s behind it
	}
	skipLine     struct{ head, root [32]byte }
	fragmentLine struct {
		track             int
		at, headLen, size int64
		head              [32]byte
	}
	unitLine struct {
		shown   bool
		seq     uint64
		pts     int64
		size    uint32
		payload [32]byte
		leaf    [32]byte
		hasLeaf bool
	}
	endLine struct {
		files, frames int
		export        [32]byte
	}
)

// lines reads a proof line by line, strictly: it knows one spelling of each.
type lines struct {
	r   *bufio.Reader
	n   int       // number of the line last read
	sum hash.Hash // of all lines before the last
	raw []byte    // the last, with its end
	old string    // one that was read ahead
}

// errDamaged: it is no proof, or was damaged.
var errDamaged = errors.New("damaged")

func (l *lines) fail(format string, args ...any) error {
	return fmt.Errorf("%w at line %d: %s", errDamaged, l.n, fmt.Sprintf(format, args...))
}

// next is the next line without its end; io.EOF behind the last.
func (l *lines) next() (string, error) {
	if s := l.old; s != "" {
		l.old = ""
		return s, nil
	}
	l.sum.Write(l.raw)
	raw, err := l.r.ReadSlice('\n')
	l.n++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", l.fail("the line is too long")
	case errors.Is(err, io.EOF) && len(raw) > 0:
		return "", l.fail("the line is cut short")
	case err != nil:
		return "", err
	}
	l.raw = bytes.Clone(raw)
	return string(raw[:len(raw)-1]), nil
}

// back gives a line back.
func (l *lines) back(s string) { l.old = s }

// parse reads a proof and calls fn with what its lines say, in order: first the
// *Statement, then for each file *fileLine, skipLine, fragmentLine, unitLine,
// and the endLine. signed is the signature and what it is over.
func parse(r io.Reader, fn func(line any) error) (msg, sig []byte, err error) {
	l := &lines{r: bufio.NewReaderSize(r, mostLine), sum: sha256.New()}
	st, err := l.statement()
	if err == nil {
		err = fn(st)
	}
	for err == nil {
		var s string
		if s, err = l.next(); err != nil {
			break
		}
		kind, rest, _ := strings.Cut(s, " ")
		if kind == "signature" {
			if sig, err = l.base64(rest, 64); err != nil {
				break
			}
			msg = append([]byte(message), l.sum.Sum(nil)...)
			if _, err = l.next(); errors.Is(err, io.EOF) {
				return msg, sig, nil
			}
			return nil, nil, l.fail("something stands behind the signature")
		}
		var v any
		if v, err = l.line(kind, strings.Split(rest, " ")); err == nil {
			err = fn(v)
		}
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: it ends at line %d without a signature", errDamaged, l.n-1)
	}
	return nil, nil, err
}

func (l *lines) statement() (*Statement, error) {
	s, err := l.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if s != firstLine {
		if strings.HasPrefix(s, "media-server proof ") {
			return nil, fmt.Errorf("it is of a newer version (%s)", strings.TrimPrefix(s, "media-server proof "))
		}
		return nil, fmt.Errorf("it is no proof of an export: its first line is not %q", firstLine)
	}
	st := new(Statement)
	at := 0
	for at < len(keys) {
		if s, err = l.next(); err != nil {
			return nil, err
		}
		key, v, ok := strings.Cut(s, " = ")
		for keys[at] == "gap" && key != "gap" {
			at++
		}
		if !ok || key != keys[at] {
			return nil, l.fail("%q is expected here", keys[at])
		}
		if err := st.set(key, v); err != nil {
			return nil, l.fail("%s: %v", key, err)
		}
		if key != "gap" {
			at++
		}
	}
	return st, nil
}

// wordsOf is how many words follow each kind of line.
var wordsOf = map[string]int{"file": 5, "n": 2, "f": 5, "u": 5, "x": 5, "end": 3}

// line reads a line behind the statement.
func (l *lines) line(kind string, w []string) (any, error) {
	if n := wordsOf[kind]; n == 0 || len(w) != n {
		return nil, l.fail("it is not understood")
	}
	p := words{l: l, w: w}
	switch kind {
	case "file":
		f := &fileLine{id: p.hex64(), at: p.num(), size: p.num(), state: p.oneOf(stateSigned, stateUnsealed, stateUnsigned), over: p.oneOf(overExported, overStored)}
		if p.err != nil {
			return nil, p.err
		}
		return f, l.boxes(f)
	case "n":
		return skipLine{p.hash(), p.hash()}, p.err
	case "f":
		return fragmentLine{track: int(p.upTo(1<<16 - 1)), at: p.num(), headLen: p.num(), size: p.num(), head: p.hash()}, p.err
	case "u", "x":
		u := unitLine{shown: kind == "u", seq: p.unsigned(), pts: p.signed(), size: uint32(p.upTo(1<<32 - 1)), payload: p.hash()}
		if w[4] != "-" {
			u.leaf, u.hasLeaf = p.hash(), true
		}
		return u, p.err
	}
	e := endLine{files: int(p.num()), frames: int(p.num())}
	b, err := hex.DecodeString(w[2])
	if err != nil || copy(e.export[:], b) != 32 || len(b) != 32 {
		return nil, l.fail("%q is no SHA-256", w[2])
	}
	return e, p.err
}

const mostHead = 1 << 20

// boxes reads the lines h and s behind a file.
func (l *lines) boxes(f *fileLine) error {
	for {
		s, err := l.next()
		if err != nil {
			return err
		}
		kind, v, _ := strings.Cut(s, " ")
		if kind != "h" && kind != "s" {
			l.back(s)
			return nil
		}
		b, err := l.base64(v, -1)
		switch {
		case err != nil:
			return err
		case kind == "s" && f.sig != nil, len(f.head) > mostHead:
			return l.fail("there is more than one")
		case kind == "s":
			f.sig = b
		default:
			f.head = append(f.head, b...)
		}
	}
}

var strict = base64.RawStdEncoding.Strict()

func (l *lines) base64(s string, n int) ([]byte, error) {
	b, err := strict.DecodeString(s)
	if err != nil || n >= 0 && len(b) != n || strings.ContainsAny(s, "\r\n") {
		return nil, l.fail("what should be base64 is not")
	}
	return b, nil
}

// words reads the words of a line; the first failure sticks.
type words struct {
	l   *lines
	w   []string
	err error
}

func (p *words) take() string {
	if len(p.w) == 0 {
		return ""
	}
	s := p.w[0]
	p.w = p.w[1:]
	return s
}

func (p *words) bad(s, what string) {
	if p.err == nil {
		p.err = p.l.fail("%q is no %s", s, what)
	}
}

func (p *words) num() int64 {
	s := p.take()
	n, err := number(s)
	if err != nil {
		p.bad(s, "number")
	}
	return n
}

func (p *words) upTo(most int64) int64 {
	n := p.num()
	if n > most {
		p.bad(strconv.FormatInt(n, 10), "number that fits here")
	}
	return n
}

func (p *words) unsigned() uint64 {
	s := p.take()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		p.bad(s, "number")
	}
	return n
}

func (p *words) signed() int64 {
	s := p.take()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		p.bad(s, "number")
	}
	return n
}

func (p *words) hex64() uint64 {
	s := p.take()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		p.bad(s, "file id")
	}
	return n
}

func (p *words) oneOf(known ...string) string {
	s := p.take()
	if !slices.Contains(known, s) {
		p.bad(s, "word that is known here")
	}
	return s
}

func (p *words) hash() (h [32]byte) {
	s := p.take()
	b, err := strict.DecodeString(s)
	if err != nil || len(b) != len(h) {
		p.bad(s, "hash")
		return h
	}
	copy(h[:], b)
	return h
}
