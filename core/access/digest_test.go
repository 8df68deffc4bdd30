package access

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// box seals by turning bytes over: what is tested is who may open what.
type box struct{ broken bool }

func (b *box) Seal(_ context.Context, plain, about []byte) (key [16]byte, sealed []byte, err error) {
	return [16]byte{1}, append(turned(plain), about...), nil
}

func (b *box) Open(key [16]byte, sealed, about []byte) ([]byte, error) {
	if b.broken || key != [16]byte{1} || !bytes.HasSuffix(sealed, about) {
		return nil, errors.New("it does not open")
	}
	return turned(sealed[:len(sealed)-len(about)]), nil
}

func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

// answer is what a client makes of a challenge (RFC 7616, 3.4.1).
func answer(challenge, user, password, method, uri, qop string) string {
	field := func(name string) string {
		m := regexp.MustCompile(name + `="?([^",]+)`).FindStringSubmatch(challenge)
		if m == nil {
			return ""
		}
		return m[1]
	}
	sum := md5.New
	if field("algorithm") == "SHA-256" {
		sum = sha256.New
	}
	h := func(s string) string {
		x := sum()
		x.Write([]byte(s))
		return hex.EncodeToString(x.Sum(nil))
	}
	one, two := h(user+":"+field("realm")+":"+password), h(method+":"+uri)
	out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=%s`, user, field("realm"), field("nonce"), uri, field("algorithm"))
	if qop == "" {
		return out + fmt.Sprintf(`, response="%s"`, h(one+":"+field("nonce")+":"+two))
	}
	return out + fmt.Sprintf(`, qop=%s, nc=00000001, cnonce="0a4f113b", response="%s"`, qop, h(one+":"+field("nonce")+":00000001:0a4f113b:"+qop+":"+two))
}

func TestDigest(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ctx := t.Context()
	open := func() (*Access, *box) {
		a, err := Open(ctx, Options{DataDir: dir, Config: DefaultConfig(), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		b := &box{}
		a.UseSealer(b)
		return a, b
	}
	a, _ := open()
	const password, uri = "long enough 1", "rtsp://h/live/gate"
	if err := a.SetPlayer(ctx, "anna", password); err != nil {
		t.Fatal(err)
	}
	for name, pw := range map[string]string{"bad name!": password, "bert": "short", "ANNA": password} {
		if err := a.SetPlayer(ctx, name, pw); err == nil {
			t.Errorf("%s with password %q is taken", name, pw)
		}
	}
	if _, _, err := a.Login(ctx, "anna", password, "192.0.2.9"); !errors.Is(err, ErrLogin) {
		t.Errorf("a Digest account logs in at cpanel: %v", err)
	}
	for _, f := range []string{"accounts.db", "accounts.db-wal"} { // no HA1 lies there in the clear
		b, _ := os.ReadFile(filepath.Join(dir, f))
		h := ha1Of("anna", password)
		if bytes.Contains(b, h.sha[:]) || bytes.Contains(b, h.md[:]) {
			t.Errorf("%s has it in the clear", f)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a, sealed := open() // a new start
	defer a.Close()
	here := netip.MustParseAddr("192.0.2.1")
	yes := func(string) bool { return true }
	ch := a.Challenges(here, false)
	if len(ch) != 2 || !strings.Contains(ch[0], "SHA-256") || !strings.Contains(ch[1], "MD5") || strings.Contains(ch[0], "stale") || !strings.Contains(a.Challenges(here, true)[0], "stale=true") {
		t.Fatalf("%q", ch)
	}
	for _, c := range []struct {
		name   string
		header string
		method string
		same   bool
		ok     bool
	}{
		{"SHA-256", answer(ch[0], "anna", password, "PLAY", uri, "auth"), "PLAY", true, true},
		{"MD5", answer(ch[1], "anna", password, "PLAY", uri, "auth"), "PLAY", true, true},
		{"MD5 as RFC 2069", answer(ch[1], "anna", password, "PLAY", uri, ""), "PLAY", true, true},
		{"no algorithm is MD5", strings.Replace(answer(ch[1], "anna", password, "PLAY", uri, ""), ", algorithm=MD5", "", 1), "PLAY", true, true},
		{"another method", answer(ch[0], "anna", password, "SETUP", uri, "auth"), "PLAY", true, false},
		{"another URL", answer(ch[0], "anna", password, "PLAY", uri, "auth"), "PLAY", false, false},
		{"another password", answer(ch[0], "anna", "long enough 2", "PLAY", uri, "auth"), "PLAY", true, false},
		{"another user", answer(ch[0], "bert", password, "PLAY", uri, "auth"), "PLAY", true, false},
		{"another spelling", answer(ch[0], "Anna", password, "PLAY", uri, "auth"), "PLAY", true, false},
		{"auth-int", answer(ch[0], "anna", password, "PLAY", uri, "auth-int"), "PLAY", true, false},
		{"a session's algorithm", strings.Replace(answer(ch[0], "anna", password, "PLAY", uri, "auth"), "SHA-256", "SHA-256-sess", 1), "PLAY", true, false},
		{"another realm", strings.Replace(answer(ch[0], "anna", password, "PLAY", uri, "auth"), `realm="media-server"`, `realm="x"`, 1), "PLAY", true, false},
		{"said twice", answer(ch[0], "anna", password, "PLAY", uri, "auth") + `, username="anna"`, "PLAY", true, false},
		{"Basic", "Basic YW5uYTpsb25nIGVub3VnaCAx", "PLAY", true, false},
		{"nothing", "Digest", "PLAY", true, false},
	} {
		user, stale, err := a.CheckDigest(c.method, c.header, func(u string) bool { return c.same && u == uri }, here)
		if ok := err == nil && user.Name == "anna" && user.CreatedMS == a.PlayerSince("anna") && !stale; ok != c.ok || !c.ok && (!errors.Is(err, ErrDigest) || user != (Player{})) {
			t.Errorf("%s: %v %v %v", c.name, user, stale, err)
		}
		if _, _, err := a.CheckDigest("PLAY", answer(ch[0], "anna", password, "PLAY", uri, "auth"), yes, here); err != nil { // forgives
			t.Fatal(err)
		}
	}
	right := answer(ch[0], "anna", password, "PLAY", uri, "auth")
	if _, stale, err := a.CheckDigest("PLAY", right, yes, netip.MustParseAddr("192.0.2.2")); !stale || err != nil {
		t.Errorf("a nonce of another address: %v %v", stale, err)
	}
	now = now.Add(nonceTTL)
	if user, stale, err := a.CheckDigest("PLAY", right, yes, here); !stale || err != nil || user != (Player{}) {
		t.Errorf("an old nonce: %v %v", stale, err)
	}
	if _, stale, err := a.CheckDigest("PLAY", answer(ch[0], "anna", "long enough 2", "PLAY", uri, "auth"), yes, here); stale || !errors.Is(err, ErrDigest) {
		t.Errorf("an old nonce and another password: %v %v", stale, err)
	}

	since := a.PlayerSince("anna")
	now = now.Add(time.Second)
	if err := a.SetPlayer(ctx, "anna", "long enough 2"); err != nil || a.PlayerSince("anna") == since || since == 0 {
		t.Errorf("a new password: %v", err)
	}
	sealed.broken = true
	if _, _, err := a.CheckDigest("PLAY", right, yes, here); err == nil || errors.Is(err, ErrDigest) {
		t.Errorf("keys that do not open: %v", err)
	}
	for range 2 * lockTries { // that is nobody's fault
		if _, _, err := a.CheckDigest("PLAY", answer(ch[0], "anna", "long enough 2", "PLAY", uri, "auth"), yes, here); !errors.Is(err, ErrKeys) {
			t.Fatalf("keys that do not open: %v", err)
		}
	}
	sealed.broken = false
	if err := a.RemovePlayer(ctx, "anna"); err != nil || a.PlayerSince("anna") != 0 || len(a.Players()) != 0 {
		t.Errorf("%v", err)
	}
	if err := a.RemovePlayer(ctx, "anna"); err == nil {
		t.Error("removed twice")
	}
}

// TestDigestLock: ten wrong answers lock an address out, and not out of cpanel.
func TestDigestLock(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a, err := Open(t.Context(), Options{DataDir: t.TempDir(), Config: DefaultConfig(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.UseSealer(&box{})
	if err := a.SetPlayer(t.Context(), "anna", "long enough 1"); err != nil {
		t.Fatal(err)
	}
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	try := func(from netip.Addr, pw string) error {
		_, _, err := a.CheckDigest("PLAY", answer(a.Challenges(from, false)[0], "anna", pw, "PLAY", "/", "auth"), func(string) bool { return true }, from)
		return err
	}
	for range 10 {
		if err := try(here, "wrong"); !errors.Is(err, ErrDigest) {
			t.Fatal(err)
		}
	}
	var locked *Locked
	if err := try(here, "long enough 1"); !errors.As(err, &locked) {
		t.Errorf("the eleventh: %v", err)
	}
	if err := try(there, "long enough 1"); err != nil {
		t.Errorf("another address: %v", err)
	}
	if _, _, err := a.Login(t.Context(), "anna", "x", here.String()); !errors.Is(err, ErrLogin) {
		t.Errorf("cpanel from there: %v", err)
	}
	now = now.Add(DefaultConfig().Lockout)
	if err := try(here, "long enough 1"); err != nil {
		t.Errorf("later: %v", err)
	}
}

// TestDigestLockBroken: an account that cannot be read locks nobody out, and sets nobody
// free who guesses at another.
func TestDigestLockBroken(t *testing.T) {
	a, err := Open(t.Context(), Options{DataDir: t.TempDir(), Config: DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b := &box{}
	a.UseSealer(b)
	for _, name := range []string{"anna", "bert"} {
		if err := a.SetPlayer(t.Context(), name, "long enough 1"); err != nil {
			t.Fatal(err)
		}
	}
	here := netip.MustParseAddr("192.0.2.1")
	try := func(name string) error {
		b.broken = name == "bert"
		_, _, err := a.CheckDigest("PLAY", answer(a.Challenges(here, false)[0], name, "a guess", "PLAY", "/", "auth"), func(string) bool { return true }, here)
		return err
	}
	for i := range lockTries {
		for range 2 {
			if err := try("bert"); !errors.Is(err, ErrKeys) {
				t.Fatalf("behind %d guesses the account that cannot be read: %v", i, err)
			}
		}
		if err := try("anna"); !errors.Is(err, ErrDigest) {
			t.Fatalf("guess %d: %v", i+1, err)
		}
	}
	var locked *Locked
	if err := try("anna"); !errors.As(err, &locked) {
		t.Errorf("one guess too many: %v", err)
	}
}

func FuzzDigest(f *testing.F) {
	f.Add(`Digest username="a\"b", realm="media-server", nonce="x", uri="rtsp://h/live/a?x=1,2", response="00", qop=auth, nc=00000001, cnonce="c"`)
	f.Add(`digest realm = "media-server" , username=a,nonce=n,uri=u,response=R,algorithm=SHA-256`)
	f.Add(`Digest ,,=,"`)
	f.Fuzz(func(t *testing.T, header string) {
		p, err := parseDigest(header)
		if err != nil {
			return
		}
		if p.user == "" || p.nonce == "" || p.uri == "" || p.realm != Realm {
			t.Errorf("%+v", p)
		}
		h := ha1Of("a", "b")
		_, _ = p.answer(&h, "PLAY")
	})
}
