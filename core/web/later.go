package web

import (
	"path"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// Name is a name of the published interface that this version lacks.
type Name struct {
	Methods string // that are refused, apart by blanks; empty = all
	Path    string // {x} stands for any text without a slash; "/..." at the end = all below it too
	Use     string // what serves instead, or what to do
}

// Later are the names that a room refuses. A room asks it before it says that
// an address is unknown or does not take a method: who follows the published
// interface learns that he made no mistake, and what to do instead.
type Later struct {
	Root  string // stands before every path
	Names []Name
}

// NotYet is the refusal of a name of the published interface.
func NotYet(what, use string) *Error {
	return E(501, "not_in_this_version", what+" is not in this version", use)
}

// Refuse is nil if the path, told without Root and slashes at its ends, is none
// of the names. The error tells the name as it is published and nothing of the
// request, so it is the same whatever exists here and whoever asks.
func (l *Later) Refuse(method, path string) *Error {
	for _, n := range l.Names {
		switch {
		case !n.stands(path):
		case n.Methods == "":
			return NotYet(l.Root+strings.TrimSuffix(n.Path, "/..."), n.Use)
		case slices.Contains(strings.Fields(n.Methods), method):
			return NotYet(method+" "+l.Root+n.Path, n.Use)
		}
	}
	return nil
}

// stands tells whether the path is of this name.
func (n *Name) stands(p string) bool {
	pattern, below := strings.CutSuffix(glob(n.Path), "/...")
	if below { // as many elements as the name has
		depth := strings.Count(pattern, "/") + 1
		if e := strings.SplitN(p, "/", depth+1); len(e) > depth {
			p = strings.Join(e[:depth], "/")
		}
	}
	ok, err := path.Match(pattern, p)
	return ok && err == nil
}

// glob puts * for every {x}.
func glob(pattern string) string {
	var b strings.Builder
	for {
		head, rest, more := strings.Cut(pattern, "{")
		b.WriteString(head)
		if !more {
			return b.String()
		}
		b.WriteByte('*')
		_, pattern, _ = strings.Cut(rest, "}")
	}
}

// Handle implements Room, for names whose rooms are not built.
func (l *Later) Handle(ctx *fasthttp.RequestCtx) bool {
	e := l.Refuse(string(ctx.Method()), strings.Trim(string(ctx.Path()), "/"))
	if e != nil {
		Fail(ctx, e)
	}
	return e != nil
}
