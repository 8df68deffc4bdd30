package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// groomOptions is options for one space whose footage is groomed at an age.
func groomOptions(data string, epoch uint64, after time.Duration, d *storagetest.Dir) archive.Options {
	o := options(data, epoch, d)
	o.MoveEvery = 5 * time.Millisecond
	o.Pools[0].GroomAfter = after
	return o
}

// aged makes a camera whose footage is from hours ago.
func aged(name string, n byte, age time.Duration) *camera {
	c := newCamera(name, n)
	c.born = c.born.Add(-age)
	return c
}

// auditKeys checks that of every segment in span only the key frames are left,
// each once, with its bytes, at its time, shown until the next one.
func auditKeys(t testing.TB, a *archive.Archive, cam *camera, from, to uint64) {
	t.Helper()
	segs, err := a.Segments(cam.name, all)
	if err != nil {
		t.Fatal(err)
	}
	next := from
	shownTo := int64(-1)
	for i, s := range segs {
		if i > 0 && s.Number != segs[i-1].Number+1 {
			t.Fatalf("segment %d follows %d", s.Number, segs[i-1].Number)
		}
		l, err := a.Layout(s.File)
		if err != nil {
			t.Fatal(err)
		}
		pin, err := a.Pin(s.File)
		if err != nil {
			t.Fatal(err)
		}
		sl := l.Segments[s.Index]
		for _, fr := range l.Fragments[sl.First:sl.Last] {
			if fr.Track != 1 {
				t.Fatalf("track %d is left in file %s", fr.Track, s.File)
			}
			b := make([]byte, fr.DataSize)
			if _, err := pin.ReadAt(b, fr.DataOffset); err != nil {
				t.Fatal(err)
			}
			at := fr.BaseTime
			for _, smp := range fr.Samples {
				u, wall := cam.unit(1, next)
				if !smp.Key || !bytes.Equal(b[:smp.Size], u.Payload) {
					t.Fatalf("key frame %d is not where it should be (%.40q)", next, b[:min(len(b), 40)])
				}
				if d := l.Zero.Add(media.DurationOf(at+int64(smp.CTO), 90000)).Sub(wall); d.Abs() > time.Millisecond {
					t.Fatalf("key frame %d is %s off", next, d)
				}
				if shownTo >= 0 && at != shownTo {
					t.Fatalf("key frame %d begins at %d, the one before ends at %d", next, at, shownTo)
				}
				at += int64(smp.Duration)
				shownTo = at
				b = b[smp.Size:]
				next += 25
			}
		}
		pin.Release()
	}
	if next != to {
		t.Fatalf("key frames up to %d instead of %d", next, to)
	}
}

func groomedFiles(a *archive.Archive) (n int64) {
	for _, g := range a.Groomings() {
		n += g.Files
	}
	return n
}

