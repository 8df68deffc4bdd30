package archive_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
)

// groomedSpace records a stream, signed, and grooms the older part of it. An hour lies
// between that and the age at which files are due, so that no more become so meanwhile.
func groomedSpace(t *testing.T) (dir string, files []string) {
	t.Helper()
	d, data := newDir(t), t.TempDir()
	o := groomOptions(data, 1, 0, d)
	o.Signer, o.Pools[0].Sign = signerOf(1), true
	h := open(t, o)
	record(t, h, aged("gate", 1, 3*time.Hour), "", 25*12) // six files
	record(t, h, aged("gate", 2, time.Hour), "", 25*8)    // four
	h.close()
	o = groomOptions(data, 2, 2*time.Hour, d)
	o.Signer, o.Pools[0].Sign = signerOf(1), true
	h = open(t, o)
	eventually(t, "groomed", func() bool { st := h.a.Groomings()[0]; return st.Files == 6 && st.State == "idle" })
	eventually(t, "the originals to go", func() bool { return len(mediaFiles(t, d.Root)) == 10 })
	h.close()
	return d.Root, mediaFiles(t, d.Root)
}

// TestVerifyGroomed: groomed footage verifies with what was signed when it was
// recorded; every change to it is found, and what a rule groomed is told from
// what somebody took.
func TestVerifyGroomed(t *testing.T) {
	t.Parallel()
	whole, files := groomedSpace(t)
	key := signerOf(1).public()
	clean := verify(t, whole, key)
	if len(clean.Findings) != 0 || clean.Signed != len(files) || clean.Groomed != 6 || clean.Gone != 6 {
		t.Fatalf("untouched: %+v", clean)
	}
	mid := files[2]
	edit := func(change func(b []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			p := filepath.Join(dir, mid)
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, change(b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	proof := func(b []byte) int { return strings.Index(string(b), "msgrom") }
	for _, c := range []struct {
		name string
		do   func(t *testing.T, dir string)
		what string
	}{
		{"a byte of a key frame", edit(func(b []byte) []byte { x := fragments(t, b)[1]; b[x.PayloadAt+9] ^= 1; return b }), "changed"},
		{"a key frame and its hash", edit(func(b []byte) []byte {
			x := fragments(t, b)[1]
			b[x.PayloadAt+9] ^= 1
			copy(b[x.HeaderAt+152:], be64(xxh(b[x.PayloadAt:x.PayloadAt+x.PayloadLen])))
			mend(b, &x)
			return b
		}), "key frames are not those"},
		{"a key frame cut out", edit(func(b []byte) []byte {
			x := fragments(t, b)[1]
			return append(b[:x.HeaderAt:x.HeaderAt], b[x.End():]...)
		}), "other key frames"},
		{"a leaf of what was dropped", edit(func(b []byte) []byte { b[proof(b)+600] ^= 1; return b }), "proves its key frames"},
		{"the proof cut out", edit(func(b []byte) []byte {
			at := proof(b) - 18
			n := int(b[at+1])<<16 | int(b[at+2])<<8 | int(b[at+3])
			return append(b[:at:at], b[at+n:]...)
		}), "is missing"},
		{"the tail cut", edit(func(b []byte) []byte { return b[:len(b)-100] }), "index"},
		{"a groomed file", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, mid)) }, "missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			c.do(t, dir)
			out := verify(t, dir, key)
			if !slices.ContainsFunc(out.Findings, func(f archive.Finding) bool {
				return f.File == mid && strings.Contains(f.What, c.what) && f.Span.From > 0
			}) {
				t.Errorf("not found: %+v", out.Findings)
			}
		})
	}
	// Signed anew by somebody with another key: the proof still says what was recorded.
	if out := verify(t, whole, signerOf(2).public()); out.Signed != 0 || len(out.Findings) == 0 {
		t.Errorf("another's key verifies: %+v", out)
	}
}
