package accept

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/disk"
)

// exporter asks for exports over HTTP, as programs of others do.
type exporter struct {
	*harness.Server
	t        *testing.T
	dir      string // the export folder
	operator string // a token
}

// exported is GET exports/{id}.
type exported struct {
	ID, UID, State, URL, SHA256, Who string
	FileName                         string  `json:"file_name"`
	ProofURL                         string  `json:"proof_url"`
	Size                             int64   `json:"size_bytes"`
	Bytes                            int64   `json:"bytes"`
	Progress                         float64 `json:"progress"`
	From, To                         int64
	Error                            struct{ Code, Message, Hint string }
}

// send sends a request from an address of this machine.
func (e *exporter) send(from, method, url, token, body string, header ...string) (*http.Response, []byte) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext}}
	resp, err := c.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp, b
}

// ask queues an export.
func (e *exporter) ask(uid string, from, to int64, more string) (x exported) {
	e.t.Helper()
	resp, b := e.send("127.0.0.1", "POST", e.HTTP+"/api/v1/exports", e.operator, fmt.Sprintf(`{"uid":%q,"from":%d,"to":%d%s}`, uid, from, to, more))
	if err := json.Unmarshal(b, &x); err != nil || resp.StatusCode != 202 || x.ID == "" || resp.Header.Get("Location") != "/api/v1/exports/"+x.ID {
		e.t.Fatalf("POST exports: %s %s", resp.Status, b)
	}
	return x
}

func (e *exporter) get(id string) (x exported, status int) {
	e.t.Helper()
	resp, b := e.send("127.0.0.1", "GET", e.HTTP+"/api/v1/exports/"+id, e.operator, "")
	_ = json.Unmarshal(b, &x)
	return x, resp.StatusCode
}

// over waits until an export is neither queued nor running.
func (e *exporter) over(id string) (x exported) {
	e.t.Helper()
	e.Until("export "+id+" to be over", func() bool {
		x, _ = e.get(id)
		return x.State != "" && x.State != "queued" && x.State != "running"
	})
	return x
}

