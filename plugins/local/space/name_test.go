package space

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "open/a.mp4": true, "gate/2024-01-02/x_1": true, "...": true, ".hidden": true,
		strings.Repeat("a", 200): true, strings.Repeat("a", 201): false,
		"": false, "/a": false, "a/": false, "a//b": false, ".": false, "..": false, "a/../b": false, "a/./b": false,
		"a b": false, "a\x00": false, "ä": false, "a\\b": false, ".space": false, ".space/marker": false, ".SPACE/x": false, "a/.space": true,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Links that lead out of the space are not followed, whoever made them.
func TestLinksDoNotLeadOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600)
	r := start(t, dir, 1, nil, nil)
	os.Symlink(outside, filepath.Join(dir, "out"))
	os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "file"))
	if f, _, err := r.OpenFile("out/secret"); err == nil {
		f.Close()
		t.Error("read outside")
	}
	if f, _, err := r.OpenFile("file"); err == nil {
		f.Close()
		t.Error("read outside")
	}
	if err := r.Write(1, "out/new", []byte("x")); err == nil {
		t.Error("wrote outside")
	}
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "out/secret", Create: true, Payload: []byte("XX")})
	until(t, c, failed(1))
	if got := content(t, outside, "secret"); got != "s" {
		t.Error(got)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"a", "../a", "open/a", ".space/marker", "a/../../b", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if !filepath.IsLocal(name) || filepath.Clean(name) != name || len(name) > maxName {
			t.Fatalf("%q was let through", name)
		}
	})
}

func FuzzMarker(f *testing.F) {
	f.Add([]byte(`{"format":"media-server space","version":1,"id":"00112233445566778899aabbccddeeff"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseMarker(b)
		parseEpoch(b, "n")
	})
}

func TestParseSettings(t *testing.T) {
	s, bad := ParseSettings(map[string]string{"path": "/srv", "size-limit": "80%", "reserve": "1.5G", "fsync": "off"})
	if len(bad) > 0 || s.SizeLimit.Of(1000) != 800 || s.Reserve.Bytes != 3<<29 || s.Fsync != 0 {
		t.Fatalf("%+v %v", s, bad)
	}
	_, bad = ParseSettings(map[string]string{"path": "srv", "size-limit": "lots", "fsync": "1ns", "colour": "red", "descriptors": "maybe"})
	if len(bad) != 5 {
		t.Fatal(bad)
	}
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"10G", "80%", "NaN", "-1", "1e400", "Inf%", "512m", "1KB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		s, err := ParseSize(v)
		if err == nil && (s.Bytes < 0 || s.Percent < 0 || s.Percent > 100) {
			t.Fatalf("%q: %+v", v, s)
		}
	})
}
