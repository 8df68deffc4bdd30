package hls

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
)

// fake is a timeline of made-up segments.
type fake struct {
	segs    []archive.Segment
	tracks  []media.Track
	inits   map[archive.InitID][]media.Track // in place of tracks
	layouts map[archive.FileID]*archive.Layout
	asked   int // calls of Segments
	pinned  int
	lasts   int    // calls of Last
	stamps  uint64 // so far
	still   bool   // nothing changes: the stamp stays
}

func (f *fake) Stamp(string) timeline.Stamp {
	if !f.still {
		f.stamps++
	}
	return timeline.Stamp{Stored: archive.StampOf(f.stamps, 0)}
}

func (f *fake) Segments(_ string, s media.Span) (out []archive.Segment, err error) {
	f.asked++
	for _, x := range f.segs {
		if x.Span.Overlaps(s) {
			out = append(out, x)
		}
	}
	return out, nil
}

func (f *fake) Last(uid string, n int) ([]archive.Segment, error) {
	f.lasts++
	if len(f.segs) == 0 {
		return nil, timeline.ErrNoFootage
	}
	return slices.Clone(f.segs[max(0, len(f.segs)-n-1):]), nil
}

func (f *fake) Bounds(string) (media.Span, bool) {
	if len(f.segs) == 0 {
		return media.Span{}, false
	}
	return media.Span{From: f.segs[0].Span.From, To: f.segs[len(f.segs)-1].Span.To}, true
}

func (f *fake) Tracks(_ string, id archive.InitID) ([]media.Track, error) {
	if t := f.inits[id]; t != nil {
		return t, nil
	}
	return f.tracks, nil
}

func (f *fake) Extents(_ string, s media.Span) (out []archive.Extent, err error) {
	for _, x := range f.segs {
		if x.Span.Overlaps(s) {
			out = append(out, archive.Extent{File: x.File, Span: x.Span, Run: x.Run, Zero: x.Zero, Init: x.Init})
		}
	}
	return out, nil
}

func (f *fake) Layout(_ string, id archive.FileID) (*archive.Layout, error) {
	if l := f.layouts[id]; l != nil {
		return l, nil
	}
	return nil, archive.ErrGone
}

func (f *fake) Pin(_ string, id archive.FileID) (timeline.File, error) {
	if f.layouts[id] == nil {
		return nil, archive.ErrGone
	}
	f.pinned++
	return &fakeFile{f, byte(id)}, nil
}

type fakeFile struct {
	of *fake
	b  byte
}

func (f *fakeFile) ReadAt(p []byte, _ int64) (int, error) {
	for i := range p {
		p[i] = f.b
	}
	return len(p), nil
}
func (f *fakeFile) File() (*os.File, int64, bool) { return nil, 0, false }
func (f *fakeFile) Release()                      { f.of.pinned-- }

var begin = media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

// add appends segments of d each behind the last one and a hole, as one run.
func (f *fake) add(run byte, hole time.Duration, n int, d time.Duration) *fake {
	at, number, disc := begin, uint64(100), uint64(7)
	if k := len(f.segs); k > 0 {
		last := &f.segs[k-1]
		last.Complete = true
		at, number, disc = last.Span.To.Add(hole), last.Number+1, last.Discontinuity
		if last.Run != (media.RunID{run}) {
			number, disc = number+media.GapSegments(hole), disc+1
		}
	}
	for range n {
		f.segs = append(f.segs, archive.Segment{Number: number, Discontinuity: disc, Span: media.Span{From: at, To: at.Add(d)},
			Run: media.RunID{run}, Init: archive.InitID(run), File: archive.FileID(len(f.segs)/30 + 1), Index: len(f.segs) % 30,
			Independent: true, Complete: true, Size: 1 << 20})
		at, number = at.Add(d), number+1
	}
	return f
}

// grows makes the last segment one that is still written.
func (f *fake) grows() *fake { f.segs[len(f.segs)-1].Complete = false; return f }

// list is a media playlist read back.
type list struct {
	target        int
	sequence, dis uint64
	ended         bool
	text          string
	entries       []listEntry
}

type listEntry struct {
	sequence, discontinuity uint64 // as a player counts them
	duration                float64
	at                      time.Time
	gap                     bool
	uri                     string
}

