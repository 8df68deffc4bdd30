package archive_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// slowTells is a space that takes its time to tell how full it is.
type slowTells struct {
	archive.Storage
	took  atomic.Int64 // ns
	asked atomic.Int64
}

func (s *slowTells) Usage(ctx context.Context) (archive.Usage, error) {
	s.asked.Add(1)
	t := time.NewTimer(time.Duration(s.took.Load()))
	defer t.Stop()
	select {
	case <-t.C:
		return s.Storage.Usage(ctx)
	case <-ctx.Done():
		return archive.Usage{}, ctx.Err()
	}
}

// TestSlowToTell: a space that takes eight seconds to tell how full it is keeps its
// threshold all the same, and so does one that answers again.
func TestSlowToTell(t *testing.T) {
	for name, c := range map[string]struct{ first, then time.Duration }{"always": {8 * time.Second, 8 * time.Second}, "for a while": {time.Hour, 0}} {
		t.Run(name, func(t *testing.T) {
			dir, data := newDir(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				d := &fills{Dir: dir}
				d.free.Store(fillTotal / 2)
				s := &slowTells{Storage: d}
				o := options(data, 1, dir)
				o.Spaces[0].Storage, o.Pools = s, overwrites(10)
				h := open(t, o)
				record(t, h, inBubble("gate", 1), "", 25*60)
				time.Sleep(5 * time.Minute)
				files := len(mediaFiles(t, dir.Root))
				s.took.Store(int64(c.first))
				time.Sleep(5 * time.Minute)
				d.free.Store(fillTotal/10 - 100_000) // some of it is to go
				s.took.Store(int64(c.then))
				time.Sleep(10 * time.Minute)
				if n, free := len(mediaFiles(t, dir.Root)), d.free.Load(); n == files || n < files/2 || free < fillTotal/10 {
					t.Errorf("%d of %d files are left, %d of %d bytes are free", n, files, free, fillTotal)
				}
				before := s.asked.Load()
				time.Sleep(10 * time.Minute)
				if n := s.asked.Load() - before; n > 60 {
					t.Errorf("it was asked %d times in ten minutes", n)
				}
				h.close()
			})
		})
	}
}

// TestRoomBesideTheMute: a space that is full gets its room within seconds though four
// others do not say how full they are.
func TestRoomBesideTheMute(t *testing.T) {
	dirs := []*storagetest.Dir{newDir(t), newDir(t), newDir(t), newDir(t), newDir(t)}
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := options(data, 1, dirs...)
		o.Pools = []archive.Pool{{Name: "a", Spaces: []string{"s0"}, Overwrite: true}, {Name: "b", Spaces: []string{"s1", "s2", "s3", "s4"}, Overwrite: true}}
		var mute []*slowTells
		for i := range dirs[1:] {
			s := &slowTells{Storage: dirs[i+1]}
			o.Spaces[i+1].Storage, mute = s, append(mute, s)
		}
		h := open(t, o)
		gate, hall := inBubble("gate", 1), inBubble("hall", 2)
		record(t, h, gate, "a", 25*20)
		time.Sleep(10 * time.Minute)
		for _, s := range mute {
			s.took.Store(int64(time.Hour))
		}
		time.Sleep(5 * time.Minute) // that is known
		hall.born = gate.born.Add(time.Hour)
		rec, err := h.a.Recorder("hall", archive.Rules{Chunk: 2 * time.Second, Pool: "a"})
		if err != nil {
			t.Fatal(err)
		}
		dirs[0].Limit(sizeOf(t, dirs[0].Root) + 20_000)
		f := start(t, hall, rec, archive.GapNone)
		var worst time.Duration
		for range 60 {
			f.live(t, 1)
			worst = max(worst, h.a.Metrics().Spaces[0].OldestWaiting)
		}
		if h.saw("storage.full") == 0 || worst > 10*time.Second {
			t.Errorf("something has waited for %s; full %d times", worst, h.saw("storage.full"))
		}
		f.flush()
		rec.End(archive.GapNone)
		rec.Close()
		for _, s := range mute {
			s.took.Store(0)
		}
		time.Sleep(5 * time.Minute)
		auditRest(t, h.a, hall, 25*60)
		for i, s := range h.a.Metrics().Spaces {
			if s.Usage.Total == 0 {
				t.Errorf("space %d is not known", i)
			}
		}
		h.close()
	})
}
