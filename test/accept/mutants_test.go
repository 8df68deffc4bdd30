package accept

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// TestMutants breaks what the server gives, in ways a broken server would, and
// demands that the ledger sees each.
func TestMutants(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	c := harness.Camera{UID: "gate", Sent: s.Sim("gate", "", "dvr-chunk = 3s")}
	s.Start()
	footage(s, "gate")
	time.Sleep(4 * time.Second)
	s.Kill()
	at := time.Now().UnixNano()
	s.Start()
	s.Past(at/1e6+4000, "gate")
	c.Rules.To, c.Rules.Tail, c.Rules.Gaps = s.Close("gate"), -1, map[string][]ledger.Gap{}
	if r := s.Account(c); r.Failures() > 0 {
		s.Judge("before anything is broken", r)
		return
	}
	sent, err := ledger.ReadSent(c.Sent)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := s.Read(context.Background(), "gate", "mp4")
	if err != nil {
		t.Fatal(err)
	}
	caught := 0
	check := func(name string, m *ledger.Media, what func(*ledger.Track) int) {
		n := 0
		for _, tr := range ledger.Compare(sent, m, c.Rules).Tracks {
			n += what(tr)
		}
		if n == 0 {
			t.Errorf("%s: nobody noticed", name)
			return
		}
		caught++
	}
	lost := func(x *ledger.Track) int { return x.Lost }
	video := func(f ledger.Found) bool { return f.ID.Track == 'v' }
	// edit changes a copy of the pictures found, and leaves sound as it is.
	edit := func(change func([]ledger.Found) []ledger.Found) *ledger.Media {
		var v, rest []ledger.Found
		for _, f := range whole.Found {
			if video(f) {
				v = append(v, f)
			} else {
				rest = append(rest, f)
			}
		}
		return &ledger.Media{Found: append(change(v), rest...), Packets: whole.Packets}
	}
	middle := func(v []ledger.Found) int { return len(v) / 2 }
	check("drop one in 1000", edit(func(v []ledger.Found) []ledger.Found { return slices.Delete(v, middle(v), middle(v)+1) }), lost)
	check("swap two parts", edit(func(v []ledger.Found) []ledger.Found {
		k := middle(v)
		return slices.Concat(v[:k], v[k+12:k+24], v[k:k+12], v[k+24:])
	}), func(x *ledger.Track) int { return x.Disorder })
	check("store a part twice", edit(func(v []ledger.Found) []ledger.Found {
		return slices.Concat(v[:middle(v)], v[middle(v)-12:])
	}), func(x *ledger.Track) int { return x.Doubled })
	check("resume one late", edit(func(v []ledger.Found) []ledger.Found {
		k := slices.IndexFunc(v, func(f ledger.Found) bool { return f.Token > at })
		return slices.Delete(v, k, k+1)
	}), lost)
	check("60 ms late", edit(func(v []ledger.Found) []ledger.Found {
		v = slices.Clone(v)
		for i := range v {
			v[i].Shown += int64(60 * time.Millisecond)
		}
		return v
	}), func(x *ledger.Track) int { return x.Misplaced })
	check("never re-join", edit(func(v []ledger.Found) []ledger.Found {
		return slices.DeleteFunc(v, func(f ledger.Found) bool { return f.Token > at })
	}), lost)
	for _, m := range doorMutants {
		got, err := through(s, "gate", m.change)
		if err != nil {
			caught++ // an answer that cannot be read is noticed too
			continue
		}
		check(m.name, got, m.seen)
	}
	harness.Row(t, "mutants", 0, "%d broken recordings, each noticed by the ledger", caught)
}

// doorMutants change the bytes between server and reader.
var doorMutants = []struct {
	name   string
	change func(path string, n int, body []byte) []byte // n counts segments
	seen   func(*ledger.Track) int
}{
	{"a segment's frames renamed away", func(path string, n int, b []byte) []byte {
		if n == 2 {
			return bytes.ReplaceAll(b, []byte("MSL1:"), []byte("XXXX:"))
		}
		return b
	}, func(t *ledger.Track) int { return t.Lost }},
	{"a segment served again instead of the next", func() func(string, int, []byte) []byte {
		var kept []byte
		return func(_ string, n int, b []byte) []byte {
			switch n {
			case 2:
				kept = b
			case 3:
				return kept
			}
			return b
		}
	}(), func(t *ledger.Track) int { return t.Lost + t.Doubled }},
	{"a playlist a second late", func(path string, _ int, b []byte) []byte {
		if !strings.HasSuffix(path, "media.m3u8") {
			return b
		}
		var out []string
		for l := range strings.SplitSeq(string(b), "\n") {
			if v, ok := strings.CutPrefix(l, "#EXT-X-PROGRAM-DATE-TIME:"); ok {
				if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
					l = "#EXT-X-PROGRAM-DATE-TIME:" + at.Add(time.Second).Format(time.RFC3339Nano)
				}
			}
			out = append(out, l)
		}
		return []byte(strings.Join(out, "\n"))
	}, func(t *ledger.Track) int { return t.Misplaced }},
}