func read(t *testing.T, text []byte) (l list) {
	t.Helper()
	l.text = string(text)
	var e listEntry
	dis := uint64(0)
	for line := range strings.Lines(l.text) {
		line = strings.TrimSuffix(line, "\n")
		tag, value, _ := strings.Cut(line, ":")
		var err error
		switch tag {
		case "#EXT-X-TARGETDURATION":
			l.target, err = strconv.Atoi(value)
		case "#EXT-X-MEDIA-SEQUENCE":
			l.sequence, err = strconv.ParseUint(value, 10, 64)
		case "#EXT-X-DISCONTINUITY-SEQUENCE":
			l.dis, err = strconv.ParseUint(value, 10, 64)
			dis = l.dis
		case "#EXT-X-DISCONTINUITY":
			dis++
		case "#EXT-X-PROGRAM-DATE-TIME":
			e.at, err = time.Parse(time.RFC3339Nano, value)
		case "#EXTINF":
			e.duration, err = strconv.ParseFloat(strings.TrimSuffix(value, ","), 64)
		case "#EXT-X-GAP":
			e.gap = true
		case "#EXT-X-ENDLIST":
			l.ended = true
		default:
			if !strings.HasPrefix(line, "#") {
				e.uri, e.sequence, e.discontinuity = line, l.sequence+uint64(len(l.entries)), dis
				l.entries, e = append(l.entries, e), listEntry{}
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	for _, e := range l.entries {
		if r := int(e.duration + 0.5); r > l.target {
			t.Errorf("entry of %f s above the target duration %d", e.duration, l.target)
		}
		if e.at.IsZero() {
			t.Errorf("%s has no date", e.uri)
		}
	}
	return l
}

func TestMediaPlaylists(t *testing.T) {
	sec := time.Second
	closed := media.Span{From: begin, To: begin.Add(time.Hour)}
	for _, c := range []struct {
		name string
		src  *fake
		req  Request
		want string // numbers as stored; gaps in brackets, | before a discontinuity, $ at the end of the list
	}{
		{"closed", new(fake).add(1, 0, 4, 2*sec), Request{Span: closed}, "100 101 102 103 $"},
		{"closed, reaching into the present", new(fake).add(1, 0, 4, 2*sec).grows(), Request{Span: closed}, "100 101 102 103 $"},
		{"closed, a part of it", new(fake).add(1, 0, 9, 2*sec), Request{Span: media.Span{From: begin.Add(5 * sec), To: begin.Add(9 * sec)}}, "102 103 104 $"},
		{"open", new(fake).add(1, 0, 4, 2*sec).grows(), Request{Span: media.Span{From: begin}}, "100 101 102"},
		{"open from inside a hole", new(fake).add(1, 0, 2, 2*sec).add(2, 25*sec, 3, 2*sec), Request{Span: media.Span{From: begin.Add(10 * sec)}}, "105 106 107"},
		{"a hole of 25 s", new(fake).add(1, 0, 2, 2*sec).add(2, 25*sec, 2, 2*sec), Request{Span: closed}, "100 101 (102) (103) (104) |105 106 $"},
		{"a hole of two minutes", new(fake).add(1, 0, 2, 2*sec).add(2, 2*time.Minute, 2, 2*sec), Request{Span: closed}, "100 101 |102 103 $"},
		{"a hole that a growing segment ends", new(fake).add(1, 0, 7, 5*sec).add(2, 15*sec, 1, 2*sec).grows(), Request{Live: true}, "103 104 105 106 (107) (108)"},
		{"open, a file of seven segments removed in the middle", removed(new(fake).add(1, 0, 60, 2*sec), 10, 17), Request{Span: media.Span{From: begin.Add(12 * sec)}},
			"106 107 108 109 (110) (111) (112) (113) (114) (115) (116) " + count(117, 160)},
		{"live, after numbers of another kind", numbersJump(new(fake).add(1, 0, 9, 4*sec), 4), Request{Live: true}, "10104 10105 10106 10107 10108"},
		{"live", new(fake).add(1, 0, 24, 4*sec), Request{Live: true}, "118 119 120 121 122 123"},
		{"live, short segments", new(fake).add(1, 0, 24, 2*sec), Request{Live: true}, "114 115 116 117 118 119 120 121 122 123"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := New(c.src).Media(c.req)
			if err != nil {
				t.Fatal(err)
			}
			l := read(t, text)
			var got []string
			dis := l.dis
			for _, e := range l.entries {
				s := fmt.Sprint(e.sequence)
				if e.gap {
					s = "(" + s + ")"
				}
				if e.discontinuity != dis {
					s, dis = "|"+s, e.discontinuity
				}
				if want := "-" + fmt.Sprint(e.sequence) + ".m4s"; !strings.HasSuffix(e.uri, want) || e.gap != strings.HasPrefix(e.uri, "gap-") {
					t.Errorf("entry %d is called %s", e.sequence, e.uri)
				}
				got = append(got, s)
			}
			if l.ended {
				got = append(got, "$")
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got  %s\nwant %s\n%s", strings.Join(got, " "), c.want, text)
			}
		})
	}
}

// removed takes segments out, as if their file were gone.
func removed(f *fake, from, to int) *fake {
	f.segs = slices.Delete(f.segs, from, to)
	return f
}

// numbersJump moves the numbers from segment i on, as when recording is switched on.
func numbersJump(f *fake, i int) *fake {
	for k := range f.segs[i:] {
		f.segs[i+k].Number += 10000
		f.segs[i+k].Run = media.RunID{99}
	}
	return f
}

func count(from, to int) string {
	var s []string
	for n := from; n < to; n++ {
		s = append(s, fmt.Sprint(n))
	}
	return strings.Join(s, " ")
}

// TestReload: what a player has once read of an open or live playlist never
// changes, while the stream is recorded, interrupted, and deleted at its front.
func TestReload(t *testing.T) {
	all := new(fake).add(1, 0, 12, 1999*time.Millisecond)
	all.add(2, 25*time.Second, 9, 3*time.Second).add(3, 5*time.Minute, 9, 10*time.Second).add(4, 40*time.Millisecond, 9, 2*time.Second)
	for i := range all.segs { // as the archive has them: a hair between a segment's end and the next one's beginning
		all.segs[i].Span.To -= media.Wall(300 * time.Microsecond)
	}
	for name, req := range map[string]Request{"live": {Live: true}, "open": {Span: media.Span{From: begin}}} {
		t.Run(name, func(t *testing.T) {
			var known map[uint64]listEntry
			front := uint64(0)
			for n := 2; n <= len(all.segs); n++ {
				src := &fake{segs: slices.Clone(all.segs[max(0, n-30):n])} // retention keeps thirty
				text, err := New(src.grows()).Media(req)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(text), "PLAYLIST-TYPE") {
					t.Fatalf("a list that loses its front may have no type\n%s", text)
				}
				l := read(t, text)
				if l.sequence < front {
					t.Fatalf("the list goes back from %d to %d", front, l.sequence)
				}
				front = l.sequence
				now := map[uint64]listEntry{}
				for _, e := range l.entries {
					if was, ok := known[e.sequence]; ok && was != e {
						t.Fatalf("entry has changed\nfrom %+v\nto   %+v", was, e)
					}
					now[e.sequence] = e
				}
				for k := range known {
					if _, ok := now[k]; !ok && k >= front {
						t.Fatalf("entry %d has gone", k)
					}
				}
				known = now
			}
		})
	}
}

// TestLateKeyFrame: numbers are left free for the hole up to the first unit;
// if the key frame comes much later no gap entry becomes longer than the
// target duration.
func TestLateKeyFrame(t *testing.T) {
	src := new(fake).add(1, 0, 3, 2*time.Second).add(2, 5*time.Second, 2, 2*time.Second)
	for i := 3; i < 5; i++ {
		src.segs[i].Span.From += media.Wall(30 * time.Second)
		src.segs[i].Span.To += media.Wall(30 * time.Second)
	}
	text, err := New(src).Media(Request{Span: media.Span{From: begin, To: begin.Add(time.Hour)}})
	if l := read(t, text); err != nil || l.target != 10 || len(l.entries) != 6 {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestLongRanges: a month is refused before it is read to its end, and so are
// not the years around an hour.
func TestLongRanges(t *testing.T) {
	month := new(fake).add(1, 0, 30*24*1800, 2*time.Second)
	_, err := New(month).Media(Request{Span: media.Span{From: begin, To: begin.Add(30 * 24 * time.Hour)}})
	if !errors.Is(err, ErrTooLong) || month.asked > 4 {
		t.Errorf("%v after %d questions", err, month.asked)
	}
	hour := new(fake).add(1, 0, 1800, 2*time.Second)
	text, err := New(hour).Media(Request{Span: media.Span{From: 0, To: 1<<63 - 1}})
	if l := read(t, text); err != nil || len(l.entries) != 1800 || hour.asked > 2 {
		t.Errorf("%v, %d entries after %d questions", err, len(l.entries), hour.asked)
	}
	days := new(fake).add(1, 0, 3*24*360, 10*time.Second) // segments lie across the borders of the slices
	text, err = New(days).Media(Request{Span: media.Span{From: begin.Add(3 * time.Second), To: begin.Add(80 * time.Hour)}})
	if l := read(t, text); err != nil || len(l.entries) != 3*24*360 {
		t.Errorf("%v, %d entries", err, len(l.entries))
	}
	if _, err := New(new(fake)).Media(Request{Span: media.Span{From: begin}}); !errors.Is(err, ErrNoFootage) {
		t.Errorf("nothing at all: %v", err)
	}
}

func TestMultivariant(t *testing.T) {
	src := new(fake).add(1, 0, 3, 2*time.Second)
	src.tracks = []media.Track{{ID: 1, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}}
	if _, err := New(src).Multivariant(Request{Live: true}, "media.m3u8"); !errors.Is(err, ErrCodec) || !strings.Contains(err.Error(), string(media.PCMA)) {
		t.Errorf("only G.711: %v", err)
	}
	src.tracks = append(src.tracks, media.Track{ID: 2, Codec: media.Opus, Timescale: 48000, SampleRate: 48000, Channels: 2})
	for name, req := range map[string]Request{
		"live": {Live: true}, "open": {Span: media.Span{From: begin}},
		"closed":                           {Span: media.Span{From: begin, To: begin.Add(time.Hour)}},
		"closed long after the last frame": {Span: media.Span{From: begin, To: begin.Add(1000 * time.Hour)}},
	} {
		text, err := New(src).Multivariant(req, "media.m3u8?x=1")
		if err != nil || !strings.HasSuffix(string(text), "\nmedia.m3u8?x=1\n") || !strings.Contains(string(text), `CODECS="opus"`) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	for name, req := range map[string]Request{
		"open behind the end":   {Span: media.Span{From: begin.Add(time.Minute)}},
		"closed behind the end": {Span: media.Span{From: begin.Add(time.Minute), To: begin.Add(time.Hour)}},
		"closed before it":      {Span: media.Span{From: 1, To: begin}},
	} {
		if text, err := New(src).Multivariant(req, "media.m3u8"); !errors.Is(err, ErrNoFootage) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// TestSegment: the bytes of the carried tracks, of both files where a segment
// goes on in a second one, and every file let go.
func TestSegment(t *testing.T) {
	src := new(fake).add(1, 0, 3, 2*time.Second)
	src.tracks = []media.Track{{ID: 1, Codec: media.PCMA, Timescale: 8000}, {ID: 2, Codec: media.Opus, Timescale: 48000}}
	src.layouts = map[archive.FileID]*archive.Layout{}
	for i := range src.segs {
		s := &src.segs[i]
		s.File = archive.FileID(i + 1)
		src.layouts[s.File] = &archive.Layout{File: s.File, Segments: []archive.SegmentLayout{{Number: s.Number, First: 0, Last: 2}},
			Fragments: []archive.Fragment{{Track: 1, MoofOffset: 10, DataOffset: 20, DataSize: 30}, {Track: 2, MoofOffset: 60, DataOffset: 80, DataSize: 4}}}
	}
	name := func(i int) string { return fmt.Sprintf("%d-%d.m4s", src.segs[i].Span.From.Milli(), src.segs[i].Number) }
	get := func(name string) (string, bool, error) {
		b, final, err := New(src).Segment("cam", name, media.Span{})
		if err != nil {
			return "", false, err
		}
		defer b.Release()
		p := make([]byte, b.Size())
		_, err = b.ReadAt(p, 0)
		return string(bytes.Map(func(r rune) rune { return r + '0' }, p)), final, err
	}
	if got, final, err := get(name(1)); got != strings.Repeat("2", 24) || !final || err != nil {
		t.Errorf("%q, %v, %v", got, final, err)
	}
	// The second segment fails over to another space in its middle, and grows.
	src.segs[1].Complete = false
	src.segs[2].Number, src.segs[2].Complete = src.segs[1].Number, false
	src.layouts[3].Segments[0].Number = src.segs[1].Number
	if got, final, err := get(name(1)); got != strings.Repeat("2", 24)+strings.Repeat("3", 24) || final || err != nil {
		t.Errorf("%q, %v, %v", got, final, err)
	}
	if b, final, err := New(src).Segment("cam", "gap-1772366400000-7.m4s", media.Span{}); err != nil || b.Size() != int64(len(emptySegment)) || !final {
		t.Errorf("gap: %v, %v", final, err)
	}
	delete(src.layouts, 3)
	if _, _, err := get(name(1)); !errors.Is(err, archive.ErrGone) {
		t.Errorf("half of it deleted: %v", err)
	}
	for _, bad := range []string{"", ".m4s", "-.m4s", "1-.m4s", "x-1.m4s", "-5-1.m4s", "99999999999999999-1.m4s", "1-1.mp4", "1-1.m4s.m4s", name(0) + "/", "1-99999999999999999999.m4s"} {
		if _, _, err := get(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if src.pinned != 0 {
		t.Errorf("%d files are still held", src.pinned)
	}
}

// TestSoundBehindPictures: of a camera whose pictures HLS does not carry, the
// sound lags by more than a second. It is dated by itself, and each segment of
// the playlist is found.
func TestSoundBehindPictures(t *testing.T) {
	src := new(fake).add(1, 0, 4, 2*time.Second)
	src.tracks = []media.Track{{ID: 1, Codec: media.MJPEG, Timescale: 90000, Width: 640, Height: 360}, {ID: 2, Codec: media.Opus, Timescale: 48000}}
	src.layouts = map[archive.FileID]*archive.Layout{}
	const lag = 1600 * time.Millisecond
	for i := range src.segs {
		s := &src.segs[i]
		s.File, s.Zero = archive.FileID(i+1), begin
		at := s.Span.From.Sub(begin)
		src.layouts[s.File] = &archive.Layout{File: s.File, Zero: begin, Segments: []archive.SegmentLayout{{Number: s.Number, First: 0, Last: 2}}, Fragments: []archive.Fragment{
			{Track: 1, BaseTime: int64(at.Seconds() * 90000), Duration: 180000, MoofOffset: 10, DataOffset: 20, DataSize: 30, Samples: make([]media.Sample, 20)},
			{Track: 2, BaseTime: int64((at - lag).Seconds() * 48000), Duration: 96000, MoofOffset: 60, DataOffset: 80, DataSize: 4, Samples: make([]media.Sample, 100)}}}
	}
	list, err := New(src).Media(Request{UID: "cam", Span: media.Span{From: begin, To: begin.Add(8 * time.Second)}})
	if err != nil {
		t.Fatal(err)
	}
	found, date := 0, ""
	for l := range strings.Lines(string(list)) {
		switch l = strings.TrimSpace(l); {
		case strings.HasPrefix(l, "#EXT-X-PROGRAM-DATE-TIME:") && found == 0:
			_, date, _ = strings.Cut(l, ":")
		case strings.HasPrefix(l, "#EXTINF:") && l != "#EXTINF:2.000000,":
			t.Errorf("each has two seconds of sound: %s", l)
		case strings.HasSuffix(l, ".m4s"):
			b, _, err := New(src).Segment("cam", l, media.Span{})
			if err != nil {
				t.Errorf("%s: %v", l, err)
				continue
			}
			found++
			b.Release()
		}
	}
	if at, err := time.Parse(time.RFC3339, date); err != nil || at.Sub(begin.Time()) != -lag || found != 4 {
		t.Errorf("%d found, the first one of %q\n%s", found, date, list)
	}
}

func FuzzNames(f *testing.F) {
	f.Add("1772366400000-100.m4s")
	f.Add("gap-1-2.m4s")
	f.Fuzz(func(t *testing.T, name string) {
		from, number, _, gap, ok := parseName(name)
		if ok && from < 0 {
			t.Errorf("%q: %d, %d, %v", name, from, number, gap)
		}
	})
}

// BenchmarkMedia writes media playlists of segments of two seconds; what the
// catalogue has to do for them is core/archive's BenchmarkCatalogue.
func BenchmarkMedia(b *testing.B) {
	src := new(fake).add(1, 0, 24*1800, 2*time.Second)
	for _, hours := range []time.Duration{1, 24} {
		b.Run(fmt.Sprintf("%d hours", hours), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := New(src).Media(Request{Span: media.Span{From: begin, To: begin.Add(hours * time.Hour)}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
