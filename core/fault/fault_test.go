package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestProblemError(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Problem
		want string
	}{
		{"full", Problem{File: "streams.d/gate.ini", Line: 9, Col: 1, What: `unknown key "dvr-chnk" in [gate]`, Hint: `did you mean "dvr-chunk"?`},
			`streams.d/gate.ini:9:1: unknown key "dvr-chnk" in [gate]; did you mean "dvr-chunk"?`},
		{"line only", Problem{File: "a.ini", Line: 2, What: "bad"}, "a.ini:2: bad"},
		{"file only", Problem{File: "a.ini", Col: 3, What: "bad"}, "a.ini: bad"},
		{"where", Problem{Where: "stream gate", What: "bad", Hint: "do"}, "stream gate: bad; do"},
		{"file beats where", Problem{File: "a.ini", Where: "stream gate", What: "bad"}, "a.ini: bad"},
		{"nowhere", Problem{What: "bad"}, "bad"},
		{"warning", Problem{File: "a.ini", Level: Warning, What: "odd"}, "a.ini: warning: odd"},
		{"one line", Problem{What: "a\nb\r"}, `a\nb\r`},
	} {
		if got := c.p.Error(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	if Wrap(nil, "a", "b", "c") != nil {
		t.Error("Wrap(nil) is not nil")
	}
	inner := Wrap(fs.ErrNotExist, "", "open /x", "make it")
	err := Wrap(inner, "space main", "start", "")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("cause lost")
	}
	if want := "space main: start: open /x: file does not exist; make it"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	var p *Problem
	if !errors.As(fmt.Errorf("above: %w", err), &p) || p.Where != "space main" {
		t.Error("errors.As does not find the problem")
	}
}

func TestProblems(t *testing.T) {
	ps := Problems{{File: "b", Line: 1, What: "x"}, {File: "a", Line: 10, What: "y"}, {File: "a", Line: 9, What: "z", Level: Warning}}
	ps.Sort()
	if ps[0].What != "z" || ps[2].What != "x" {
		t.Errorf("order: %v", ps)
	}
	if !ps.HasErrors() || ps[:1].HasErrors() || Problems(nil).Err() != nil {
		t.Error("HasErrors or Err is wrong")
	}
	if got := len(Of(fmt.Errorf("loading: %w", ps.Err()))); got != 3 {
		t.Errorf("Of found %d problems", got)
	}
	if got := Of(fmt.Errorf("loading: %w", New("a", "b", "c"))); len(got) != 1 || got[0].What != "loading: a: b; c" {
		t.Errorf("Of hides what wrapped a problem: %v", got)
	}
	if got := Of(New("a", "b", "c")); len(got) != 1 || got[0].Hint != "c" {
		t.Errorf("Of(problem) = %v", got)
	}
	if got := Of(fs.ErrExist); len(got) != 1 || got[0].What != fs.ErrExist.Error() {
		t.Errorf("Of(other) = %v", got)
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(Problems{{File: "a", Line: 1, Col: 2, What: "w", Hint: "h", Level: Warning, Key: "k"}})
	if want := `[{"level":"warning","file":"a","line":1,"column":2,"key":"k","message":"w","hint":"h"}]`; err != nil || string(b) != want {
		t.Errorf("%s %v", b, err)
	}
	var l Level
	if l.UnmarshalText([]byte("error")) != nil || l != Error || l.UnmarshalText([]byte("bad")) == nil {
		t.Error("level does not round-trip")
	}
}
