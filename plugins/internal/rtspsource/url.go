package rtspsource

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// address is a source's URL taken apart.
type address struct {
	tls        bool
	host       string // host:port, what is dialled and the only part ever shown
	user, pass string
	hasUser    bool
	request    *base.URL // without credentials
}

// parseAddress takes URLs as operators write them: what lies before the last
// "@" of the authority is user and password, and may hold any character but
// "/" unescaped ("rtsp://user:p#ss@10.0.0.7/main"). Errors never show it.
func parseAddress(raw string) (a address, err error) {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(raw), "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "rtsp" && scheme != "rtsps" {
		return a, fmt.Errorf("the URL must begin with rtsp:// or rtsps://")
	}
	a.tls = scheme == "rtsps"
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, pass, _ := strings.Cut(authority[:i], ":")
		a.user, a.pass, a.hasUser = unescape(user), unescape(pass), true
		authority = authority[i+1:]
	}
	query := ""
	if i := strings.IndexByte(authority, '?'); i >= 0 { // no path at all
		authority, query = authority[:i], authority[i:]
	}
	port := "554"
	if a.tls {
		port = "322"
	}
	host := authority
	if h, p, err := net.SplitHostPort(authority); err == nil {
		if host = h; p != "" {
			port = p
		}
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if host == "" {
		return a, fmt.Errorf("the URL names no host")
	}
	if strings.ContainsAny(host, " \t\r\n\"<>@#") || strings.ContainsAny(port, " \t\r\n#@") {
		return a, fmt.Errorf("the URL's host cannot be read; write / in a password as %%2F")
	}
	a.host = net.JoinHostPort(host, port)
	u, err := url.Parse(scheme + "://" + bracket(authority) + "/" + escapeRest(path) + query)
	if err != nil {
		return a, fmt.Errorf("the URL cannot be read; write special characters as %%XX")
	}
	if path == "" && query == "" && !strings.HasSuffix(rest, "/") {
		u.Path = ""
	}
	u.Fragment = ""
	a.request = (*base.URL)(u)
	return a, nil
}

// bracket puts an IPv6 address that stands bare into brackets.
func bracket(authority string) string {
	if strings.Count(authority, ":") > 1 && !strings.HasPrefix(authority, "[") {
		return "[" + authority + "]"
	}
	return authority
}

// escapeRest keeps what net/url would take for a fragment, or refuse.
func escapeRest(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '#' || c <= ' ' || c >= 0x7f || c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])):
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// unescape undoes %XX where it is one and keeps everything else.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			v, _ := url.PathUnescape(s[i : i+3])
			b.WriteString(v)
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Check tells whether a URL can be used with a transport, without connecting.
// The error never shows the URL.
func Check(raw, transport string) error {
	a, err := parseAddress(raw)
	if err == nil && a.tls && transport == UDP {
		err = fmt.Errorf("rtsps carries its media over TCP only; transport cannot be udp")
	}
	return err
}

// Account is the one in a URL that Check has nothing to say of; nil = it has none.
func Account(raw string) *url.Userinfo {
	a, err := parseAddress(raw)
	if err != nil || !a.hasUser {
		return nil
	}
	return url.UserPassword(a.user, a.pass)
}
