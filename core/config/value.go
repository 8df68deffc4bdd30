package config

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/ini.v1"

	"media-server/core/fault"
)

// readOptions make ini.v1 read a value as it stands. Its defaults cut
// rtsp://u:p#ss@h/1 at the #, join lines that end in a backslash, take ':' for
// '=', and expand %(name)s in Key.String (so only Key.Value is used).
//
// Comments are found by Entry.span before ini.v1 sees the value: asked to find
// them it misses one after a tab or right after the =, and cuts "a ; b # c" at
// the #.
var readOptions = ini.LoadOptions{
	SpaceBeforeInlineComment:  true,
	IgnoreInlineComment:       true,
	UnescapeValueDoubleQuotes: true,
	IgnoreContinuation:        true,
	KeyValueDelimiters:        "=",
}

// decodeValues fills in the values of f. Each raw value is one line of a text
// whose keys are numbers, so that neither duplicate keys nor odd names nor a
// quote left open can move a value to another key.
func decodeValues(f *File) fault.Problems {
	var text strings.Builder
	var entries []*Entry
	for _, b := range f.Blocks {
		for _, e := range b.Entries {
			fmt.Fprintf(&text, "%d = %s\n", len(entries), f.raw(e))
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	doc, err := ini.LoadSources(readOptions, []byte(text.String()))
	if err != nil {
		return fault.Problems{{File: f.Path, What: "the file cannot be read: " + mask(err.Error()), Err: err}}
	}
	section := doc.Section(ini.DefaultSection)
	for i, e := range entries {
		key, err := section.GetKey(strconv.Itoa(i))
		if err != nil {
			return fault.Problems{fault.Problem{What: fmt.Sprintf("the value of %q cannot be read", e.Key)}.At(f.Path, e.Line, e.ValueCol)}
		}
		e.Value = key.Value()
	}
	return nil
}

func (f *File) raw(e *Entry) string { return f.lines[e.Line-1][e.from:e.to] }

// encode writes value in the notation that decodes to it, with quotes only
// where they are needed.
func encode(value string) (string, error) {
	if strings.ContainsFunc(value, isControl) {
		return "", fmt.Errorf("a value cannot hold line ends or control characters")
	}
	if bareIsSafe(value) {
		return value, nil
	}
	switch {
	case !strings.Contains(value, `\`):
		return `"` + strings.ReplaceAll(value, `"`, `\"`) + `"`, nil
	case !strings.Contains(value, "`"):
		return "`" + value + "`", nil
	case !strings.Contains(value, "'"):
		return "'" + value + "'", nil
	}
	return "", fmt.Errorf("a value that needs quotes cannot hold a backslash, ` and ' together")
}

func bareIsSafe(value string) bool {
	if value == "" {
		return true
	}
	if strings.TrimSpace(value) != value || strings.ContainsRune("\"`'#;", rune(value[0])) {
		return false
	}
	for i := 1; i < len(value); i++ {
		if isComment(value[i]) && isBlank(value[i-1]) {
			return false
		}
	}
	return true
}
