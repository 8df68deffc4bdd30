package access

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	c.t = c.t.Add(d)
	c.mu.Unlock()
}

func open(t testing.TB, dir string, c *clock) *Access {
	t.Helper()
	a, err := Open(context.Background(), Options{DataDir: dir, Config: DefaultConfig(), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func newClock() *clock { return &clock{t: time.UnixMilli(1.7e12)} }

func TestFirstPassword(t *testing.T) {
	ctx, dir, c := t.Context(), t.TempDir(), newClock()
	a := open(t, dir, c)
	pw, file, err := a.FirstPassword(false)
	if err != nil || pw != "" || file != filepath.Join(dir, "first-password") {
		t.Fatal(pw, file, err)
	}
	fi, err := os.Stat(file)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatal(fi, err)
	}
	b, _ := os.ReadFile(file)
	pw = strings.TrimSpace(string(b))
	if _, again, _ := a.FirstPassword(true); again != file {
		t.Error("the file is not named again")
	}
	if f, pending := a.FirstPending(); f != file || !pending {
		t.Error(f, pending)
	}
	secret, who, err := a.Login(ctx, "Admin", pw, "10.0.0.1")
	if err != nil || !who.MustChange || who.Role != Administrator || who.Name != "admin" {
		t.Fatalf("%+v %v", who, err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error("the file stays after the first login")
	}
	for _, bad := range []string{pw, "short", "admin", strings.Repeat("x", 2000)} {
		if a.ChangePassword(ctx, who, pw, bad) == nil {
			t.Errorf("%.10q was taken", bad)
		}
	}
	if a.ChangePassword(ctx, who, "wrong old one", "a better password") == nil {
		t.Error("changed without the old password")
	}
	other, _, _ := a.Login(ctx, "admin", pw, "10.0.0.2")
	if err := a.ChangePassword(ctx, who, pw, "a better password"); err != nil {
		t.Fatal(err)
	}
	if f, pending := a.FirstPending(); f != "" || pending {
		t.Error(f, pending)
	}
	if who, ok := a.Identify(secret); !ok || who.MustChange {
		t.Errorf("the session it was changed in: %+v %v", who, ok)
	}
	if _, ok := a.Identify(other); ok {
		t.Error("another session of the user goes on")
	}
	if _, _, err := a.Login(ctx, "admin", pw, "10.0.0.1"); !errors.Is(err, ErrLogin) {
		t.Error(err)
	}
	a.Close()
	a = open(t, dir, c)
	if _, ok := a.Identify(secret); !ok {
		t.Error("the session did not survive a restart")
	}
	if pw, file, err := a.FirstPassword(true); pw != "" || file != "" || err != nil {
		t.Error(pw, file, err)
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "accounts.db")); strings.Contains(string(raw), secret[4:]) || strings.Contains(string(raw), "a better password") {
		t.Error("a secret lies in the file")
	}
	one := open(t, t.TempDir(), c)
	if pw, file, err := one.FirstPassword(true); len(pw) != 19 || file != "" || err != nil {
		t.Error(pw, file, err)
	}
}

func TestSessionsExpire(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := open(t, dir, c)
	a.AddUser(t.Context(), "eve", Viewer, "long enough", false)
	secret, _, err := a.Login(t.Context(), "eve", "long enough", "::1")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // each request prolongs it
		c.add(11 * time.Hour)
		if _, ok := a.Identify(secret); !ok {
			t.Fatal("ended though in use")
		}
	}
	a.Close()
	a = open(t, dir, c)
	if _, ok := a.Identify(secret); !ok {
		t.Fatal("its last use was forgotten over a restart")
	}
	c.add(12 * time.Hour)
	if _, ok := a.Identify(secret); ok {
		t.Fatal("goes on for ever")
	}
	secret, who, _ := a.Login(t.Context(), "eve", "long enough", "::1")
	a.Logout(who.Session)
	if _, ok := a.Identify(secret); ok {
		t.Fatal("goes on after logout")
	}
	for _, s := range []string{"", "x", sessionPrefix, secret + "x", strings.ToUpper(secret)} {
		if _, ok := a.Identify(s); ok {
			t.Errorf("%q is somebody", s)
		}
	}
}

func TestLockout(t *testing.T) {
	ctx, c := t.Context(), newClock()
	a := open(t, t.TempDir(), c)
	a.AddUser(ctx, "bob", Viewer, "long enough", false)
	a.nofail(t, ctx, "bob", "long enough", "10.0.0.1")
	for i := range lockTries {
		name := []string{"bob", "nobody", "x\nerror: forged log line"}[i%3]
		if _, _, err := a.Login(ctx, name, "guess", "10.0.0.1"); !errors.Is(err, ErrLogin) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	var l *Locked
	if _, _, err := a.Login(ctx, "bob", "long enough", "10.0.0.1"); !errors.As(err, &l) {
		t.Fatal(err)
	}
	a.nofail(t, ctx, "bob", "long enough", "10.0.0.2") // others are not shut out
	c.add(15 * time.Minute)
	a.nofail(t, ctx, "bob", "long enough", "10.0.0.1")
	items, _, err := a.AuditLog(ctx, 0, 100)
	if err != nil || len(items) != lockTries+3 {
		t.Fatal(len(items), err)
	}
	for _, e := range items {
		if strings.ContainsAny(e.Who, "\n") || strings.Contains(e.What, "guess") {
			t.Errorf("%+v", e)
		}
	}
	page, next, _ := a.AuditLog(ctx, 0, 5)
	rest, _, _ := a.AuditLog(ctx, next, 100)
	if len(page)+len(rest) != len(items) {
		t.Error("pages do not add up")
	}
}

func (a *Access) nofail(t *testing.T, ctx context.Context, name, pw, addr string) {
	t.Helper()
	if _, _, err := a.Login(ctx, name, pw, addr); err != nil {
		t.Fatal(err)
	}
}

// Whatever the order of attempts, an address never gets more than ten guesses
// in a window, and the table stays bounded.
func TestLockoutProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := lockout{window: 10 * time.Minute}
		now := time.UnixMilli(1.7e12)
		guesses := map[string][]time.Time{}
		for range rapid.IntRange(1, 200).Draw(rt, "n") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "wait")) * time.Second)
			addr := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"}).Draw(rt, "addr")
			if _, ok := l.try(addr, now); !ok {
				continue
			}
			k := network(addr)
			guesses[k] = append(guesses[k], now)
			if n := len(guesses[k]); n > lockTries && now.Sub(guesses[k][n-1-lockTries]) == 0 {
				rt.Fatalf("eleven guesses at once from %s", addr)
			}
			// Two windows may touch: at most twice ten within one length.
			in := 0
			for _, g := range guesses[k] {
				if now.Sub(g) < l.window {
					in++
				}
			}
			if in > 2*lockTries {
				rt.Fatalf("%d guesses within a window", in)
			}
		}
	})
	l := lockout{window: time.Minute}
	for i := range lockAddresses + 100 {
		l.try(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), time.UnixMilli(1))
	}
	if len(l.seen) > lockAddresses {
		t.Error(len(l.seen))
	}
}

