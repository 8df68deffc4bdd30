package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"media-server/core/web"
)

// Setting is a key of an ini section and its value, in ini notation.
type Setting struct {
	Key, Value string
	Unset      bool // the key is to go: its default holds then
}

// settingsBody reads a flat JSON object of settings, in its order. named: it
// holds the name of what they belong to. Values are strings in ini notation;
// numbers, booleans and lists of strings are taken as what they would be there,
// null takes a key away.
func settingsBody(ctx *fasthttp.RequestCtx, named bool) (name string, keys []Setting, _ *web.Error) {
	bad := func(what string) (string, []Setting, *web.Error) {
		return "", nil, web.E(400, "bad_body", "the body must be a JSON object of settings: "+what, `for example {"name": "disk2", "path": "/srv/media"}`)
	}
	d := json.NewDecoder(bytes.NewReader(ctx.PostBody()))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return bad("it is none")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return bad("a key is no text")
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return bad(err.Error())
		}
		if seen[key] {
			return bad(strconv.Quote(key) + " is there twice")
		}
		seen[key] = true
		s, err := iniValue(v)
		switch {
		case err != nil:
			return bad(strconv.Quote(key) + ": " + err.Error())
		case key == "name" && named:
			name = s.Value
		default:
			s.Key = key
			keys = append(keys, s)
		}
	}
	if _, err := d.Token(); err != nil {
		return bad(err.Error())
	}
	if named && name == "" {
		return bad("it has no name")
	}
	return name, keys, nil
}

func iniValue(v any) (Setting, error) {
	switch v := v.(type) {
	case nil:
		return Setting{Unset: true}, nil
	case string:
		return Setting{Value: v}, nil
	case bool:
		return Setting{Value: strconv.FormatBool(v)}, nil
	case json.Number:
		return Setting{Value: v.String()}, nil
	case []any:
		var out []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok || strings.Contains(s, ",") {
				return Setting{}, fmt.Errorf("a list holds texts without commas")
			}
			out = append(out, s)
		}
		return Setting{Value: strings.Join(out, ", ")}, nil
	}
	return Setting{}, fmt.Errorf("a text in ini notation is wanted")
}
