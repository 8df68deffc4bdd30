package ledger

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4"

	"media-server/core/media"
	"media-server/plugins/sim/camera"
)

// take is what one simulated camera sent in 12 s of simulated time.
type take struct {
	tracks []media.Track
	units  []media.AccessUnit
	ledger string
	start  time.Time
}

func (t *take) Write(u media.AccessUnit) error { t.units = append(t.units, u); return nil }
func (t *take) Count(camera.Network)           {}

func record(t *testing.T, query string) *take {
	t.Helper()
	k := &take{ledger: filepath.Join(t.TempDir(), "sent.csv")}
	synctest.Test(t, func(t *testing.T) {
		e := camera.New()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = e.Run(ctx) }()
		defer func() { cancel(); <-done }()
		set, problems := camera.Parse("sim://gate?"+query, "", map[string]string{"ledger": k.ledger})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		k.start = time.Now()
		l, err := e.Connect("gate", set, func(media.Kind) bool { return true }, 0)
		if err != nil {
			t.Fatal(err)
		}
		k.tracks = l.Tracks
		l.Start(k)
		time.Sleep(12 * time.Second)
		synctest.Wait()
	})
	return k
}

// fragments writes an init and, for each key frame of video (or each second of
// sound), a fragment; shift moves the n-th unit of video in time.
func (k *take) fragments(t *testing.T, shift func(n int) time.Duration) (init []byte, parts [][]byte, starts []time.Duration) {
	t.Helper()
	var in fmp4.Init
	for _, tr := range k.tracks {
		it := &fmp4.InitTrack{ID: tr.ID, TimeScale: tr.Timescale}
		switch tr.Codec {
		case media.H264:
			it.Codec = &mp4.CodecH264{SPS: tr.SPS, PPS: tr.PPS}
		case media.H265:
			it.Codec = &mp4.CodecH265{VPS: tr.VPS, SPS: tr.SPS, PPS: tr.PPS}
		case media.MJPEG:
			it.Codec = &mp4.CodecMJPEG{Width: tr.Width, Height: tr.Height}
		case media.AAC:
			c := &mp4.CodecMPEG4Audio{}
			var cfg mpeg4audio.AudioSpecificConfig
			if err := cfg.Unmarshal(tr.Config); err != nil {
				t.Fatal(err)
			}
			c.Config = cfg
			it.Codec = c
		case media.Opus:
			it.Codec = &mp4.CodecOpus{ChannelCount: tr.Channels}
		}
		in.Tracks = append(in.Tracks, it)
	}
	var b seekablebuffer.Buffer
	if err := in.Marshal(&b); err != nil {
		t.Fatal(err)
	}
	var cur []media.AccessUnit
	flush := func() {
		if len(cur) == 0 {
			return
		}
		p, start := k.part(t, cur, uint32(len(parts)), shift)
		parts, starts = append(parts, p), append(starts, start)
		cur = nil
	}
	video := k.tracks[0].Kind() == media.Video
	for i, u := range k.units {
		if video && u.Track == 1 && u.Key && k.tracks[0].Codec != media.MJPEG || !video && i%47 == 0 || k.tracks[0].Codec == media.MJPEG && i%60 == 0 {
			flush()
		}
		cur = append(cur, u)
	}
	flush()
	return b.Bytes(), parts, starts
}

// when turns PTS into time since the take began, by the first unit's token.
func (k *take) when(track int, pts int64) time.Duration {
	for _, u := range k.units {
		if u.Track == track {
			tok := tokens(u.Payload)[0]
			zero := time.Unix(0, tok.time).Sub(k.start)
			return zero + media.DurationOf(pts-u.PTS, k.tracks[track-1].Timescale) + time.Minute
		}
	}
	return 0
}

