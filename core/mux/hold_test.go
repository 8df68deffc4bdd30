package mux

import (
	"bytes"
	"testing"
	"time"

	"media-server/core/media"
)

// What a file begins with may have to begin later: sound that was kept while the
// first key frame was waited for moves along, and the question comes once, with
// that key frame. What comes behind has been moved by whoever asks to.
func TestHold(t *testing.T) {
	const later = 30 * time.Millisecond
	var asked []media.Wall
	start := startOf(videoTrack(), audioTrack())
	start.Hold = func(first media.Wall) time.Duration {
		asked = append(asked, first)
		return later
	}
	w, s := NewWriter(Config{}, start), &stored{t: t}
	at := func(ms int64) media.Wall { return zero.Add(10*time.Second + time.Duration(ms)*time.Millisecond) }
	sound := func(seq uint64, wall media.Wall) {
		parts, _, err := w.Write(media.AccessUnit{Track: 2, Seq: seq, PTS: int64(seq) * 160, Key: true, Payload: bytes.Repeat([]byte{0xd5}, 160)}, wall, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.take(parts)
	}
	for seq := uint64(0); seq < 10; seq++ { // up to 180 ms
		sound(seq, at(int64(seq)*20))
	}
	for i := range uint64(3) {
		wall := at(100 + int64(i)*40)
		if i > 0 {
			wall = wall.Add(later)
		}
		nal := []byte{0x41, 1, 2}
		if i == 0 {
			nal[0] = 0x65
		}
		parts, ev, err := w.Write(media.AccessUnit{Track: 1, Seq: i, PTS: int64(i) * 3600, DTS: int64(i) * 3600, HasDTS: true, Key: i == 0, Payload: nalUnits(nal)}, wall, nil)
		if err != nil || i == 0 && ev.Joined != 5 { // those from 100 ms on
			t.Fatalf("%+v, %v", ev, err)
		}
		s.take(parts)
	}
	sound(10, at(200).Add(later))
	s.take(w.Flush())
	if len(asked) != 1 || asked[0] != at(100) {
		t.Errorf("asked with %v", asked)
	}
	for _, f := range s.fragments() {
		taken := at(100 + int64(f.Header.FirstSeq)*40)
		if f.Header.Track == 2 {
			taken = at(int64(f.Header.FirstSeq) * 20)
		}
		if off := f.Header.WallStart.Sub(taken); off != later {
			t.Errorf("track %d unit %d is moved by %v", f.Header.Track, f.Header.FirstSeq, off)
		}
		if begins := zero.Add(media.DurationOf(f.BaseTime, map[int]uint32{1: 90000, 2: 8000}[f.Header.Track])); begins.Sub(taken.Add(later)).Abs() > time.Millisecond {
			t.Errorf("track %d unit %d lies %v off in the file", f.Header.Track, f.Header.FirstSeq, begins.Sub(taken.Add(later)))
		}
	}
}