// TestGroom: old footage keeps its key frames at their times; what is listed,
// what is missing and how long it is stays the same.
func TestGroom(t *testing.T) {
	t.Parallel()
	d, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	h := open(t, groomOptions(data, 1, 0, d))
	const to = 25 * 60
	record(t, h, cam, "", to)
	ranges, gaps, _ := h.a.Ranges("gate", all)
	bytesWere, files := h.a.StreamBytes("gate"), mediaFiles(t, d.Root)
	plan, err := h.a.Preview(t.Context(), archive.Changes{Groom: map[string]time.Duration{"default": time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	h.close()

	h = open(t, groomOptions(data, 2, time.Hour, d))
	eventually(t, "all groomed", func() bool { return groomedFiles(h.a) == int64(len(files)) && h.a.Groomings()[0].State == "idle" })
	auditKeys(t, h.a, cam, 0, to)
	after, gapsAfter, err := h.a.Ranges("gate", all)
	if len(after) != 1 || !after[0].Groomed || ranges[0].Groomed {
		t.Errorf("groomed footage is not marked: %v", after)
	}
	if err != nil || fmt.Sprint(joined(after)) != fmt.Sprint(joined(ranges)) || fmt.Sprint(gapsAfter) != fmt.Sprint(gaps) {
		t.Fatalf("ranges %v, were %v; gaps %v, were %v; %v", after, ranges, gapsAfter, gaps, err)
	}
	eventually(t, "the originals to go", func() bool { return len(mediaFiles(t, d.Root)) == len(files) })
	for _, f := range mediaFiles(t, d.Root) {
		if slices.Contains(files, f) {
			t.Errorf("%s is left", f)
		}
	}
	st := h.a.Groomings()[0]
	freed := bytesWere - h.a.StreamBytes("gate")
	if st.Bytes != freed || st.Failures+st.Damaged != 0 || h.saw("archive.groomed") == 0 || st.DueFiles != 0 {
		t.Errorf("%+v; freed %d; told %d times", st, freed, h.saw("archive.groomed"))
	}
	if p := plan.Streams[0]; p.Grooms != len(files) || p.GroomBytes != bytesWere || float64(p.GroomGain) < 0.9*float64(freed) || float64(p.GroomGain) > 1.1*float64(freed) {
		t.Errorf("%d files, gain %d of %d were foretold; %d files, %d came", p.Grooms, p.GroomGain, p.GroomBytes, len(files), freed)
	}
	// A second time there is nothing to do, and the catalogue from nothing says the same.
	h.close()
	os.Remove(filepath.Join(data, "catalogue.db"))
	h = open(t, groomOptions(data, 3, time.Hour, d))
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 && h.a.Groomings()[0].State == "idle" })
	auditKeys(t, h.a, cam, 0, to)
	if n := groomedFiles(h.a); n != 0 {
		t.Errorf("%d files were groomed twice", n)
	}
}

// joined is what ranges cover, whatever they are marked with.
func joined(rs []archive.Range) (out []media.Span) {
	for _, r := range rs {
		if n := len(out); n > 0 && out[n-1].To == r.Span.From {
			out[n-1].To = r.Span.To
			continue
		}
		out = append(out, r.Span)
	}
	return out
}

// TestGroomLeaves: locked footage stays as it was byte for byte, also where a
// lock takes a part of a file only; so does what is young, what somebody reads,
// and what is damaged, which is said.
func TestGroomLeaves(t *testing.T) {
	t.Parallel()
	d, data := newDir(t), t.TempDir()
	cams := []*camera{aged("locked", 1, 3*time.Hour), aged("young", 2, 59*time.Minute), aged("read", 3, 3*time.Hour), aged("damaged", 4, 3*time.Hour)}
	h := open(t, groomOptions(data, 1, 0, d))
	const to = 25 * 12
	for _, c := range cams {
		record(t, h, c, "", to)
	}
	// From the middle of the second file to the middle of the fourth.
	from := cams[0].born.Add(3 * time.Second)
	if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "locked", Span: media.Span{From: from, To: from.Add(4 * time.Second)}, Reason: "r", Who: "w"}); err != nil {
		t.Fatal(err)
	}
	contents := map[string][]byte{}
	for _, f := range mediaFiles(t, d.Root) {
		b, err := os.ReadFile(filepath.Join(d.Root, f))
		if err != nil {
			t.Fatal(err)
		}
		contents[f] = b
	}
	hurt := mediaFilesOf(t, d.Root, "damaged")[2]
	b := slices.Clone(contents[hurt])
	x := fragments(t, b)[3]
	b[x.PayloadAt+5] ^= 1 // of a picture that would have been dropped
	if err := os.WriteFile(filepath.Join(d.Root, hurt), b, 0o644); err != nil {
		t.Fatal(err)
	}
	contents[hurt] = b
	segs, err := h.a.Segments("read", all)
	if err != nil {
		t.Fatal(err)
	}
	h.close()
	d.Descriptors = false
	o := groomOptions(data, 2, time.Hour, d)
	o.MoveEvery = 300 * time.Millisecond
	h = open(t, o)
	pin, err := h.a.Pin(segs[0].File)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rest groomed", func() bool {
		st := h.a.Groomings()[0]
		return st.State == "idle" && st.Damaged == 1 && st.Files == 3+5+5
	})
	eventually(t, "the originals to go", func() bool { return len(mediaFiles(t, d.Root)) == 24 })
	left := mediaFiles(t, d.Root)
	for _, c := range []struct {
		uid   string
		whole int
	}{{"locked", 3}, {"young", 6}, {"read", 1}, {"damaged", 1}} {
		n := 0
		for _, f := range mediaFilesOf(t, d.Root, c.uid) {
			if was, ok := contents[f]; ok {
				n++
				if now, err := os.ReadFile(filepath.Join(d.Root, f)); err != nil || !bytes.Equal(now, was) {
					t.Errorf("%s changed: %v", f, err)
				}
			}
		}
		if n != c.whole {
			t.Errorf("%s: %d files are whole, want %d (%v)", c.uid, n, c.whole, left)
		}
	}
	if rs, _, _ := h.a.Ranges("locked", all); len(rs) != 3 || !rs[0].Groomed || rs[1].Groomed || !rs[2].Groomed || rs[0].Span.To != rs[1].Span.From {
		t.Errorf("ranges of the stream with a lock: %+v", rs)
	}
	if h.saw("archive.damaged") != 1 {
		t.Errorf("damage told %d times", h.saw("archive.damaged"))
	}
	got := make([]byte, 1000)
	if _, err := pin.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("the reader was cut: %v", err)
	}
	pin.Release()
	audit(t, h.a, cams[1], 0, to)
}

// mediaFilesOf lists the sealed files of a stream.
func mediaFilesOf(t testing.TB, root, uid string) []string {
	return slices.DeleteFunc(mediaFiles(t, root), func(f string) bool { return filepath.Dir(filepath.Dir(f)) != uid })
}