func TestUsers(t *testing.T) {
	ctx, c := t.Context(), newClock()
	a := open(t, t.TempDir(), c)
	if err := a.AddUser(ctx, "root", Administrator, "long enough", false); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"twice":            a.AddUser(ctx, "ROOT", Viewer, "long enough", false),
		"odd name":         a.AddUser(ctx, "a b", Viewer, "long enough", false),
		"no role":          a.AddUser(ctx, "x", Anybody, "long enough", false),
		"remove last":      a.RemoveUser(ctx, "root"),
		"lower last":       a.SetRole(ctx, "Root", Operator),
		"password nobody":  a.SetPassword(ctx, "none", "long enough"),
		"remove nobody":    a.RemoveUser(ctx, "none"),
		"token for nobody": func() error { _, _, err := a.CreateToken(ctx, "", Anybody, 0, ""); return err }(),
	} {
		if err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	a.AddUser(ctx, "eve", Viewer, "long enough", false)
	secret, _, _ := a.Login(ctx, "eve", "long enough", "x")
	a.SetRole(ctx, "eve", Administrator)
	if who, ok := a.Identify(secret); !ok || who.Role != Administrator {
		t.Error(who, ok)
	}
	if err := a.RemoveUser(ctx, "Eve"); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Identify(secret); ok {
		t.Error("a removed user is still in")
	}
	if got := a.Users(); len(got) != 1 || got[0].Name != "root" || got[0].Role != "administrator" {
		t.Errorf("%+v", got)
	}
}