// whole compares an export with what record.mp4 gives.
func (e *exporter) whole(x exported) {
	e.t.Helper()
	if x.State != "done" || x.Progress != 1 {
		e.t.Fatalf("%+v", x)
	}
	b, err := os.ReadFile(filepath.Join(e.dir, x.FileName))
	if err != nil {
		e.t.Fatal(err)
	}
	status, want := e.Get(fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", e.HTTP, x.UID, x.From, x.To))
	if status != 200 || string(b) != want || fmt.Sprintf("%x", sha256.Sum256(b)) != x.SHA256 {
		e.t.Errorf("export %s is not what record.mp4 gives: %d bytes, %d bytes with status %d", x.FileName, len(b), len(want), status)
	}
}

// folder lists what lies in the export folder, records apart.
func (e *exporter) folder() (out []string) {
	list, _ := os.ReadDir(e.dir)
	for _, x := range list {
		if x.Name() != ".jobs" {
			out = append(out, x.Name())
		}
	}
	return out
}

// killed asks for an export and kills the core while it is being written; ok is
// false where it was done before.
func (e *exporter) killed(uid string, from, to int64, more string, after time.Duration) (x exported, ok bool) {
	e.t.Helper()
	x = e.ask(uid, from, to, more)
	for end := time.Now().Add(10 * time.Second); ; {
		parts := slices.ContainsFunc(e.folder(), func(n string) bool { return strings.HasSuffix(n, ".part") })
		done := slices.Contains(e.folder(), x.FileName)
		if parts || done || time.Now().After(end) {
			time.Sleep(after)
			e.Kill()
			return x, parts && !slices.Contains(e.folder(), x.FileName)
		}
	}
}

// newExporter is a server with a camera that gives much, whose recording is
// over, and one that is recorded all the time.
func newExporter(t *testing.T, ini string, seconds time.Duration) (e *exporter, yard harness.Camera, from, to int64) {
	t.Helper()
	s := harness.New(t, harness.Options{Ini: "[log]\nlevel = warn\n" + ini})
	e = &exporter{Server: s, t: t, dir: filepath.Join(s.Data, "exports")}
	s.Sim("gate", "audio=aac&bitrate=60M", "dvr-chunk = 2s")
	yard = harness.Camera{UID: "yard", Sent: s.Sim("yard", "audio=aac", "dvr-chunk = 3s")}
	s.Start()
	e.operator = s.Verb("token", "api", "--role", "operator", "--name", "exports")
	footage(s, "gate", "yard")
	time.Sleep(seconds) // real cameras take real time
	s.Close("gate")
	f := s.Footage("gate")
	return e, yard, f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To
}

// TestExportJobs: exports are made in the background, whatever is killed; the
// recording loses nothing.
func TestExportJobs(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	e, yard, from, to := newExporter(t, "[compat]\ntitop-allow = 127.0.0.2\n", 6*time.Second)

	x := e.over(e.ask("gate", from, to, `,"proof":true,"reason":"case 12","file_name":"case 12"`).ID)
	e.whole(x)
	if x.FileName != "case 12.mp4" || !strings.Contains(x.Who, "exports") {
		t.Errorf("%+v", x)
	}
	e.download(x)
	if out, code := verb(t, "verify", "-c", e.Conf, filepath.Join(e.dir, x.FileName)); code != 0 || !strings.Contains(out, "byte for byte") || !strings.Contains(out, "case 12") {
		t.Errorf("verify: exit %d\n%s", code, out)
	}
	e.packets(x)
	e.Until("the journal to tell of it", func() bool {
		var states []string
		for _, ev := range e.Events("record.export") {
			if ev.Data["id"] == x.ID && ev.Data["reason"] == "case 12" {
				states = append(states, fmt.Sprint(ev.Data["state"]))
			}
		}
		return slices.Equal(states, []string{"started", "finished"})
	})
	e.refusals(from, to)
	e.convert()

	hits, tries := 0, harness.Pick(40, 5)
	var jobs []exported
	for i := range tries {
		more := []string{"", `,"proof":true`}[i%2]
		y, hit := e.killed("gate", from, to, more, time.Duration(rng.IntN(150))*time.Millisecond)
		if hit {
			hits++
		}
		jobs = append(jobs, y)
		e.Start()
		e.whole(e.over(y.ID))
	}
	for _, y := range append(jobs, x) {
		if now, _ := e.get(y.ID); now.State != "done" {
			t.Errorf("behind all kills: %+v", now)
		}
	}
	if slices.ContainsFunc(e.folder(), func(n string) bool { return strings.HasPrefix(n, ".") }) {
		t.Errorf("left over: %v", e.folder())
	}
	if hits == 0 {
		t.Error("no kill has hit an export being written")
	}
	e.cancels(from, to)

	yard.Rules.To = e.Close("yard")
	r := e.Account(yard)
	line := e.Judge("a camera recorded beside exports", r)
	harness.Row(t, "exports in the background", seed, "%d of %d kills of the core hit an export being written; all were made, byte for byte as record.mp4; the camera recorded meanwhile: %s", hits, tries, line)
}

// download reads an export in two halves, as one whose connection broke.
func (e *exporter) download(x exported) {
	e.t.Helper()
	resp, a := e.send("127.0.0.1", "GET", x.URL, e.operator, "", "Range", fmt.Sprintf("bytes=0-%d", x.Size/2))
	tag := resp.Header.Get("ETag")
	if resp.StatusCode != 206 || tag == "" || !strings.Contains(resp.Header.Get("Content-Disposition"), "case%2012.mp4") {
		e.t.Errorf("the first half: %s %v", resp.Status, resp.Header)
	}
	resp, b := e.send("127.0.0.1", "GET", x.URL, e.operator, "", "Range", fmt.Sprintf("bytes=%d-", x.Size/2+1), "If-Range", tag)
	if sum := sha256.Sum256(append(a, b...)); resp.StatusCode != 206 || fmt.Sprintf("%x", sum) != x.SHA256 {
		e.t.Errorf("the second half: %s; together %x, want %s", resp.Status, sum, x.SHA256)
	}
	resp, b = e.send("127.0.0.1", "GET", x.ProofURL, e.operator, "")
	if want, err := os.ReadFile(filepath.Join(e.dir, x.FileName+".proof")); err != nil || resp.StatusCode != 200 || !bytes.Equal(b, want) {
		e.t.Errorf("its proof: %s, %v", resp.Status, err)
	}
	if resp, _ = e.send("127.0.0.1", "GET", x.URL, "", ""); resp.StatusCode != 401 {
		e.t.Errorf("without a token: %s", resp.Status)
	}
}

// packets has others read an export.
func (e *exporter) packets(x exported) {
	e.t.Helper()
	path := filepath.Join(e.dir, x.FileName)
	if _, err := exec.LookPath("ffprobe"); err == nil {
		count := func(of string) string {
			out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=codec_name,nb_read_packets", "-of", "csv", of).CombinedOutput()
			if err != nil {
				e.t.Errorf("ffprobe: %v %s", err, out)
			}
			return string(out)
		}
		if a, b := count(path), count(fmt.Sprintf("%s/dvr/gate/record.mp4?from=%d&to=%d", e.HTTP, x.From, x.To)); a != b || !strings.Contains(a, "h264") || !strings.Contains(a, "aac") {
			e.t.Errorf("ffprobe counts\n%sin record.mp4\n%s", a, b)
		}
	}
	if _, err := exec.LookPath("mediainfo"); err == nil {
		out, err := exec.Command("mediainfo", "--Output=JSON", path).Output()
		if text := string(out); err != nil || !strings.Contains(text, `"AVC"`) || !strings.Contains(text, `"AAC"`) || strings.Contains(text, "IsTruncated") {
			e.t.Errorf("mediainfo: %v %s", err, text)
		}
	}
}

// refusals are what programs ask for by mistake, or not by mistake.
func (e *exporter) refusals(from, to int64) {
	e.t.Helper()
	viewer := e.Verb("token", "api", "--role", "viewer", "--name", "v")
	future := time.Now().Add(time.Hour).UnixMilli()
	for _, c := range []struct {
		token, body string
		status      int
		code        string
	}{
		{"", `{}`, 401, "login"},
		{viewer, `{}`, 403, "role"},
		{e.operator, `{"uid":"nobody","from":1,"to":2}`, 404, "no_such_stream"},
		{e.operator, `{"uid":"gate","from":1000,"to":2000}`, 404, "no_footage"},
		{e.operator, fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d}`, to, from), 400, "bad_range"},
		{e.operator, fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d}`, from, future), 400, "future"},
		{e.operator, fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d,"file_name":"../../x.mp4"}`, from, to), 400, "bad_file_name"},
		{e.operator, fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d,"file_name":"/etc/passwd"}`, from, to), 400, "bad_file_name"},
		{e.operator, fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d,"file_name":"a\u0000b"}`, from, to), 400, "bad_file_name"},
		{e.operator, fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d,"file_name":"%s"}`, from, to, strings.Repeat("x", 300)), 400, "bad_file_name"},
	} {
		resp, b := e.send("127.0.0.1", "POST", e.HTTP+"/api/v1/exports", c.token, c.body)
		var f struct {
			Error struct {
				Code, Hint string
				Nearest    struct{ From, To int64 }
			}
		}
		if err := json.Unmarshal(b, &f); err != nil || resp.StatusCode != c.status || f.Error.Code != c.code || c.code == "no_footage" && f.Error.Nearest.To == 0 || f.Error.Hint == "" && c.code != "role" {
			e.t.Errorf("%.100s: %s %s", c.body, resp.Status, b)
		}
	}
}

