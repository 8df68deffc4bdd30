package node

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	metricLine  = regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	sampleLine  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} (\S+)$`)
	labelAtHead = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)`)
)

// readPage reads a page of the Prometheus text format 0.0.4 more strictly than
// scrapers do: HELP, then TYPE, then the samples of a metric, each metric once
// and each series once, no other comments. It gives the samples by their series.
func readPage(page string) (samples map[string]float64, err error) {
	samples = map[string]float64{}
	kinds, name := map[string]string{}, ""
	if !strings.HasSuffix(page, "\n") {
		return nil, fmt.Errorf("the last line has no end")
	}
	last := "" // series of the metric, so far
	for i, line := range strings.Split(strings.TrimSuffix(page, "\n"), "\n") {
		bad := func(what string) (map[string]float64, error) {
			return nil, fmt.Errorf("line %d: %s: %s", i+1, what, line)
		}
		if m := metricLine.FindStringSubmatch(line); m != nil {
			_, known := kinds[m[2]]
			switch {
			case m[1] == "HELP" && known:
				return bad("the metric has been told already")
			case m[1] == "HELP":
				if name != "" && last == "" {
					return bad(name + " has no samples")
				}
				name, kinds[m[2]], last = m[2], "", ""
			case m[2] != name || kinds[name] != "" || last != "":
				return bad("TYPE does not stand behind its HELP")
			case !slices.Contains([]string{"counter", "gauge", "summary", "histogram", "untyped"}, m[3]):
				return bad("no such type")
			default:
				kinds[name] = m[3]
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			return bad("neither HELP, TYPE nor a sample")
		}
		suffix, own := strings.CutPrefix(m[1], name)
		switch kind := kinds[name]; {
		case !own || kind == "":
			return bad("a sample outside its metric")
		case (kind == "counter" || kind == "gauge") && suffix != "",
			kind == "summary" && suffix != "_sum" && suffix != "_count",
			kind == "histogram" && suffix != "_sum" && suffix != "_count" && suffix != "_bucket":
			return bad("not a sample of a " + kind)
		}
		if labels := labelNames(m[2]); !labels["node"] || labels["le"] != (suffix == "_bucket") {
			return bad("labels")
		}
		v, err := strconv.ParseFloat(m[3], 64)
		series := strings.TrimSuffix(line, " "+m[3])
		if _, twice := samples[series]; err != nil || twice {
			return bad("a bad value, or the series twice")
		}
		if kinds[name] != "gauge" && (v < 0 || math.IsNaN(v)) {
			return bad("a total below 0")
		}
		samples[series] = v
		if suffix == "_bucket" && strings.HasPrefix(last, m[1]+"{") && samples[last] > v {
			return bad("a bucket smaller than the one before")
		}
		if suffix == "_count" && kinds[name] == "histogram" {
			whole := strings.Replace(series, "_count{", "_bucket{", 1)
			if samples[strings.TrimSuffix(whole, "}")+`,le="+Inf"}`] != v {
				return bad("not the count of the last bucket")
			}
		}
		last = series
	}
	if last == "" {
		return nil, fmt.Errorf("%s has no samples", name)
	}
	return samples, nil
}

// labelNames reads what stands between the braces; nil = it cannot be read.
func labelNames(text string) map[string]bool {
	names := map[string]bool{}
	for text != "" {
		l := labelAtHead.FindStringSubmatch(text)
		if l == nil || names[l[1]] {
			return nil
		}
		names[l[1]] = true
		if text = text[len(l[0]):]; text == "" && l[3] == "," {
			return nil
		}
	}
	return names
}

// TestMetricWriter: whatever names there are, the page is one that can be read,
// and the samples of a metric stand together.
func TestMetricWriter(t *testing.T) {
	m := newMetricWriter("Nord\u00a0\"Süd\"\n\\\xff")
	h := &histogram{}
	for _, d := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, time.Hour} {
		h.add(d)
	}
	for _, uid := range []string{"a", "b"} {
		m.gauge("up", "1 while.", 1, "stream", uid)
		m.counter("bytes_total", "Bytes.", 1e300, "stream", uid)
		m.times("sync_seconds", "Time.", 1500*time.Millisecond, 3, "space", uid)
		m.histogram("first_seconds", "Time.", h, "proto", uid)
	}
	m.gauge("free", "May be unknown.", math.NaN())
	var b strings.Builder
	m.writeTo(&b)
	got, err := readPage(b.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	const node = `node="Nord` + "\u00a0" + `\"Süd\"\n\\?"`
	for series, want := range map[string]float64{
		`up{` + node + `,stream="b"}`:                             1,
		`sync_seconds_sum{` + node + `,space="a"}`:                1.5,
		`sync_seconds_count{` + node + `,space="a"}`:              3,
		`first_seconds_bucket{` + node + `,proto="b",le="0.001"}`: 2,
		`first_seconds_bucket{` + node + `,proto="b",le="5"}`:     3,
		`first_seconds_count{` + node + `,proto="b"}`:             4,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s: %v %v, want %v", series, v, ok, want)
		}
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

// TestReadPage: the reader finds the faults that it is there for.
func TestReadPage(t *testing.T) {
	const head = "# HELP a A.\n# TYPE a counter\n"
	const hist = "# HELP a A.\n# TYPE a histogram\na_bucket{node=\"n\",le=\"1\"} 2\n"
	for name, page := range map[string]string{
		"no end":              head + `a{node="n"} 1`,
		"no HELP":             "# TYPE a counter\na{node=\"n\"} 1\n",
		"no TYPE":             "# HELP a A.\na{node=\"n\"} 1\n",
		"no samples":          head,
		"no samples, then":    head + "# HELP b B.\n# TYPE b gauge\nb{node=\"n\"} 1\n",
		"no such type":        "# HELP a A.\n# TYPE a count\na{node=\"n\"} 1\n",
		"apart":               head + "a{node=\"n\"} 1\n# HELP b B.\n# TYPE b gauge\nb{node=\"n\"} 1\na{node=\"m\"} 1\n",
		"HELP twice":          head + "a{node=\"n\"} 1\n" + head + "a{node=\"m\"} 1\n",
		"series twice":        head + "a{node=\"n\"} 1\na{node=\"n\"} 2\n",
		"label twice":         head + "a{node=\"n\",node=\"m\"} 1\n",
		"another name":        head + "ab{node=\"n\"} 1\n",
		"no value":            head + "a{node=\"n\"} x\n",
		"below 0":             head + "a{node=\"n\"} -1\n",
		"escape of %q":        head + "a{node=\"\\u00a0\"} 1\n",
		"comma at the end":    head + "a{node=\"n\",} 1\n",
		"blank line":          head + "a{node=\"n\"} 1\n\n",
		"buckets fall":        hist + "a_bucket{node=\"n\",le=\"+Inf\"} 1\na_sum{node=\"n\"} 1\na_count{node=\"n\"} 1\n",
		"count of no bucket":  hist + "a_bucket{node=\"n\",le=\"+Inf\"} 3\na_sum{node=\"n\"} 1\na_count{node=\"n\"} 4\n",
		"bare sample of many": hist + "a{node=\"n\"} 1\n",
	} {
		if _, err := readPage(page); err == nil {
			t.Errorf("%s: nothing found in\n%s", name, page)
		}
	}
}

// TestMetrics reads the page of a server: all of the published metrics are
// there, with their labels.
func TestMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := l.Addr().String()
	l.Close()
	r := newRig(t, "", "streams.d/rec.ini", "[rec]\n"+simStream, "streams.d/off.ini", "[off]\nstream-enable = false\n"+simStream)
	r.write("media-server.ini", strings.Replace(r.server(), "[admin]\nlisten = 127.0.0.1:0", "[admin]\nlisten = "+admin, 1))
	r.start()
	r.until("rec", "recording", recording)
	r.list("/live/rec/playlist.m3u8")
	// A gap ends with the first footage behind it; so there is to be some before.
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var recorded struct{ Length int64 }
		if r.get("/api/v1/streams/rec/ranges", &recorded); recorded.Length > 0 {
			break
		}
	}
	r.write("streams.d/rec.ini", "[rec]\nstream-enable = false\n"+simStream)
	r.reloadNow()
	r.until("rec", "off", func(s streamState) bool { return s.State == "off" })
	r.write("streams.d/rec.ini", "[rec]\n"+simStream)
	r.reloadNow()

	const node = `\{node="[^"]+"`
	var page string
	var got map[string]float64
	missing := func(pattern string) bool {
		re := regexp.MustCompile(`^mediaserver_` + pattern + `$`)
		for series := range got {
			if re.MatchString(series) {
				return false
			}
		}
		return true
	}
	gap := func() (sum float64) {
		for series, v := range got {
			if strings.HasPrefix(series, "mediaserver_gap_seconds_total{") && strings.HasSuffix(series, `,stream="rec"}`) {
				sum += v
			}
		}
		return sum
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		page = string(b)
		if kind := resp.Header.Get("Content-Type"); err != nil || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
			t.Fatalf("%s: %v", kind, err)
		}
		if got, err = readPage(page); err != nil {
			t.Fatalf("%v\n%s", err, page)
		}
		if gap() > 0 || time.Now().After(end) {
			break
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if g := gap(); g <= 0 || g > 60 {
		t.Errorf("%v s are missing of the stream", g)
	}
	for _, name := range []string{"up", "frames_total", "frames_lost_total", "last_frame_timestamp_seconds", "reconnects_total", "viewers"} {
		if missing("stream_" + name + node + `,stream="rec"\}`) {
			t.Errorf("stream_%s is missing", name)
		}
	}
	for _, pattern := range []string{
		"stream_up" + node + `,stream="off"\}`, "gap_seconds_total" + node + `,stream="off"\}`,
		"space_free_bytes" + node + `,space="main"\}`,
		"append_seconds_sum" + node + `,space="main"\}`, "append_seconds_count" + node + `,space="main"\}`,
		"sync_seconds_sum" + node + `,space="main"\}`, "sync_seconds_count" + node + `,space="main"\}`,
		"first_byte_seconds_bucket" + node + `,proto="hls",le="\+Inf"\}`, "first_byte_seconds_count" + node + `,proto="hls"\}`,
		"queue_bytes" + node + `,queue="write",space="main"\}`, "queue_limit_bytes" + node + `,queue="write",space="main"\}`,
		"plugin_restarts_total" + node + `,plugin="sim"\}`, "settings_problems" + node + `\}`,
	} {
		if missing(pattern) {
			t.Errorf("%s is missing", pattern)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}
