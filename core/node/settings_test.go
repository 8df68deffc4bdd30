package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/fault"
)

// place is a folder with settings files, written as name → text.
type place struct {
	t   *testing.T
	dir string

	drivers func(*StreamSettings) fault.Problems // may be nil
}

const plain = "[server]\ndata-dir = var\nrun-dir = /run/x\n"

func newPlace(t *testing.T, files ...string) *place {
	p := &place{t: t, dir: t.TempDir()}
	p.write("media-server.ini", plain)
	if err := os.Mkdir(filepath.Join(p.dir, "streams.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(files); i += 2 {
		p.write(files[i], files[i+1])
	}
	return p
}

func (p *place) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) remove(name string) {
	if err := os.Remove(filepath.Join(p.dir, name)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) load() (*Settings, string) {
	s, ps := Load(filepath.Join(p.dir, "media-server.ini"))
	return s, p.text(ps)
}

func (p *place) next(s *Settings) (*Settings, string) {
	n, ps := s.Next(config.Disk{}, p.drivers)
	return n, p.text(ps)
}

func (p *place) text(ps fault.Problems) string {
	return strings.ReplaceAll(ps.Error(), p.dir+"/", "")
}

func (p *place) good() *Settings {
	p.t.Helper()
	s, problems := p.load()
	if problems != "" {
		p.t.Fatal(problems)
	}
	return s
}

func TestLoadPlain(t *testing.T) {
	p := newPlace(t, "streams.d/gate.ini", "[gate]\nstream-url = rtsp://user:p#ss@10.0.0.7/main ; north\n")
	s := p.good()
	if s.Server.DataDir != p.dir+"/var" || s.Server.StreamsDir != p.dir+"/streams.d" || !s.Usable() {
		t.Errorf("%+v", s.Server)
	}
	sp, _ := s.Archive.Pool("default")
	if len(s.Archive.Spaces) != 1 || s.Archive.Spaces[0].Path != p.dir+"/var/media" || s.Archive.Spaces[0].Name != "main" || !slices.Equal(sp.Spaces, []string{"main"}) {
		t.Errorf("%+v", s.Archive)
	}
	g := s.Streams["gate"]
	if g == nil || g.Config.URL != "rtsp://user:p#ss@10.0.0.7/main" || g.Config.DriverName() != "rtsp" || g.Config.DVR.Duration != 240*time.Hour || g.Config.Title("gate") != "gate" {
		t.Fatalf("%+v", g)
	}
	if sub := g.Config.Subscription("gate"); sub.Kinds != nil || sub.ReconnectFirst != time.Second || sub.ReadTimeout != 5*time.Second {
		t.Errorf("%+v", sub)
	}
	if it, _ := g.Keys.Get("gate", "stream-url"); it.Value != "rtsp://user:***@10.0.0.7/main" {
		t.Errorf("shown as %q", it.Value)
	}
}

func TestLayers(t *testing.T) {
	p := newPlace(t,
		"conf.d/10-pools.ini", "[space.a]\npath = /mnt/a\n[space.b]\npath = /mnt/b\nbucket = x\n[pool.default]\nspaces = a\n[pool.big]\nspaces = b\ndays = 4w\noverwrite = no\n",
		"conf.d/20-log.ini", "[log]\nlevel = debug\n", "conf.d/30-log.ini", "[log]\nlevel = warn\n", "conf.d/README", "[nonsense]",
		"streams.d/_defaults.ini", "[defaults]\ndvr-duration = 1d\ndvr-pool = big\nread-timeout = 2s\nlabels = one\n",
		"streams.d/_defaults.shops.ini", "[defaults]\ndvr-duration = 2d\nread-timeout = 3s\nstream-template = shop\n",
		"streams.d/_shop.ini", "[shop]\nread-timeout = 4s\ndriver-transport = udp\n",
		"streams.d/a.ini", "[a]\nstream-url = sim://\n",
		"streams.d/b.ini", "[b]\nstream-url = sim://\napplication = shops\nlabels = two, three\n",
		"streams.d/c.ini", "[c]\nstream-url = sim://\nstream-template = shop\ndriver-transport = tcp\n",
		"streams.d/.hidden.ini", "x", "streams.d/a.ini.bak", "x", "streams.d/a.ini~", "x", "streams.d/notes.txt", "x")
	s := p.good()
	if s.Log.Level != "warn" || !slices.Equal(s.UIDs(), []string{"a", "b", "c"}) {
		t.Errorf("%s %v", s.Log.Level, s.UIDs())
	}
	if big, _ := s.Archive.Pool("big"); big.Days != 28*24*time.Hour || big.Overwrite || s.Archive.Spaces[1].Settings["bucket"] != "x" {
		t.Errorf("%+v", s.Archive)
	}
	for _, c := range []struct{ uid, key, value, origin string }{
		{"a", "dvr-duration", "1d", "streams.d/_defaults.ini:2"}, {"a", "labels", "one", "streams.d/_defaults.ini:5"}, {"a", "dvr-chunk", "2m", "default"},
		{"b", "dvr-duration", "2d", "streams.d/_defaults.shops.ini:2"}, {"b", "read-timeout", "4s", "streams.d/_shop.ini:2"}, {"b", "driver-transport", "udp", "streams.d/_shop.ini:3"}, {"b", "labels", "two, three", "streams.d/b.ini:4"},
		{"c", "dvr-duration", "1d", "streams.d/_defaults.ini:2"}, {"c", "driver-transport", "tcp", "streams.d/c.ini:4"},
	} {
		it, ok := s.Streams[c.uid].Keys.Get(c.uid, c.key)
		if origin := strings.ReplaceAll(it.Origin.String(), p.dir+"/", ""); !ok || it.Value != c.value || origin != c.origin {
			t.Errorf("%s: %s = %s from %s, want %s from %s", c.uid, c.key, it.Value, origin, c.value, c.origin)
		}
	}
	if got := s.Streams["b"].Config; got.DVR.Pool != "big" || got.DriverKeys["transport"] != "udp" || got.ReadTimeout != 4*time.Second {
		t.Errorf("%+v", got)
	}
}

// TestNeverGroomed: a groom-after that nothing lives to see is a warning, at its
// place; one stream that is kept longer is enough.
func TestNeverGroomed(t *testing.T) {
	p := newPlace(t, "streams.d/a.ini", "[a]\nstream-url = sim://\n", "streams.d/b.ini", "[b]\nstream-url = sim://\ndvr-duration = 5d\n")
	p.write("media-server.ini", plain+"[pool.default]\nspaces = main\ngroom-after = 30d\n")
	_, got := p.load()
	if want := "media-server.ini:6:1: warning: nothing is ever groomed: all 2 streams of the pool are deleted after dvr-duration = 10d or less, before groom-after = 30d; groom-after shorter than the streams' dvr-duration, or a longer dvr-duration"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p.write("streams.d/b.ini", "[b]\nstream-url = sim://\ndvr-duration = 60d\n")
	if _, got := p.load(); got != "" {
		t.Errorf("one stream is kept for 60d: %s", got)
	}
}

func TestServerProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"later sections", "[cluster]\nenable = on\n[lua]\n[lua.vars]", "media-server.ini:1:1: section [cluster]: not in this version; remove it\nmedia-server.ini:3:1: section [lua]: not in this version; remove it\nmedia-server.ini:4:1: section [lua.vars]: not in this version; remove it"},
		{"later keys", "[server]\nntp-server = x\nntp-interval = 1h\n[pool.a]\nspaces = main", "media-server.ini:2:1: key \"ntp-server\" in [server]: not in this version; remove it\nmedia-server.ini:3:1: key \"ntp-interval\" in [server]: not in this version; remove it"},
		{"half a pair", "[tls]\ncert = a.pem", "media-server.ini:2:1: cert is set and key is not; set both, or neither for a self-signed pair"},
		{"one port twice", "[https]\nlisten = :8080", "media-server.ini:2:1: listen = :8080 is that of [http] too; each needs a port of its own"},
		{"zone", "[server]\ntime-zone = Europe/Bern", `media-server.ini:2:13: bad value "Europe/Bern" for time-zone: unknown time zone; write an IANA name such as Europe/Berlin or UTC`},
		{"moved to itself", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-to = live\n[pool.cold]\nspaces = b", "media-server.ini:7:1: pool \"live\" is moved to itself; name another pool"},
		{"moved to a pool that is not there", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-to = clod\n[pool.cold]\nspaces = b", "media-server.ini:7:1: there is no pool \"clod\"; did you mean \"cold\"?"},
		{"moved in a circle", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-to = cold\narchive-after = 1d\n[pool.cold]\nspaces = b\narchive-to = live\narchive-after = 2d", "media-server.ini:7:1: footage would be moved in a circle: live → cold → live; the last pool has no archive-to\nmedia-server.ini:11:1: footage would be moved in a circle: cold → live → cold; the last pool has no archive-to"},
		{"deleted before it is moved", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-to = cold\narchive-after = 7d\ndays = 7d\n[pool.cold]\nspaces = b", "media-server.ini:8:1: footage is deleted after days = 7d, before it would be moved at 7d; archive-after shorter than days"},
		{"moved to where it is too old", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-to = cold\narchive-after = 7d\n[pool.cold]\nspaces = b\ndays = 7d", "media-server.ini:8:1: pool \"cold\" keeps footage for days = 7d from its recording: it would delete what comes at 7d at once; archive-after shorter than the days of the archive pool"},
		{"hours that are none", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-to = cold\narchive-at = 2-5\n[pool.cold]\nspaces = b", "media-server.ini:8:14: bad value \"2-5\" for archive-at: \"2-5\" is not a time of the day from-to, for example 02:00-05:00; from-to in hours and minutes; 22:00-04:00 passes midnight"},
		{"after without to", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-after = 1d\n[pool.cold]\nspaces = b", "media-server.ini:7:1: nothing says where footage is moved to; add archive-to = POOL"},
		{"groomed after it is moved", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\narchive-to = cold\narchive-after = 7d\ngroom-after = 7d\n[pool.cold]\nspaces = b", "media-server.ini:9:1: footage is moved to pool \"cold\" at 7d, before it would be groomed here at 7d; write groom-after in [pool.cold], or one shorter than archive-after"},
		{"groomed after it is deleted", "[space.a]\npath = /a\n[pool.live]\nspaces = a\ndays = 30d\ngroom-after = 30d", "media-server.ini:6:1: warning: nothing is ever groomed: footage is deleted after days = 30d, before groom-after = 30d; groom-after shorter than days"},
		{"groomed at once", "[space.a]\npath = /a\n[pool.live]\nspaces = a\ngroom-after = 10ms", "media-server.ini:5:1: groom-after = 10ms is no age; write for example groom-after = 30d, or 0 for never"},
		{"groom-after that is none", "[space.a]\npath = /a\n[pool.live]\nspaces = a\ngroom-after = -3d", "media-server.ini:5:15: bad value \"-3d\" for groom-after: a duration is a whole number with its unit; write for example 500ms, 10s, 2m, 12h, 10d or 4w"},
		{"stage of another pool", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.live]\nspaces = a\nstage = b\n[pool.cold]\nspaces = b", "media-server.ini:7:1: space \"b\" belongs to pool \"cold\"; a stage is a space of its own"},
		{"a folder of the system", "[space.a]\npath = /usr/lib/media", "media-server.ini:2:1: path /usr/lib/media is, or lies in, the system's /usr; name a folder made for footage, such as /srv/media or the mount point of a disk"},
		{"the root", "[space.a]\npath = /", "media-server.ini:2:1: path / is a folder of the system; name a folder made for footage, such as /srv/media or the mount point of a disk"},
		{"a space twice in a pool", "[space.a]\npath = /a\n[pool.p]\nspaces = a, a", "media-server.ini:4:1: space \"a\" is there twice; name it once"},
		{"a shared space that is moved", "[space.a]\npath = /a\n[space.b]\npath = /b\n[pool.p]\nspaces = a\narchive-to = c\n[pool.c]\nspaces = b\n[pool.q]\nspaces = a", "media-server.ini:11:1: space \"a\" belongs to pool \"p\" already; pool \"p\" moves what is in its spaces: those belong to it alone"},
		{"a shared space that is half overwritten", "[space.a]\npath = /a\n[pool.p]\nspaces = a\n[pool.q]\nspaces = a\noverwrite = no", "media-server.ini:6:1: space \"a\" belongs to pool \"p\" already, which has overwrite = true; pools that share a space agree on overwrite"},
		{"a space with a name that is none", "[space.a b]\npath = /a", "media-server.ini:1:1: section [space.a b] needs a name; write [space.NAME]; names are letters, digits, - and _"},
		{"pool without its space", "[space.disk1]\npath = /a\n[pool.default]\nspaces = dsik1", "media-server.ini:2:1: warning: space \"disk1\" is in no pool, nothing is recorded there\nmedia-server.ini:4:1: there is no space \"dsik1\"; did you mean \"disk1\"?"},
		{"space without path", "[space.a]\nfsync = off", "[space.a]: space \"a\" has no path; write path = /folder"},
		{"overlap", "[space.a]\npath = /m\n[space.b]\npath = /m/b", "media-server.ini:4:1: path /m/b overlaps that of space \"a\"; each space needs a folder of its own"},
		{"long run-dir", "[server]\nrun-dir = /" + strings.Repeat("x", 60), "media-server.ini:2:1: warning: run-dir /" + strings.Repeat("x", 60) + " is 61 bytes long; above 50 the path of a plugin's socket may get too long for the system"},
		{"plugin", "[plugin.rtsp]\nenv = A\nendpoint = tcp:1\nsha256 = 12\nown = 1", "media-server.ini:2:7: bad value \"***\" for env: an item is not NAME=value; write for example LANG=C, TZ=UTC\nmedia-server.ini:3:12: bad value \"tcp:1\" for endpoint: not an endpoint; write unix:/path\nmedia-server.ini:4:10: bad value \"12\" for sha256: not a SHA-256 sum; 64 hex digits, as sha256sum prints"},
		{"origin", "[http]\nallow-origin = example.org", `media-server.ini:2:16: bad value "example.org" for allow-origin: "example.org" is not an origin; write for example https://example.org, or *`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			p.write("media-server.ini", c.text+"\n")
			if _, got := p.load(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	p := newPlace(t, "streams.d/a.ini", "[a]\nstream-url = sim://\ndvr-pool = other\nlabel = x\n")
	p.write("media-server.ini", "[pool.other]\nspace = main\n")
	if s, got := p.load(); len(s.Streams) != 0 || s.Usable() || !strings.Contains(got, "streams.d/a.ini:4:1: unknown key \"label\" in [a]; did you mean \"labels\"?") || strings.Contains(got, "no pool") || !strings.Contains(got, `did you mean "spaces"?`) {
		t.Error(got)
	}
	p = newPlace(t)
	p.remove("media-server.ini")
	if s, got := p.load(); got != "media-server.ini: cannot be read: no such file or directory" || s.Usable() {
		t.Error(got)
	}
}

func TestStreamProblems(t *testing.T) {
	const url = "stream-url = sim://\n"
	for _, c := range []struct{ name, file, text, want string }{
		{"slip", "gate", "[gate]\n" + url + "dvr-chnk = 2m", `streams.d/gate.ini:3:1: unknown key "dvr-chnk" in [gate]; did you mean "dvr-chunk"?`},
		{"no url", "gate", "[gate]\nstream-name = x", `streams.d/gate.ini:1:1: stream-url is missing; write for example stream-url = rtsp://user:password@10.0.0.7/main`},
		{"disabled needs no url", "gate", "[gate]\nstream-enable = no", ""},
		{"other section", "gate", "[gtae]\n" + url, `streams.d/gate.ini:1:1: section [gtae] in the file of stream "gate"; the file holds one section, [gate]; a stream's id is its file's name`},
		{"empty", "gate", "\n# nothing\n", `streams.d/gate.ini: warning: the file is empty; there is no stream gate; write [gate] and its keys, or remove the file`},
		{"reserved", "Live", "[Live]\n" + url, `streams.d/Live.ini: the id "Live" is reserved; reserved are api, v1, cpanel, live, dvr, pictures, metrics, healthz, readyz; rename the file`},
		{"bad uid", "north gate", "[north gate]\n" + url, `streams.d/north gate.ini: "north gate" cannot be the id of a stream; 1 to 36 letters, digits, - and _, beginning with a letter or digit; rename the file`},
		{"url", "gate", "[gate]\nstream-url = 10.0.0.7/main", `streams.d/gate.ini:2:14: bad value "10.0.0.7/main" for stream-url: not a URL; write scheme://host/path, for example rtsp://user:password@10.0.0.7/main`},
		{"url without host", "gate", "[gate]\nstream-url = rtsp://", `streams.d/gate.ini:2:14: bad value "rtsp://" for stream-url: the host is missing; write rtsp://host/path`},
		{"url with a blank", "gate", "[gate]\nstream-url = rtsp://u:secret@h/a b", `streams.d/gate.ini:2:14: bad value "rtsp://u:***@h/a b" for stream-url: there is a blank in it; write %20 for a blank`},
		{"pool", "gate", "[gate]\n" + url + "dvr-pool = defualt", `streams.d/gate.ini:3:1: there is no pool "defualt"; did you mean "default"?`},
		{"keep", "gate", "[gate]\n" + url + "dvr-keep = 11d", `streams.d/gate.ini:3:1: dvr-keep = 11d is longer than dvr-duration = 10d; raise dvr-duration or lower dvr-keep`},
		{"protected for nobody", "gate", "[gate]\n" + url + "stream-access = protected", `streams.d/gate.ini:3:1: stream-access = protected without a stream-whitelist; write for example stream-whitelist = 10.0.0.0/8, or stream-access = private`},
		{"protected for no network", "gate", "[gate]\n" + url + "stream-access = protected\nstream-whitelist = 10.0.0.0/8, lan", `streams.d/gate.ini:4:20: bad value "10.0.0.0/8, lan" for stream-whitelist: "lan" is not a network; write for example 10.0.0.7, 192.168.0.0/16 or 2001:db8::/32`},
		{"waits", "gate", "[gate]\n" + url + "reconnect-timeout = 1m", `streams.d/gate.ini:1:1: the first wait, reconnect-timeout = 1m, is longer than the longest, reconnect-interval = 30s; raise reconnect-interval`},
		{"not yet", "gate", "[gate]\n" + url + "stream-enable = at-night\nstream-access = hidden\nstream-proto = hls, dash\ndvr-mode = event\ndvr-schedule = mon 8-18 event\nbackfill = off",
			`streams.d/gate.ini:3:17: bad value "at-night" for stream-enable; allowed: true, false, on-demand (also yes, no, on, off)
streams.d/gate.ini:4:17: bad value "hidden" for stream-access; allowed: public, protected, private
streams.d/gate.ini:5:16: bad value "hls, dash" for stream-proto: "dash": unknown word; allowed: hls, mp4, rtsp, webrtc
streams.d/gate.ini:7:16: bad value "mon 8-18 event" for dvr-schedule: "8" is no time of day (at character 5 of the schedule); write for example 08:00-18:00
streams.d/gate.ini:8:1: key "backfill" in [gate]: not in this version; remove it`},
		{"another server's", "gate", "[gate]\n" + url + "stream-proto = mse, mp4\nstream-tracks = video, application\ncamera-uid = 17\ndvr-archive = /media/a\nreconnect-invalid = 5",
			`streams.d/gate.ini:3:1: stream-proto = mse has a meaning with aipix = on alone; write aipix = on if this file was made for another server, or remove it
streams.d/gate.ini:4:1: stream-tracks = application has a meaning with aipix = on alone; write aipix = on if this file was made for another server, or remove it
streams.d/gate.ini:5:1: camera-uid has a meaning with aipix = on alone; write aipix = on if this file was made for another server, or remove it
streams.d/gate.ini:6:1: dvr-archive has a meaning with aipix = on alone; write aipix = on if this file was made for another server, or remove it
streams.d/gate.ini:7:1: warning: key "reconnect-invalid" has no effect: how soon a source that refuses is tried again say reconnect-timeout and reconnect-interval`},
		{"cluster", "gate", "[gate]\n" + url + "primary-node = a\nsecondary-node = b\nstandby = hot", `streams.d/gate.ini:3:1: warning: key "primary-node" has no effect: the cluster is off; this node captures the stream
streams.d/gate.ini:4:1: warning: key "secondary-node" has no effect: the cluster is off; this node captures the stream
streams.d/gate.ini:5:1: warning: key "standby" has no effect: the cluster is off; this node captures the stream`},
		{"template", "gate", "[gate]\n" + url + "stream-template = shpo", `streams.d/gate.ini:1:1: there is no template "shpo"; did you mean "shop"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t, "streams.d/"+c.file+".ini", c.text, "streams.d/good.ini", "[good]\n"+url, "streams.d/_shop.ini", "[shop]\n")
			s, got := p.load()
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if s.Streams["good"] == nil || !s.Usable() {
				t.Error("another stream was disturbed")
			}
			if bad := strings.Contains(c.want, ".ini:") && !strings.Contains(c.want, "warning"); bad && (s.Streams[c.file] != nil || len(s.Refused[c.file]) == 0) {
				t.Error("the stream is not refused")
			}
		})
	}
}

// TestReload walks one server through what happens to its files in a day.
func TestReload(t *testing.T) {
	p := newPlace(t,
		"streams.d/_defaults.ini", "[defaults]\nread-timeout = 7s\n",
		"streams.d/a.ini", "[a]\nstream-url = sim://\n", "streams.d/b.ini", "[b]\nstream-url = sim://\n")
	started := p.good()
	s := started
	step := func(what, wantProblems string, want Changes) {
		t.Helper()
		next, problems := p.next(s)
		if problems != wantProblems {
			t.Errorf("%s: got\n%s\nwant\n%s", what, problems, wantProblems)
		}
		got := Diff(s, next)
		for _, l := range []struct {
			name      string
			got, want []string
		}{{"added", got.Added, want.Added}, {"removed", got.Removed, want.Removed}, {"restart", got.Restart, want.Restart}, {"live", got.Live, want.Live}} {
			if !slices.Equal(l.got, l.want) {
				t.Errorf("%s: %s %v, want %v", what, l.name, l.got, l.want)
			}
		}
		s = next
	}
	step("nothing", "", Changes{})
	p.write("streams.d/c.ini", "[c]\nstream-url = sim://\n")
	step("a file dropped in", "", Changes{Added: []string{"c"}})
	p.write("streams.d/a.ini", "# new comment\n[a]\nstream-url = \"sim://\"\nstream-name = A\n")
	step("a title", "", Changes{Live: []string{"a"}})
	p.write("streams.d/a.ini", "[a]\nstream-url = sim://?fps=1\nstream-name = A\n")
	step("a url", "", Changes{Restart: []string{"a"}})
	p.write("streams.d/a.ini", "[a]\nstream-url = sim://?fps=2\nstream-nam = A\n")
	step("a slip", `streams.d/a.ini:3:1: unknown key "stream-nam" in [a]; did you mean "stream-name"?`, Changes{})
	if a := s.Streams["a"]; !a.Stale || a.Config.URL != "sim://?fps=1" || s.Refused["a"] == nil {
		t.Errorf("the last good settings are not in force: %+v", a)
	}
	step("the slip again", `streams.d/a.ini:3:1: unknown key "stream-nam" in [a]; did you mean "stream-name"?`, Changes{})
	p.write("streams.d/_defaults.ini", "[defaults]\nread-timeout = 7\n")
	step("a slip in the defaults", `streams.d/_defaults.ini:2:16: bad value "7" for read-timeout: a duration needs a unit; write for example 500ms, 10s, 2m, 12h, 10d or 4w`+"\n"+
		`streams.d/a.ini:3:1: unknown key "stream-nam" in [a]; did you mean "stream-name"?`, Changes{})
	p.write("streams.d/a.ini", "[a]\nstream-url = sim://?fps=2\n")
	p.write("streams.d/d.ini", "[d]\nstream-url = sim://\n")
	step("files come in over refused defaults", `streams.d/_defaults.ini:2:16: bad value "7" for read-timeout: a duration needs a unit; write for example 500ms, 10s, 2m, 12h, 10d or 4w`, Changes{Added: []string{"d"}, Restart: []string{"a"}})
	if s.Streams["d"].Config.ReadTimeout != 7*time.Second {
		t.Error("a new stream does not have the last good defaults")
	}
	p.write("streams.d/_defaults.ini", "[defaults]\nread-timeout = 8s\n")
	p.write("streams.d/d.ini", "[d]\nstream-url = sim://\nread-timeout = 7s\n")
	step("defaults restart only whom they touch", "", Changes{Restart: []string{"a", "b", "c"}})
	p.write("streams.d/A.ini", "[A]\nstream-url = sim://\n")
	step("an id in another case", `streams.d/A.ini: the ids "A" and "a" differ in upper and lower case only; rename one of the files`, Changes{})
	p.remove("streams.d/A.ini")
	p.remove("streams.d/b.ini")
	step("a file removed", "", Changes{Removed: []string{"b"}})
	p.write("media-server.ini", plain+"[log]\nlevel = debug\n[http]\nlisten = :1\n")
	step("server keys", "", Changes{})
	if s.Log.Level != "debug" || len(Pending(started, s)) != 1 || Pending(started, s)[0].Key != "listen" {
		t.Errorf("%+v", Diff(started, s))
	}
	p.write("media-server.ini", plain+"[htp]\n")
	p.write("streams.d/e.ini", "[e]\nstream-url = sim://\n")
	step("a refused server file", `media-server.ini:4:1: unknown section [htp]; did you mean "http"?`, Changes{Added: []string{"e"}})
	if s.Log.Level != "debug" || !s.Usable() {
		t.Error("the last good server settings are not in force")
	}
	p.write("media-server.ini", plain)
	if err := os.Rename(p.dir+"/streams.d", p.dir+"/gone"); err != nil {
		t.Fatal(err)
	}
	step("no folder is no order to stop", "streams.d: the streams' folder cannot be read: open streams.d: no such file or directory; make it, or set [server] streams-dir", Changes{})
	if len(Diff(started, s).Streams) == 0 || len(s.Streams) != 4 {
		t.Errorf("%v", s.UIDs())
	}
}

func TestFirstLoadWithBadDefaults(t *testing.T) {
	p := newPlace(t, "streams.d/_defaults.ini", "[defaults]\nx = 1\n", "streams.d/a.ini", "[a]\nstream-url = sim://\n")
	s, got := p.load()
	if want := "streams.d/_defaults.ini:2:1: unknown key \"x\" in [defaults]\nstreams.d/a.ini:1:1: _defaults.ini applies to [a] and is refused; its problems are listed apart"; got != want || len(s.Streams) != 0 {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCheckAndShow(t *testing.T) {
	p := newPlace(t, "streams.d/gate.ini", "[gate]\nstream-url = rtsp://u:p@h/1\ndriver-password = p\nlabels = a\n")
	s, ps := Load(p.dir + "/media-server.ini")
	for _, c := range []struct {
		json bool
		want string
	}{{false, "settings are good: 1 stream\n"}, {true, "{\n  \"ok\": true,\n  \"streams\": [\n    \"gate\"\n  ],\n  \"problems\": []\n}\n"}} {
		var out strings.Builder
		if exit, err := PrintCheck(&out, s, ps, c.json); exit != ExitOK || err != nil || out.String() != c.want {
			t.Errorf("%d %v\n%s", exit, err, out.String())
		}
	}
	keys, err := s.Show("gate", false)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := PrintKeys(&out, keys, false); err != nil {
		t.Fatal(err)
	}
	want := "[gate]\nstream-url = rtsp://u:***@h/1  ; streams.d/gate.ini:2\nlabels = a                     ; streams.d/gate.ini:4\ndriver-password = ***          ; streams.d/gate.ini:3\n"
	if got := strings.ReplaceAll(out.String(), p.dir+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out.Reset()
	keys, _ = s.Show("", true)
	if err := PrintKeys(&out, keys, false); err != nil {
		t.Fatal(err)
	}
	if f, ps := config.Parse("shown", []byte(out.String())); ps != nil || f.Block("limits").Entry("write-buffer") == nil || f.Block("limits").Entry("viewers") == nil {
		t.Errorf("what is shown does not read back: %v", ps)
	}
	if _, err := s.Show("gaet", true); err == nil || err.Error() != `there is no stream "gaet"; did you mean "gate"?` {
		t.Error(err)
	}
	p.write("streams.d/gate.ini", "[gate]\nx = 1\n")
	s, ps = Load(p.dir + "/media-server.ini")
	out.Reset()
	if exit, _ := PrintCheck(&out, s, ps, false); exit != ExitConfig || !strings.Contains(out.String(), "1 error, 0 warnings\n") {
		t.Errorf("%d %s", exit, out.String())
	}
}

func TestUnknownDrivers(t *testing.T) {
	p := newPlace(t, "streams.d/a.ini", "[a]\nstream-url = sim://\n", "streams.d/b.ini", "[b]\nstream-url = rtps://h/\n",
		"streams.d/c.ini", "[c]\nstream-url = sim://\nstream-driver = mine\n", "streams.d/d.ini", "[d]\nstream-url = x://h\nstream-enable = no\n")
	want := "streams.d/b.ini:2:1: warning: no driver takes rtps://; did you mean \"rtsp\"?\nstreams.d/c.ini:3:1: warning: there is no driver \"mine\"; install its plugin in [server] plugins-dir"
	if got := p.text(p.good().UnknownDrivers([]string{"rtsp", "rtsps", "sim"})); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// BenchmarkLoad is a reload of a large installation.
func BenchmarkLoad(b *testing.B) {
	src := memory{"/x/media-server.ini": plain, "/x/streams.d/_defaults.ini": "[defaults]\nstream-access = private\n"}
	for i := range 1000 {
		uid := fmt.Sprintf("cam%d", i)
		src["/x/streams.d/"+uid+".ini"] = "[" + uid + "]\nstream-name = Gate\nstream-url = rtsp://u:p#ss@h/1 ; north\ndvr-duration = 30d\nlabels = a, b\n"
	}
	b.ReportAllocs()
	for b.Loop() {
		if s, ps := LoadFrom(src, "/x/media-server.ini", nil); ps != nil || len(s.Streams) != 1000 {
			b.Fatal(ps)
		}
	}
}

func TestDefaultPoolWithSpaces(t *testing.T) {
	p := newPlace(t)
	p.write("media-server.ini", plain+"[space.a]\npath = /a\nfsync = off\nsize-limit = 80%\n[space.b]\npath = b\n")
	s := p.good()
	pool, ok := s.Archive.Pool(archive.DefaultPool)
	if !ok || !slices.Equal(pool.Spaces, []string{"a", "b"}) || s.Archive.Spaces[0].Fsync != archive.FsyncOff || s.Archive.Spaces[0].SizeLimit.Percent != 80 || s.Archive.Spaces[1].Path != p.dir+"/b" {
		t.Errorf("%+v", s.Archive)
	}
}

// FuzzStreamFile: no stream file, whatever it holds, panics, hides another
// stream, or tells a password.
func FuzzStreamFile(f *testing.F) {
	f.Add("[gate]\nstream-url = rtsp://u:hunter2@h/1\ndvr-chunk = 2m\n")
	f.Add("[gate]\nstream-url = ${file:/dev/zero}\ndriver-password = hunter2\nstream-template = shop\n[b]\n")
	f.Add("[gate]\nstream-access = rtsp://u:hunter2@h/\napplication = ../x\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		src := memory{dir + "/media-server.ini": plain, dir + "/streams.d/gate.ini": text, dir + "/streams.d/good.ini": "[good]\nstream-url = sim://\n"}
		s, ps := LoadFrom(src, dir+"/media-server.ini", nil)
		if s.Streams["good"] == nil {
			t.Fatal(ps)
		}
		if strings.Contains(text, "://u:hunter2@") && strings.Count(text, "hunter2") == 1 && strings.Contains(ps.Error(), "hunter2") {
			t.Fatalf("a password is told: %v", ps)
		}
	})
}

// memory is a Source without a disk.
type memory map[string]string

func (m memory) ReadFile(path string) ([]byte, error) {
	if text, ok := m[path]; ok {
		return []byte(text), nil
	}
	return nil, os.ErrNotExist
}

func (m memory) ReadDir(dir string) ([]string, error) {
	var names []string
	for path := range m {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	if names == nil {
		return nil, os.ErrNotExist
	}
	slices.Sort(names)
	return names, nil
}

// A stream goes on when its file is emptied, by a full disk for example, and
// ends when the file is removed.
func TestEmptiedFile(t *testing.T) {
	p := newPlace(t, "streams.d/a.ini", "[a]\nstream-url = sim://\n")
	s := p.good()
	p.write("streams.d/a.ini", "")
	s, got := p.next(s)
	if want := "streams.d/a.ini: the file is empty; stream a goes on as it was; write [a] and its keys, or remove the file"; got != want || !s.Streams["a"].Stale {
		t.Errorf("got %s", got)
	}
	p.remove("streams.d/a.ini")
	if s, got = p.next(s); got != "" || s.Streams["a"] != nil {
		t.Errorf("removed: %s", got)
	}
}

// TestManyPoolsOverFewSpaces: pools may share spaces.
func TestManyPoolsOverFewSpaces(t *testing.T) {
	p := newPlace(t)
	text := "[space.a]\npath = /a\n[space.b]\npath = /b\n[space.c]\npath = /c\n"
	for i := range 20 {
		text += fmt.Sprintf("[pool.p%d]\nspaces = a, b, c\ndays = %dd\n", i, i+1)
	}
	p.write("media-server.ini", plain+text)
	s, ps := p.load()
	if !s.Usable() || len(s.Archive.Pools) != 20 || ps != "" {
		t.Errorf("%v %d pools", ps, len(s.Archive.Pools))
	}
}
