package hls

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
)

// TestRemembered: what everybody who watches asks for is made once, and again as soon as
// something was recorded; each gets his own addresses.
func TestRemembered(t *testing.T) {
	src := new(fake).add(1, 0, 12, 2*time.Second).grows()
	src.tracks = []media.Track{{ID: 1, Codec: media.H264}}
	src.still = true
	s := New(src)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for _, carry := range []string{"", fmt.Sprintf("s=%d", i)} {
				text, err := s.Media(Request{UID: "cam", Live: true, Carry: carry})
				if err != nil {
					t.Error(err)
					return
				}
				want := strings.Count(string(text), ".m4s\n")
				if carry != "" {
					want = strings.Count(string(text), ".m4s?"+carry+"\n")
				}
				if n := strings.Count(string(text), "#EXTINF:"); n < 6 || want != n || strings.Contains(string(text), anyCarry) {
					t.Errorf("%d of %d entries with %q:\n%s", want, n, carry, text)
				}
				clear(text) // it is the caller's
			}
		})
	}
	all.Wait()
	if src.lasts != 1 {
		t.Errorf("made %d times", src.lasts)
	}
	before, err := s.Media(Request{UID: "cam", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	src.add(1, 0, 1, 2*time.Second)
	src.stamps++
	after, err := s.Media(Request{UID: "cam", Live: true})
	if err != nil || string(before) == string(after) || src.lasts != 2 {
		t.Errorf("what was recorded since is not listed: %v", err)
	}
	// A list of a past that goes on into now is each viewer's own.
	if _, err := s.Media(Request{UID: "cam", Span: media.Span{From: begin}}); err != nil || len(s.lists.m) != 1 {
		t.Errorf("%d lists are remembered, %v", len(s.lists.m), err)
	}
}

// TestErrorsAreNot: what could not be made is tried again at once, but once for all who
// wait for it.
func TestErrorsAreNot(t *testing.T) {
	none := func() stamps { return stamps{} }
	var m memo[int, string]
	n := 0
	create := func() (string, error) {
		if n++; n == 1 {
			return "", errors.New("not now")
		}
		return "made", nil
	}
	if _, err := m.get(1, none, create); err == nil || len(m.m) != 0 {
		t.Errorf("%d are remembered, %v", len(m.m), err)
	}
	for range 2 {
		if v, err := m.get(1, none, create); v != "made" || err != nil || n != 2 {
			t.Errorf("%q, %v, made %d times", v, err, n)
		}
	}
	for i := range 2 * mostRemembered {
		if _, err := m.get(i, none, create); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.m) > mostRemembered {
		t.Errorf("%d are remembered", len(m.m))
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = m.get(-1, none, func() (string, error) { panic("a mistake") })
	}()
	if v, err := m.get(-1, none, create); v != "made" || err != nil {
		t.Errorf("behind a panic: %q, %v", v, err)
	}
	synctest.Test(t, func(t *testing.T) {
		var m memo[int, string]
		begun := time.Now()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				_, err := m.get(1, none, func() (string, error) {
					time.Sleep(20 * time.Second) // a storage that hangs
					return "", errors.New("not now")
				})
				if err == nil {
					t.Error("no error")
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took != 20*time.Second {
			t.Errorf("they waited %v, one behind the other", took)
		}
		// What was recorded meanwhile is made without waiting for that.
		all.Go(func() {
			_, _ = m.get(1, none, func() (string, error) { time.Sleep(20 * time.Second); return "old", nil })
		})
		synctest.Wait()
		begun = time.Now()
		newer := func() stamps { return stamps{{Stored: archive.StampOf(1, 0)}} }
		if v, err := m.get(1, newer, func() (string, error) { return "new", nil }); v != "new" || err != nil || time.Since(begun) != 0 {
			t.Errorf("%q, %v behind %v", v, err, time.Since(begun))
		}
		all.Wait()
		if v, _ := m.get(1, newer, func() (string, error) { return "again", nil }); v != "new" {
			t.Errorf("%q: the older answer came later and stays", v)
		}
	})
}

// TestPieces: what is carried leaves in one piece, and nothing of what is not.
func TestPieces(t *testing.T) {
	video, sound := media.Track{ID: 1, Codec: media.Opus, Timescale: 48000}, media.Track{ID: 2, Codec: media.Opus, Timescale: 48000}
	data := media.Track{ID: 3, Codec: media.MJPEG, Timescale: 90000}
	lay := &archive.Layout{File: 1, Segments: []archive.SegmentLayout{{Number: 100, Complete: true}}}
	at := int64(1000)
	for part := range 4 {
		for _, x := range []media.Track{video, sound, data} {
			lay.Fragments = append(lay.Fragments, archive.Fragment{Track: x.ID, Part: part, Offset: at, MoofOffset: at + 60, DataOffset: at + 160, DataSize: 840, Samples: make([]media.Sample, 1)})
			at += 1000
		}
	}
	lay.Segments[0].Last = len(lay.Fragments)
	two := &archive.Layout{File: 1, Segments: lay.Segments}
	for _, f := range lay.Fragments {
		if f.Track != 3 {
			two.Fragments = append(two.Fragments, f)
			two.Fragments[len(two.Fragments)-1].Segment = 0
		}
	}
	for i := range two.Fragments { // as if nothing lay between
		f := &two.Fragments[i]
		f.Offset = 1000 + 1000*int64(i)
		f.MoofOffset, f.DataOffset = f.Offset+60, f.Offset+160
	}
	two.Segments = []archive.SegmentLayout{{Number: 100, Complete: true, Last: len(two.Fragments)}}
	encrypted := *two
	encrypted.Encryption = &archive.Encryption{}
	for _, c := range []struct {
		name   string
		lay    *archive.Layout
		tracks []media.Track
		pieces int
		size   int64
	}{
		{"all of it", two, []media.Track{video, sound}, 1, 8000 - 60},
		{"with a track between that is left out", lay, []media.Track{video, sound, data}, 4, 4 * (2000 - 60)},
		{"encrypted", &encrypted, []media.Track{video, sound}, 8, 8 * 940},
	} {
		src := new(fake).add(1, 0, 1, 2*time.Second)
		src.tracks, src.layouts = c.tracks, map[archive.FileID]*archive.Layout{1: c.lay}
		body, final, err := New(src).Segment("cam", fmt.Sprintf("%d-100.m4s", begin.Milli()), media.Span{})
		if err != nil || !final {
			t.Fatalf("%s: %v, %v", c.name, final, err)
		}
		n := 0
		body.Pieces(0, body.Size())(func(p timeline.Piece) bool {
			for _, f := range c.lay.Fragments {
				if f.Track == 3 && p.Off < f.End() && p.Off+p.Len > f.Offset {
					t.Errorf("%s: bytes %d to %d, a track that is left out lies at %d", c.name, p.Off, p.Off+p.Len, f.Offset)
				}
			}
			n++
			return true
		})
		if n != c.pieces || body.Size() != c.size {
			t.Errorf("%s: %d pieces of %d bytes, want %d of %d", c.name, n, body.Size(), c.pieces, c.size)
		}
		body.Release()
		if src.pinned != 0 {
			t.Errorf("%s: %d files are held", c.name, src.pinned)
		}
	}
}
