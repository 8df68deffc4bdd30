package archive_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"media-server/core/archive"
	"media-server/core/mux"
)

// testSigner is an Ed25519 key made of a number.
type testSigner struct{ priv ed25519.PrivateKey }

func signerOf(n byte) testSigner {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return testSigner{ed25519.NewKeyFromSeed(seed)}
}

func (s testSigner) public() ed25519.PublicKey { return s.priv.Public().(ed25519.PublicKey) }
func (s testSigner) Sign(m []byte) []byte      { return ed25519.Sign(s.priv, m) }
func (s testSigner) KeyID() [8]byte {
	h := sha256.Sum256(s.public())
	return [8]byte(h[:8])
}

// signedSpace records two streams, signed, and returns the space's folder.
func signedSpace(t *testing.T) (dir string, files []string) {
	t.Helper()
	d := newDir(t)
	o := options(t.TempDir(), 1, d)
	o.Signer, o.Pools[0].Sign = signerOf(1), true
	h := open(t, o)
	for i, name := range []string{"gate", "yard"} {
		cam := newCamera(name, byte(i+1))
		rec, err := h.a.Recorder(name, archive.Rules{Chunk: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, cam, rec, archive.GapNone)
		if err := f.feed(25 * 20); err != nil {
			t.Fatal(err)
		}
		f.flush()
		rec.End(archive.GapNone)
		rec.Close()
	}
	eventually(t, "everything sealed", func() bool { return openMedia(d.Root) == 0 && h.saw("record.file") >= 12 })
	h.close()
	return d.Root, mediaFiles(t, d.Root)
}

func openMedia(root string) int {
	m, _ := filepath.Glob(filepath.Join(root, "open", "*.mp4"))
	return len(m)
}

// mediaFiles lists the sealed media files, sorted.
func mediaFiles(t testing.TB, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".mp4") {
			rel, _ := filepath.Rel(root, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func verify(t *testing.T, dir string, keys ...ed25519.PublicKey) *archive.Verified {
	t.Helper()
	v := archive.Verifier{Keys: keys, Grace: -1}
	out, err := v.Verify(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fragments lists the extents of a file's fragments.
func fragments(t *testing.T, b []byte) (out []mux.FragmentInfo) {
	t.Helper()
	r := bytes.NewReader(b)
	at := int64(bytes.Index(b, []byte("mspart"))) - 18
	for {
		x, next, err := mux.ParseFragment(r, at, int64(len(b)))
		if err != nil {
			return out
		}
		out = append(out, x)
		at = next
	}
}

// mend makes the checksum of a part header right again, as somebody would who
// knows the format.
func mend(b []byte, x *mux.FragmentInfo) {
	box := b[x.HeaderAt : x.HeaderAt+x.HeaderLen]
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.BigEndian.PutUint32(box[28:], crc32.Update(crc32.Checksum(box[24:28], table), table, box[32:]))
}

func TestVerify(t *testing.T) {
	whole, files := signedSpace(t)
	key := signerOf(1).public()
	clean := verify(t, whole, key)
	if len(clean.Findings) != 0 || clean.Signed != len(files) || clean.Unsigned != 0 {
		t.Fatalf("untouched: %+v", clean)
	}
	if other := verify(t, whole, signerOf(2).public()); other.Signed != 0 || len(other.Findings) == 0 {
		t.Errorf("another's key verifies: %+v", other)
	}
	gate := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !strings.HasPrefix(f, "gate/") })
	yard := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !strings.HasPrefix(f, "yard/") })
	mid := gate[2]

	edit := func(file string, change func(b []byte) []byte) func(t *testing.T, dir string) string {
		return func(t *testing.T, dir string) string {
			p := filepath.Join(dir, file)
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, change(b), 0o644); err != nil {
				t.Fatal(err)
			}
			return file
		}
	}
	remove := func(file string) func(t *testing.T, dir string) string {
		return func(t *testing.T, dir string) string {
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			return file
		}
	}
	cut := func(b []byte, from, to int64) []byte { return append(slices.Clone(b[:from]), b[to:]...) }
	for _, c := range []struct {
		name string
		do   func(t *testing.T, dir string) (file string)
		what string
	}{
		{"a byte of a picture", edit(mid, func(b []byte) []byte { x := fragments(t, b)[4]; b[x.PayloadAt+9] ^= 1; return b }), "changed"},
		{"a byte of a picture and its hash", edit(mid, func(b []byte) []byte {
			x := fragments(t, b)[4]
			b[x.PayloadAt+x.PayloadLen-1] ^= 1
			n := x.PayloadLen - int64(x.Samples[len(x.Samples)-1].Size)
			copy(b[x.HeaderAt+152+8*int64(len(x.Samples)-1):], be64(xxh(b[x.PayloadAt+n:x.PayloadAt+x.PayloadLen])))
			mend(b, &x)
			return b
		}), "chain is broken"},
		{"the clock box", edit(mid, func(b []byte) []byte {
			x := fragments(t, b)[0]
			b[x.HeaderAt+152+8*int64(len(x.Samples))+3] ^= 1
			mend(b, &x)
			return b
		}), "chain is broken"},
		{"a time", edit(mid, func(b []byte) []byte { x := fragments(t, b)[4]; b[x.HeaderAt+118] ^= 1; mend(b, &x); return b }), "chain is broken"},
		{"a part cut out", edit(mid, func(b []byte) []byte { x := fragments(t, b)[4]; return cut(b, x.HeaderAt, x.End()) }), "chain is broken"},
		{"two parts swapped", edit(mid, func(b []byte) []byte {
			xs := fragments(t, b)
			x, y := xs[4], xs[5]
			out := append(slices.Clone(b[:x.HeaderAt]), b[y.HeaderAt:y.End()]...)
			out = append(out, b[x.HeaderAt:x.End()]...)
			return append(out, b[y.End():]...)
		}), "chain is broken"},
		{"the last part changed", edit(mid, func(b []byte) []byte {
			xs := fragments(t, b)
			x := xs[len(xs)-1]
			b[x.HeaderAt+118] ^= 1
			mend(b, &x)
			return b
		}), "last part"},
		{"a file in the middle", remove(mid), "missing"},
		{"the newest file", remove(gate[len(gate)-1]), "missing"},
		{"the oldest file", remove(gate[0]), "missing"},
		{"files exchanged between streams", func(t *testing.T, dir string) string {
			a, b := filepath.Join(dir, gate[1]), filepath.Join(dir, yard[1])
			for _, m := range [][2]string{{a, a + "x"}, {b, a}, {a + "x", b}} {
				if err := os.Rename(m[0], m[1]); err != nil {
					t.Fatal(err)
				}
			}
			return gate[1]
		}, "stream yard"},
		{"a file copied", func(t *testing.T, dir string) string {
			b, _ := os.ReadFile(filepath.Join(dir, mid))
			_ = os.WriteFile(filepath.Join(dir, gate[3]), b, 0o644)
			return gate[3]
		}, ""},
		{"the tail cut", edit(mid, func(b []byte) []byte { return b[:len(b)-100] }), "index"},
		{"all behind the parts cut", edit(mid, func(b []byte) []byte { xs := fragments(t, b); return b[:xs[len(xs)-1].End()] }), "tail was cut"},
		{"the signature taken off", edit(mid, func(b []byte) []byte {
			xs := fragments(t, b)
			end := xs[len(xs)-1].End()
			return cut(b, end, end+int64(binary.BigEndian.Uint32(b[end:])))
		}), "signature"},
		{"called unsigned", edit(mid, func(b []byte) []byte {
			at := bytes.Index(b, []byte("msfile")) - 18
			b[at+39] &^= 1
			n := int(binary.BigEndian.Uint32(b[at:]))
			binary.BigEndian.PutUint32(b[at+28:], crc32.Checksum(b[at+32:at+n], crc32.MakeTable(crc32.Castagnoli)))
			return b
		}), "not any more"},
		{"the head changed", edit(mid, func(b []byte) []byte { b[60] ^= 1; return b }), ""},
		{"the ledger cut", func(t *testing.T, dir string) string {
			m, _ := filepath.Glob(filepath.Join(dir, "*", "*.ledger"))
			b, err := os.ReadFile(m[0])
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			_ = os.WriteFile(m[0], b, 0o644)
			return ""
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			file := c.do(t, dir)
			out := verify(t, dir, key)
			hit := slices.ContainsFunc(out.Findings, func(f archive.Finding) bool {
				return (file == "" || f.File == file) && strings.Contains(f.What, c.what) && (file == "" || f.Span.From > 0)
			})
			if !hit {
				t.Errorf("%s: not found: %+v", file, out.Findings)
			}
		})
	}
}

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func xxh(b []byte) uint64 { return xxhash.Sum64(b) }

