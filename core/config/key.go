package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"media-server/core/fault"
)

// Key is one key of a section: its manual and how its value is read. The methods
// that return the key refine it and are called while binding.
type Key struct {
	Name    string
	Doc     string // meaning, unit, cost of changing
	Type    string // for people: "duration", "size or %", "list of words", …
	Default string // ini notation, taken from the bound field
	Allowed []string
	Bounds  string // for people: "1s to 1h"
	Effect  Effect
	Secret  bool

	third  *bool             // of true or false: whether a third word stands there
	notYet []string          // words refused by name
	means  map[string]string // words that mean others
	used   func(words []string)
	lookup bool // Default must be parsed too: it depends on Env (paths)
	parse  func(env *Env, text string) *bad
	checks []func(text string) *bad
}

// bad is what is wrong with a value, and what is allowed.
type bad struct{ what, hint string }

// Restart marks a key whose change waits for a restart of the server.
func (k *Key) Restart() *Key { k.Effect = RestartServer; return k }

// RestartStream marks a key whose change begins the capture anew.
func (k *Key) RestartStream() *Key { k.Effect = RestartStream; return k }

// NotYet names words the interface knows and this version does not.
func (k *Key) NotYet(words ...string) *Key { k.notYet = append(k.notYet, words...); return k }

// Alias makes Words read a word as an allowed one; it is named to nobody. used is told
// each time that the key is read which such words stand there.
func (k *Key) Alias(word, means string, used func(words []string)) *Key {
	k.means, k.used = map[string]string{word: means}, used
	return k
}

// Check adds a test of the value's text, after its type has been read. An empty
// what means well.
func (k *Key) Check(f func(text string) (what, hint string)) *Key {
	k.checks = append(k.checks, func(text string) *bad {
		if what, hint := f(text); what != "" {
			return &bad{what, hint}
		}
		return nil
	})
	return k
}

// Needed refuses an empty value.
func (k *Key) Needed() *Key {
	return k.Check(func(text string) (string, string) {
		if strings.TrimSpace(text) == "" {
			return "it must not be empty", ""
		}
		return "", ""
	})
}

// Bool binds true/false, yes/no, on/off.
func (s *Section) Bool(name string, p *bool, doc string) *Key {
	k := &Key{Name: name, Doc: doc, Type: "true or false", Default: strconv.FormatBool(*p), Allowed: []string{"true", "false"}}
	k.parse = func(_ *Env, text string) *bad {
		v, ok := ParseBool(text)
		if k.third != nil {
			*k.third = text == k.Allowed[2]
			v, ok = v || *k.third, ok || *k.third
		}
		if !ok {
			b := &bad{"", "allowed: " + strings.Join(k.Allowed, ", ") + " (also yes, no, on, off)"}
			if slices.Contains(k.notYet, text) {
				b.what = NotYet
			}
			return b
		}
		*p = v
		return nil
	}
	return s.add(k)
}

// Or adds a word to true and false: it means true as well, and p tells that it stands
// there.
func (k *Key) Or(word string, p *bool) *Key {
	k.Allowed, k.third = append(k.Allowed, word), p
	k.Type = "true, false or " + word
	return k
}

// Int binds a whole number within [low, high].
func (s *Section) Int(name string, p *int, low, high int, doc string) *Key {
	bounds := fmt.Sprintf("%d to %d", low, high)
	if high == math.MaxInt {
		bounds = fmt.Sprintf("%d or more", low)
	}
	return s.add(&Key{Name: name, Doc: doc, Type: "number", Default: strconv.Itoa(*p), Bounds: bounds,
		parse: func(_ *Env, text string) *bad {
			n, err := strconv.Atoi(text)
			if err != nil {
				return &bad{"not a whole number", "allowed: " + bounds}
			}
			if n < low || n > high {
				return &bad{"out of bounds", "allowed: " + bounds}
			}
			*p = n
			return nil
		}})
}

