package accept

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// tree is what lies below a folder: names, kinds, and hashes of small files.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		what := fi.Mode().Type().String()
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if len(b) > 1<<20 {
				b = b[:1<<20]
			}
			what += fmt.Sprintf(" %d %x", fi.Size(), sha256.Sum256(b))
		}
		out[strings.TrimPrefix(p, dir)] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// things are what another program puts into a space; those below open/ may be
// set aside, all others stay where they are.
func things(t *testing.T, space, outside, day, uid string) (stay []string) {
	t.Helper()
	h := &hands{t: t, space: space}
	at := func(name string) string { return filepath.Join(space, name) }
	folder := filepath.Join(uid, day)
	stay = []string{"notes.txt", "photos/holiday.mp4", folder + "/holiday.mp4", folder + "/notes.txt", folder + "/sub/x", "aside-not/y",
		folder + "/\xff\xfe odd\nname.mp4", folder + "/huge.mp4", folder + "/link.mp4", folder + "/fifo", "open/fifo", "open/link", "elsewhere", "open/ odd\xff"}
	for _, n := range append(stay, "open/notes.txt", "open/holiday.mp4", "open/"+uid+".00000000000000ff.mp4", "open/sub/z", "open/empty.mp4") {
		h.must(os.MkdirAll(filepath.Dir(at(n)), 0o755))
		switch filepath.Base(n) {
		case "fifo":
			h.must(unix.Mkfifo(at(n), 0o600))
		case "link.mp4":
			h.must(os.Symlink(filepath.Join(outside, "secret.mp4"), at(n)))
		case "link", "elsewhere":
			h.must(os.Symlink(outside, at(n)))
		case "huge.mp4":
			h.must(os.WriteFile(at(n), []byte("not ours"), 0o600), os.Truncate(at(n), 1<<40))
		case "empty.mp4":
			h.must(os.WriteFile(at(n), nil, 0o600))
		default:
			h.must(os.WriteFile(at(n), []byte("this is not ours: "+n), 0o600))
		}
	}
	return stay
}

// TestForeignThings: what another program puts into a space never stops
// anything, is never deleted, and leads nobody out of the space: while
// recording, after a start, and after a rebuild.
func TestForeignThings(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir, outside := filepath.Join(base, "space"), filepath.Join(base, "outside")
	s := harness.New(t, harness.Options{Restart: "1s", Linger: "2s", Ini: spaceAt(dir, "")})
	still := harness.Camera{UID: "still", Sent: s.Sim("still", "bitrate=300k", "dvr-chunk = 1s")}
	on := harness.Camera{UID: "on", Sent: s.Sim("on", "bitrate=300k", "dvr-chunk = 2s")}
	swapped := harness.Camera{UID: "swapped", Sent: s.Sim("swapped", "bitrate=300k", "dvr-chunk = 1s")}
	s.Start()
	footage(s, "still", "on", "swapped")
	h := &hands{t: t, space: dir}
	s.Until("complete files", func() bool { return len(h.sealed("still")) > 1 && len(h.sealed("swapped")) > 1 })
	h.must(os.MkdirAll(filepath.Join(outside, "open"), 0o755), os.WriteFile(filepath.Join(outside, "secret.mp4"), bytes.Repeat([]byte("secret"), 1000), 0o600),
		os.WriteFile(filepath.Join(outside, "open", "x.mp4"), []byte("other"), 0o600))
	before := tree(t, outside)
	day := filepath.Base(filepath.Dir(h.sealed("still")[0]))
	stay := things(t, dir, outside, day, "still")
	// The folder that files are being sealed into becomes a link out of the space.
	folder := filepath.Join(dir, "swapped", day)
	h.must(os.Rename(folder, folder+".old"), os.Symlink(outside, folder))
	since := time.Now()
	s.Past(since.UnixMilli()+harness.Pick[int64](60000, 3000), "still", "on", "swapped")
	told := ""
	s.Until("the link to be told about", func() bool {
		for _, e := range s.Events("storage.failed") {
			if e.UID == "swapped" && strings.Contains(e.Message, folder[len(dir)+1:]) {
				told = e.Message
			}
		}
		return told != ""
	})
	if p := fmt.Sprint(s.Problems()); strings.Contains(p, "space main") {
		t.Errorf("one link troubles the whole space: %s", p)
	}
	h.must(os.Remove(folder), os.Rename(folder+".old", folder))
	still.Rules.To, still.Rules.Tail, still.Rules.Gaps = s.Close("still"), -1, map[string][]ledger.Gap{}
	swapped.Rules.To, swapped.Rules.Tail, swapped.Rules.Gaps = s.Close("swapped"), -1, map[string][]ledger.Gap{}
	s.Until("all files of swapped to get their names", func() bool { return h.growing("swapped") == "" })
	print := fingerprintOf(t, s, "still")
	kept := func(when string) {
		t.Helper()
		for _, n := range stay {
			if _, err := os.Lstat(filepath.Join(dir, n)); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		for _, n := range []string{"notes.txt", "holiday.mp4", "still.00000000000000ff.mp4", "sub/z"} {
			open, aside := filepath.Join(dir, "open", n), filepath.Join(dir, "aside", n)
			a, err := os.ReadFile(open)
			if err != nil {
				a, err = os.ReadFile(aside)
			}
			if err != nil || !bytes.Contains(a, []byte("this is not ours: open/"+n)) {
				t.Errorf("%s: open/%s: %q %v", when, n, a, err)
			}
		}
		if now := tree(t, outside); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("%s, outside of the space: %v, before %v", when, now, before)
		}
		if now := fingerprintOf(t, s, "still"); now.sum != print.sum {
			t.Errorf("%s: record.mp4 of %d bytes, before %d", when, now.size, print.size)
		}
	}
	kept("while recording")
	s.Kill()
	s.Start()
	kept("after a start")
	aside := s.Metric("mediaserver_files_set_aside_total")
	s.Until("what was set aside to be told about", func() bool {
		return aside > 3 && strings.Contains(fmt.Sprint(s.Events("archive.set_aside")), "open/notes.txt")
	})
	s.Kill()
	dropCatalogue(t, s, false)
	again := time.Now()
	s.Start()
	s.Until("a rebuild", func() bool {
		return slices.ContainsFunc(s.Events("archive.rebuild"), func(e harness.Event) bool { return e.TimeMS > again.UnixMilli() })
	})
	kept("after a rebuild")
	on.Rules.To, on.Rules.Tail, on.Rules.Gaps = s.Close("on"), -1, map[string][]ledger.Gap{}
	harness.Row(t, "another program puts things into a space", 0, "%d files, folders, links, pipes; %v set aside, none deleted, nothing outside touched; said %q; %s; %s; %s", len(stay)+5, aside, told,
		s.Judge("still", s.Account(still)), s.Judge("swapped", s.Account(swapped)), s.Judge("on", s.Account(on)))
}
