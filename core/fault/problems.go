package fault

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// Problems is a list of problems, in the order they were found until sorted.
// A nil list is "all well".
type Problems []Problem

// Add appends p.
func (ps *Problems) Add(p ...Problem) { *ps = append(*ps, p...) }

// Error joins the lines. It makes a non-empty list usable as an error; return
// Err() rather than the list itself, as a typed nil is not a nil error.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As look into each problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i := range ps {
		errs[i] = ps[i]
	}
	return errs
}

// Sort orders by file, line, column, place and text, errors before warnings.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col),
			strings.Compare(a.Where, b.Where),
			cmp.Compare(a.Level, b.Level),
			strings.Compare(a.What, b.What),
		)
	})
}

// HasErrors tells whether any problem is more than a warning.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Level == Error })
}

// Err returns the list as an error when it has errors, else nil.
func (ps Problems) Err() error {
	if !ps.HasErrors() {
		return nil
	}
	return ps
}

// Errors returns only what is worse than a warning.
func (ps Problems) Errors() Problems {
	var out Problems
	for _, p := range ps {
		if p.Level == Error {
			out = append(out, p)
		}
	}
	return out
}

// Of collects the problems in err: a list, one problem, or any other error as a
// problem without a place.
func Of(err error) Problems {
	if err == nil {
		return nil
	}
	var list Problems
	if errors.As(err, &list) {
		return list
	}
	var pp *Problem
	if errors.As(err, &pp) && error(pp) == err { //nolint:errorlint // this very value, not one that it wraps
		return Problems{*pp}
	}
	var p Problem
	if errors.As(err, &p) && p.Error() == err.Error() {
		return Problems{p}
	}
	return Problems{{What: err.Error(), Err: err}}
}
