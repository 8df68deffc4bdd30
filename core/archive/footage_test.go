package archive_test

import (
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// template is a sealed file as the recorder wrote it.
type template struct {
	body  []byte // all before the index box
	index *archive.Index
}

// newTemplate records a camera for some minutes.
func newTemplate(t testing.TB, minutes int) *template {
	t.Helper()
	dir := storagetest.New(t.TempDir())
	o := options(t.TempDir(), 1, dir)
	o.WriteBufferMax = 1 << 40
	h := open(t, o)
	defer h.close()
	cam := newCamera("gate", 1)
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: time.Hour, Duration: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(uint64(25 * 60 * minutes)); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "sealed", func() bool { return h.saw("record.file") > 0 })
	x := &template{}
	err = filepath.WalkDir(dir.Root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(p) != ".mp4" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		n, err := archive.TrailerLength(b)
		if err != nil {
			return err
		}
		x.body = b[:int64(len(b))-n]
		x.index, err = archive.ParseIndex(b[int64(len(b))-n:], true)
		return err
	})
	if err != nil || x.index == nil {
		t.Fatal("no file was sealed", err)
	}
	return x
}

// footage writes files of some streams below root, a minute apart, as if the template's
// camera had gone on and on: each has an index box of its own, with its own
// number, segments and times. Their bodies are the template's head and a hole
// of the right length; nothing of them is read but the head.
func (x *template) footage(t testing.TB, root, name string, from time.Time, streams, files int) {
	t.Helper()
	var box []byte
	for s := range streams {
		uid := fmt.Sprintf("%s%02d", name, s)
		for i := range files {
			id := archive.FileID(crc32.ChecksumIEEE([]byte(name))>>8)<<32 | archive.FileID(i*streams+s+1)
			at := from.Add(time.Duration(i) * time.Minute).UTC()
			box = archive.AppendIndex(box[:0], x.later(uid, id, media.WallOf(at), i))
			dir := filepath.Join(root, uid, at.Format("2006-01-02"))
			if i == 0 || at.Hour() == 0 && at.Minute() == 0 {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, fmt.Sprintf("%s-%s.mp4", at.Format("150405"), id))
			if err := x.write(path, box); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (x *template) write(name string, box []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(x.body[:min(len(x.body), 8<<10)]); err != nil {
		return err
	}
	_, err = f.WriteAt(box, int64(len(x.body)))
	return err
}

// later is the index of the n-th file after the template.
func (x *template) later(uid string, id archive.FileID, at media.Wall, n int) *archive.Index {
	y := *x.index
	l := &y.Layout
	l.UID, l.File, l.Zero = uid, id, at.Add(-time.Duration(n)*time.Minute)
	l.Segments = append([]archive.SegmentLayout(nil), l.Segments...)
	l.Fragments = append([]archive.Fragment(nil), l.Fragments...)
	y.Tracks = append([]archive.IndexTrack(nil), y.Tracks...)
	first := x.index.Layout.Segments[0]
	for i := range l.Segments {
		s := &l.Segments[i]
		s.Number += uint64(n * len(l.Segments))
		s.Span = media.Span{From: at.Add(s.Span.From.Sub(first.Span.From)), To: at.Add(s.Span.To.Sub(first.Span.From))}
	}
	for i := range y.Tracks {
		k := &y.Tracks[i]
		k.Base, k.End = k.Base+int64(n)*60*int64(k.Timescale), k.End+int64(n)*60*int64(k.Timescale)
		k.FirstSeq, k.LastSeq = k.FirstSeq+uint64(n)*k.Samples, k.LastSeq+uint64(n)*k.Samples
		for j := range l.Fragments {
			if f := &l.Fragments[j]; f.Track == k.ID {
				f.BaseTime += int64(n) * 60 * int64(k.Timescale)
				f.FirstSeq += uint64(n) * k.Samples
			}
		}
	}
	return &y
}