func (k *take) part(t *testing.T, units []media.AccessUnit, seq uint32, shift func(int) time.Duration) ([]byte, time.Duration) {
	t.Helper()
	p := fmp4.Part{SequenceNumber: seq}
	first := time.Duration(-1)
	for _, tr := range k.tracks {
		pt := &fmp4.PartTrack{ID: tr.ID}
		var last int64
		for _, u := range units {
			if u.Track != tr.ID {
				continue
			}
			ticks := func(v int64) int64 { return media.TicksOf(k.when(tr.ID, v), tr.Timescale) }
			d, at := ticks(u.DTS), ticks(u.PTS)
			if shift != nil && tr.ID == 1 {
				at += media.TicksOf(shift(int(tokens(u.Payload)[0].number)), tr.Timescale)
			}
			if len(pt.Samples) == 0 {
				pt.BaseTime = uint64(d)
			} else {
				pt.Samples[len(pt.Samples)-1].Duration = uint32(d - last)
			}
			last = d
			pt.Samples = append(pt.Samples, &fmp4.Sample{PTSOffset: int32(at - d), Duration: tr.Timescale / 25, IsNonSyncSample: !u.Key, Payload: u.Payload})
			if tr.ID == 1 && (first < 0 || k.when(1, u.PTS) < first) {
				first = k.when(1, u.PTS)
			}
		}
		if len(pt.Samples) > 0 {
			p.Tracks = append(p.Tracks, pt)
		}
	}
	var b seekablebuffer.Buffer
	if err := p.Marshal(&b); err != nil {
		t.Fatal(err)
	}
	if first < 0 { // sound alone
		first = k.when(units[0].Track, units[0].PTS)
	}
	return b.Bytes(), first
}

