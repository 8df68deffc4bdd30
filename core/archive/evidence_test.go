package archive_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// TestEvidence: what an export's proof takes of a file leads from its head to
// its signature, link by link, also where units were lost.
func TestEvidence(t *testing.T) {
	d, cam := newDir(t), newCamera("gate", 1)
	o := options(t.TempDir(), 1, d)
	o.Signer, o.Pools[0].Sign = signerOf(1), true
	h := open(t, o)
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(60); err != nil {
		t.Fatal(err)
	}
	f.next[1], f.next[2] = 63, 62 // what a driver dropped: numbers are not one behind the other
	if err := f.feed(200); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "everything sealed", func() bool { return openMedia(d.Root) == 0 && len(mediaFiles(t, d.Root)) >= 2 })
	h.close()
	holes := 0
	for _, name := range mediaFiles(t, d.Root) {
		b, err := os.ReadFile(filepath.Join(d.Root, name))
		if err != nil {
			t.Fatal(err)
		}
		r := bytes.NewReader(b)
		header, head, err := archive.ReadHead(r, int64(len(b)))
		if err != nil || !header.Signed() || header.UID != "gate" {
			t.Fatalf("%s: %+v, %v", name, header, err)
		}
		if again, err := archive.ParseHead(head); err != nil || again.ID != header.ID {
			t.Errorf("%s: its head read again: %v", name, err)
		}
		if _, err := archive.ParseHead(append(bytes.Clone(head), 0)); err == nil {
			t.Errorf("%s: a head with a byte too many", name)
		}
		link := archive.FirstLink(head)
		xs := fragments(t, b)
		for i := range xs {
			x := &xs[i]
			if x.Header.Chain != link {
				t.Fatalf("%s: fragment %d does not name the link before it", name, i)
			}
			payload := b[x.PayloadAt:x.End()]
			leaves := archive.LeavesOf(x, payload)
			for k, u := range archive.UnitsOf(x) {
				want, _ := cam.unit(u.Track, u.Seq)
				if got := payload[:u.Size]; !bytes.Equal(got, want.Payload) || u.Leaf(got) != leaves[k] {
					t.Fatalf("%s: track %d unit %d is not what its leaf says", name, u.Track, u.Seq)
				}
				if at, born := header.Zero.Add(media.DurationOf(u.PTS, map[int]uint32{1: 90000, 2: 8000}[u.Track])), cam.born.Add(time.Duration(u.Seq)*40*time.Millisecond); at.Sub(born).Abs() > time.Millisecond {
					t.Fatalf("%s: track %d unit %d at %v, not %v", name, u.Track, u.Seq, at.Time(), born.Time())
				}
				payload = payload[u.Size:]
			}
			if x.Header.Seqs != nil {
				holes++
			}
			link = archive.NextLink(link, sha256.Sum256(b[x.HeaderAt:x.PayloadAt-8]), archive.RootOf(leaves))
		}
		end := xs[len(xs)-1].End()
		box, err := archive.ReadSignature(r, end)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := archive.ParseSignature(box)
		if err != nil || sig.Link != link || int(sig.Count) != len(xs) || sig.File != header.ID || !archive.SignatureGood(box, signerOf(1).public()) {
			t.Fatalf("%s: %+v, %v", name, sig, err)
		}
		box[70] ^= 1
		if archive.SignatureGood(box, signerOf(1).public()) || archive.SignatureGood(box[:40], signerOf(1).public()) {
			t.Errorf("%s: a changed signature is good", name)
		}
		if box, err := archive.ReadSignature(r, int64(len(b))); box != nil || err != nil {
			t.Errorf("behind the end: %v %v", box, err)
		}
		if box, err := archive.ReadSignature(r, xs[0].HeaderAt); box != nil || err != nil {
			t.Errorf("where there is none: %v %v", box, err)
		}
	}
	if holes == 0 {
		t.Error("no fragment has a hole in its numbers")
	}
}
