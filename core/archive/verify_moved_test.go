package archive_test

import (
	"context"
	"crypto/ed25519"
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

func verifyAll(t *testing.T, dirs ...string) *archive.Verified {
	t.Helper()
	v := archive.Verifier{Keys: []ed25519.PublicKey{signerOf(1).public()}, Grace: -1}
	out, err := v.Verify(context.Background(), dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hasFinding(v *archive.Verified, dir, file string) bool {
	return slices.ContainsFunc(v.Findings, func(f archive.Finding) bool { return f.Dir == dir && f.File == file })
}

// TestVerifyMoved: signed footage that was moved verifies where it is now, each
// space by itself and both together; a file taken away from there, changed
// there or cut off there is named, though the first space knows it as moved.
func TestVerifyMoved(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	o := tiered(t.TempDir(), 1, live, cold)
	o.Signer = signerOf(1)
	for i := range o.Pools {
		o.Pools[i].Sign = true
	}
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && h.a.Moves()[0].State == "idle" })
	files := mediaFiles(t, cold.Root)
	eventually(t, "the target's ledger has them all", func() bool {
		v := verifyAll(t, cold.Root)
		return len(v.Findings) == 0 && v.Signed == len(files)
	})
	h.close()

	both := verifyAll(t, live.Root, cold.Root)
	if len(both.Findings) != 0 || both.Signed != len(files) || both.Elsewhere != 0 {
		t.Fatalf("together: %+v", both)
	}
	first := verifyAll(t, live.Root)
	if len(first.Findings) != 0 || first.Elsewhere != len(files) {
		t.Fatalf("the first space alone: %+v", first)
	}
	for name, spoil := range map[string]func(path string) error{
		"taken away": os.Remove,
		"a byte changed": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(path, b, 0o644)
		},
		"cut off": func(path string) error { return os.Truncate(path, 2000) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{files[0], files[len(files)/2], files[len(files)-1]} {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(cold.Root)); err != nil {
					t.Fatal(err)
				}
				if err := spoil(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
				if v := verifyAll(t, dir); !hasFinding(v, dir, file) {
					t.Errorf("%s, alone: %+v", file, v.Findings)
				}
				if v := verifyAll(t, live.Root, dir); !hasFinding(v, dir, file) {
					t.Errorf("%s, together: %+v", file, v.Findings)
				}
			}
		})
	}
	// Put back into the first space by hand: footage is footage.
	if err := os.MkdirAll(filepath.Dir(filepath.Join(live.Root, files[0])), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(cold.Root, files[0]), filepath.Join(live.Root, files[0])); err != nil {
		t.Fatal(err)
	}
	if v := verifyAll(t, live.Root, cold.Root); len(v.Findings) != 0 {
		t.Errorf("together it is all there: %+v", v.Findings)
	}
}

// TestVerifyDeletedAfterMove: what retention deletes in the space that footage
// was moved to is gone by rule, not missing.
func TestVerifyDeletedAfterMove(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	data := t.TempDir()
	signed := func(epoch uint64) archive.Options {
		o := tiered(data, epoch, live, cold)
		o.Signer = signerOf(1)
		for i := range o.Pools {
			o.Pools[i].Sign = true
		}
		return o
	}
	h := open(t, signed(1))
	record(t, h, cam, "live", 25*20)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && h.a.Moves()[0].State == "idle" })
	files := mediaFiles(t, cold.Root)
	h.close()
	o := signed(2)
	o.Pools[1].Days = 1 // nanosecond
	h = open(t, o)
	eventually(t, "all deleted by rule", func() bool { return len(mediaFiles(t, cold.Root)) == 0 })
	h.close()
	v := verifyAll(t, live.Root, cold.Root)
	if len(v.Findings) != 0 || v.Gone != len(files) {
		t.Errorf("%+v", v)
	}
}

// TestVerifySignedBefore: footage that was signed when it was recorded, and goes
// when its pool signs no more or is called otherwise, went by rule.
func TestVerifySignedBefore(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	data := t.TempDir()
	o := tiered(data, 1, live, cold)
	o.Signer, o.Pools[0].Sign, o.Pools[0].ArchiveTo = signerOf(1), true, ""
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	files := mediaFiles(t, live.Root)
	h.close()

	o = tiered(data, 2, live, cold)
	o.Signer, o.Pools[0].Name = signerOf(1), "other"
	h = open(t, o)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && h.a.Moves()[0].State == "idle" })
	h.close()
	if v := verifyAll(t, live.Root, cold.Root); len(v.Findings) != 0 || v.Signed != len(files) {
		t.Fatalf("moved: %+v", v)
	}
	if v := verifyAll(t, live.Root); len(v.Findings) != 0 || v.Elsewhere != len(files) {
		t.Errorf("the first space alone: %+v", v)
	}

	o = tiered(data, 3, live, cold)
	o.Signer, o.Pools[1].Days = signerOf(1), 1
	h = open(t, o)
	eventually(t, "all deleted by rule", func() bool { return len(mediaFiles(t, cold.Root)) == 0 })
	h.close()
	if v := verifyAll(t, live.Root, cold.Root); len(v.Findings) != 0 || v.Gone != len(files) {
		t.Errorf("deleted: %+v", v)
	}
}

