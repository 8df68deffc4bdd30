package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Result is the outcome of one check.
type Result struct {
	Name   string // stable, for machines
	What   string // the rule
	Why    string
	Remedy string // what to do when it failed
	Err    error  // nil = kept
	Skip   string // why it was not tried; Err is nil then
	Took   time.Duration
}

// MarshalJSON writes a result for machines.
func (r Result) MarshalJSON() ([]byte, error) {
	m := map[string]any{"name": r.Name, "what": r.What, "result": "ok", "took_ms": r.Took.Milliseconds()}
	switch {
	case r.Err != nil:
		m["result"], m["error"], m["why"], m["remedy"] = "fail", r.Err.Error(), r.Why, r.Remedy
	case r.Skip != "":
		m["result"], m["reason"] = "skip", r.Skip
	}
	return json.Marshal(m)
}

// Report is what Check found, in the order of trying.
type Report struct {
	Path    string
	Results []Result
}

// OK tells whether no check failed.
func (r Report) OK() bool {
	for _, x := range r.Results {
		if x.Err != nil {
			return false
		}
	}
	return true
}

// Failed lists the names of failed checks.
func (r Report) Failed() []string {
	var out []string
	for _, x := range r.Results {
		if x.Err != nil {
			out = append(out, x.Name)
		}
	}
	return out
}

// String is the report for a terminal.
func (r Report) String() string {
	var b strings.Builder
	for _, x := range r.Results {
		switch {
		case x.Err != nil:
			fmt.Fprintf(&b, "FAIL  %-16s %s\n      %v\n      why: %s\n      remedy: %s\n", x.Name, x.What, x.Err, x.Why, x.Remedy)
		case x.Skip != "":
			fmt.Fprintf(&b, "skip  %-16s %s\n", x.Name, x.Skip)
		default:
			fmt.Fprintf(&b, "ok    %-16s %s\n", x.Name, x.What)
		}
	}
	return b.String()
}
