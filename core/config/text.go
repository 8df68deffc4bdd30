package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"media-server/core/fault"
)

// MaxFileSize bounds a settings file. The largest sensible one is a few kB; the
// bound keeps a mistaken path (a video, /dev/zero) from filling the memory.
const MaxFileSize = 1 << 20

// File is one ini file: its bytes, and what they say. It is immutable after
// Parse and safe for concurrent use.
type File struct {
	Path   string // as shown in problems and origins
	Blocks []*Block

	lines []string // with their line ends; joined they are the file
}

// Block is one [section] of a file.
type Block struct {
	Name      string
	Line, Col int
	Entries   []*Entry
}

// Entry is one key = value line.
type Entry struct {
	Key, Value string // Value is decoded: without quotes and comment
	Line, Col  int    // of the key
	ValueCol   int    // of the value, or of where it would be

	from, to int // bytes of the raw value in its line, quotes included
}

// Block returns the named block, or nil.
func (f *File) Block(name string) *Block {
	for _, b := range f.Blocks {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// Entry returns the entry of key, or nil. It may be called on a nil Block.
func (b *Block) Entry(key string) *Entry {
	if b != nil {
		for _, e := range b.Entries {
			if e.Key == key {
				return e
			}
		}
	}
	return nil
}

// Bytes returns the file as it was read.
func (f *File) Bytes() []byte { return []byte(strings.Join(f.lines, "")) }

// Parse reads ini text. It always returns a File with whatever could be
// understood, and every problem found.
func Parse(path string, text []byte) (*File, fault.Problems) {
	f := &File{Path: path}
	if p, bad := notText(path, text); bad {
		return f, fault.Problems{p}
	}
	f.lines = splitLines(string(text))
	p := parser{file: f}
	for i, line := range f.lines {
		if i == 0 {
			// Keep the mark in the line, so that an edit keeps it too.
			if bare, ok := strings.CutPrefix(line, byteOrderMark); ok {
				p.skip = len(line) - len(bare)
			}
		}
		p.line(i+1, strings.TrimRight(line, "\r\n"))
		p.skip = 0
	}
	p.problems = append(p.problems, decodeValues(f)...)
	p.problems.Sort()
	return f, p.problems
}

const byteOrderMark = "\ufeff"

func notText(path string, text []byte) (fault.Problem, bool) {
	bad := func(at int, what, hint string) (fault.Problem, bool) {
		line := 1 + bytes.Count(text[:at], []byte("\n"))
		col := at - bytes.LastIndexByte(text[:at], '\n')
		return fault.Problem{What: what, Hint: hint}.At(path, line, col), true
	}
	switch {
	case len(text) > MaxFileSize:
		return fault.Problem{File: path, What: fmt.Sprintf("the file is %d bytes long", len(text)), Hint: "settings files may be up to 1 MB; is this the right file?"}, true
	case bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")):
		return bad(0, "the file is UTF-16 text", "save it as UTF-8")
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return bad(i, "the file holds a zero byte", "is this a text file?")
	}
	if !utf8.Valid(text) {
		rest := text
		for len(rest) > 0 {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n == 1 {
				break
			}
			rest = rest[n:]
		}
		return bad(len(text)-len(rest), "the file is not UTF-8 text", "save it as UTF-8")
	}
	return fault.Problem{}, false
}

// splitLines cuts after each \n; the pieces joined are the text again.
func splitLines(text string) []string {
	var lines []string
	for len(text) > 0 {
		i := strings.IndexByte(text, '\n') + 1
		if i == 0 {
			i = len(text)
		}
		lines = append(lines, text[:i])
		text = text[i:]
	}
	return lines
}

type parser struct {
	file     *File
	block    *Block // nil before the first section
	skip     int    // bytes of a byte order mark before the line's text
	orphan   bool   // keys before any section were reported
	problems fault.Problems
}

func (p *parser) bad(line, col int, what, hint string) {
	p.problems.Add(fault.Problem{What: what, Hint: hint}.At(p.file.Path, line, col))
}

const blanks = " \t"

func isBlank(c byte) bool   { return c == ' ' || c == '\t' }
func isComment(c byte) bool { return c == '#' || c == ';' }

func (p *parser) line(no int, text string) {
	at := p.skip
	for at < len(text) && isBlank(text[at]) {
		at++
	}
	if i := strings.IndexFunc(text, isControl); i >= 0 {
		p.bad(no, i+1, fmt.Sprintf("control character %q in the line", text[i]), "remove it")
		return
	}
	switch {
	case at == len(text) || isComment(text[at]):
	case text[at] == '[':
		p.section(no, at, text)
	default:
		p.entry(no, at, text)
	}
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func (p *parser) section(no, at int, text string) {
	end := strings.IndexByte(text[at:], ']')
	name := ""
	if end > 0 {
		name = strings.TrimSpace(text[at+1 : at+end])
	}
	// A block is made even of a bad line: its keys must not land in the one before.
	p.block = &Block{Name: name, Line: no, Col: at + 1}
	rest := ""
	if end > 0 {
		rest = strings.TrimLeft(text[at+end+1:], blanks)
	}
	switch {
	case end < 0:
		p.bad(no, at+1, "section without a closing ]", "write [name]")
	case name == "":
		p.bad(no, at+1, "section without a name", "write [name]")
	case rest != "" && !isComment(rest[0]):
		p.bad(no, len(text)-len(rest)+1, "text after the section name", "put it on a line of its own")
	default:
		if first := p.file.Block(name); first != nil {
			p.bad(no, at+1, fmt.Sprintf("section [%s] is there twice", Name(name)), fmt.Sprintf("it began on line %d; join the two", first.Line))
		} else {
			p.file.Blocks = append(p.file.Blocks, p.block)
		}
	}
}

func (p *parser) entry(no, at int, text string) {
	eq := strings.IndexByte(text[at:], '=')
	if eq < 0 {
		hint := "lines are [section], key = value, or begin with # or ;"
		if k, _, ok := strings.Cut(text[at:], ":"); ok && k != "" && !strings.ContainsAny(k, blanks) {
			// Not v itself: it may be a password.
			hint = fmt.Sprintf("write %s = value, with = in place of the :", Name(k))
		}
		p.bad(no, at+1, "the line has no =", hint)
		return
	}
	key := strings.TrimSpace(text[at : at+eq])
	if key == "" {
		p.bad(no, at+1, "no key before the =", "write key = value")
		return
	}
	e := &Entry{Key: key, Line: no, Col: at + 1}
	what, hint := e.span(text, at+eq+1)
	e.ValueCol = e.from + 1
	switch {
	case what != "":
		p.bad(no, e.ValueCol, fmt.Sprintf("%s in the value of %q", what, Name(key)), hint)
	case p.block == nil:
		if !p.orphan {
			p.bad(no, at+1, fmt.Sprintf("key %q stands before any [section]", Name(key)), "put the section's name above it")
		}
		p.orphan = true
	default:
		if first := p.block.Entry(key); first != nil {
			p.bad(no, at+1, fmt.Sprintf("duplicate key %q in [%s]", Name(key), Name(p.block.Name)), fmt.Sprintf("it is set on line %d; keep one", first.Line))
			return
		}
		p.block.Entries = append(p.block.Entries, e)
	}
}

// span finds the raw value in text from byte at on: what lies between the = and
// the comment, without the blanks around it.
func (e *Entry) span(text string, at int) (what, hint string) {
	from := at
	for from < len(text) && isBlank(text[from]) {
		from++
	}
	e.from, e.to = from, from
	if from == len(text) {
		return "", ""
	}
	if isComment(text[from]) && from > at {
		// key =   ; comment: ini.v1 would take the comment for the value.
		e.from, e.to = min(at+1, from), min(at+1, from)
		return "", ""
	}
	if q := text[from]; q == '"' || q == '`' || q == '\'' {
		end := closing(text, from)
		if end > 0 {
			after := end
			for after < len(text) && isBlank(text[after]) {
				after++
			}
			if after == len(text) || isComment(text[after]) && after > end {
				e.to = end
				return "", ""
			}
		}
		switch {
		case q == '\'': // 'tis, o'clock: an ordinary letter unless it encloses all
		case end < 0:
			return "quote without an end", "values end with their line; to begin one with a quote, enclose it in another kind"
		default:
			return "text after the closing quote", "enclose the whole value, or use no quotes"
		}
	}
	to := len(text)
	for i := from + 1; i < len(text); i++ {
		if isComment(text[i]) && isBlank(text[i-1]) {
			to = i
			break
		}
	}
	e.to = from + len(strings.TrimRight(text[from:to], blanks))
	return "", ""
}

// closing returns the index after the quote that closes the one at from, or -1.
func closing(text string, from int) int {
	q := text[from]
	for i := from + 1; i < len(text); i++ {
		switch {
		case q == '"' && text[i] == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		case text[i] == q:
			return i + 1
		}
	}
	return -1
}
