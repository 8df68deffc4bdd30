package access

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// nonceTTL is how long a nonce is good; a client is then asked anew and not its user
// (stale).
const nonceTTL = 5 * time.Minute

// ErrDigest says that the answer to a challenge is wrong; in what is not said.
var ErrDigest = errors.New("wrong name or password")

// digests issues challenges and checks the answers. A nonce names its time and is
// authenticated, so that none has to be remembered.
type digests struct {
	secret [32]byte // of nonces; of this process
	lock   lockout  // apart from that of logins: a recorder with an old password shuts nobody out of cpanel

	mu sync.Mutex // one check at a time: each counts before it is known how it ends
}

func newDigests(window time.Duration) *digests {
	d := &digests{lock: lockout{window: window}}
	_, _ = rand.Read(d.secret[:]) // never fails
	return d
}

func (d *digests) mac(ms []byte, from netip.Addr) []byte {
	m := hmac.New(sha256.New, d.secret[:])
	m.Write(ms)
	m.Write([]byte(from.String()))
	return m.Sum(nil)[:16]
}

func (d *digests) nonce(now time.Time, from netip.Addr) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	return base64.RawURLEncoding.EncodeToString(append(b, d.mac(b, from)...))
}

func (d *digests) fresh(nonce string, now time.Time, from netip.Addr) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 24 || !hmac.Equal(b[8:], d.mac(b[:8], from)) {
		return false
	}
	age := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(b))))
	return age >= -time.Minute && age < nonceTTL
}

// Challenges are the values of WWW-Authenticate for somebody at an address, SHA-256
// first (RFC 7616, 3.7); clients that know MD5 alone take the last. stale says that
// the name and password were right and the nonce too old.
func (a *Access) Challenges(from netip.Addr, stale bool) (out []string) {
	nonce := a.digest.nonce(a.o.Now(), from)
	for _, algorithm := range []string{"SHA-256", "MD5"} {
		v := fmt.Sprintf(`Digest realm="%s", qop="auth", algorithm=%s, nonce="%s"`, Realm, algorithm, nonce)
		if stale {
			v += ", stale=true"
		}
		out = append(out, v)
	}
	return out
}

// CheckDigest checks an Authorization header of a request with that method. same
// tells whether the URI in it is that of the request. who is the account as it was
// when its password was proved. stale = it is right, but the nonce is old or another
// server's: ask again. The error is ErrDigest, *Locked, or wraps ErrKeys.
func (a *Access) CheckDigest(method, header string, same func(uri string) bool, from netip.Addr) (who Player, stale bool, err error) {
	now := a.o.Now()
	a.digest.mu.Lock()
	defer a.digest.mu.Unlock()
	if until, ok := a.digest.lock.try(from.String(), now); !ok {
		return Player{}, false, &Locked{until}
	}
	p, err := parseDigest(header)
	if err != nil {
		return Player{}, false, ErrDigest
	}
	h, since, err := a.openPlayer(p.user)
	if err != nil {
		a.digest.lock.undo(from.String()) // it is no fault of whoever asks
		return Player{}, false, err
	}
	want, good := p.answer(&h, method)
	if !good || subtle.ConstantTimeCompare([]byte(want), []byte(p.response)) != 1 || since == 0 || !same(p.uri) {
		a.o.Log.Warn("digest login failed", "user", Loggable(p.user), "address", from)
		a.Audit(Loggable(p.user), from.String(), "digest login failed")
		return Player{}, false, ErrDigest
	}
	a.digest.lock.forgive(from.String())
	if !a.digest.fresh(p.nonce, now, from) {
		return Player{}, true, nil
	}
	return Player{p.user, since}, false, nil
}

// digestAnswer is an Authorization header (RFC 7616, 3.4).
type digestAnswer struct {
	user, realm, nonce, uri, response, algorithm, qop, cnonce, nc string
}

// maxDigest bounds a header: URLs with tokens are the longest part of it.
const maxDigest = 8 << 10

var errDigestForm = errors.New("not a valid Digest answer")

func parseDigest(header string) (p digestAnswer, err error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	if !strings.EqualFold(scheme, "digest") || len(header) > maxDigest {
		return p, errDigestForm
	}
	fields := map[string]*string{"username": &p.user, "realm": &p.realm, "nonce": &p.nonce, "uri": &p.uri, "response": &p.response,
		"algorithm": &p.algorithm, "qop": &p.qop, "cnonce": &p.cnonce, "nc": &p.nc}
	seen := map[string]bool{}
	for rest = strings.TrimLeft(rest, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		name, value, left, ok := cutParameter(rest)
		name = strings.ToLower(name)
		if !ok || seen[name] {
			return p, errDigestForm
		}
		seen[name], rest = true, left
		if f := fields[name]; f != nil {
			*f = value
		}
	}
	if p.user == "" || p.nonce == "" || p.uri == "" || p.response == "" || p.realm != Realm {
		return p, errDigestForm
	}
	p.response = strings.ToLower(p.response)
	return p, nil
}

// cutParameter reads name=value or name="value".
func cutParameter(s string) (name, value, rest string, ok bool) {
	name, s, ok = strings.Cut(s, "=")
	name, s = strings.TrimSpace(name), strings.TrimLeft(s, " \t")
	if !ok || name == "" || strings.ContainsAny(name, "\", \t") {
		return "", "", "", false
	}
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s, ',')
		if end < 0 {
			end = len(s)
		}
		return name, strings.TrimSpace(s[:end]), s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return name, b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", "", false
}

// answer is what the response has to be; false: in a way that was not offered.
// Without qop it is that of RFC 2069, which older clients still send.
func (p *digestAnswer) answer(h *ha1, method string) (string, bool) {
	var sum func() hash.Hash
	var first string
	switch strings.ToUpper(p.algorithm) {
	case "SHA-256":
		sum, first = sha256.New, hex.EncodeToString(h.sha[:])
	case "", "MD5":
		sum, first = md5.New, hex.EncodeToString(h.md[:])
	default:
		return "", false
	}
	text := func(s string) string {
		x := sum()
		x.Write([]byte(s))
		return hex.EncodeToString(x.Sum(nil))
	}
	second := text(method + ":" + p.uri)
	switch p.qop {
	case "":
		return text(first + ":" + p.nonce + ":" + second), true
	case "auth":
		return text(first + ":" + p.nonce + ":" + p.nc + ":" + p.cnonce + ":" + p.qop + ":" + second), p.cnonce != "" && p.nc != ""
	}
	return "", false
}
