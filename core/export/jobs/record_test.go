package jobs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"media-server/core/media"
)

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"a.mp4": "a.mp4", "a": "a.mp4", "a.MP4": "a.mp4", "Tor 7, früh": "Tor 7, früh.mp4", "a.mkv": "a.mkv.mp4", "a..b": "a..b.mp4", "連写": "連写.mp4",
		strings.Repeat("x", mostName-4): strings.Repeat("x", mostName-4) + ".mp4",

		"": "", ".": "", "..": "", ".mp4": "", " .mp4": "", "../a.mp4": "", "/etc/passwd": "", "a/b.mp4": "", `a\b.mp4`: "", `..\a`: "", "a\x00b": "", "a\nb": "", "a\u202eb": "",
		".hidden": "", "-rf": "", "~": "", "a .mp4": "", " a": "", "a..mp4": "", "CON": "", "con.mp4": "", "nul.txt": "", "COM1": "", "lpt¹.mp4": "", "a:b": "", "a*": "", "a\xff": "",
		strings.Repeat("x", mostName-3): "", strings.Repeat("ü", mostName): "",
	} {
		got, err := CleanName(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
}

// FuzzCleanName: what is let through is a plain name, and stays what it is.
func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"a.mp4", "../a", "a\x00", "CON.mp4", "a.mp4.mp4", ".x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := CleanName(s)
		if err != nil {
			return
		}
		if !plain(name) || len(name) > mostName || filepath.Join("/d", name) != "/d/"+name {
			t.Fatalf("%q became %q", s, name)
		}
		if again, err := CleanName(name); err != nil || again != name {
			t.Fatalf("%q became %q, that %q, %v", s, name, again, err)
		}
	})
}

func example() Job {
	return Job{ID: "0123456789abcdef", Ask: Ask{UID: "gate", Span: media.Span{From: 5, To: 9}, Who: "anna", Proof: true, Reason: "r"}, File: "a.mp4", State: Done, Made: 1, Started: 2, Ended: 3,
		Size: 1 << 33, Covers: media.Span{From: 5, To: 8}, SHA256: "ab", Recorded: 4, Whole: 3, Attempts: 1, Why: &Failure{"c", "w", "h"}}
}

// FuzzRecord: whatever stands in a record, no job comes of it whose names lead
// out of the folder.
func FuzzRecord(f *testing.F) {
	x := example()
	b, _ := json.Marshal(record{recordVersion, &x})
	f.Add(b)
	f.Add([]byte(strings.Replace(string(b), "a.mp4", "../a.mp4", 1)))
	f.Add([]byte(strings.Replace(string(b), `"version":1`, `"version":2`, 1)))
	f.Add([]byte(strings.NewReplacer(`"done"`, `"failed"`, `"why"`, `"reasons"`).Replace(string(b))))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decode(b, "0123456789abcdef")
		if err == nil && (!plain(x.File) || x.ID != "0123456789abcdef" || x.Size < 0 || x.State == Failed && x.Why == nil) {
			t.Fatalf("%+v", x)
		}
	})
}

// TestRecord: a record says again what was written; one that cannot be used is
// left alone and named.
func TestRecord(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, recordsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	j := New(Options{Dir: dir})
	x := example()
	if err := j.save(x); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(j.recordPath(x.ID))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"1111111111111111": strings.Replace(string(b), `"version": 1`, `"version": 9`, 1),
		"2222222222222222": string(b[:len(b)/2]),
		"3333333333333333": string(b), // of another job
		"4444444444444444": strings.NewReplacer("a.mp4", "../../a.mp4", x.ID, "4444444444444444").Replace(string(b)),
		"6666666666666666": strings.NewReplacer(`"done"`, `"failed"`, `"message": "w"`, `"message": ""`, x.ID, "6666666666666666").Replace(string(b)),
		"7777777777777777": strings.NewReplacer(`"done"`, `"failed"`, `"why"`, `"reasons"`, x.ID, "7777777777777777").Replace(string(b)),
		"5555555555555555": strings.NewReplacer(`"done"`, `"gone"`, x.ID, "5555555555555555").Replace(string(b)),
	} {
		if err := os.WriteFile(j.recordPath(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(j.recordPath("8888888888888888"), 0o700); err != nil { // cannot be read
		t.Fatal(err)
	}
	for _, id := range []string{"1111111111111111", "8888888888888888", "9999999999999999"} {
		if err := os.WriteFile(filepath.Join(dir, partOf(id)), []byte("a movie"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, strange, err := readRecords(dir)
	if err != nil || len(list) != 1 || len(strange) != 8 {
		t.Fatalf("%d %q %v", len(list), strange, err)
	}
	got := list[0].Job
	if *got.Why != *x.Why {
		t.Errorf("%+v", got.Why)
	}
	if got.Why = x.Why; got != x {
		t.Errorf("%+v\nwant %+v", got, x)
	}
	s := serve(t, dir, &drawn{size: 1 << 20}, nil).opened()
	if p := s.Problem(); p == nil || len(s.List()) != 1 {
		t.Errorf("%+v", p)
	}
	if l, _ := filepath.Glob(filepath.Join(dir, recordsDir, "*.json")); len(l) != 9 {
		t.Errorf("records: %v", l)
	}
	// What may have been written already by a job that cannot be read now is no rubbish.
	if l, _ := filepath.Glob(filepath.Join(dir, partOf("*"))); len(l) != 2 || filepath.Base(l[0]) != partOf("1111111111111111") || filepath.Base(l[1]) != partOf("8888888888888888") {
		t.Errorf("temporary files: %v", l)
	}
}