// Duration binds a duration within [low, high]; high 0 = no upper bound. Zero
// and words (see Word) are allowed beside the bounds only if low is 0.
func (s *Section) Duration(name string, p *time.Duration, low, high time.Duration, doc string) *Key {
	bounds := ""
	switch {
	case high > 0:
		bounds = FormatDuration(low) + " to " + FormatDuration(high)
	case low > 0:
		bounds = FormatDuration(low) + " or more"
	}
	return s.add(&Key{Name: name, Doc: doc, Type: "duration", Default: FormatDuration(*p), Bounds: bounds,
		parse: func(_ *Env, text string) *bad {
			d, err := ParseDuration(text)
			if err != nil {
				return &bad{err.Error(), durationHint}
			}
			if d < low || high > 0 && d > high {
				return &bad{"out of bounds", "allowed: " + bounds}
			}
			*p = d
			return nil
		}})
}

// Word lets a word stand for a value, which set stores ("off").
func (k *Key) Word(word string, set func()) *Key {
	inner := k.parse
	k.Allowed = append(k.Allowed, word)
	k.parse = func(env *Env, text string) *bad {
		if strings.EqualFold(text, word) {
			set()
			return nil
		}
		b := inner(env, text)
		if b != nil {
			b.hint = strings.TrimPrefix(b.hint+", or "+word, ", or ")
		}
		return b
	}
	return k
}

// Bytes binds an amount of bytes, without shares.
func (s *Section) Bytes(name string, p *int64, low int64, doc string) *Key {
	return s.add(&Key{Name: name, Doc: doc, Type: "size", Default: FormatBytes(*p),
		parse: func(_ *Env, text string) *bad {
			v, err := ParseSize(text)
			switch {
			case err != nil:
				return &bad{err.Error(), sizeHint}
			case v.Percent != 0:
				return &bad{"a share is not allowed here", sizeHint}
			case v.Bytes < low:
				return &bad{"too small", "allowed: " + FormatBytes(low) + " or more"}
			}
			*p = v.Bytes
			return nil
		}})
}

// Size binds an amount of bytes or a share.
func (s *Section) Size(name string, p *Size, doc string) *Key {
	return s.add(&Key{Name: name, Doc: doc, Type: "size or %", Default: p.String(),
		parse: func(_ *Env, text string) *bad {
			v, err := ParseSize(text)
			if err != nil {
				return &bad{err.Error(), sizeHint + ", or a share such as 10%"}
			}
			*p = v
			return nil
		}})
}

// String binds free text.
func (s *Section) String(name string, p *string, doc string) *Key {
	return s.add(&Key{Name: name, Doc: doc, Type: "text", Default: *p,
		parse: func(_ *Env, text string) *bad { *p = text; return nil }})
}

// SecretText binds text that is never shown.
func (s *Section) SecretText(name string, p *string, doc string) *Key {
	k := s.String(name, p, doc)
	k.Type, k.Secret = "secret", true
	return k
}

// SecretList binds a list of texts that are never shown.
func (s *Section) SecretList(name string, p *[]string, doc string) *Key {
	k := s.List(name, p, doc)
	k.Type, k.Secret = "list of secrets", true
	return k
}

// Enum binds one of the allowed words.
func (s *Section) Enum(name string, p *string, allowed []string, doc string) *Key {
	k := &Key{Name: name, Doc: doc, Type: "word", Default: *p, Allowed: allowed}
	k.parse = func(_ *Env, text string) *bad {
		w, b := k.word(text)
		if b == nil {
			*p = w
		}
		return b
	}
	return s.add(k)
}

// Words binds a list of allowed words; each may stand once.
func (s *Section) Words(name string, p *[]string, allowed []string, doc string) *Key {
	k := &Key{Name: name, Doc: doc, Type: "list of words", Default: strings.Join(*p, ", "), Allowed: allowed}
	k.parse = func(_ *Env, text string) *bad {
		var list, aliases, own []string
		for _, item := range ParseList(text) {
			w, alias := k.means[strings.ToLower(item)]
			if alias {
				aliases = append(aliases, strings.ToLower(item))
			} else {
				var b *bad
				if w, b = k.word(item); b != nil {
					return &bad{fmt.Sprintf("%q: %s", item, cmpOr(b.what, "unknown word")), b.hint}
				}
				if slices.Contains(own, w) {
					return &bad{fmt.Sprintf("%q is there twice", w), ""}
				}
				own = append(own, w)
			}
			if !slices.Contains(list, w) {
				list = append(list, w)
			}
		}
		if k.used != nil {
			k.used(aliases)
		}
		*p = list
		return nil
	}
	return s.add(k)
}

