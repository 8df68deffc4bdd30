package mp4

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

// TestTimeTwice: of a time that the clock showed twice both recordings are in the
// movie, the later one moved behind the first as a whole; what comes after a hole is
// at its own time again, and no track is longer than it says.
func TestTimeTwice(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 20*time.Second, clip.H264, clip.AAC)
	s.record(t, 2, t0.Add(12*time.Second), 15*time.Second, clip.H264, clip.AAC) // set back by 8 s
	s.record(t, 3, t0.Add(34*time.Second+900*time.Millisecond), 4*time.Second, clip.H264, clip.AAC)
	s.record(t, 4, t0.Add(time.Minute), 12*time.Second, clip.H264, clip.AAC)
	for _, s.shapes = range []bool{false, true} {
		m, err := New(s).Record("cam", media.Span{From: media.WallOf(t0), To: media.WallOf(t0.Add(time.Hour))})
		if err != nil {
			t.Fatal(err)
		}
		file := whole(t, m)
		var sound, pictures int
		for _, trak := range find(file, "moov", "trak") {
			got := readTrack(t, file, trak)
			var want []sentUnit
			for _, u := range s.sent {
				if u.kind == got[0].kind {
					want = append(want, u)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%v: %d units of %d", got[0].kind, len(got), len(want))
			}
			again := 1
			for want[again].at > want[again-1].at.Add(-5*time.Second) {
				again++
			}
			for i := range got {
				if !bytes.Equal(got[i].payload, want[i].payload) {
					t.Fatalf("%v: unit %d is another", got[i].kind, i)
				}
				at, off := want[i].at.Sub(media.WallOf(t0)), (got[i].at + m.Start).Sub(want[i].at)
				least, most := -time.Millisecond, time.Millisecond
				switch {
				case i < again, at >= time.Minute:
				case at < 30*time.Second:
					least, most = 8*time.Second-50*time.Millisecond, 8200*time.Millisecond
				default: // there was no room before it
					most = 300 * time.Millisecond
				}
				if off < least || off > most {
					t.Fatalf("%v: unit %d, of %v, is off by %v", got[i].kind, i, at, off)
				}
			}
			if got[0].kind == media.Video {
				pictures = len(got)
			} else {
				sound = len(got)
			}
			sum := int64(0)
			stts := find(trak, "mdia", "minf", "stbl", "stts")[0]
			for i := 8; i < len(stts); i += 8 {
				sum += int64(binary.BigEndian.Uint32(stts[i:])) * int64(binary.BigEndian.Uint32(stts[i+4:]))
			}
			if said := int64(binary.BigEndian.Uint64(find(trak, "mdia", "mdhd")[0][24:])); said != sum {
				t.Errorf("%v: samples last %d, the track says %d", got[0].kind, sum, said)
			}
		}
		if pictures != 51*25 || sound == 0 {
			t.Errorf("%d pictures, %d units of sound", pictures, sound)
		}
		probe(t, m)
	}
}

// TestSoundAhead: sound that runs ahead of the pictures, or behind them, from file to
// file is at its time, and so are they.
func TestSoundAhead(t *testing.T) {
	for _, ahead := range []time.Duration{2 * time.Second, -2 * time.Second} {
		s := newStore()
		s.ahead = ahead
		s.record(t, 1, t0, time.Minute, clip.H264, clip.AAC)
		for _, s.shapes = range []bool{false, true} {
			to := media.WallOf(t0.Add(time.Minute))
			m, err := New(s).Record("cam", media.Span{From: media.WallOf(t0), To: to})
			if err != nil {
				t.Fatal(err)
			}
			check(t, s, m, to)
		}
	}
}

// TestTimeTwiceFromWithin: a movie that begins at a time that the clock showed twice
// has of both recordings what was asked for.
func TestTimeTwiceFromWithin(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 20*time.Second, clip.H264, clip.AAC)
	s.record(t, 2, t0.Add(2*time.Second), 20*time.Second, clip.H264, clip.AAC)
	from := media.WallOf(t0.Add(16 * time.Second))
	for _, s.shapes = range []bool{false, true} {
		m, err := New(s).Record("cam", media.Span{From: from, To: media.WallOf(t0.Add(time.Hour))})
		if err != nil {
			t.Fatal(err)
		}
		file := whole(t, m)
		for _, trak := range find(file, "moov", "trak") {
			got := readTrack(t, file, trak)
			if got[0].kind != media.Video {
				continue
			}
			var want []sentUnit
			for _, u := range s.sent {
				if u.kind == media.Video && u.at >= from {
					want = append(want, u)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%d pictures of %d", len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i].payload, want[i].payload) {
					t.Fatalf("picture %d is another", i)
				}
			}
			// The second follows the first without a pause: four seconds later.
			if off := (got[len(got)-1].at + m.Start).Sub(want[len(want)-1].at); off < 3900*time.Millisecond || off > 4200*time.Millisecond {
				t.Errorf("the second is moved by %v", off)
			}
		}
	}
}
