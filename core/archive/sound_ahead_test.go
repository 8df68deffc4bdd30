package archive_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// unsealed is a space whose files are complete and keep their first name.
type unsealed struct{ *storagetest.Dir }

func (unsealed) Seal(context.Context, string, string, int64) error { return errors.New("not now") }

// TestTailLostUnderSoundAhead: sound runs ahead of the pictures, and a power cut takes
// the end of a file and nothing of the one behind it. What is missing reaches up to
// where the sound goes on, and so does the gap.
func TestTailLostUnderSoundAhead(t *testing.T) {
	dir, data, cam := newDir(t), t.TempDir(), newCamera("gate", 1)
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000 // the bubble's clock
		o := options(data, 1, dir)
		o.Spaces[0].Storage = unsealed{dir}
		h := open(t, o)
		rec, err := h.a.Recorder("gate", archive.Rules{Chunk: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, cam, rec, archive.GapNone)
		if err := f.feed(40); err != nil {
			t.Fatal(err)
		}
		for f.next[2] < 57 {
			u, wall := cam.unit(2, f.next[2])
			parts, _, err := f.w.Write(u, wall, nil)
			if err = errors.Join(err, f.put(parts)); err != nil {
				t.Fatal(err)
			}
			f.next[2]++
		}
		if err := errors.Join(f.feed(100), f.flush()); err != nil {
			t.Fatal(err)
		}
		rec.Close()
		time.Sleep(time.Second)
		h.close()

		open1, err := filepath.Glob(filepath.Join(dir.Root, "open", "gate*.mp4"))
		slices.Sort(open1)
		if err != nil || len(open1) < 2 {
			t.Fatal(open1, err)
		}
		fi, err := os.Stat(open1[0])
		if err == nil {
			err = os.Truncate(open1[0], fi.Size()*6/10)
		}
		if err != nil {
			t.Fatal(err)
		}
		h = open(t, options(data, 2, dir))
		time.Sleep(2 * time.Minute)
		ranges, gaps, err := h.a.Ranges("gate", all)
		want := cam.born.Add(56 * 40 * time.Millisecond) // the newest waits for the one that tells its length
		if err != nil || len(gaps) != 1 || gaps[0].Span.To != want || gaps[0].Why != archive.GapServerDown || gaps[0].Span.From >= cam.born.Add(2*time.Second) || h.saw("archive.torn_tail") == 0 {
			t.Errorf("gaps %v, want one up to %v; ranges %v %v", gaps, want, ranges, err)
		}
		h.close()
	})
}
