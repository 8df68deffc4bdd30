package config

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type demo struct {
	Enable  bool
	Listen  string
	Threads int
	Wait    time.Duration
	Level   string
	Tracks  []string
	Dir     string
	Secret  string
	Free    Size
	Allow   []netip.Prefix
	Spaces  map[string]*demoSpace
}

type demoSpace struct {
	Path string
	Own  map[string]string
}

func bindDemo() (*demo, *Set) {
	d := &demo{Enable: true, Listen: ":8080", Wait: time.Second, Level: "info", Tracks: []string{"video"}, Dir: "data", Free: Size{Percent: 10}, Spaces: map[string]*demoSpace{}}
	s := NewSet()
	h := s.Section("http", "plain HTTP")
	h.Bool("enable", &d.Enable, "").Restart()
	h.Listen("listen", &d.Listen, "").Restart()
	h.Networks("allow", &d.Allow, "")
	m := s.Section("main", "")
	m.Int("threads", &d.Threads, 0, 64, "")
	m.Duration("wait", &d.Wait, 0, time.Hour, "").Word("off", func() { d.Wait = -1 })
	m.Enum("level", &d.Level, []string{"debug", "info"}, "").NotYet("trace")
	m.Words("tracks", &d.Tracks, []string{"video", "audio", "data"}, "")
	m.Path("dir", &d.Dir, "")
	m.SecretText("secret", &d.Secret, "")
	m.Size("free", &d.Free, "")
	m.Later("encrypt")
	m.Warned("the cluster is off", "standby")
	s.Named("space", "", func(name string, sec *Section) {
		sp := &demoSpace{}
		d.Spaces[name] = sp
		sec.Path("path", &sp.Path, "").Needed()
		sec.Rest(Rest{Into: &sp.Own})
	})
	s.Later("rtsp", "lua.*")
	return d, s
}

func loadDemo(t *testing.T, texts ...string) (*demo, Effective, string) {
	t.Helper()
	d, set := bindDemo()
	var files []*File
	var all string
	for i, text := range texts {
		f, ps := Parse(string(rune('a'+i))+".ini", []byte(text))
		all += ps.Error()
		files = append(files, f)
	}
	env := &Env{Base: "/etc/ms", LookupEnv: func(k string) (string, bool) { return "env-" + k, k != "UNSET" }}
	eff, ps := set.Load(env, files...)
	return d, eff, all + ps.Error()
}