// convert has another interface make an export of what is being recorded.
func (e *exporter) convert() {
	e.t.Helper()
	f := e.Footage("yard")
	start := f.Ranges[0].From
	url := e.HTTP + "/v1/nvr/convert2mp4"
	body := fmt.Sprintf(`{"app_name":"live","stream_name":"yard","start_time":%d,"duration":3000,"file_name":"yard.mp4"}`, start)
	for _, c := range []struct {
		from, token, query, body string
		status                   int
		file                     string
	}{
		{"127.0.0.1", "", "", body, 401, ""},
		{"127.0.0.1", "nonsense", "", body, 401, ""},
		{"127.0.0.1", e.Verb("token", "api", "--role", "viewer", "--name", "w"), "", body, 403, ""},
		{"127.0.0.1", e.operator, "", strings.Replace(body, "yard.mp4", "../yard.mp4", 1), 400, ""},
		{"127.0.0.1", e.operator, "", strings.Replace(body, `"live"`, `"shop"`, 1), 404, ""},
		{"127.0.0.1", e.operator, "", body, 200, "yard.mp4"},
		{"127.0.0.1", "", "?token=" + e.operator, body, 200, "yard-1.mp4"},
		{"127.0.0.2", "", "", body, 200, "yard-2.mp4"},
	} {
		resp, b := e.send(c.from, "POST", url+c.query, c.token, c.body)
		var a struct {
			Code int
			Data struct {
				ID, State string
				FileName  string `json:"file_name"`
			}
		}
		if err := json.Unmarshal(b, &a); err != nil || resp.StatusCode != c.status || a.Data.FileName != c.file || c.status == 200 && a.Code != 200 {
			e.t.Errorf("from %s: %s %s", c.from, resp.Status, b)
		}
		if c.status != 200 {
			continue
		}
		e.Until(c.file+" to be whole", func() bool { return slices.Contains(e.folder(), c.file) })
		e.whole(e.over(a.Data.ID))
		if resp, b = e.send(c.from, "GET", url+"/"+a.Data.ID+c.query, c.token, ""); resp.StatusCode != 200 || json.Unmarshal(b, &a) != nil || a.Data.State != "done" {
			e.t.Errorf("%s: %s %s", c.file, resp.Status, b)
		}
	}
}

