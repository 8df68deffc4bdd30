package accept

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// plan is what is read of POST retention/preview.
type plan struct {
	Files   int   `json:"deletes_files"`
	Goes    int64 `json:"deletes_bytes"`
	Streams []struct {
		UID   string
		Files int      `json:"deletes_files"`
		Goes  int64    `json:"deletes_bytes"`
		From  int64    `json:"deletes_from_ms"`
		To    int64    `json:"deletes_to_ms"`
		Why   []string `json:"deletes_why"`
		Asks  bool
	}
	Spaces []struct {
		Name  string
		Files int    `json:"deletes_files"`
		Goes  int64  `json:"deletes_bytes"`
		Why   string `json:"deletes_why"`
		Asks  bool
	}
}

func preview(t *testing.T, s *harness.Server, body string) (p plan) {
	t.Helper()
	if _, err := s.Send("POST", "retention/preview", body, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// oldFootage is a server with the footage of the first release, days old: two
// streams with two files each, whose cameras do not answer.
func oldFootage(t *testing.T) (s *harness.Server, media string) {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(root, "testdata", "release-1", "data"))); err != nil {
		t.Fatal(err)
	}
	return harness.New(t, harness.Options{Data: data}), filepath.Join(data, "media")
}

// of lists the complete files of a stream, oldest first, and their bytes.
func of(media, uid string) (files []string, bytes int64) {
	files, _ = filepath.Glob(filepath.Join(media, uid, "*", "*.mp4"))
	slices.Sort(files)
	for _, f := range files {
		if fi, err := os.Stat(f); err == nil {
			bytes += fi.Size()
		}
	}
	return files, bytes
}

// TestRetentionPreview: what a change of the rules would delete is told before,
// and exactly that goes when the change is made; one that would take more than
// delete-most waits until somebody confirms it, and so does one of a space's
// settings, which stops no recording meanwhile.
func TestRetentionPreview(t *testing.T) {
	t.Parallel()
	s, media := oldFootage(t)
	put := func(uid string, lines ...string) {
		if !strings.Contains(fmt.Sprint(lines), "dvr-duration") { // the footage grows older than the default
			lines = append(lines, "dvr-duration = 0")
		}
		s.Put(uid, append([]string{"stream-url = rtsp://127.0.0.1:1/none", "stream-access = public"}, lines...)...)
	}
	put("gate")
	put("yard")
	live := harness.Camera{UID: "door", Sent: s.Sim("door", "bitrate=2M", "dvr-chunk = 1s", "dvr-capacity = 1M")}
	s.Start()
	footage(s, "gate", "yard", "door")
	gate, total := of(media, "gate")
	yard, _ := of(media, "yard")
	if len(gate) != 2 || len(yard) != 2 {
		t.Fatalf("%d and %d files", len(gate), len(yard))
	}
	fi, err := os.Stat(gate[0])
	if err != nil {
		t.Fatal(err)
	}

	// A byte less than there is: the older file would go, and nothing else.
	limit := fmt.Sprint(total - 1)
	p := preview(t, s, `{"streams":{"gate":{"dvr-capacity":"`+limit+`"}}}`)
	for _, x := range p.Streams {
		switch {
		case x.UID == "door": // goes by its own rule
		case x.UID != "gate" && x.Files != 0, x.UID == "gate" && (x.Files != 1 || x.Goes != fi.Size() || x.Asks || !slices.Equal(x.Why, []string{"dvr-capacity"})):
			t.Errorf("preview of %s: %+v; the file has %d bytes", x.UID, x, fi.Size())
		case x.UID == "gate":
			f := s.Footage("gate")
			if x.From != f.Ranges[0].From || x.To <= x.From || x.To > f.Ranges[len(f.Ranges)-1].To {
				t.Errorf("preview %d to %d of %+v", x.From, x.To, f.Ranges)
			}
		}
	}
	if now, _ := of(media, "gate"); !slices.Equal(now, gate) {
		t.Errorf("asking has deleted something: %v", now)
	}
	again := func() { // a pass at once rather than within a minute
		s.Stop()
		s.Start()
	}
	put("gate", "dvr-capacity = "+limit)
	s.Until("the settings", func() bool { return s.Stream("gate").Settings["dvr-capacity"] == limit })
	again()
	s.Until("the older file to go", func() bool { now, _ := of(media, "gate"); return len(now) == 1 })

	// All of yard is more than an hour old: that is asked for first.
	asked := false
	for _, x := range preview(t, s, `{"streams":{"yard":{"dvr-duration":"1h"}}}`).Streams {
		asked = asked || x.UID == "yard" && x.Asks && x.Files == 2
	}
	if !asked {
		t.Error("the preview does not say that somebody will have to confirm")
	}
	put("yard", "dvr-duration = 1h")
	s.Until("the settings", func() bool { return s.Stream("yard").Settings["dvr-duration"] == "1h" })
	again()
	var held struct {
		Items []struct{ UID, Why string }
	}
	s.Until("the rule to wait", func() bool {
		_, err := s.Call("GET", "retention/held", &held)
		return err == nil && len(held.Items) == 1 && held.Items[0].UID == "yard" && held.Items[0].Why == "dvr-duration"
	})
	if said := fmt.Sprint(s.Problems()); !strings.Contains(said, "confirm") {
		t.Errorf("said: %s", said)
	}
	if now, _ := of(media, "yard"); !slices.Equal(now, yard) {
		t.Errorf("held, and yet gone: %v of %v", now, yard)
	}
	s.Past(time.Now().UnixMilli()+harness.Pick[int64](30000, 3000), "door")
	if _, err := s.Send("POST", "retention/confirm", `{"uid":"yard"}`, nil); err != nil {
		t.Fatal(err)
	}
	s.Until("what was confirmed to go", func() bool { now, _ := of(media, "yard"); return len(now) == 0 })
	if now, _ := of(media, "gate"); !slices.Equal(now, gate[1:]) {
		t.Errorf("of gate there is %v, of %v only the first was to go", now, gate)
	}

	limitWaits(t, s)

	// The live one never kept more than its limit and what came since the pass.
	_, kept := of(media, "door")
	live.Rules.To, live.Rules.Tail, live.Rules.Gaps = s.Close("door"), -1, map[string][]ledger.Gap{}
	live.Rules.From = s.Footage("door").Ranges[0].From*1e6 + int64(200*time.Millisecond)
	deleted := s.Metric("mediaserver_deleted_files_total")
	if kept > 1<<20+1<<20 || deleted == 0 {
		t.Errorf("%d bytes of door kept, %v files deleted", kept, deleted)
	}
	harness.Row(t, "retention: preview, capacity, delete-most", 0, "told before: 1 file of %d bytes; exactly it went; the other waited for a confirmation; %d bytes of door kept by dvr-capacity = 1M; %s",
		fi.Size(), kept, s.Judge("door", s.Account(live)))
}

