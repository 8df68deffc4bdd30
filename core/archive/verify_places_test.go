package archive_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// distant is a space that can only be asked, and fails when told to.
type distant struct {
	*storagetest.Dir
	reads atomic.Int64
	bad   func(name string, read int64) error // nil: none
}

func (d *distant) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	n := d.reads.Add(1)
	if d.bad != nil {
		if err := d.bad(name, n); err != nil {
			return 0, err
		}
	}
	return d.Dir.ReadAt(ctx, name, off, p)
}

func verifyPlaces(t *testing.T, places ...archive.Place) (out *archive.Verified, told []archive.Finding) {
	t.Helper()
	v := archive.Verifier{Keys: []ed25519.PublicKey{signerOf(1).public()}, Grace: -1, Found: func(f archive.Finding) { told = append(told, f) }}
	out, err := v.VerifyPlaces(context.Background(), places...)
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != len(out.Findings) {
		t.Errorf("%d findings, %d were told", len(out.Findings), len(told))
	}
	return out, told
}

// TestVerifyFar: a space that is no folder is verified through its storage, with
// the findings that its folder would have, and few questions.
func TestVerifyFar(t *testing.T) {
	t.Parallel()
	root, files := signedSpace(t)
	spoil := func(what func(path string) error) *distant {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
			t.Fatal(err)
		}
		if err := what(filepath.Join(dir, files[2])); err != nil {
			t.Fatal(err)
		}
		return &distant{Dir: storagetest.New(dir)}
	}
	for name, what := range map[string]func(path string) error{
		"untouched":  func(string) error { return nil },
		"taken away": os.Remove,
		"cut off":    func(path string) error { return os.Truncate(path, 2000) },
		"a byte changed": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(path, b, 0o644)
		},
		"without ledgers": func(path string) error {
			return os.RemoveAll(filepath.Join(path, "..", "..", "..", "ledger"))
		},
	} {
		d := spoil(what)
		near := verifyAll(t, d.Root)
		out, _ := verifyPlaces(t, archive.Place{Dir: d.Root, Files: d})
		if fmt.Sprintf("%+v", out) != fmt.Sprintf("%+v", near) || (len(out.Findings) == 0) != (name == "untouched" || name == "without ledgers") {
			t.Errorf("%s: %+v, in its folder %+v", name, out, near)
		}
		if n := d.reads.Load(); n > int64(2*len(files)+10) {
			t.Errorf("%s: %d reads of %d files", name, n, len(files))
		}
	}

	// What cannot be read is not called damaged, and not missing.
	d := spoil(func(string) error { return nil })
	d.bad = func(name string, _ int64) error {
		if name == filepath.ToSlash(files[2]) {
			return errors.New("connection reset")
		}
		return nil
	}
	out, _ := verifyPlaces(t, archive.Place{Dir: "space cloud", Files: d})
	if len(out.Findings) != 1 || out.Findings[0].Dir != "space cloud" || !strings.Contains(out.Findings[0].What, "cannot be read") || out.Signed != len(files)-1 {
		t.Errorf("unreadable: %+v", out)
	}
	d.bad = func(_ string, n int64) error { // one answer in four is lost
		if n%4 == 0 {
			return errors.New("connection reset")
		}
		return nil
	}
	if out, _ := verifyPlaces(t, archive.Place{Dir: "space cloud", Files: d}); len(out.Findings) != 0 || out.Signed != len(files) {
		t.Errorf("read again: %+v", out)
	}
	d.bad = nil
	only := archive.Verifier{Keys: []ed25519.PublicKey{signerOf(1).public()}, Grace: -1, Only: []string{"yard"}}
	if out, err := only.VerifyPlaces(context.Background(), archive.Place{Dir: "space cloud", Files: d}); err != nil || len(out.Findings) != 0 ||
		out.Files != len(slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !strings.HasPrefix(f, "yard") })) {
		t.Errorf("one stream: %+v %v", out, err)
	}
	ledgers := 0
	d.bad = func(name string, _ int64) error {
		if strings.HasSuffix(name, ".ledger") {
			ledgers++
		}
		return nil
	}
	only.Only = []string{"yard", "nobody", "gate"}
	if out, err := only.VerifyPlaces(context.Background(), archive.Place{Dir: "space cloud", Files: d}); err != nil || len(out.Findings) != 0 || out.Signed != len(files) ||
		!only.Heard("yard") || !only.Heard("gate") || only.Heard("nobody") {
		t.Errorf("some streams: %+v %v", out, err)
	}
	if there, _ := filepath.Glob(filepath.Join(d.Root, "ledger", "*.ledger")); ledgers == 0 || ledgers > len(there)+1 {
		t.Errorf("%d ledgers, %d reads of them", len(there), ledgers)
	}
}

