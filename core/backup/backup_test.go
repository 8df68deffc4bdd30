package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tree makes a server's folders with files that say which they are.
func tree(t *testing.T, mark string) (Source, Target) {
	t.Helper()
	root := t.TempDir()
	src := Source{DataDir: filepath.Join(root, "data"), Settings: filepath.Join(root, "conf", "media-server.ini"), Streams: filepath.Join(root, "streams.d"),
		KeysDir: filepath.Join(root, "data", "keys"), Program: "test", Node: "n",
		Snapshot: func(_ context.Context, from, to string) error {
			b, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			return os.WriteFile(to, b, 0o600)
		}}
	for _, f := range files(src) {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(strings.Repeat(mark+" "+filepath.Base(f)+"\n", 4000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return src, Target{DataDir: src.DataDir, Settings: src.Settings, Streams: src.Streams, KeysDir: src.KeysDir}
}

func files(s Source) []string {
	return []string{filepath.Join(s.DataDir, "state.db"), filepath.Join(s.DataDir, "accounts.db"), filepath.Join(s.DataDir, "journal.db"), filepath.Join(s.DataDir, "node-id"),
		filepath.Join(s.KeysDir, "signing.key"), filepath.Join(s.KeysDir, "public", "a.pem"), s.Settings, filepath.Join(filepath.Dir(s.Settings), "conf.d", "x.ini"), filepath.Join(s.Streams, "gate.ini")}
}

func marks(t *testing.T, s Source) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range files(s) {
		b, err := os.ReadFile(f)
		mark, _, _ := strings.Cut(string(b), " ")
		if err != nil {
			mark = "none"
		}
		out[filepath.Base(f)] = mark
	}
	return out
}

func made(t *testing.T, src Source, pass string) string {
	t.Helper()
	path, err := Write(t.Context(), src, filepath.Join(t.TempDir(), "backups"), pass, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// begun stages a restore as far as Finish has gone when it moves the first file.
func begun(t *testing.T, path string, to Target) (p plan) {
	t.Helper()
	if _, err := Stage(path, "", to); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(to.DataDir, planFile))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err = errors.Join(err, os.MkdirAll(p.Before, 0o700)); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEditedMeanwhile: somebody saves an ini file again and again while backups
// are made. Each backup can be restored.
func TestEditedMeanwhile(t *testing.T) {
	src, _ := tree(t, "old")
	ctx, cancel := context.WithCancel(t.Context())
	edited := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			os.WriteFile(src.Settings, bytes.Repeat([]byte{byte('a' + n%26)}, 5000), 0o600)
		}
		edited <- n
	}()
	var paths []string
	for range 5 {
		paths = append(paths, made(t, src, "correct horse")) // deriving its key takes a while
	}
	cancel()
	if n := <-edited; n < 10 {
		t.Fatalf("edited %d times only", n)
	}
	for _, path := range paths {
		if _, err := Stage(path, "correct horse", Target{DataDir: t.TempDir(), Settings: "x/media-server.ini", Streams: "x/streams.d", KeysDir: "x/keys"}); err != nil {
			t.Error(err)
		}
	}
}

// TestFirstPassword: the first password that lies in the folder is of the
// accounts that a restore puts aside, and goes with them.
func TestFirstPassword(t *testing.T) {
	src, _ := tree(t, "old")
	path := made(t, src, "")
	_, to := tree(t, "new")
	file := filepath.Join(to.DataDir, "first-password")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Stage(path, "", to); err != nil {
		t.Fatal(err)
	}
	if _, err := Finish(to.DataDir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first password is still there: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, pass := range []string{"", "correct horse"} {
		src, _ := tree(t, "old")
		path := made(t, src, pass)
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", fi.Mode(), err)
		}
		if raw, _ := os.ReadFile(path); bytes.Contains(raw, []byte("signing.key")) != (pass == "") {
			t.Errorf("passphrase %q: readable %v", pass, pass != "")
		}
		// Into an empty machine, and into one that has other things.
		empty, to := tree(t, "new")
		for _, f := range files(empty) {
			os.Remove(f)
		}
		if _, err := Stage(path, pass, to); err != nil {
			t.Fatal(err)
		}
		if done, err := Finish(to.DataDir); !done || err != nil {
			t.Fatal(done, err)
		}
		for f, m := range marks(t, empty) {
			if m != "old" {
				t.Errorf("%s is %s", f, m)
			}
		}
		other, to := tree(t, "new")
		s, err := Stage(path, pass, to)
		if err != nil || len(s.Left) != 3 {
			t.Fatalf("%+v %v", s, err)
		}
		if m := marks(t, other)["state.db"]; m != "new" {
			t.Error("staging has changed something")
		}
		if _, err := Finish(to.DataDir); err != nil {
			t.Fatal(err)
		}
		for f, m := range marks(t, other) {
			if want := map[bool]string{true: "new", false: "old"}[strings.HasSuffix(f, ".ini")]; m != want {
				t.Errorf("%s is %s, want %s", f, m, want)
			}
		}
		kept, _ := filepath.Glob(filepath.Join(to.DataDir, "before-restore-*", "*state.db"))
		if len(kept) != 1 {
			t.Error("what was there before is gone")
		}
		if done, err := Finish(to.DataDir); done || err != nil {
			t.Error("a restore is carried out twice", done, err)
		}
	}
}

// TestRestoreAcrossFileSystems: keys that lie on another file system than the
// data folder are restored by copies. Cut short behind any of its steps the
// next start finishes it, and the keys that were there are kept.
func TestRestoreAcrossFileSystems(t *testing.T) {
	src, _ := tree(t, "old")
	path := made(t, src, "")
	kept := rename
	defer func() { rename = kept }()
	for cut := range 4 {
		other, to := tree(t, "new")
		rename = func(from, to string) error {
			if strings.Contains(from, "keys") != strings.Contains(to, "keys") || strings.Contains(from, stageDir) && strings.Contains(from, "keys") {
				return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
			}
			return kept(from, to)
		}
		p := begun(t, path, to)
		k := slices.IndexFunc(p.Moves, func(m moved) bool { return filepath.Base(m.To) == "signing.key" })
		aside := filepath.Join(p.Before, fmt.Sprintf("%03d-signing.key", k))
		for i, step := range []func() error{
			func() error { return copyFile(p.Moves[k].To, aside) },
			func() error { return os.Remove(p.Moves[k].To) },
			func() error { return copyFile(p.Moves[k].From, p.Moves[k].To) },
		} {
			if i < cut {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := Finish(to.DataDir); err != nil {
			t.Fatalf("cut behind %d steps: %v", cut, err)
		}
		if m := marks(t, other)["signing.key"]; m != "old" {
			t.Errorf("cut behind %d steps: the key is %s", cut, m)
		}
		if b, err := os.ReadFile(aside); err != nil || !strings.HasPrefix(string(b), "new ") {
			t.Errorf("cut behind %d steps: the key that was there is %.10q %v", cut, b, err)
		}
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// TestRestoreCutShort ends a restore behind each of its moves: the next start
// finishes it, and never is there a mixture afterwards.
func TestRestoreCutShort(t *testing.T) {
	src, _ := tree(t, "old")
	path := made(t, src, "")
	for n := range 16 {
		other, to := tree(t, "new")
		p := begun(t, path, to)
		for i, m := range p.Moves[:min(n/2, len(p.Moves))] {
			if err := m.carryOut(p.Before, i); err != nil {
				t.Fatal(err)
			}
		}
		if k := n / 2; n%2 == 1 && k < len(p.Moves) && p.Moves[k].From != "" && !p.Moves[k].Keep { // between the two renames
			if err := os.Rename(p.Moves[k].To, filepath.Join(p.Before, fmt.Sprintf("%03d-%s", k, filepath.Base(p.Moves[k].To)))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Finish(to.DataDir); err != nil {
			t.Fatal(n, err)
		}
		for f, m := range marks(t, other) {
			if want := map[bool]string{true: "new", false: "old"}[strings.HasSuffix(f, ".ini")]; m != want {
				t.Errorf("cut behind %d halves: %s is %s", n, f, m)
			}
		}
	}
}

func TestBadBackups(t *testing.T) {
	src, _ := tree(t, "old")
	plain, wrapped := made(t, src, ""), made(t, src, "right")
	b, _ := os.ReadFile(plain)
	w, _ := os.ReadFile(wrapped)
	tarOf := func(m *Manifest, names ...string) []byte {
		var out bytes.Buffer
		tw := tar.NewWriter(&out)
		text, _ := json.Marshal(m)
		_ = put(tw, manifestName, int64(len(text)), time.Now(), bytes.NewReader(text))
		for _, n := range names {
			_ = put(tw, n, 1, time.Now(), strings.NewReader("x"))
		}
		tw.Close()
		return out.Bytes()
	}
	one := func(name string) *Manifest {
		return &Manifest{Format: format, Version: 1, Members: []Member{{Name: name, Size: 1, SHA256: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}}}
	}
	flip := func(b []byte, at int) []byte { c := bytes.Clone(b); c[at] ^= 1; return c }
	for _, c := range []struct {
		name string
		data []byte
		pass string
		want string
	}{
		{"nothing", nil, "", "not a backup"},
		{"rubbish", []byte(strings.Repeat("rubbish", 1000)), "", "not a backup"},
		{"cut short", b[:len(b)/2], "", "unexpected EOF"},
		{"a byte changed", flip(b, len(b)/2), "", "damaged"},
		{"no passphrase", w, "", "wrapped"},
		{"wrong passphrase", w, "wrong", "passphrase"},
		{"wrapped and cut", w[:len(w)-200], "right", "cut short"},
		{"wrapped, a byte changed", flip(w, len(w)/2), "right", "damaged"},
		{"wrapped, the last piece gone", w[:8+16+4*(4+pieceSize+16)], "right", ""},
		{"newer", tarOf(&Manifest{Format: format, Version: 9, Program: "media-server 9"}), "", "newer version"},
		{"path above", tarOf(one("data/../../etc/passwd"), "data/../../etc/passwd"), "", "cannot be in a backup"},
		{"absolute path", tarOf(one("/etc/passwd"), "/etc/passwd"), "", "cannot be in a backup"},
		{"another database", tarOf(one("data/catalogue.db"), "data/catalogue.db"), "", "cannot be in a backup"},
		{"deeper keys", tarOf(one("data/keys/a/b"), "data/keys/a/b"), "", "cannot be in a backup"},
		{"more than named", tarOf(one("data/node-id"), "data/node-id", "data/state.db"), "", "more in it"},
		{"another than named", tarOf(one("data/node-id"), "data/state.db"), "", "missing or changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			other, to := tree(t, "new")
			path := filepath.Join(t.TempDir(), "x.backup")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Stage(path, c.pass, to)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if done, err := Finish(to.DataDir); done || err != nil {
				t.Error("something was staged", err)
			}
			for f, m := range marks(t, other) {
				if m != "new" {
					t.Errorf("%s was changed", f)
				}
			}
			if _, err := os.Stat(filepath.Join(to.DataDir, stageDir)); !errors.Is(err, os.ErrNotExist) {
				t.Error("a stage is left")
			}
		})
	}
}

func TestNextAndPrune(t *testing.T) {
	c := Config{At: "03:00"}
	for from, want := range map[string]string{"2026-03-01T02:00:00Z": "2026-03-01T03:00:00Z", "2026-03-01T03:00:00Z": "2026-03-02T03:00:00Z", "2026-12-31T23:00:00Z": "2027-01-01T03:00:00Z"} {
		f, _ := time.Parse(time.RFC3339, from)
		if got := c.Next(f).Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
	if n := (&Config{}).Next(time.Now()); !n.IsZero() {
		t.Error(n)
	}
	src, _ := tree(t, "x")
	dir := t.TempDir()
	for i := range 5 {
		if _, err := Write(t.Context(), src, dir, "", time.Now().Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Prune(dir, "n", 2, ""); err != nil {
		t.Fatal(err)
	}
	left, err := List(dir)
	if err != nil || len(left) != 2 || !left[0].Made.After(left[1].Made) || time.Until(left[1].Made) < 2*time.Hour {
		t.Errorf("%+v %v", left, err)
	}
}

// TestPruneOfTwo: two servers share a folder, in which lies what a third made
// when names had no node. Each deletes its own alone, and all can be restored.
func TestPruneOfTwo(t *testing.T) {
	dir, day := t.TempDir(), time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	var last string
	for i := range 12 {
		for _, node := range []string{"", "aa", "bb"} {
			if i >= 3 && node == "" || i >= 6 && node == "aa" {
				continue // installed anew, as bb
			}
			src, _ := tree(t, "old")
			src.Node = node
			path, err := Write(t.Context(), src, dir, "", day.AddDate(0, 0, i))
			if err == nil {
				err = Prune(dir, node, 2, "")
			}
			if err != nil {
				t.Fatal(err)
			}
			if node == "aa" {
				last = path
			}
		}
	}
	list, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]int{}
	for _, x := range list {
		has[x.Node]++
		if x.Made.Hour() != 3 || !strings.HasPrefix(x.Name, prefix+x.Node) {
			t.Errorf("%+v", x)
		}
		if _, err := Stage(filepath.Join(dir, x.Name), "", Target{DataDir: t.TempDir(), Settings: "x/media-server.ini", Streams: "x/streams.d", KeysDir: "x/keys"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(last); err != nil || has[""] != 3 || has["aa"] != 2 || has["bb"] != 2 {
		t.Errorf("%v, the last of aa: %v", has, err)
	}
}

// TestPruneWhileOffered: a server that kept its id and lost its databases makes
// backups that hold nothing. They push out nothing of what is offered to it.
func TestPruneWhileOffered(t *testing.T) {
	day := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		offer func(newest string) (string, error)
		left  int
	}{
		{"undecided", func(f string) (string, error) { return f, nil }, 3 + 2},
		{"undecided, and renamed since", func(f string) (string, error) { return f, os.Rename(f, f+"~") }, 2 + 2},
		{"undecided, and renamed before", func(f string) (string, error) {
			to := filepath.Join(filepath.Dir(f), prefix+"spring"+suffix)
			return to, errors.Join(os.Rename(f, to), os.Chtimes(to, day, day.AddDate(0, 0, 2)))
		}, 2 + 1 + 2},
		{"undecided, and gone", func(f string) (string, error) {
			return filepath.Join(filepath.Dir(f), prefix+"spring"+suffix), os.Remove(f)
		}, 2 + 5},
		{"decided", func(string) (string, error) { return "", nil }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, _ := tree(t, "x")
			dir := t.TempDir()
			var newest string
			var err error
			for i := range 3 {
				if newest, err = Write(t.Context(), src, dir, "", day.AddDate(0, 0, i)); err != nil {
					t.Fatal(err)
				}
			}
			offered, err := c.offer(newest)
			for i := 3; i < 8 && err == nil; i++ {
				if _, err = Write(t.Context(), src, dir, "", day.AddDate(0, 0, i)); err == nil {
					err = Prune(dir, "n", 2, offered)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if list, err := List(dir); err != nil || len(list) != c.left || !list[0].Made.Equal(day.AddDate(0, 0, 7)) {
				t.Errorf("%+v %v, want %d", list, err, c.left)
			}
		})
	}
}

// TestOffer: an offer outlives everything but a restore and its dismissal.
func TestOffer(t *testing.T) {
	src, _ := tree(t, "old")
	path := made(t, src, "")
	for _, restores := range []bool{true, false} {
		_, to := tree(t, "new")
		if err := Offer(to.DataDir, path); err != nil {
			t.Fatal(err)
		}
		var err error
		if restores {
			_, err = Stage(path, "", to)
		}
		if got, err1 := Offered(to.DataDir); err != nil || err1 != nil || got != path {
			t.Fatalf("%q %v %v", got, err, err1)
		}
		if restores {
			_, err = Finish(to.DataDir)
		} else {
			err = errors.Join(Dismiss(to.DataDir), Dismiss(to.DataDir))
		}
		if got, err1 := Offered(to.DataDir); err != nil || err1 != nil || got != "" {
			t.Errorf("restored %v: %q %v %v", restores, got, err, err1)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	_ = put(tw, manifestName, 2, time.Unix(0, 0), strings.NewReader("{}"))
	tw.Close()
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := unwrapped(bytes.NewReader(b), ""); err == nil {
			_, _ = unpack(r, "")
		}
	})
}

// TestRestoreEpoch: a restore goes on from beyond every epoch that the server
// can have had, since the backup too; carried out again it changes nothing.
func TestRestoreEpoch(t *testing.T) {
	src, _ := tree(t, "old")
	if err := os.WriteFile(filepath.Join(src.DataDir, epochFile), []byte("57\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := made(t, src, "")
	for _, there := range []string{"", "90\n", "damaged"} {
		_, to := tree(t, "new")
		if there != "" {
			if err := os.WriteFile(filepath.Join(to.DataDir, epochFile), []byte(there), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := begun(t, path, to)
		if got := readEpoch(to.DataDir); got > 90 {
			t.Errorf("%q: epoch %d before the restore is carried out", there, got)
		}
		if p.Epoch < 57+epochStep || p.Epoch < uint64(time.Since(epochDay)/time.Second)-60 {
			t.Errorf("%q: epoch %d", there, p.Epoch)
		}
		for range 2 { // as if it was cut short before the plan went
			if _, err := Finish(to.DataDir); err != nil {
				t.Fatal(err)
			}
			if got := readEpoch(to.DataDir); got != p.Epoch {
				t.Errorf("%q: epoch %d, want %d", there, got, p.Epoch)
			}
			text, err := json.Marshal(p)
			if err == nil {
				err = os.WriteFile(filepath.Join(to.DataDir, planFile), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	day := func(n int) time.Time { return epochDay.AddDate(0, 0, n) }
	for _, c := range []struct {
		now  time.Time
		want uint64
	}{{day(100), 100 * 86400}, {day(101), 101 * 86400}, {day(-9000), 57 + epochStep}} {
		if got := epochAfter(c.now, 57, 3); got != c.want {
			t.Errorf("at %v: %d, want %d", c.now, got, c.want)
		}
	}
}
