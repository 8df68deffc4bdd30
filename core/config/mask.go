package config

import "strings"

// Hidden stands where a secret was.
const Hidden = "***"

// secretWords mark URL parameters whose value is hidden.
var secretWords = []string{"pass", "pwd", "token", "secret", "key", "auth", "sig"}

// Mask hides the passwords of all URLs in a text, so that it may be logged or
// shown: rtsp://user:***@host/path?token=***.
func Mask(text string) string { return mask(text) }

func mask(text string) string {
	var out strings.Builder
	for {
		i := strings.Index(text, "://")
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:i+3])
		rest := text[i+3:]
		end := strings.IndexAny(rest, " \t\r\n\"<>`")
		if end < 0 {
			end = len(rest)
		}
		out.WriteString(maskURL(rest[:end]))
		text = rest[end:]
	}
}

// maskURL hides secrets in what follows "://".
func maskURL(s string) string {
	if at := userinfoEnd(s); at >= 0 {
		if colon := strings.IndexByte(s[:at], ':'); colon >= 0 {
			s = s[:colon+1] + Hidden + s[at:]
		}
	}
	path, query, ok := strings.Cut(s, "?")
	if !ok {
		return s
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		if ok && value != "" && isSecretName(name) {
			parts[i] = name + "=" + Hidden
		}
	}
	return path + "?" + strings.Join(parts, "&")
}

// userinfoEnd finds the @ that ends user:password, or -1. People paste passwords
// with / ? # @ in them unescaped, so an @ behind the first / still counts when
// what follows the first colon is no port.
func userinfoEnd(s string) int {
	authority := s
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		authority = s[:i]
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if strings.Contains(authority[:at], ":") {
			// Rather hide part of a path than show part of a password.
			return strings.LastIndexByte(s, '@')
		}
		return at
	}
	_, port, ok := strings.Cut(authority, ":")
	if !ok || strings.Trim(port, "0123456789") == "" && port != "" {
		return -1
	}
	return strings.LastIndexByte(s, '@')
}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	for _, w := range secretWords {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

// Name is how a section or key of a file is shown in a problem. A line that is
// only a URL reads as a key up to its first =, password included; so nothing
// behind a :// is told, nor more than what a name can need.
func Name(name string) string {
	if i := strings.Index(name, "://"); i >= 0 {
		name = name[:i+3] + Hidden
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		name = Hidden + name[i:]
	}
	if runes := []rune(name); len(runes) > 64 {
		name = string(runes[:64]) + "…"
	}
	return name
}

// isSecretKey tells whether a key nobody described here (a driver's own) holds a
// secret. Narrower than for URLs: key-frame-interval is worth seeing.
func isSecretKey(name string) bool {
	name = strings.ToLower(name)
	for _, w := range secretWords {
		if w != "key" && w != "auth" && w != "sig" && strings.Contains(name, w) {
			return true
		}
	}
	return strings.HasSuffix(name, "key")
}

// KeepSecret returns what to store when a client writes back value where old was
// shown masked: writing *** keeps the old secret.
func KeepSecret(value, old string) string {
	if value == Hidden || value != old && value == mask(old) {
		return old
	}
	return value
}
