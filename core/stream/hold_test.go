package stream

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// TestStartBehindStored: a camera is back so soon that the first sound it sends
// lies before the end of the last picture stored, which is shown for 200 ms. That
// sound is not stored, and what is, lies where it was taken, whichever track came
// first. Only where the first picture lies before that end as well, all moves.
func TestStartBehindStored(t *testing.T) {
	ms := func(n int64) media.Wall { return media.WallOf(start.Add(time.Duration(n) * time.Millisecond)) }
	tracks := []media.Track{{ID: 2, Codec: media.MJPEG, Timescale: 90000, Width: 640, Height: 480}, track}
	picture := func(seq uint64, at, first int64) media.AccessUnit {
		return media.AccessUnit{Track: 2, Seq: seq, PTS: (at - first) * 90, Received: ms(at), Key: true, Payload: bytes.Repeat([]byte{1}, 50)}
	}
	sound := func(seq uint64, at, first int64) media.AccessUnit {
		return media.AccessUnit{Track: 1, Seq: seq, PTS: (at - first) * 8, Received: ms(at), Key: true, Payload: bytes.Repeat([]byte{2}, 160)}
	}
	for _, c := range []struct {
		picture, moved int64 // ms: when the first one of the second run is taken, and by how much the run is late
		soundFirst     bool
	}{{4150, 0, true}, {4150, 0, false}, {3970, 30, true}, {3970, 30, false}} {
		t.Run(fmt.Sprintf("picture at %d, sound first %v", c.picture, c.soundFirst), func(t *testing.T) {
			rec := &fakeRecorder{}
			_, d := newTest(t, rec)
			run := func(id byte, picture0, sound0, to int64) {
				var us []media.AccessUnit
				for at, n := picture0, uint64(0); at < to; at, n = at+200, n+1 {
					us = append(us, picture(n, at, picture0))
				}
				for at, n := sound0, uint64(0); at < to; at, n = at+20, n+1 {
					us = append(us, sound(n, at, sound0))
				}
				if c.soundFirst {
					slices.SortStableFunc(us, func(a, b media.AccessUnit) int { return int(a.Received - b.Received) })
				}
				o := opened(id)
				o.Tracks = tracks
				d.sink.Opened(o)
				// All of the start comes in one burst, as out of a socket; its times do not.
				slices.SortStableFunc(us, func(a, b media.AccessUnit) int { return int(a.Received-b.Received) / 500e6 })
				d.sink.Units(us)
				d.sink.Closed(Closed{Run: media.RunID{id}, Cause: CauseDriver})
			}
			run(1, 0, 0, 4000) // ends at 4000: a picture at 3800, shown for 200 ms
			run(2, c.picture, 3930, 7000)
			begun := map[int]bool{}
			for _, p := range rec.parts {
				if p.Run != (media.RunID{2}) {
					continue
				}
				for i := range p.Fragments {
					f := &p.Fragments[i]
					h, err := mux.ParsePartHeader(f.Head)
					if err != nil {
						t.Fatal(err)
					}
					taken := ms(c.picture + int64(f.FirstSeq)*200)
					if f.Track == 1 {
						taken = ms(3930 + int64(f.FirstSeq)*20)
					}
					if off := h.WallStart.Sub(taken) - time.Duration(c.moved)*time.Millisecond; off.Abs() > 2*time.Millisecond {
						t.Errorf("track %d unit %d is %v off", f.Track, f.FirstSeq, off)
					}
					if !begun[f.Track] && h.WallStart < ms(4000) {
						t.Errorf("track %d begins %v before the end of what was stored", f.Track, ms(4000).Sub(h.WallStart))
					}
					begun[f.Track] = true
				}
			}
			if len(begun) != 2 {
				t.Errorf("stored of tracks: %v", begun)
			}
		})
	}
}