// TestVerifyAfterRules: what retention takes is told from what is missing.
func TestVerifyAfterRules(t *testing.T) {
	d, cam := newDir(t), newCamera("gate", 1)
	cam.born = cam.born.Add(-time.Hour)
	o := options(t.TempDir(), 1, d)
	o.Signer, o.Pools[0].Sign = signerOf(1), true
	h := open(t, o)
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 30); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "sealed", func() bool { return h.saw("record.file") >= 9 && openMedia(d.Root) == 0 })
	was := len(mediaFiles(t, d.Root))
	rec, _ = h.a.Recorder("gate", archive.Rules{Duration: time.Since(cam.born.Time()) - 12*time.Second})
	rec.Close()
	eventually(t, "the oldest to go", func() bool { retain(t, h); return len(mediaFiles(t, d.Root)) < was-2 })
	h.close()
	left := mediaFiles(t, d.Root)
	out := verify(t, d.Root, signerOf(1).public())
	if len(out.Findings) != 0 || out.Signed != len(left) || out.Gone != was-len(left) {
		t.Fatalf("%d of %d files left: %+v", len(left), was, out)
	}
	if err := os.Remove(filepath.Join(d.Root, left[0])); err != nil {
		t.Fatal(err)
	}
	if out := verify(t, d.Root, signerOf(1).public()); len(out.Findings) != 1 || out.Findings[0].File != left[0] {
		t.Errorf("a file taken behind the rule's back: %+v", out.Findings)
	}
}

// TestVerifyAfterCrash: files that a dead process left growing are continued,
// sealed and signed; the chain goes through.
func TestVerifyAfterCrash(t *testing.T) {
	d, cam, data := newDir(t), newCamera("gate", 1), t.TempDir()
	opts := func(epoch uint64) archive.Options {
		o := options(data, epoch, d)
		o.Signer, o.Pools[0].Sign = signerOf(1), true
		return o
	}
	h := open(t, opts(1))
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 4 * time.Second})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 10); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
	d.Kill()
	rec.Close()
	h.close()
	d.Revive()
	h = open(t, opts(2))
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f = start(t, cam, rec, archive.GapNone) // goes on where storage ends
	if err := f.feed(25 * 20); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "sealed", func() bool { return openMedia(d.Root) == 0 })
	h.close()
	files := mediaFiles(t, d.Root)
	out := verify(t, d.Root, signerOf(1).public())
	if len(out.Findings) != 0 || out.Signed != len(files) || len(files) < 4 {
		t.Fatalf("%d files: %+v", len(files), out)
	}
}