func (k *Key) word(text string) (string, *bad) {
	for _, w := range k.Allowed {
		if strings.EqualFold(w, text) {
			return w, nil
		}
	}
	for _, w := range k.notYet {
		if strings.EqualFold(w, text) {
			return "", &bad{NotYet, "allowed: " + strings.Join(k.Allowed, ", ")}
		}
	}
	hint := "allowed: " + strings.Join(k.Allowed, ", ")
	if n := Nearest(text, k.Allowed); n != "" {
		hint = fmt.Sprintf("did you mean %q? %s", n, hint)
	}
	return "", &bad{"", hint}
}

// List binds a list of free items.
func (s *Section) List(name string, p *[]string, doc string) *Key {
	return s.add(&Key{Name: name, Doc: doc, Type: "list", Default: strings.Join(*p, ", "),
		parse: func(_ *Env, text string) *bad { *p = ParseList(text); return nil }})
}

// Path binds a path, made absolute: relative ones start from the folder of the
// main settings file, so that no verb depends on where it is called.
func (s *Section) Path(name string, p *string, doc string) *Key {
	return s.add(&Key{Name: name, Doc: doc, Type: "path", Default: *p, lookup: true,
		parse: func(env *Env, text string) *bad { *p = env.path(text); return nil }})
}

// Paths binds a list of paths, made absolute.
func (s *Section) Paths(name string, p *[]string, doc string) *Key {
	return s.add(&Key{Name: name, Doc: doc, Type: "list of paths", Default: strings.Join(*p, ", "), lookup: true,
		parse: func(env *Env, text string) *bad {
			list := ParseList(text)
			for i := range list {
				list[i] = env.path(list[i])
			}
			*p = list
			return nil
		}})
}

// Listen binds an address to listen on: host:port, :port, [v6]:port, or interface:port
// (core/ports finds it when it is listened on: it may come later than the settings).
func (s *Section) Listen(name string, p *string, doc string) *Key {
	return s.add(&Key{Name: name, Doc: doc, Type: "address", Default: *p,
		parse: func(_ *Env, text string) *bad {
			const hint = "write host:port, [IPv6 address]:port, eth0:port for a network interface, or :port for all"
			host, port, err := net.SplitHostPort(text)
			if err != nil {
				return &bad{"not an address to listen on", hint}
			}
			if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
				return &bad{"the port is not a number from 0 to 65535", hint}
			}
			if strings.ContainsAny(host, " \t/") {
				return &bad{"the host holds what no host does", hint}
			}
			*p = text
			return nil
		}})
}

// Networks binds a list of addresses and networks (CIDR).
func (s *Section) Networks(name string, p *[]netip.Prefix, doc string) *Key {
	texts := make([]string, len(*p))
	for i, n := range *p {
		texts[i] = n.String()
	}
	return s.add(&Key{Name: name, Doc: doc, Type: "list of networks", Default: strings.Join(texts, ", "),
		parse: func(_ *Env, text string) *bad {
			var list []netip.Prefix
			for _, item := range ParseList(text) {
				n, err := parseNetwork(item)
				if err != nil {
					return &bad{fmt.Sprintf("%q is not a network", item), "write for example 10.0.0.7, 192.168.0.0/16 or 2001:db8::/32"}
				}
				list = append(list, n)
			}
			*p = list
			return nil
		}})
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	return n.Masked(), err
}

// problem renders what is wrong with the value of key.
func (k *Key) problem(b *bad, shown string) fault.Problem {
	what := fmt.Sprintf("bad value %q for %s", shown, k.Name)
	if b.what != "" {
		what += ": " + b.what
	}
	return fault.Problem{What: what, Hint: b.hint, Key: k.Name}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