// TestSoundBesideStored: sound that comes behind the first picture of a run, and is
// older, is stored from where the sound of the run before ended, be that before or
// behind the end of its last picture; also by a core that found that run in storage.
func TestSoundBesideStored(t *testing.T) {
	ms := func(n int64) media.Wall { return media.WallOf(start.Add(time.Duration(n) * time.Millisecond)) }
	tracks := []media.Track{{ID: 2, Codec: media.MJPEG, Timescale: 90000, Width: 640, Height: 480}, track}
	for _, c := range []struct {
		name              string
		soundEnd, picture int64 // ms: end of the first run's sound, first picture of the second one
		soundFirst        bool  // the second run's sound arrives before its picture
		restart           bool  // of the core, between the runs
		from              int64 // where the second run's sound begins
	}{
		{"ended before the picture", 3900, 4010, false, false, 3900},
		{"ended before the picture, found in storage", 3900, 4010, false, true, 3900},
		{"reached beyond it", 4100, 4010, false, false, 4100},
		{"reached beyond it, found in storage", 4100, 4010, false, true, 4100},
		{"reached beyond it, kept for the picture", 4100, 4010, true, false, 4100},
		{"ended before it, kept for the picture", 3900, 4010, true, false, 4020},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := &fakeRecorder{}
			_, d := newTest(t, rec)
			run := func(id byte, picture0, sound0, pictures, sounds int64) {
				o := opened(id)
				o.Tracks = tracks
				d.sink.Opened(o)
				var us []media.AccessUnit
				for at, n := picture0, uint64(0); at < pictures; at, n = at+200, n+1 {
					us = append(us, media.AccessUnit{Track: 2, Seq: n, PTS: (at - picture0) * 90, Received: ms(at), Key: true, Payload: bytes.Repeat([]byte{1}, 50)})
				}
				for at, n := sound0, uint64(0); at < sounds; at, n = at+20, n+1 {
					us = append(us, media.AccessUnit{Track: 1, Seq: n, PTS: (at - sound0) * 8, Received: ms(at), Key: true, Payload: bytes.Repeat([]byte{2}, 160)})
				}
				slices.SortStableFunc(us, func(a, b media.AccessUnit) int { return int(a.Received - b.Received) })
				i := slices.IndexFunc(us, func(u media.AccessUnit) bool { return u.Track == 2 })
				first := us[i]
				us = slices.Delete(us, i, i+1)
				if i = 0; c.soundFirst {
					i = slices.IndexFunc(us, func(u media.AccessUnit) bool { return u.Received >= first.Received.Add(150*time.Millisecond) })
				}
				d.sink.Units(slices.Insert(us, i, first))
			}
			run(1, 0, 0, 4000, c.soundEnd)
			d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseDriver})
			if c.restart {
				rec.ends = nil // the core was killed: nobody said that the run has ended
				_, d = newTest(t, rec)
			}
			run(2, c.picture, 3800, 8000, 8000)
			for _, p := range rec.parts {
				for i := range p.Fragments {
					if f := &p.Fragments[i]; p.Run == (media.RunID{2}) && f.Track == 1 {
						if at := 3800 + int64(f.FirstSeq)*20; at != c.from {
							t.Errorf("sound from %d ms, want %d", at, c.from)
						}
						return
					}
				}
			}
			t.Error("no sound")
		})
	}
}

// TestRefusedComesAgain: a unit of a metadata track that lay before the first
// picture of the run, or before the end of the run before, was not stored. The
// driver keeps it as the newest of its track; what it makes of it after a restart of
// the core does not land in a segment that began long after it.
func TestRefusedComesAgain(t *testing.T) {
	ms := func(n int64) media.Wall { return media.WallOf(start.Add(time.Duration(n) * time.Millisecond)) }
	tracks := []media.Track{{ID: 2, Codec: media.MJPEG, Timescale: 90000, Width: 640, Height: 480}, {ID: 3, Codec: media.Metadata, Timescale: 90000}}
	picture := func(seq, from uint64) media.AccessUnit {
		at := int64(from + seq*200)
		return media.AccessUnit{Track: 2, Seq: seq, PTS: int64(seq) * 200 * 90, Received: ms(at), Key: true, Payload: bytes.Repeat([]byte{1}, 50)}
	}
	data := func(seq uint64, at int64) media.AccessUnit {
		return media.AccessUnit{Track: 3, Seq: seq, PTS: at * 90, Received: ms(at), Key: true, Payload: []byte("<tt:MetadataStream/>")}
	}
	for _, c := range []struct {
		name   string
		before bool // the metadata comes before the first picture
	}{{"behind the first picture", false}, {"in front of it", true}} {
		t.Run(c.name, func(t *testing.T) {
			rec := &fakeRecorder{}
			s, d := newTest(t, rec)
			open := func(id byte) {
				o := opened(id)
				o.Tracks = tracks
				d.sink.Opened(o)
			}
			open(1)
			for seq := range uint64(20) { // to 4000
				d.sink.Units([]media.AccessUnit{picture(seq, 0)})
			}
			d.sink.Closed(Closed{Run: media.RunID{1}, Cause: CauseDriver})
			open(2)
			old := data(0, 3900)
			if c.before {
				d.sink.Units([]media.AccessUnit{old, picture(0, 4150)})
			} else {
				d.sink.Units([]media.AccessUnit{picture(0, 4150), old})
			}
			for seq := uint64(1); seq < 100; seq++ { // to 24150
				d.sink.Units([]media.AccessUnit{picture(seq, 4150)})
			}
			s.Detach()

			_, d = newTest(t, rec)
			open(2)
			d.sink.Units([]media.AccessUnit{old})
			held := rec.stored(media.RunID{2})
			for seq := held[len(held)-1] + 1; seq < 150; seq++ {
				d.sink.Units([]media.AccessUnit{picture(seq, 4150)})
				if seq == 120 {
					d.sink.Units([]media.AccessUnit{data(1, 28200)})
				}
			}
			var got []uint64
			for _, p := range rec.parts {
				for i := range p.Fragments {
					if f := &p.Fragments[i]; f.Track == 3 {
						got = append(got, f.FirstSeq)
					}
				}
			}
			if !slices.Equal(got, []uint64{1}) {
				t.Errorf("units of metadata stored: %d, want the second one alone", got)
			}
		})
	}
}