// file joins everything; its time zero is a minute before the take began.
func (k *take) file(t *testing.T, shift func(int) time.Duration) *Media {
	t.Helper()
	needFFprobe(t)
	init, parts, _ := k.fragments(t, shift)
	path := filepath.Join(t.TempDir(), "a.mp4")
	if err := os.WriteFile(path, slices.Concat(init, slices.Concat(parts...)), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := ReadFile(context.Background(), path, k.start.Add(-time.Minute).UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func needFFprobe(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Fatal("needs the Debian package ffmpeg")
	}
}

func (k *take) sent(t *testing.T) Sent {
	t.Helper()
	s, err := ReadSent(k.ledger)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var strict = Rules{Head: -1, Tail: -1}

func text(r *Report) string {
	var b bytes.Buffer
	r.Write(&b)
	return b.String()
}

func TestTrueRecordings(t *testing.T) {
	for _, query := range []string{"", "codec=h265&audio=opus", "codec=mjpeg&audio=opus", "codec=none", "bitrate=2M", "gop=30s"} {
		t.Run(query, func(t *testing.T) {
			k := record(t, query)
			r := Compare(k.sent(t), k.file(t, nil), strict)
			if r.Failures() > 0 || r.Unnamed > 0 {
				t.Error(text(r))
			}
			for _, tr := range r.Tracks {
				if tr.Present != tr.Sent || tr.Sent < 50 || tr.Timed != tr.Sent || tr.Error.Max > 2*time.Millisecond {
					t.Error(text(r))
				}
			}
		})
	}
}

// TestMutants: each way of being wrong must be seen, and only as what it is.
func TestMutants(t *testing.T) {
	k := record(t, "")
	sent := k.sent(t)
	video := func(n int) int { // index of the n-th unit of video
		for i, u := range k.units {
			if u.Track == 1 {
				if n--; n < 0 {
					return i
				}
			}
		}
		t.Fatal("too few")
		return 0
	}
	whole := k.units
	for _, tc := range []struct {
		name   string
		mutate func()
		shift  func(int) time.Duration
		want   func(v *Track) bool
	}{
		{"one dropped", func() { k.units = slices.Delete(k.units, video(130), video(130)+1) }, nil,
			func(v *Track) bool { return v.Lost == 1 && len(v.Missing) == 1 && v.Failures() == 1 }},
		{"a row dropped", func() {
			from := video(100)
			k.units = slices.DeleteFunc(slices.Clone(k.units), func(u media.AccessUnit) bool {
				n := tokens(u.Payload)[0].number
				return u.Track == 1 && n >= tokens(whole[from].Payload)[0].number && n < tokens(whole[from].Payload)[0].number+10
			})
		}, nil, func(v *Track) bool { return v.Lost == 10 && len(v.Missing) == 1 && v.Missing[0].Count == 10 }},
		{"the last dropped", func() { k.units = k.units[:video(260)] }, nil,
			func(v *Track) bool { return v.Lost > 10 }},
		{"one twice", func() { i := video(60); k.units = slices.Insert(slices.Clone(k.units), i, k.units[i]) }, nil,
			func(v *Track) bool { return v.Doubled == 1 && v.Lost == 0 }},
		{"two swapped", func() {
			k.units = slices.Clone(k.units)
			i, j := video(51), video(52)
			k.units[i].Payload, k.units[j].Payload = k.units[j].Payload, k.units[i].Payload
		}, nil, func(v *Track) bool { return v.Disorder == 1 && v.Lost == 0 && v.Doubled == 0 }},
		{"shifted by 80 ms", func() {}, func(n int) time.Duration { return 80 * time.Millisecond },
			func(v *Track) bool { return v.Misplaced == v.Sent && v.Lost == 0 }},
		{"one shifted", func() {}, func(n int) time.Duration {
			if n == 77 {
				return 60 * time.Millisecond
			}
			return 0
		}, func(v *Track) bool { return v.Misplaced == 1 && v.Failures() == 1 }},
		{"one invented", func() {
			i := video(40)
			b := bytes.Replace(k.units[i].Payload, []byte("gate:v:"), []byte("gate:v:9"), 1)
			k.units = slices.Clone(k.units)
			k.units[i].Payload = b[:len(b)-1]
		}, nil, func(v *Track) bool { return v.Unsent == 1 && v.Lost == 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k.units = slices.Clone(whole)
			tc.mutate()
			r := Compare(sent, k.file(t, tc.shift), strict)
			a, v := r.Tracks[0], r.Tracks[1]
			if !tc.want(v) || r.Failures() == 0 {
				t.Error(text(r))
			}
			if tc.name != "the last dropped" && a.Failures() > 0 {
				t.Errorf("sound is blamed too:\n%s", text(r))
			}
		})
	}
	k.units = whole
}

// compareCase builds a small ledger: video each 40 ms, key each 10, from 1 s.
func compareCase() (Sent, *Media) {
	s, m := Sent{}, &Media{}
	v, a := ID{"c", 'v'}, ID{"c", 'a'}
	for n := range 500 {
		at := int64(time.Second) + int64(n)*int64(40*time.Millisecond)
		s[v] = append(s[v], Unit{Number: uint64(n), Time: at, Key: n%10 == 0})
		s[a] = append(s[a], Unit{Number: uint64(n), Time: at + 1, Key: true})
		m.Found = append(m.Found, Found{ID: v, Number: uint64(n), Token: at, Shown: at}, Found{ID: a, Number: uint64(n), Token: at + 1, Shown: at + 1})
	}
	return s, m
}

func without(m *Media, drop func(Found) bool) *Media {
	return &Media{Found: slices.DeleteFunc(slices.Clone(m.Found), drop)}
}

func TestClasses(t *testing.T) {
	at := func(n int) int64 { return int64(time.Second) + int64(n)*int64(40*time.Millisecond) }
	sent, m := compareCase()
	cut := func(from, to int) *Media {
		return without(m, func(f Found) bool { return f.Number >= uint64(from) && f.Number < uint64(to) })
	}
	gap := map[string][]Gap{"c": {{at(100), at(123), "camera_lost"}}}
	for _, tc := range []struct {
		name                            string
		media                           *Media
		rules                           Rules
		lost, inGaps, beforeKey, hd, tl int
	}{
		{"nothing missing", m, strict, 0, 0, 0, 0, 0},
		{"not reported", cut(100, 130), strict, 30, 0, 0, 0, 0},
		{"reported, then waiting for the key frame at 130", cut(100, 130), Rules{Gaps: gap, GapSlack: -1}, 0, 23, 7, 0, 0},
		{"key frame missed too", cut(100, 140), Rules{Gaps: gap, GapSlack: -1}, 10, 23, 7, 0, 0},
		{"slack", cut(98, 130), Rules{Gaps: gap, GapSlack: 80 * time.Millisecond}, 0, 27, 5, 0, 0},
		{"of another camera", cut(100, 130), Rules{Gaps: map[string][]Gap{"d": gap["c"]}}, 30, 0, 0, 0, 0},
		{"missing elsewhere", cut(200, 201), Rules{Gaps: gap}, 1, 0, 0, 0, 0},
		{"head", cut(0, 50), Rules{}, 0, 0, 0, 50, 0},
		{"head too long", cut(0, 80), Rules{}, 5, 0, 0, 75, 0},
		{"tail", cut(450, 500), Rules{}, 0, 0, 0, 0, 50},
		{"all", cut(0, 500), strict, 500, 0, 0, 0, 0},
		{"out of bounds", cut(0, 100), Rules{From: at(100), To: at(300), Head: -1, Tail: -1}, 0, 0, 0, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := Compare(sent, tc.media, tc.rules)
			v := r.Tracks[1]
			if v.Lost != tc.lost || v.InGaps != tc.inGaps || v.BeforeKey != tc.beforeKey || v.Head != tc.hd || v.Tail != tc.tl {
				t.Error(text(r))
			}
			if fails := r.Failures() > 0; fails != (tc.lost > 0) {
				t.Error(text(r))
			}
		})
	}
	r := Compare(sent, without(m, func(f Found) bool { return f.ID.Track == 'a' }), Rules{Ignore: func(id ID) bool { return id.Track == 'a' }})
	if r.Failures() > 0 || len(r.Tracks) != 1 {
		t.Error(text(r))
	}
	if r := Compare(Sent{}, &Media{}, Rules{}); r.Failures() == 0 {
		t.Error("a report about nothing is taken for a good one")
	}
}

func TestHLS(t *testing.T) {
	needFFprobe(t)
	k := record(t, "")
	init, parts, starts := k.fragments(t, nil)
	zero := k.start.Add(-time.Minute)
	var late time.Duration
	var hole int
	mux := http.NewServeMux()
	mux.HandleFunc("/live.m3u8", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmedia.m3u8?t=1\n#EXT-X-STREAM-INF:BANDWIDTH=2\nother.m3u8\n")
	})
	mux.HandleFunc("/media.m3u8", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\""+fmt.Sprint(len(init))+"@0\"\n")
		at := len(init)
		for i, p := range parts {
			date := zero.Add(starts[i])
			if i >= 6 {
				date = date.Add(late)
			}
			if i == 4 {
				fmt.Fprint(w, "#EXT-X-DISCONTINUITY\n")
			}
			if hole == i && i > 0 {
				fmt.Fprint(w, "#EXT-X-GAP\n")
			}
			fmt.Fprintf(w, "#EXT-X-PROGRAM-DATE-TIME:%s\n#EXT-X-BYTERANGE:%d@%d\n#EXTINF:1,\nall.mp4\n", date.UTC().Format("2006-01-02T15:04:05.000Z"), len(p), at)
			at += len(p)
		}
	})
	mux.HandleFunc("/all.mp4", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "all.mp4", time.Time{}, bytes.NewReader(slices.Concat(init, slices.Concat(parts...))))
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	read := func() *Report {
		m, err := Read(context.Background(), Source{URL: srv.URL + "/live.m3u8", Client: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		return Compare(k.sent(t), m, strict)
	}
	if r := read(); r.Failures() > 0 || r.Tracks[1].Timed != r.Tracks[1].Sent {
		t.Error(text(r))
	}
	late = 80 * time.Millisecond
	if r := read(); r.Tracks[1].Misplaced < 100 || r.Tracks[1].Lost > 0 {
		t.Errorf("segments 80 ms off:\n%s", text(r))
	}
	late, hole = 0, 5
	if r := read(); r.Tracks[1].Lost < 20 || r.Tracks[1].Misplaced > 0 {
		t.Errorf("a segment missing:\n%s", text(r))
	}
}

// TestStartOfFile: a file's start comes with the answer that brings it.
func TestStartOfFile(t *testing.T) {
	needFFprobe(t)
	k := record(t, "")
	init, parts, _ := k.fragments(t, nil)
	zero := float64(k.start.Add(-time.Minute).UnixNano()) / 1e6
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer x" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Media-Start", fmt.Sprintf("%.3f", zero))
		_, _ = w.Write(slices.Concat(init, slices.Concat(parts...)))
	}))
	defer srv.Close()
	s := Source{URL: srv.URL + "/record.mp4?from=1", Client: srv.Client()}
	if _, err := Read(context.Background(), s); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("%v", err)
	}
	s.Header = http.Header{"Authorization": {"Bearer x"}}
	m, err := Read(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r := Compare(k.sent(t), m, strict); r.Failures() > 0 || r.Tracks[1].Timed < 100 {
		t.Error(text(r))
	}
}