// TestVerifyRenumbered: the ledgers know a file by the number in its header,
// also where the catalogue had to give it another one.
func TestVerifyRenumbered(t *testing.T) {
	t.Parallel()
	signed := func(data string, dirs ...*storagetest.Dir) archive.Options {
		o := options(data, 9, dirs...)
		o.Signer, o.Pools[0].Sign, o.MoveEvery = signerOf(1), true, 5*time.Millisecond
		o.Pools[0].Spaces = []string{"s0"}
		return o
	}
	old, live, cold := newDir(t), newDir(t), newDir(t)
	h := open(t, signed(t.TempDir(), old))
	record(t, h, aged("gate", 1, time.Hour), "", 25*12)
	files := mediaFiles(t, old.Root)
	h.close()

	// Another installation reached the same epoch, and has files of these numbers.
	o := signed(t.TempDir(), live, cold)
	h = open(t, o)
	record(t, h, aged("yard", 2, time.Hour), "", 25*12)
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: storagetest.New(old.Root), Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	if err := h.a.RestoreSpace("old"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its footage to be listed", func() bool {
		segs, err := h.a.Segments("gate", all)
		return err == nil && len(segs) == len(files) && spaceState(h, "old").State == archive.SpaceNormal
	})
	segs, _ := h.a.Segments("gate", all)
	if slices.ContainsFunc(files, func(name string) bool { return strings.Contains(name, segs[0].File.String()) }) {
		t.Fatalf("file %s has the number of its header", segs[0].File)
	}
	pools := append(o.Pools[:1:1], archive.Pool{Name: "from", Spaces: []string{"old"}, ArchiveTo: "to", ArchiveAfter: 1}, archive.Pool{Name: "to", Spaces: []string{"s1"}})
	if err := h.a.SetPools(pools); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, old.Root)) == 0 && h.a.Moves()[0].State == "idle" })
	check := func(what string, ok func(*archive.Verified) bool, dirs ...string) {
		t.Helper()
		var v *archive.Verified
		eventually(t, what, func() bool { v = verifyAll(t, dirs...); return ok(v) })
		if len(v.Findings) != 0 {
			t.Errorf("%s: %+v", what, v.Findings)
		}
	}
	check("both together", func(v *archive.Verified) bool { return v.Signed == len(files) && len(v.Findings) == 0 }, old.Root, cold.Root)
	check("the target alone", func(v *archive.Verified) bool { return v.Signed == len(files) && len(v.Findings) == 0 }, cold.Root)
	pools[2].Days = 1
	if err := h.a.SetPools(pools); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all deleted by rule", func() bool { return len(mediaFiles(t, cold.Root)) == 0 })
	check("deleted", func(v *archive.Verified) bool { return v.Gone == len(files) && len(v.Findings) == 0 }, old.Root, cold.Root)
}

// TestVerifyMovedKilled: a process that is killed while the ledger of an object
// store waits to be written says again what came there: a file taken away from
// there is found out.
func TestVerifyMovedKilled(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	cold.NoAppend = true
	data := t.TempDir()
	mute := &muted{Dir: cold}
	signed := func(epoch uint64, to archive.Storage) archive.Options {
		o := tiered(data, epoch, live, cold)
		o.Signer, o.Spaces[1].Storage = signerOf(1), to
		for i := range o.Pools {
			o.Pools[i].Sign = true
		}
		return o
	}
	h := open(t, signed(1, mute))
	record(t, h, cam, "live", 25*20)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	files := mediaFiles(t, cold.Root)
	eventually(t, "the ledger to be tried", func() bool { return mute.tried.Load() > 0 })
	if v := verifyAll(t, cold.Root); v.Signed != len(files) {
		t.Fatalf("%+v", v)
	}
	h.close() // without a ledger there
	h = open(t, signed(2, cold))
	eventually(t, "the target's ledger to have them all", func() bool {
		dir := t.TempDir()
		err := os.CopyFS(dir, os.DirFS(cold.Root))
		return err == nil && os.Remove(filepath.Join(dir, files[0])) == nil && hasFinding(verifyAll(t, live.Root, dir), dir, files[0])
	})
	eventually(t, "the moves to be forgotten", func() bool { return archive.MovesLeft(h.a) == 0 })
	h.close()
	if v := verifyAll(t, cold.Root); len(v.Findings) != 0 || v.Signed != len(files) {
		t.Errorf("%+v", v)
	}
}

// muted is an object store that takes footage, and does not answer about ledgers.
type muted struct {
	*storagetest.Dir
	tried atomic.Int64
}

func (m *muted) Write(ctx context.Context, name string, p []byte) error {
	if strings.HasPrefix(name, "ledger/") {
		m.tried.Add(1)
		<-ctx.Done()
		return ctx.Err()
	}
	return m.Dir.Write(ctx, name, p)
}