// through reads a stream's HLS behind a proxy that changes it.
func through(s *harness.Server, uid string, change func(string, int, []byte) []byte) (*ledger.Media, error) {
	target, err := url.Parse(s.HTTP)
	if err != nil {
		return nil, err
	}
	proxy, n := httputil.NewSingleHostReverseProxy(target), 0
	proxy.ModifyResponse = func(r *http.Response) error {
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if strings.HasSuffix(r.Request.URL.Path, ".m4s") {
			n++
		}
		b = change(r.Request.URL.Path, n, b)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Set("Content-Length", fmt.Sprint(len(b)))
		return err
	}
	srv := httptest.NewServer(proxy)
	defer srv.Close()
	f := s.Footage(uid)
	return ledger.Read(context.Background(), ledger.Source{URL: fmt.Sprintf("%s/dvr/%s/playlist.m3u8?from=%d&to=%d", srv.URL, uid, f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To+1000)})
}

// TestMutantNoSync: a disk that is never told to sync loses more at a power cut
// than is allowed, and the scenario of TestPowerLoss sees it.
func TestMutantNoSync(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	for i := range 4 { // a cut may happen to keep everything
		x := powerCut(t, seed+uint64(i), rng, 4*time.Second, "off")
		if x.failures > 0 {
			harness.Row(t, "mutant: no sync", seed, "noticed: %d failures after %d power cuts", x.failures, i+1)
			return
		}
	}
	t.Error("nobody noticed that nothing was ever synced")
}

// acknowledgesEarly is a server that tells the driver to forget what has only
// been received, though it is recorded.
func acknowledgesEarly(t *testing.T) (core string) {
	t.Helper()
	const rule = "\tr := s.cur\n\tif s.dep.Recorder != nil && r.writer != nil && !r.started && !s.waitedLong(r) {"
	core, err := harness.Mutant(t.TempDir(), "core/stream/capture.go", rule,
		"\tif s.session != nil && s.cur != nil {\n\t\ts.session.Ack(s.cur.position())\n\t\treturn\n\t}\n"+rule)
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// killsOf kills a core at drawn instants, as often as it may or until frames
// are missing, and then together with a storage process that has not written for
// seconds. It counts what is missing after the one and after the other. No gap is
// allowed.
func killsOf(t *testing.T, rng *rand.Rand, core string, most int) (kills int, alone, both harness.Totals) {
	t.Helper()
	s := harness.New(t, harness.Options{Core: core, Restart: "1s", Linger: "60s"})
	cams := []harness.Camera{{UID: "gate", Sent: s.Sim("gate", "", "dvr-chunk = 3s")}, {UID: "yard", Sent: s.Sim("yard", "codec=h265&audio=pcma", "dvr-chunk = 2s")}}
	s.Start()
	footage(s, "gate", "yard")
	began := time.Now().UnixNano()
	goOn := func() {
		t.Helper()
		s.Past(time.Now().UnixMilli()+1500, "gate", "yard")
	}
	account := func(sum *harness.Totals, from, to int64) {
		t.Helper()
		for _, c := range cams {
			c.Rules = ledger.Rules{From: from, To: to, Tail: -1, Gaps: map[string][]ledger.Gap{}}
			sum.Add(s.Account(c))
		}
	}
	goOn()
	between := began
	for kills = 0; kills < most && alone.Lost == 0; kills++ {
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		s.Kill() // what is on its way to storage dies with it
		s.Start()
		goOn()
		goOn() // what is judged has been stored by now
		from := between
		between = time.Now().UnixNano() - int64(1500*time.Millisecond)
		account(&alone, from, between)
	}
	resume := s.Pause("local")
	t.Cleanup(resume)
	goOn() // received, and written by nobody
	s.Kill()
	s.KillPlugin("local")
	s.Start()
	goOn()
	account(&both, between, s.Close("gate", "yard"))
	return kills, alone, both
}

// TestMutantEarlyAck: a server that acknowledges frames before they are written
// loses them with its life, and the ledger sees it; the same kills of the real
// one lose nothing.
func TestMutantEarlyAck(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	if _, alone, both := killsOf(t, rng, "", harness.Pick(8, 1)); alone.Lost+both.Lost > 0 {
		t.Errorf("before anything is broken: %v; %v", alone, both)
	}
	kills, alone, both := killsOf(t, rng, acknowledgesEarly(t), 8) // one right after a write takes nothing
	if alone.Lost == 0 || both.Lost == 0 {
		t.Errorf("nobody noticed that frames were acknowledged before they were written: %v; %v", alone, both)
	}
	harness.Row(t, "mutant: acknowledges before it writes", seed, "noticed: %d frames lost by %d kills of the core, %d by one of core and storage that had stopped; the real server loses none by the same kills", alone.Lost, kills, both.Lost)
}
