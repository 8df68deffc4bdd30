package sdk

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"media-server/plugins/sdk/pb"
)

var (
	durationForm = regexp.MustCompile(`^(0|[0-9]+(ms|s|m|h|d|w))$`)
	sizeForm     = regexp.MustCompile(`^[0-9]+[KMGT]?$`)
	booleans     = []string{"true", "false", "yes", "no", "on", "off"}
)

// checkKeys holds settings against their declaration. An empty value counts as
// not given. Values are never quoted: one might be a secret.
func checkKeys(keys []Key, settings map[string]string) []*pb.Problem {
	var out []*pb.Problem
	add := func(key, what, hint string) { out = append(out, &pb.Problem{Key: key, What: what, Hint: hint}) }
	known := map[string]bool{}
	var names []string
	for _, k := range keys {
		known[k.Name] = true
		names = append(names, k.Name)
		v := settings[k.Name]
		if v == "" {
			if k.Required {
				add(k.Name, "is missing", k.Help)
			}
			continue
		}
		switch {
		case k.Type == Bool && !slices.Contains(booleans, strings.ToLower(v)):
			add(k.Name, "is neither true nor false", "write true or false")
		case k.Type == Int && !isInt(v):
			add(k.Name, "is not a whole number", "write digits only")
		case k.Type == Duration && !durationForm.MatchString(v):
			add(k.Name, "is not a duration", "write 500ms, 10s, 2m, 12h, 10d or 4w")
		case k.Type == Size && !sizeForm.MatchString(v):
			add(k.Name, "is not a size", "write 512M or 10G")
		case k.Type == Enum && !slices.Contains(k.Allowed, v):
			add(k.Name, "has no such value", "one of "+strings.Join(k.Allowed, ", "))
		}
	}
	for _, name := range sorted(settings) {
		if !known[name] {
			hint := "this plugin has no keys"
			if len(names) > 0 {
				hint = "known: " + strings.Join(names, ", ")
			}
			add(name, "unknown key", hint)
		}
	}
	return out
}

func isInt(v string) bool {
	_, err := strconv.ParseInt(v, 10, 64)
	return err == nil
}

func sorted(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
