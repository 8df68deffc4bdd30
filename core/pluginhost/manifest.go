package pluginhost

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"media-server/core/fault"
)

// manifest is a plugin.ini: what a plugin says of itself before it runs.
type manifest struct {
	name, version, kind, pack string
	exec                      []string
	schemes                   []string
	sha256                    string
	wholeOnly                 bool // storage whose files do not grow
}

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	schemePattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,31}$`)
	sumPattern    = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// protocolVersion is the only plugin protocol this core speaks.
const protocolVersion = 1

// parseManifest reads the text of a plugin.ini. folder names the plugin when
// the text does not; file is for messages.
func parseManifest(file, folder, text string) (manifest, error) {
	m := manifest{name: folder}
	var ps fault.Problems
	bad := func(line int, what, hint string) {
		ps.Add(fault.Problem{File: file, Line: line, Col: 1, What: what, Hint: hint})
	}
	section, protocol := "", false
	seen := map[string]bool{}
	for i, raw := range strings.Split(text, "\n") {
		line := strings.TrimSpace(strings.TrimPrefix(raw, "\ufeff"))
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			if section = strings.TrimSpace(strings.Trim(line, "[]")); section != "plugin" {
				bad(i+1, fmt.Sprintf("unknown section [%s]", section), "plugin.ini has one section, [plugin]")
			}
			continue
		case section != "plugin":
			bad(i+1, "a key outside [plugin]", "put [plugin] first")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), stripComment(value)
		if !ok {
			bad(i+1, fmt.Sprintf("%q is not key = value", line), "")
			continue
		}
		if seen[key] {
			bad(i+1, fmt.Sprintf("key %q is there twice", key), "keep one")
			continue
		}
		seen[key] = true
		if key == "protocol" {
			protocol = true
		}
		if what, hint := m.set(key, value); what != "" {
			bad(i+1, what, hint)
		}
	}
	if len(m.exec) == 0 {
		bad(0, "no exec", "say which executable of the folder to run: exec = NAME")
	}
	if m.kind == "" {
		bad(0, "no kind", "kind = driver or kind = storage")
	}
	if !protocol {
		bad(0, "no protocol", "protocol = 1")
	}
	if !namePattern.MatchString(m.name) {
		bad(0, fmt.Sprintf("%q cannot name a plugin", m.name), "small letters, digits and -, at most 32")
	}
	if len(ps) > 0 {
		return m, ps
	}
	return m, nil
}

// set takes one key; a non-empty first result says what is wrong with it.
func (m *manifest) set(key, value string) (what, hint string) {
	switch key {
	case "name":
		m.name = value
	case "version":
		m.version = value
	case "pack":
		m.pack = value
	case "kind":
		if value != "driver" && value != "storage" {
			return fmt.Sprintf("kind %q is not known", value), "driver or storage"
		}
		m.kind = value
	case "protocol":
		if v, err := strconv.Atoi(value); err != nil || v != protocolVersion {
			return fmt.Sprintf("protocol %q is not spoken here", value), "this server speaks protocol 1"
		}
	case "exec":
		words, err := splitWords(value)
		if err != nil {
			return err.Error(), ""
		}
		m.exec = words
	case "schemes":
		for s := range strings.SplitSeq(value, ",") {
			if s = strings.TrimSpace(s); s == "" {
				continue
			}
			if !schemePattern.MatchString(s) {
				return fmt.Sprintf("%q is not a URL scheme", s), "small letters, digits, + - ."
			}
			m.schemes = append(m.schemes, s)
		}
	case "append":
		if value != "yes" && value != "no" {
			return fmt.Sprintf("append = %q", value), "yes, or no for a storage that takes whole files only"
		}
		m.wholeOnly = value == "no"
	case "sha256":
		if value != "" && !sumPattern.MatchString(value) {
			return "sha256 is not 64 hex digits", ""
		}
		m.sha256 = strings.ToLower(value)
	default:
		return fmt.Sprintf("unknown key %q in [plugin]", key), "known: name, version, kind, protocol, exec, schemes, append, sha256, pack"
	}
	return "", ""
}

// stripComment cuts a comment that follows a space and trims the value.
func stripComment(v string) string {
	for i := 1; i < len(v); i++ {
		if (v[i] == '#' || v[i] == ';') && (v[i-1] == ' ' || v[i-1] == '\t') {
			v = v[:i]
			break
		}
	}
	return strings.TrimSpace(v)
}

// splitWords cuts a command at spaces; double quotes keep spaces together.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quoted := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, in = !quoted, true
		case (r == ' ' || r == '\t') && !quoted:
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