// TestG711: readers cut PCM as they like, across tokens too.
func TestG711(t *testing.T) {
	needFFprobe(t)
	k := record(t, "codec=none&audio=pcma")
	var all bytes.Buffer
	for _, u := range k.units {
		all.Write(u.Payload)
	}
	path := filepath.Join(t.TempDir(), "a.mov")
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "alaw", "-ar", "8000", "-ac", "1", "-i", "-", "-c", "copy", path)
	cmd.Stdin = &all
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	m, err := ReadFile(context.Background(), path, tokens(k.units[0].Payload)[0].time)
	if err != nil {
		t.Fatal(err)
	}
	r := Compare(k.sent(t), m, strict)
	if r.Failures() > 0 || r.Tracks[0].Error.Max > time.Millisecond {
		t.Error(text(r))
	}
}

func TestHashes(t *testing.T) {
	id := ID{"c", 'v'}
	sent := Sent{id: {{Number: 1, Time: 5, SHA1: "aa"}, {Number: 2, Time: 6, SHA1: "bb"}}}
	r := Compare(sent, &Media{Unnamed: 3, Hashed: []Found{{SHA1: "aa"}, {SHA1: "bb"}, {SHA1: "cc"}}}, strict)
	if r.Failures() > 0 || r.Unnamed != 1 || r.Tracks[0].Present != 2 {
		t.Error(text(r))
	}
}

