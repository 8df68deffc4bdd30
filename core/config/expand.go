package config

import (
	"os"
	"path/filepath"
	"strings"

	"media-server/core/fault"
)

// Env is what values may refer to.
type Env struct {
	Base      string                      // absolute folder that relative paths start from
	LookupEnv func(string) (string, bool) // nil = the process environment
	Source    Source                      // for ${file:…}; nil = Disk
}

// maxSecret bounds a ${file:…}; keys and passwords are far smaller.
const maxSecret = 64 << 10

// expand replaces ${NAME} and ${file:/path}; $${ stands for a plain ${. Problems
// name the reference, never what it holds.
func (env *Env) expand(text string) (string, *fault.Problem) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(before)
			return out.String(), nil
		}
		if bare, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(bare + "${")
			text = rest
			continue
		}
		out.WriteString(before)
		ref, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", &fault.Problem{What: "${ without a closing }", Hint: "write $${ for a plain ${"}
		}
		value, p := env.lookup(ref)
		if p != nil {
			return "", p
		}
		out.WriteString(value)
		text = after
	}
}

func (env *Env) lookup(ref string) (string, *fault.Problem) {
	path, isFile := strings.CutPrefix(ref, "file:")
	if !isFile {
		get := env.LookupEnv
		if get == nil {
			get = os.LookupEnv
		}
		value, ok := get(ref)
		if !ok {
			return "", &fault.Problem{What: "${" + ref + "} is not set in the environment", Hint: "set it, or use ${file:/path}"}
		}
		return value, nil
	}
	if !filepath.IsAbs(path) {
		return "", &fault.Problem{What: "${" + ref + "} is not an absolute path", Hint: "write ${file:/path}"}
	}
	source := env.Source
	if source == nil {
		source = Disk{}
	}
	data, err := source.ReadFile(path)
	switch {
	case err != nil:
		return "", &fault.Problem{What: "${" + ref + "} cannot be read: " + reason(err), Err: err}
	case len(data) > maxSecret:
		return "", &fault.Problem{What: "${" + ref + "} is larger than 64 kB", Hint: "is this the right file?"}
	}
	value := strings.TrimRight(string(data), "\r\n")
	switch {
	case value == "":
		return "", &fault.Problem{What: "${" + ref + "} is empty"}
	case strings.ContainsFunc(value, isControl):
		return "", &fault.Problem{What: "${" + ref + "} holds more than one line", Hint: "the file holds the value alone"}
	}
	return value, nil
}

// path makes a path of a settings file absolute.
func (env *Env) path(p string) string {
	if p == "" || filepath.IsAbs(p) || env.Base == "" {
		return p
	}
	return filepath.Join(env.Base, p)
}