// limitWaits: a size-limit of 8M for 8T deletes no more than comes until somebody
// confirms it, and what is recorded into the space goes on without a hole.
func limitWaits(t *testing.T, s *harness.Server) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tight")
	must(t, s, 201, "POST", "spaces", fmt.Sprintf(`{"name":"tight","path":%q,"reserve":"0"}`, dir))
	must(t, s, 201, "POST", "pools", `{"name":"tight","spaces":["tight"],"overwrite-free":"1M"}`)
	s.Sim("shed", "bitrate=8M", "dvr-chunk = 1s", "dvr-pool = tight")
	stored := func() (n int64) {
		_, n = of(dir, "shed")
		return n
	}
	s.Until("footage in the space", func() bool { return stored() > 32<<20 })
	for _, x := range preview(t, s, `{"spaces":{"tight":{"size-limit":"8M"}}}`).Spaces {
		if asks := x.Name == "tight"; x.Asks != asks || asks && (x.Why != "size-limit" || x.Files < 10 || x.Goes < 20<<20) {
			t.Errorf("preview of space %s: %+v", x.Name, x)
		}
	}
	was := stored()
	must(t, s, 200, "PATCH", "spaces/tight", `{"size-limit":"8M"}`)
	waits := func() bool {
		var held struct{ Items []struct{ Space, Why string } }
		_, err := s.Call("GET", "retention/held", &held)
		return err == nil && len(held.Items) == 1 && held.Items[0].Space == "tight" && held.Items[0].Why == "size-limit"
	}
	s.Until("the limit to wait", waits)
	if said := fmt.Sprint(s.Problems()); !strings.Contains(said, "confirm --space tight") {
		t.Errorf("said: %s", said)
	}
	until := time.Now().UnixMilli() + harness.Pick[int64](30000, 10000)
	s.Until("it to be recorded on", func() bool { r := s.Footage("shed").Ranges; return len(r) > 0 && r[len(r)-1].To > until })
	if f := s.Footage("shed"); len(f.Ranges) != 1 || !waits() {
		t.Errorf("ranges while the limit waits: %+v", f.Ranges)
	}
	if n := stored(); n < was*7/10 {
		t.Errorf("held, and yet %d of %d bytes are left", n, was)
	}
	if out, code := verb(t, "retention", "confirm", "-c", s.Conf, "--space", "tight"); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	s.Until("what was confirmed to go", func() bool { return bytesIn(t, dir) <= 8<<20 && spaceOf(s, "tight").Total == 8<<20 })
	from := time.Now().UnixMilli()
	s.Until("it to be recorded still", func() bool { r := s.Footage("shed").Ranges; return len(r) > 0 && r[len(r)-1].To > from+3000 })
	s.Put("shed", "stream-url = rtsp://127.0.0.1:1/none", "stream-access = public", "dvr-pool = tight") // and no more
}
