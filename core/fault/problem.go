package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Level says how bad a Problem is.
type Level uint8

const (
	// Error: what was asked for is refused; somebody must act. The zero value,
	// so that a forgotten level is never taken lightly.
	Error Level = iota
	// Warning: it works, but not as the operator may think.
	Warning
)

// String returns "error" or "warning".
func (l Level) String() string {
	if l == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText makes JSON say "error" and "warning".
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (l *Level) UnmarshalText(b []byte) error {
	switch string(b) {
	case "error":
		*l = Error
	case "warning":
		*l = Warning
	default:
		return fmt.Errorf("fault: unknown level %q", b)
	}
	return nil
}

// Problem is one error an operator can act on. It is a value: copy it freely.
type Problem struct {
	File  string // settings file, as the operator wrote its path; may be empty
	Line  int    // 1-based; 0 = the file as a whole
	Col   int    // 1-based, in bytes; 0 = the line as a whole
	Where string // when there is no file: stream, plugin, space, …
	What  string // what is wrong, without a full stop
	Hint  string // what to do or what is allowed; may be empty
	Level Level
	Key   string // the settings key it is about; may be empty
	Err   error  // the cause, for errors.Is and errors.As; may be nil; not shown unless in What
}

// New returns an Error about where.
func New(where, what, hint string) *Problem {
	return &Problem{Where: where, What: what, Hint: hint}
}

// Wrap returns an error that says where: what: err; hint, and that unwraps to
// err. Wrap(nil, …) is nil. The hint of a Problem further down is kept when hint
// is empty.
func Wrap(err error, where, what, hint string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	var inner *Problem
	if errors.As(err, &inner) && error(inner) == err { //nolint:errorlint // this very value, not one that it wraps
		bare := *inner
		if hint == "" {
			hint = bare.Hint
		}
		bare.Hint = ""
		text = bare.Error()
	}
	if what != "" {
		text = what + ": " + text
	}
	return &Problem{Where: where, What: text, Hint: hint, Err: err}
}

// At returns p placed at file:line:col.
func (p Problem) At(file string, line, col int) Problem {
	p.File, p.Line, p.Col = file, line, col
	return p
}

// Place returns "file:line:col", "file:line", "file", or Where.
func (p Problem) Place() string {
	if p.File == "" {
		return p.Where
	}
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
		if p.Col > 0 {
			s += ":" + strconv.Itoa(p.Col)
		}
	}
	return s
}

// Error renders the problem on one line.
func (p Problem) Error() string {
	var b strings.Builder
	if place := p.Place(); place != "" {
		b.WriteString(place)
		b.WriteString(": ")
	}
	if p.Level == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.What)
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(b.String())
}

// Unwrap returns the cause.
func (p Problem) Unwrap() error { return p.Err }

// MarshalJSON gives API, events and `check --json` one shape.
func (p Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Level   Level  `json:"level"`
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Col     int    `json:"column,omitempty"`
		Where   string `json:"where,omitempty"`
		Key     string `json:"key,omitempty"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}{p.Level, p.File, p.Line, p.Col, p.Where, p.Key, p.What, p.Hint})
}
