package access

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// PlayToken is a right to play one stream for a time; PLAYTOKEN.md is its format.
type PlayToken struct {
	ID      string
	UID     string
	User    string       // whom it was made for; may be empty
	Address netip.Prefix // who may use it; the zero Prefix = anyone
	FromMS  int64        // span that may be played, Unix ms; 0 = no bound
	ToMS    int64
	By      string // who made it; empty where it was made elsewhere

	CreatedMS, ExpiresMS int64
}

// MaxPlayTTL is the longest life of a play token.
const MaxPlayTTL = 366 * 24 * time.Hour

// mostPlayToken bounds what is looked at as a token, in bytes.
const mostPlayToken = 2048

// leeway is how far the clock of who makes tokens may be off.
const leeway = time.Minute

// Why a play token is not good.
var (
	ErrPlayToken = errors.New("the token is not one of this server's, or was changed")
	ErrExpired   = errors.New("the token has expired")
	ErrRevoked   = errors.New("the token was revoked")
)

// IsPlayToken tells whether a credential has the form of a play token rather than
// that of an API token or session.
func IsPlayToken(secret string) bool {
	return len(secret) <= mostPlayToken && playToken.MatchString(secret)
}

var playToken = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

type playClaims struct {
	jwt.RegisteredClaims
	UID  string `json:"uid"`
	IP   string `json:"ip,omitempty"`
	From int64  `json:"from,omitempty"`
	To   int64  `json:"to,omitempty"`
}

// sign makes the token's text.
func (t *PlayToken) sign(s secret) (string, error) {
	c := playClaims{UID: t.UID, From: t.FromMS, To: t.ToMS, RegisteredClaims: jwt.RegisteredClaims{
		ID: t.ID, Subject: t.User, IssuedAt: jwt.NewNumericDate(time.UnixMilli(t.CreatedMS)), ExpiresAt: jwt.NewNumericDate(time.UnixMilli(t.ExpiresMS))}}
	if t.Address.IsValid() {
		c.IP = t.Address.String()
	}
	j := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	j.Header["kid"] = s.id
	return j.SignedString(s.key)
}

// PlayToken reads a play token. The error is ErrPlayToken, ErrExpired or ErrRevoked.
func (a *Access) PlayToken(text string) (t PlayToken, err error) {
	if !IsPlayToken(text) {
		return t, ErrPlayToken
	}
	var c playClaims
	now := a.o.Now()
	p := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding())
	if _, err := p.ParseWithClaims(text, &c, a.secrets.find); err != nil {
		if errors.Is(err, jwt.ErrTokenExpired) {
			return t, ErrExpired
		}
		return t, ErrPlayToken
	}
	t = PlayToken{ID: c.ID, UID: c.UID, User: c.Subject, FromMS: c.From, ToMS: c.To, ExpiresMS: c.ExpiresAt.UnixMilli()}
	if c.IssuedAt != nil {
		t.CreatedMS = c.IssuedAt.UnixMilli()
	}
	if c.ID == "" { // of what is signed: a signature can be written in more than one way
		sum := sha256.Sum256([]byte(text[:strings.LastIndexByte(text, '.')]))
		t.ID = hex.EncodeToString(sum[:8])
	}
	if c.IP != "" {
		if t.Address, err = parseAddress(c.IP); err != nil {
			return t, ErrPlayToken
		}
	}
	switch {
	case c.UID == "" || c.ExpiresAt.After(now.Add(MaxPlayTTL+leeway)):
		return t, ErrPlayToken
	case now.UnixMilli() >= t.ExpiresMS: // the leeway is not for the expiry
		return t, ErrExpired
	case a.revoked(t.ID, now):
		return t, ErrRevoked
	}
	return t, nil
}

// parseAddress reads an address or a network.
func parseAddress(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network", s)
	}
	ip = ip.Unmap().WithZone("")
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}