// TestVerifyWhileItGoes: footage that is moved or deleted by rule while a
// verification is under way is not missing; what somebody takes away is.
func TestVerifyWhileItGoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		days     time.Duration // of the pool: 1 = all goes
		taken    bool
		findings int
	}{"by rule": {1, false, 0}, "by hand": {0, true, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, data, cam := newDir(t), t.TempDir(), aged("gate", 1, time.Minute)
			o := options(data, 1, dir)
			o.Signer, o.Pools[0].Sign = signerOf(1), true
			h := open(t, o)
			record(t, h, cam, o.Pools[0].Name, 25*20)
			eventually(t, "sealed", func() bool { return openMedia(dir.Root) == 0 && len(mediaFiles(t, dir.Root)) > 3 })
			h.close()
			files := mediaFiles(t, dir.Root)
			d := &distant{Dir: dir}
			var once atomic.Bool
			d.bad = func(name string, _ int64) error {
				if !strings.HasSuffix(name, ".mp4") || once.Swap(true) {
					return nil
				}
				if c.taken {
					return os.Remove(filepath.Join(dir.Root, files[len(files)-1]))
				}
				o := options(data, 2, dir)
				o.Signer, o.Pools[0].Sign, o.Pools[0].Days = signerOf(1), true, c.days
				h := open(t, o)
				eventually(t, "all deleted by rule", func() bool { // the next round by itself would come in a minute
					_, err := h.a.Retain(t.Context(), nil)
					return err == nil && len(mediaFiles(t, dir.Root)) == 0
				})
				h.close()
				return nil
			}
			out, _ := verifyPlaces(t, archive.Place{Dir: "space cloud", Files: d})
			if len(out.Findings) != c.findings || c.findings > 0 && out.Findings[0].File != files[len(files)-1] || c.days > 0 && out.Gone != len(files) {
				t.Errorf("%+v", out)
			}
		})
	}
}

// TestVerifyWhileItComes: footage that was recorded since the ledgers were read
// is known to them all the same.
func TestVerifyWhileItComes(t *testing.T) {
	t.Parallel()
	dir, data := newDir(t), t.TempDir()
	put := func(epoch uint64, uid string) {
		o := options(data, epoch, dir)
		o.Signer, o.Pools[0].Sign = signerOf(1), true
		h := open(t, o)
		record(t, h, aged(uid, byte(epoch), time.Minute), o.Pools[0].Name, 25*20)
		eventually(t, "sealed", func() bool { return openMedia(dir.Root) == 0 && h.saw("record.file") > 3 })
		h.close()
	}
	put(1, "gate")
	put(2, "yard")
	v := archive.Verifier{Keys: []ed25519.PublicKey{signerOf(1).public()}, Grace: -1, Progress: func(done int) {
		if done == 1 {
			put(3, "yard")
		}
	}}
	out, err := v.Verify(context.Background(), dir.Root)
	if files := mediaFiles(t, dir.Root); err != nil || len(out.Findings) != 0 || out.Signed != len(files) {
		t.Errorf("%d files: %+v %v", len(files), out, err)
	}
}

// TestVerifyNoSpace: a folder without anything of a space does not pass; a space
// that holds nothing yet does.
func TestVerifyNoSpace(t *testing.T) {
	for _, marked := range []bool{false, true} {
		dir := t.TempDir()
		if marked {
			if err := os.Mkdir(filepath.Join(dir, ".space"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		out, err := (&archive.Verifier{}).VerifyPlaces(t.Context(), archive.Place{Dir: dir})
		if err != nil || len(out.Findings) == 0 != marked {
			t.Errorf("marked %v: %+v %v", marked, out, err)
		}
	}
}

// TestVerifyGoing: a file that goes while it is verified counts nowhere, and stands
// for no original: the ledgers say why it went, or it is missing.
func TestVerifyGoing(t *testing.T) {
	t.Parallel()
	root, files := groomedSpace(t)
	for _, file := range []string{files[0], files[len(files)-1]} {
		v := archive.Verifier{Keys: []ed25519.PublicKey{signerOf(1).public()}}
		out, known, err := archive.VerifyGoing(&v, root, file)
		if err != nil || known != 0 || fmt.Sprintf("%+v", out) != fmt.Sprintf("%+v", archive.Verified{}) {
			t.Errorf("%s: %+v, %d facts are known of it, %v", file, out, known, err)
		}
	}
}