// cancels deletes what waits, what runs and what is done: no file of it stays.
func (e *exporter) cancels(from, to int64) {
	e.t.Helper()
	before := e.folder()
	var all []exported
	for range 5 {
		all = append(all, e.ask("gate", from, to, ""))
	}
	states := map[string]int{}
	var slowest time.Duration
	for _, x := range all {
		begun := time.Now()
		resp, b := e.send("127.0.0.1", "DELETE", e.HTTP+"/api/v1/exports/"+x.ID, e.operator, "")
		slowest = max(slowest, time.Since(begun))
		now, status := e.get(x.ID)
		if resp.StatusCode != 204 || status == 200 && now.State != "canceled" {
			e.t.Errorf("DELETE: %s %s, then %d %+v", resp.Status, b, status, now)
		}
		states[now.State]++
	}
	if got := e.folder(); !slices.Equal(got, before) {
		e.t.Errorf("left behind cancelled exports: %v, before: %v", got, before)
	}
	if harness.Full() && slowest > time.Second {
		e.t.Errorf("the slowest cancel took %v", slowest)
	}
	e.t.Logf("cancelled: %v, the slowest in %v", states, slowest.Round(time.Millisecond))
}

// TestExportKeep: a finished export goes when its time is over, also while no
// server runs.
func TestExportKeep(t *testing.T) {
	t.Parallel()
	e, _, from, to := newExporter(t, "[export]\nkeep = 12s\n", time.Second)
	a := e.over(e.ask("gate", from, to, `,"proof":true`).ID)
	e.whole(a)
	e.Stop()
	e.Start()
	if x, _ := e.get(a.ID); x.State != "done" && x.State != "expired" {
		t.Errorf("behind a restart: %+v", x)
	}
	e.Until("the export to expire", func() bool { x, status := e.get(a.ID); return x.State == "expired" || status == 404 })
	e.Until("its files to go", func() bool { return len(e.folder()) == 0 })
	if resp, b := e.send("127.0.0.1", "GET", a.URL, e.operator, ""); resp.StatusCode != 410 && resp.StatusCode != 404 {
		t.Errorf("its file: %s %s", resp.Status, b)
	}
	e.Until("its entry to go", func() bool { _, status := e.get(a.ID); return status == 404 })
}

// TestExportDiskFull: an export that does not fit is refused, or fails with what
// to do; the disk keeps its reserve, and nothing half made stays.
func TestExportDiskFull(t *testing.T) {
	t.Parallel()
	dir := disk.Tmpfs(t, 130<<20) // 64M of it are kept
	e, yard, from, to := newExporter(t, "[export]\npath = "+dir+"\n", 5*time.Second)
	e.dir = dir
	fill := func(size int64) {
		if err := os.WriteFile(filepath.Join(dir, "others"), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fill(60 << 20)
	resp, b := e.send("127.0.0.1", "POST", e.HTTP+"/api/v1/exports", e.operator, fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d}`, from, to))
	if resp.StatusCode != 507 || !strings.Contains(string(b), "no_room") || !strings.Contains(string(b), "[export] path") {
		t.Errorf("on a full disk: %s %s", resp.Status, b)
	}
	fill(0)
	x, hit := e.killed("gate", from, to, "", 0)
	if !hit {
		t.Log("the export was done before the kill")
	}
	fill(60 << 20)
	e.Start()
	if x = e.over(x.ID); hit && (x.State != "failed" || x.Error.Code != "no_room" || x.Error.Hint == "") {
		t.Errorf("others have filled the disk: %+v", x)
	}
	if got := e.folder(); hit && !slices.Equal(got, []string{"others"}) {
		t.Errorf("left: %v", got)
	}
	fill(0)
	e.whole(e.over(e.ask("gate", from, to-1000, "").ID))
	yard.Rules.To = e.Close("yard")
	e.Judge("a camera recorded beside a full export disk", e.Account(yard))
}
