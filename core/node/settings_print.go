package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"media-server/core/config"
	"media-server/core/fault"
)

// Exit codes of `check`. 78 is EX_CONFIG of sysexits.h, which systemd knows too.
const (
	ExitOK     = 0
	ExitConfig = 78
)

// PrintCheck writes what `check` found, for people or as JSON, and returns the
// exit code: warnings alone are no failure.
func PrintCheck(w io.Writer, s *Settings, ps fault.Problems, asJSON bool) (int, error) {
	exit := ExitOK
	if ps.HasErrors() {
		exit = ExitConfig
	}
	if asJSON {
		if ps == nil {
			ps = fault.Problems{}
		}
		return exit, writeJSON(w, struct {
			OK       bool           `json:"ok"`
			Streams  []string       `json:"streams"`
			Problems fault.Problems `json:"problems"`
		}{exit == ExitOK, append([]string{}, s.UIDs()...), ps})
	}
	var out strings.Builder
	for _, p := range ps {
		out.WriteString(p.Error() + "\n")
	}
	errors := len(ps.Errors())
	warnings := len(ps) - errors
	switch {
	case errors > 0:
		fmt.Fprintf(&out, "%s, %s\n", count(errors, "error"), count(warnings, "warning"))
	case warnings > 0:
		fmt.Fprintf(&out, "settings are good: %s, %s\n", count(len(s.Streams), "stream"), count(warnings, "warning"))
	default:
		fmt.Fprintf(&out, "settings are good: %s\n", count(len(s.Streams), "stream"))
	}
	_, err := io.WriteString(w, out.String())
	return exit, err
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Show returns what `config show` lists: the server's keys, or with a uid those
// of a stream; with effective also the keys that have their defaults.
func (s *Settings) Show(uid string, effective bool) (config.Effective, error) {
	keys := s.Keys
	if uid != "" {
		st := s.Streams[uid]
		if st == nil {
			hint := ""
			if n := config.Nearest(uid, s.UIDs()); n != "" {
				hint = fmt.Sprintf("did you mean %q?", n)
			}
			if ps := s.Refused[uid]; len(ps) > 0 {
				hint = "its file is refused: " + ps[0].Error()
			}
			return nil, fault.New("", fmt.Sprintf("there is no stream %q", uid), hint)
		}
		keys = st.Keys
	}
	if effective {
		return keys, nil
	}
	var set config.Effective
	for _, it := range keys {
		if !it.Default {
			set = append(set, it)
		}
	}
	return set, nil
}

// PrintKeys writes keys with the place each comes from, as ini text that could
// be read again, or as JSON.
func PrintKeys(w io.Writer, keys config.Effective, asJSON bool) error {
	if asJSON {
		if keys == nil {
			keys = config.Effective{}
		}
		return writeJSON(w, keys)
	}
	// Keys of a section that two rooms share stand together.
	keys = slices.Clone(keys)
	order := map[string]int{}
	for _, it := range keys {
		if _, ok := order[it.Section]; !ok {
			order[it.Section] = len(order)
		}
	}
	slices.SortStableFunc(keys, func(a, b config.Item) int { return cmp.Compare(order[a.Section], order[b.Section]) })
	width := 0
	for _, it := range keys {
		width = max(width, min(len(it.Key)+3+len(it.Value), 60))
	}
	var out strings.Builder
	section := ""
	for _, it := range keys {
		if it.Section != section {
			if section != "" {
				out.WriteString("\n")
			}
			section = it.Section
			fmt.Fprintf(&out, "[%s]\n", section)
		}
		fmt.Fprintf(&out, "%-*s  ; %s\n", width, it.Key+" = "+it.Value, it.Origin)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