func TestTokens(t *testing.T) {
	ctx, c, dir := t.Context(), newClock(), t.TempDir()
	a := open(t, dir, c)
	s1, t1, err := a.CreateToken(ctx, "grafana", Viewer, time.Hour, "admin")
	if err != nil {
		t.Fatal(err)
	}
	s2, t2, _ := a.CreateToken(ctx, "", Administrator, 0, "admin")
	a.Close()
	a = open(t, dir, c)
	if who, ok := a.Identify(s1); !ok || who.Role != Viewer || who.Name != "token grafana" || who.Token != t1.ID {
		t.Error(who, ok)
	}
	if got := a.Tokens(); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	c.add(time.Hour)
	if _, ok := a.Identify(s1); ok {
		t.Error("good for ever")
	}
	if err := a.RevokeToken(ctx, t2.ID); err != nil {
		t.Fatal(err)
	}
	if a.RevokeToken(ctx, t2.ID) == nil {
		t.Error("revoked twice")
	}
	if _, ok := a.Identify(s2); ok {
		t.Error("good after revocation")
	}
	if got := a.Tokens(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestDecide(t *testing.T) {
	lan := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	in, mapped, out := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::ffff:10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	viewer := Identity{Name: "v", Role: Viewer}
	fresh := Identity{Name: "admin", Role: Administrator, MustChange: true}
	for name, tc := range map[string]struct {
		r    Request
		want int
	}{
		"public":                    {Request{Rule: Public, Address: out}, 0},
		"public, bad token":         {Request{Rule: Public, Presented: true}, 0},
		"protected, listed":         {Request{Rule: Protected, Whitelist: lan, Address: in}, 0},
		"protected, listed, mapped": {Request{Rule: Protected, Whitelist: lan, Address: mapped}, 0},
		"protected, elsewhere":      {Request{Rule: Protected, Whitelist: lan, Address: out}, 403},
		"protected, no address":     {Request{Rule: Protected, Whitelist: lan}, 403},
		"protected, viewer":         {Request{Rule: Protected, Whitelist: lan, Address: out, Who: viewer, Presented: true}, 0},
		"private":                   {Request{Rule: Private, Address: in, Whitelist: lan}, 401},
		"private, bad token":        {Request{Rule: Private, Presented: true}, 401},
		"private, viewer":           {Request{Rule: Private, Who: viewer, Presented: true}, 0},
		"private, first password":   {Request{Rule: Private, Who: fresh, Presented: true}, 403},
		"unknown rule":              {Request{Rule: "publik", Whitelist: lan, Address: in}, 401},
		"no rule":                   {Request{}, 401},
	} {
		d := Decide(tc.r)
		if d.Allow != (tc.want == 0) || d.Status != tc.want || !d.Allow && (d.Code == "" || d.Message == "") {
			t.Errorf("%s: %+v", name, d)
		}
	}
	a := &Access{o: Options{Config: Config{APIOpenTo: lan}}}
	if !a.OpenTo(mapped, false) || a.OpenTo(in, true) || a.OpenTo(out, false) || a.OpenTo(netip.Addr{}, false) {
		t.Error("api-open-to")
	}
}

func TestHash(t *testing.T) {
	h := hashPassword("p")
	p, err := parseHash(h)
	if err != nil || !p.matches("p") || p.matches("q") {
		t.Fatal(err)
	}
	if nobody.matches("") {
		t.Fatal("nobody has a password")
	}
	// The example of the reference implementation's command line tool.
	known, err := parseHash("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil || !known.matches("password") {
		t.Error("not what others call argon2id", err)
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=4294967295,t=9,p=255$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err == nil && (h.memory > 1<<20 || h.time > 20 || h.lanes == 0 || len(h.salt) == 0 || len(h.key) == 0) {
			t.Fatalf("%+v", h)
		}
	})
}
