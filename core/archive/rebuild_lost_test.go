package archive_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// TestRebuildWithLostSpace: while the catalogue is rebuilt one space is lost. The
// other one is read once; the rebuild is over when the lost one is back, or is
// removed.
func TestRebuildWithLostSpace(t *testing.T) {
	for _, removed := range []bool{false, true} {
		data, good := t.TempDir(), newDir(t)
		root := filepath.Join(t.TempDir(), "s")
		away := root + ".away"
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		bad := storagetest.New(root)
		with := func(epoch uint64) archive.Options {
			o := options(data, epoch, good, bad)
			o.Pools = []archive.Pool{pool("default", "s0"), pool("other", "s1")}
			return o
		}
		gate, yard := newCamera("gate", 1), newCamera("yard", 2)
		synctest.Test(t, func(t *testing.T) {
			gate.born, yard.born = 946684800_000000000, 946684800_000000000 // the bubble's clock
			h := open(t, with(1))
			for cam, in := range map[*camera]string{gate: "default", yard: "other"} {
				rec, err := h.a.Recorder(cam.name, archive.Rules{Pool: in})
				if err != nil {
					t.Fatal(err)
				}
				f := start(t, cam, rec, archive.GapNone)
				if err := f.feed(200); err != nil {
					t.Fatal(err)
				}
				f.flush()
				rec.End(archive.GapNone)
				rec.Close()
			}
			time.Sleep(10 * time.Second)
			h.close()
			for _, suffix := range []string{"", "-wal", "-shm"} {
				os.Remove(filepath.Join(data, "catalogue.db"+suffix))
			}
			if err := os.Rename(root, away); err != nil {
				t.Fatal(err)
			}
			h = open(t, with(2))
			defer h.close()
			time.Sleep(5 * time.Minute)
			if n := h.saw("archive.rebuild"); n != 1 {
				t.Errorf("the space that is there was read %d times", n)
			}
			audit(t, h.a, gate, 0, 200)
			if removed {
				if err := h.a.SetPools([]archive.Pool{pool("default", "s0")}); err != nil {
					t.Fatal(err)
				}
				if err := h.a.RemoveSpace(context.Background(), "s1"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				return
			}
			if err := os.Rename(away, root); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if n := h.saw("archive.rebuild"); n != 2 {
				t.Errorf("%d spaces were read", n)
			}
			audit(t, h.a, yard, 0, 200)
		})
		if due, _, _ := catalogueOf(t, data); due {
			t.Errorf("the rebuild is not over; removed: %v", removed)
		}
	}
}