func TestLoad(t *testing.T) {
	secret := t.TempDir() + "/secret"
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, eff, problems := loadDemo(t,
		"[http]\nenable = no\nallow = 127.0.0.1, 10.1.2.3/8, ::1\n[main]\nwait = 2m\nsecret = ${file:"+secret+"}\n[space.big]\npath = /mnt/${X}\nbucket = $${b}\n",
		"[main]\nwait = OFF\nlevel = DEBUG\ntracks = audio, video,\nfree = 5G\n")
	if problems != "" {
		t.Fatal(problems)
	}
	want := &demo{Listen: ":8080", Wait: -1, Level: "debug", Tracks: []string{"audio", "video"}, Dir: "/etc/ms/data", Secret: "s3cret", Free: Size{Bytes: 5 << 30},
		Allow:  []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Spaces: map[string]*demoSpace{"big": {Path: "/mnt/env-X", Own: map[string]string{"bucket": "${b}"}}}}
	if diff := cmp.Diff(want, d, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct{ section, key, value, origin string }{
		{"http", "enable", "no", "a.ini:2"}, {"http", "listen", ":8080", "default"}, {"main", "wait", "OFF", "b.ini:2"},
		{"main", "secret", "${file:" + secret + "}", "a.ini:6"}, {"space.big", "bucket", "$${b}", "a.ini:9"},
	} {
		it, ok := eff.Get(c.section, c.key)
		if !ok || it.Value != c.value || it.Origin.String() != c.origin {
			t.Errorf("[%s] %s: %+v", c.section, c.key, it)
		}
	}
	if err := os.WriteFile(secret, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, set := bindDemo()
	f, _ := Parse("a.ini", []byte("[main]\nsecret = ${file:"+secret+"}\n"))
	next, _ := set.Load(&Env{Base: "/etc/ms"}, f)
	var changed []string
	for _, c := range eff.Diff(next) {
		changed = append(changed, c.Section+"."+c.Key+"="+c.Effect.String())
	}
	if got := strings.Join(changed, " "); got != "http.enable=restart-server http.allow=live main.wait=live main.level=live main.tracks=live main.secret=live main.free=live space.big.path=live space.big.bucket=live" {
		t.Error(got)
	}
}

func TestLoadProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "[main]\nthreds = 1", `a.ini:2:1: unknown key "threds" in [main]; did you mean "threads"?`},
		{"key of another section", "[main]\nlisten = :1", `a.ini:2:1: unknown key "listen" in [main]; it belongs in [http]`},
		{"unknown section", "[htp]", `a.ini:1:1: unknown section [htp]; did you mean "http"?`},
		{"later section", "[rtsp]\nx = 1", `a.ini:1:1: section [rtsp]: not in this version; remove it`},
		{"later named section", "[lua.vars]", `a.ini:1:1: section [lua.vars]: not in this version; remove it`},
		{"later key", "[main]\nencrypt = on", `a.ini:2:1: key "encrypt" in [main]: not in this version; remove it`},
		{"warned key", "[main]\nstandby = warm", `a.ini:2:1: warning: key "standby" has no effect: the cluster is off`},
		{"nameless", "[space]\npath = /", `a.ini:1:1: section [space] needs a name; write [space.NAME]; names are letters, digits, - and _`},
		{"bad name", "[space.../x]", `a.ini:1:1: section [space.../x] needs a name; write [space.NAME]; names are letters, digits, - and _`},
		{"slip in an open section", "[space.a]\npaht = /", `a.ini:2:1: unknown key "paht" in [space.a]; did you mean "path"?`},
		{"needed", "[space.a]\npath =", `a.ini:2:7: bad value "" for path: it must not be empty`},
		{"bool", "[http]\nenable = maybe", `a.ini:2:10: bad value "maybe" for enable; allowed: true, false (also yes, no, on, off)`},
		{"int", "[main]\nthreads = 65", `a.ini:2:11: bad value "65" for threads: out of bounds; allowed: 0 to 64`},
		{"duration", "[main]\nwait = 10", `a.ini:2:8: bad value "10" for wait: a duration needs a unit; write for example 500ms, 10s, 2m, 12h, 10d or 4w, or off`},
		{"long duration", "[main]\nwait = 2h", `a.ini:2:8: bad value "2h" for wait: out of bounds; allowed: 0 to 1h, or off`},
		{"enum", "[main]\nlevel = dbug", `a.ini:2:9: bad value "dbug" for level; did you mean "debug"? allowed: debug, info`},
		{"later word", "[main]\nlevel = trace", `a.ini:2:9: bad value "trace" for level: not in this version; allowed: debug, info`},
		{"words", "[main]\ntracks = video, vidoe", `a.ini:2:10: bad value "video, vidoe" for tracks: "vidoe": unknown word; did you mean "video"? allowed: video, audio, data`},
		{"twice", "[main]\ntracks = video, video", `a.ini:2:10: bad value "video, video" for tracks: "video" is there twice`},
		{"listen", "[http]\nlisten = 8080", `a.ini:2:10: bad value "8080" for listen: not an address to listen on; write host:port, [IPv6 address]:port, eth0:port for a network interface, or :port for all`},
		{"port", "[http]\nlisten = :99999", `a.ini:2:10: bad value ":99999" for listen: the port is not a number from 0 to 65535; write host:port, [IPv6 address]:port, eth0:port for a network interface, or :port for all`},
		{"IPv6 without brackets", "[http]\nlisten = ::1:8080", `a.ini:2:10: bad value "::1:8080" for listen: not an address to listen on; write host:port, [IPv6 address]:port, eth0:port for a network interface, or :port for all`},
		{"listen on a blank", "[http]\nlisten = eth 0:8080", `a.ini:2:10: bad value "eth 0:8080" for listen: the host holds what no host does; write host:port, [IPv6 address]:port, eth0:port for a network interface, or :port for all`},
		{"network", "[http]\nallow = here", `a.ini:2:9: bad value "here" for allow: "here" is not a network; write for example 10.0.0.7, 192.168.0.0/16 or 2001:db8::/32`},
		{"size", "[main]\nfree = lots", `a.ini:2:8: bad value "lots" for free: a size is a whole number with a unit or %; write for example 512M, 10G or 2T, or a share such as 10%`},
		{"unset variable", "[main]\nsecret = ${UNSET}", `a.ini:2:10: value of secret: ${UNSET} is not set in the environment; set it, or use ${file:/path}`},
		{"missing file", "[main]\nsecret = ${file:/no/such}", `a.ini:2:10: value of secret: ${file:/no/such} cannot be read: no such file or directory`},
		{"relative file", "[main]\nsecret = ${file:x}", `a.ini:2:10: value of secret: ${file:x} is not an absolute path; write ${file:/path}`},
		{"open reference", "[main]\nsecret = ${X", `a.ini:2:10: value of secret: ${ without a closing }; write $${ for a plain ${`},
		{"secret is not told", "[http]\nlisten = rtsp://u:hunter2@h/", `a.ini:2:10: bad value "rtsp://u:***@h/" for listen: not an address to listen on; write host:port, [IPv6 address]:port, eth0:port for a network interface, or :port for all`},
		{"several", "[main]\nthreads = x\nwait = y\n[htp]", "a.ini:2:11: bad value \"x\" for threads: not a whole number; allowed: 0 to 64\na.ini:3:8: bad value \"y\" for wait: a duration is a whole number with its unit; write for example 500ms, 10s, 2m, 12h, 10d or 4w, or off\na.ini:4:1: unknown section [htp]; did you mean \"http\"?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, got := loadDemo(t, c.text); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	_, set := bindDemo()
	var got []string
	for _, s := range set.Describe() {
		for _, k := range s.Keys {
			got = append(got, s.Name+"."+k.Name+"="+k.Default)
		}
	}
	if want := "http.enable=true http.listen=:8080 http.allow= main.threads=0 main.wait=1s main.level=info main.tracks=video main.dir=data main.secret= main.free=10% space.NAME.path="; strings.Join(got, " ") != want {
		t.Errorf("%v", got)
	}
}
