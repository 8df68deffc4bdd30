package access

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const given = "0123456789abcdef0123456789abcdef"

// mint makes a token as a portal would.
func mint(t testing.TB, key string, method jwt.SigningMethod, claims jwt.MapClaims) string {
	t.Helper()
	var k any = []byte(key)
	if method == jwt.SigningMethodNone {
		k = jwt.UnsafeAllowNoneSignatureType
	}
	s, err := jwt.NewWithClaims(method, claims).SignedString(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlayToken(t *testing.T) {
	ctx, dir, c := t.Context(), t.TempDir(), newClock()
	a := open(t, dir, c)
	text, made, err := a.CreatePlayToken(ctx, PlayToken{UID: "gate", User: "anna", Address: netip.MustParsePrefix("10.0.0.0/24"), FromMS: 5, ToMS: 9, By: "admin"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, "keys", secretFile))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatal(fi, err)
	}
	got, err := a.PlayToken(text)
	if err != nil || got.UID != "gate" || got.User != "anna" || got.Address != made.Address || got.FromMS != 5 || got.ToMS != 9 || got.ID != made.ID || got.ExpiresMS != made.ExpiresMS {
		t.Fatalf("%+v %v", got, err)
	}
	// The server begins anew, and the token is still good.
	a.Close()
	a = open(t, dir, c)
	if _, err := a.PlayToken(text); err != nil {
		t.Fatal(err)
	}
	// Other tokens of every kind, of before and behind a rotation.
	if err := RotateSecret(filepath.Join(dir, "keys"), false); err != nil {
		t.Fatal(err)
	}
	c.add(2 * time.Second)
	second, _, err := a.CreatePlayToken(ctx, PlayToken{UID: "gate"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if kid(second) == kid(text) {
		t.Error("the new secret does not sign")
	}
	for _, x := range []string{text, second} {
		if _, err := a.PlayToken(x); err != nil {
			t.Error(err)
		}
	}
	c.add(time.Minute)
	if _, err := a.PlayToken(second); !errors.Is(err, ErrExpired) {
		t.Errorf("a minute later: %v", err)
	}
	ts, err := a.PlayTokens(ctx, "", 10)
	if err != nil || len(ts) != 1 || ts[0].ID != made.ID || ts[0].Address != made.Address || ts[0].By != "admin" {
		t.Errorf("%+v %v", ts, err)
	}
	if err := a.RevokeToken(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.PlayToken(text); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked: %v", err)
	}
	a.Close()
	a = open(t, dir, c)
	if _, err := a.PlayToken(text); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked, and a new start: %v", err)
	}
	if err := a.RevokeToken(ctx, "0123456789abcdef"); err == nil {
		t.Error("an id that nobody made was revoked")
	}
	third, _, err := a.CreatePlayToken(ctx, PlayToken{UID: "gate"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := RotateSecret(filepath.Join(dir, "keys"), true); err != nil {
		t.Fatal(err)
	}
	c.add(2 * time.Second)
	if _, err := a.PlayToken(third); !errors.Is(err, ErrPlayToken) {
		t.Errorf("its secret was thrown away: %v", err)
	}
	for name, bad := range map[string]PlayToken{"no stream": {}, "reversed": {UID: "gate", FromMS: 9, ToMS: 5}, "long user": {UID: "gate", User: strings.Repeat("x", 200)}} {
		if _, _, err := a.CreatePlayToken(ctx, bad, time.Hour); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, ttl := range []time.Duration{0, -1, MaxPlayTTL + 1} {
		if _, _, err := a.CreatePlayToken(ctx, PlayToken{UID: "gate"}, ttl); err == nil {
			t.Errorf("ttl %v was taken", ttl)
		}
	}
}

func kid(text string) any {
	j, _, _ := jwt.NewParser().ParseUnverified(text, jwt.MapClaims{})
	return j.Header["kid"]
}

// TestForeignToken: a token that somebody else made with the secret of the settings.
func TestForeignToken(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	a.SetTokenSecrets([]string{"another secret of 32 characters!", given})
	now := c.now().Unix()
	ok := jwt.MapClaims{"uid": "gate", "exp": now + 60, "sub": "anna", "x": 1}
	with := func(k string, v any) jwt.MapClaims {
		m := jwt.MapClaims{}
		for k, v := range ok {
			m[k] = v
		}
		if m[k] = v; v == nil {
			delete(m, k)
		}
		return m
	}
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"good":              {mint(t, given, jwt.SigningMethodHS256, ok), nil},
		"address":           {mint(t, given, jwt.SigningMethodHS256, with("ip", "10.0.0.7")), nil},
		"another secret":    {mint(t, "x"+given, jwt.SigningMethodHS256, ok), ErrPlayToken},
		"another algorithm": {mint(t, given, jwt.SigningMethodHS512, ok), ErrPlayToken},
		"written otherwise": {mint(t, given, jwt.SigningMethodHS256, ok) + "\n", ErrPlayToken},
		"unsigned":          {mint(t, given, jwt.SigningMethodNone, ok), ErrPlayToken},
		"no stream":         {mint(t, given, jwt.SigningMethodHS256, with("uid", nil)), ErrPlayToken},
		"no expiry":         {mint(t, given, jwt.SigningMethodHS256, with("exp", nil)), ErrPlayToken},
		"for ever":          {mint(t, given, jwt.SigningMethodHS256, with("exp", now+1e9)), ErrPlayToken},
		"expired":           {mint(t, given, jwt.SigningMethodHS256, with("exp", now-1)), ErrExpired},
		"not yet":           {mint(t, given, jwt.SigningMethodHS256, with("nbf", now+3600)), ErrPlayToken},
		"a clock ahead":     {mint(t, given, jwt.SigningMethodHS256, with("nbf", now+30)), nil},
		"bad address":       {mint(t, given, jwt.SigningMethodHS256, with("ip", "nonsense")), ErrPlayToken},
		"text as times":     {mint(t, given, jwt.SigningMethodHS256, with("from", "x")), ErrPlayToken},
		"rubbish":           {"a.b.c", ErrPlayToken},
		"long":              {strings.Repeat("a", 3000) + ".b.c", ErrPlayToken},
		"none":              {"", ErrPlayToken},
	} {
		if got, err := a.PlayToken(tc.text); !errors.Is(err, tc.want) || err == nil && (got.UID != "gate" || got.ID == "" || got.User != "anna") {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	text := mint(t, given, jwt.SigningMethodHS256, ok)
	got, _ := a.PlayToken(text)
	if err := a.RevokeForeign(t.Context(), got.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.PlayToken(text); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked by its id: %v", err)
	}
	for _, same := range []string{text[:len(text)-1] + string(text[len(text)-1]+1), text + "\n", text[:len(text)-4] + "\r\n" + text[len(text)-4:], text + "="} {
		if _, err := a.PlayToken(same); err == nil {
			t.Errorf("revoked, and good again as %q", same)
		}
	}
	named := mint(t, given, jwt.SigningMethodHS256, with("jti", "portal-77"))
	if err := a.RevokeForeign(t.Context(), "portal-77"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.PlayToken(named); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked by its jti: %v", err)
	}
	if a.RevokeForeign(t.Context(), "no id\n") == nil {
		t.Error("rubbish was taken for an id")
	}
	if made, _, err := a.CreatePlayToken(t.Context(), PlayToken{UID: "gate"}, time.Hour); err != nil || kid(made) != secretOf("another secret of 32 characters!").id {
		t.Errorf("the first secret does not sign: %v %v", made, err)
	}
}

// TestDocumentedToken: the token in PLAYTOKEN.md is what it says.
func TestDocumentedToken(t *testing.T) {
	b, err := os.ReadFile("PLAYTOKEN.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\nis\n\n```\n")
	text, _, ok2 := strings.Cut(rest, "\n```")
	if !ok || !ok2 {
		t.Fatal("no example")
	}
	a := open(t, t.TempDir(), newClock())
	a.o.Now = func() time.Time { return time.Unix(1893456000-60, 0) }
	a.SetTokenSecrets([]string{given})
	got, err := a.PlayToken(strings.TrimSpace(text))
	if err != nil || got.UID != "gate" || got.User != "anna" || got.Address.String() != "10.0.0.0/24" || got.ExpiresMS != 1893456000000 {
		t.Errorf("%+v %v", got, err)
	}
}

func FuzzPlayToken(f *testing.F) {
	c := newClock()
	a, err := Open(f.Context(), Options{DataDir: f.TempDir(), Config: DefaultConfig(), Now: c.now})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { a.Close() })
	a.SetTokenSecrets([]string{given})
	good := mint(f, given, jwt.SigningMethodHS256, jwt.MapClaims{"uid": "gate", "exp": c.now().Unix() + 60})
	for _, s := range []string{good, "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30.", good[:len(good)-1] + "A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := a.PlayToken(text); err == nil && got.UID != "gate" {
			t.Errorf("%q: %+v", text, got)
		}
	})
}

// TestDecideByToken: what a play token opens.
func TestDecideByToken(t *testing.T) {
	in := netip.MustParseAddr("10.0.0.7")
	tok := func(p PlayToken) *PlayToken { p.UID = "gate"; return &p }
	lan := netip.MustParsePrefix("10.0.0.0/8")
	for name, tc := range map[string]struct {
		r    Request
		code string
	}{
		"live":                       {Request{Play: tok(PlayToken{}), Live: true, NowMS: 50}, ""},
		"its address":                {Request{Play: tok(PlayToken{Address: lan}), Address: in}, ""},
		"another address":            {Request{Play: tok(PlayToken{Address: lan}), Address: netip.MustParseAddr("192.0.2.1")}, "other_address"},
		"an address nobody knows":    {Request{Play: tok(PlayToken{Address: lan})}, "other_address"},
		"another stream":             {Request{Play: &PlayToken{UID: "yard"}}, "other_stream"},
		"live within":                {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), Live: true, NowMS: 50}, ""},
		"live behind":                {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), Live: true, NowMS: 101}, "other_time"},
		"live before":                {Request{Play: tok(PlayToken{FromMS: 10}), Live: true, NowMS: 9}, "other_time"},
		"a span within":              {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), FromMS: 10, ToMS: 100}, ""},
		"a span that begins earlier": {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), FromMS: 9, ToMS: 100}, "other_time"},
		"a span that ends later":     {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), FromMS: 10, ToMS: 101}, "other_time"},
		"nothing said yet":           {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), Unknown: true}, ""},
		"from the beginning of time": {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100})}, "other_time"},
		"not said, and live":         {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), Unknown: true, Live: true, NowMS: 101}, "other_time"},
		"a span without an end":      {Request{Play: tok(PlayToken{FromMS: 10, ToMS: 100}), FromMS: 10}, "other_time"},
		"a Digest account":           {Request{Certified: true}, ""},
		"public, and must be":        {Request{Rule: Public, MustBeCertified: true}, "no_token"},
	} {
		if tc.r.UID = "gate"; tc.r.Rule == "" {
			tc.r.Rule = Private
		}
		if d := Decide(tc.r); d.Code != tc.code || d.Allow != (tc.code == "") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
