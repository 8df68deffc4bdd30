package node

import (
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/backup"
)

// TestStoredFiles: what lies in a space is read through the server while it
// runs, and through a plugin that was started for it while none does; the two
// never at once.
func TestStoredFiles(t *testing.T) {
	r := newRig(t, "", "streams.d/rec.ini", "[rec]\n"+simStream+"dvr-chunk = 1s\n")
	r.start()
	r.until("rec", "recording", recording)
	set, ps := Load(filepath.Join(r.dir, "media-server.ini"))
	if !set.Usable() {
		t.Fatal(ps)
	}
	if _, _, _, err := OpenStored(t.Context(), set, "test", set.Archive.Spaces); err == nil || !strings.Contains(err.Error(), "another server uses") {
		t.Errorf("beside the running server: %v", err)
	}
	var one struct {
		Items []struct {
			Name string
			Size int64
		}
		Next string
	}
	for end := time.Now().Add(20 * time.Second); one.Next == ""; time.Sleep(20 * time.Millisecond) {
		if code := r.get("/api/v1/spaces/main/files?limit=1&prefix=rec/", &one); code != 200 || time.Now().After(end) {
			t.Fatalf("a page of one: %d %+v", code, one)
		}
	}
	if len(one.Items) != 1 || one.Next != one.Items[0].Name || one.Items[0].Size == 0 {
		t.Errorf("a page of one: %+v", one)
	}
	for path, want := range map[string]int{"/api/v1/spaces/nobody/files": 404, "/api/v1/spaces/main/file?name=rec%2Fnone.mp4": 404, "/api/v1/spaces/main/file?name=" + url.QueryEscape(one.Next) + "&length=5000000": 400} {
		if code := r.get(path, nil); code != want {
			t.Errorf("%s: %d", path, code)
		}
	}
	r.stop()

	spaces := append(set.Archive.Spaces, archive.SpaceConfig{Name: "far", Driver: "sim" /* a plugin, and none of storage */}, archive.SpaceConfig{Name: "else", Driver: "local", Path: filepath.Join(r.dir, "nothing")})
	files, left, end, err := OpenStored(t.Context(), set, "test", spaces)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files["main"] == nil || left["far"] == nil || left["else"] == nil {
		t.Errorf("opened %v, left out %v", files, left)
	}
	n, media := 0, ""
	err = files["main"].List(t.Context(), "", "", func(es []archive.Entry) error {
		for _, e := range es {
			if n++; strings.HasSuffix(e.Name, ".mp4") {
				media = e.Name
			}
		}
		return nil
	})
	b := make([]byte, 8)
	if k, rerr := files["main"].ReadAt(t.Context(), media, 0, b); err != nil || rerr != nil || k != 8 || string(b[4:]) != "ftyp" {
		t.Errorf("%d files, %q begins with %q: %v %v", n, media, b, err, rerr)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	r.start() // nothing is held any more
	r.until("rec", "recording", recording)
}

// TestStoredOnlyLooks: what is read while no server runs changes nothing of it: a
// restore that was staged goes on waiting for the next start, and no epoch is
// used up.
func TestStoredOnlyLooks(t *testing.T) {
	r := newRig(t, "", "streams.d/rec.ini", "[rec]\n"+simStream+"dvr-chunk = 1s\n")
	r.start()
	r.until("rec", "recording", recording)
	r.stop()
	set, ps := Load(filepath.Join(r.dir, "media-server.ini"))
	if !set.Usable() {
		t.Fatal(ps)
	}
	file, err := BackupOffline(t.Context(), set, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Stage(file, "", target(set)); err != nil {
		t.Fatal(err)
	}
	was := filesBelow(t, set.Server.DataDir)
	if was["restore.json"] == "" || was["epoch"] == "" {
		t.Fatalf("nothing is staged: %d files", len(was))
	}
	files, left, end, err := OpenStored(t.Context(), set, "test", set.Archive.Spaces)
	if err != nil || len(files) != 1 || len(left) != 0 {
		t.Fatal(files, left, err)
	}
	if err := files["main"].List(t.Context(), "", "", func([]archive.Entry) error { return nil }); err != nil {
		t.Error(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	is := filesBelow(t, set.Server.DataDir)
	for name := range maps.Keys(is) {
		if is[name] != was[name] && name != "media/.space/epoch" { // the fence that every opening puts up
			t.Errorf("%s was changed", name)
		}
		delete(was, name)
	}
	for name := range was {
		t.Errorf("%s is gone", name)
	}
	r.start() // the restore is carried out now
	r.until("rec", "recording", recording)
	if _, err := os.Stat(filepath.Join(set.Server.DataDir, "restore.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it waits on: %v", err)
	}
}

// filesBelow reads all files of a folder.
func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