func TestReadSent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.csv")
	if err := os.WriteFile(path, []byte("c,v,2,7,0,9,\nc,v,1,5,1,9,ab\n\nc,v,3,8"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSent(path)
	u := s[ID{"c", 'v'}]
	if err != nil || len(u) != 2 || u[0] != (Unit{1, 5, true, 9, "ab"}) || u[1].Number != 2 {
		t.Errorf("%v %v", s, err)
	}
	gaps, err := ReadGaps(strings.NewReader(`{"gaps":[{"from":1000,"to":2000.5,"state":"open","why":"driver"}]}`))
	if err != nil || len(gaps) != 1 || gaps[0] != (Gap{1e9, 20005e5, "driver"}) {
		t.Errorf("%v %v", gaps, err)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte("xMSL1:gate:v:1:2;MSL1:gate:v:1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range tokens(b) {
			if k.offset < 0 || k.offset >= len(b) {
				t.Fatal(k)
			}
		}
		// A stream cut anywhere gives the tokens of the whole.
		if n := len(tokens(b)); n > 0 {
			cut := len(b) / 2
			head := b[:cut]
			open := openTail(head)
			got := len(tokens(head)) + len(tokens(append(slices.Clone(head[cut-open:]), b[cut:]...)))
			if got != n && bytes.Count(b, tokenStart) == n {
				t.Fatalf("%d tokens, %d when cut at %d: %q", n, got, cut, b)
			}
		}
	})
}

func FuzzPlaylist(f *testing.F) {
	f.Add("#EXTM3U\n#EXT-X-MAP:URI=\"i\",BYTERANGE=\"5@0\"\n#EXTINF:1,\n#EXT-X-BYTERANGE:5\ns\n")
	f.Fuzz(func(t *testing.T, s string) { _, _, _ = parsePlaylist(s) })
}
