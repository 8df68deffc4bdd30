package picture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/still"
	"media-server/core/timeline"
)

const zero = media.Wall(1_700_000_000e9)

// camera is three pictures, a second apart, in one file.
type camera struct {
	codec media.Codec
	run   media.RunID
	data  string
	gone  error // of reading
}

func (c *camera) span() media.Span { return media.Span{From: zero, To: zero.Add(3 * time.Second)} }

func (c *camera) Segments(_ string, s media.Span) (out []archive.Segment, err error) {
	if c.span().Overlaps(s) {
		out = append(out, archive.Segment{Number: 1, Span: c.span(), Run: c.run, Zero: zero, File: 7, Independent: true, Complete: true})
	}
	return out, nil
}
func (c *camera) Extents(string, media.Span) ([]archive.Extent, error) { return nil, nil }
func (c *camera) Tracks(string, archive.InitID) ([]media.Track, error) {
	return []media.Track{{ID: 1, Codec: c.codec, Timescale: 1000, Width: 640, Height: 360, SPS: []byte{0x67, 0x64, 0, 0x1e}, PPS: []byte{0x68}}}, nil
}
func (c *camera) Layout(string, archive.FileID) (*archive.Layout, error) {
	f := archive.Fragment{Track: 1, DataSize: int64(len(c.data)), Duration: 3000}
	for range 3 {
		f.Samples = append(f.Samples, media.Sample{Size: uint32(len(c.data) / 3), Duration: 1000, Key: true})
	}
	return &archive.Layout{File: 7, Run: c.run, Zero: zero, Complete: true, Fragments: []archive.Fragment{f},
		Segments: []archive.SegmentLayout{{Number: 1, Span: c.span(), Independent: true, Complete: true, Last: 1}}}, nil
}
func (c *camera) NewLazy(string) *timeline.Lazy {
	return timeline.NewLazyOf(func(archive.FileID) (timeline.File, error) { return memory{strings.NewReader(c.data)}, c.gone })
}
func (c *camera) Readable([]archive.FileID) error  { return nil }
func (c *camera) Newest(string) (media.Wall, bool) { return c.span().To, c.data != "" }

type memory struct{ *strings.Reader }

func (memory) File() (*os.File, int64, bool) { return nil, 0, false }
func (memory) Release()                      {}

// decoder keeps what it was asked for.
type decoder struct {
	shots  []still.Shot
	movies [][]byte
	err    error
}

func (d *decoder) JPEG(of still.Shot, movie func() ([]byte, error)) ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	b, err := movie()
	d.shots, d.movies = append(d.shots, of), append(d.movies, b)
	return []byte("decoded"), err
}

func read(t *testing.T, j *JPEG) (string, error) {
	t.Helper()
	body, err := j.Body()
	if err != nil {
		return "", err
	}
	defer body.Release()
	b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

// TestJPEG: what needs no decoder goes to none; what does is told which frame it is.
func TestJPEG(t *testing.T) {
	for name, c := range map[string]struct {
		codec media.Codec
		at    time.Duration
		live  bool
		width int
		none  bool // no decoder
		want  string
		asked int // width that the decoder was told; -1 = it was not asked
	}{
		"MJPEG":                       {media.MJPEG, 1500 * time.Millisecond, false, 0, false, "bbbb", -1},
		"MJPEG, newest":               {media.MJPEG, 0, true, 0, true, "cccc", -1},
		"MJPEG, no wider than it is":  {media.MJPEG, 0, false, 640, true, "aaaa", -1},
		"MJPEG, smaller":              {media.MJPEG, 0, false, 100, false, "decoded", 160},
		"MJPEG, smaller, no decoder":  {media.MJPEG, 0, false, 100, true, "aaaa", -1},
		"H.264":                       {media.H264, 2 * time.Second, false, 0, false, "decoded", 0},
		"H.264, wider than it is":     {media.H264, 0, true, 4096, false, "decoded", 0},
		"H.264, small":                {media.H264, 0, true, 16, false, "decoded", 80},
		"H.264, no decoder":           {media.H264, 0, true, 0, true, "", -1},
		"a time behind the last":      {media.H264, time.Hour, false, 0, false, "", -1},
		"a time before the first":     {media.H264, -time.Second, false, 0, false, "", -1},
		"the begin, told in whole ms": {media.MJPEG, -time.Microsecond, false, 0, false, "aaaa", -1},
	} {
		d := &decoder{}
		if c.none {
			d.err = still.ErrNoDecoder
		}
		s := New(&camera{codec: c.codec, run: media.RunID{1}, data: "aaaabbbbcccc"}, d, nil)
		j, err := s.JPEG("gate", zero.Add(c.at), c.live, c.width)
		var got string
		if err == nil {
			got, err = read(t, j)
		}
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q %v", name, got, err)
		}
		if len(d.shots) != map[bool]int{true: 1}[c.asked >= 0] {
			t.Errorf("%s: asked %v", name, d.shots)
			continue
		}
		if c.asked < 0 {
			continue
		}
		if want := (still.Shot{UID: "gate", Run: media.RunID{1}, At: j.At, Width: c.asked}); d.shots[0] != want {
			t.Errorf("%s: asked for %+v, want %+v", name, d.shots[0], want)
		}
		if m := d.movies[0]; !bytes.Contains(m, []byte("ftyp")) || !bytes.HasSuffix(m, map[bool][]byte{true: []byte("cccc"), false: []byte("aaaa")}[c.live || c.at > 0]) {
			t.Errorf("%s: %q", name, m)
		}
	}
}

// TestTags: each picture has its own, whatever its file is called by now.
func TestTags(t *testing.T) {
	tags := map[string]string{}
	for name, c := range map[string]struct {
		uid   string
		run   byte
		at    time.Duration
		width int
	}{
		"first": {"gate", 1, 0, 0}, "second": {"gate", 1, time.Second, 0}, "another run": {"gate", 2, 0, 0}, "another stream": {"yard", 1, 0, 0}, "smaller": {"gate", 1, 0, 80},
	} {
		s := New(&camera{codec: media.H264, run: media.RunID{c.run}, data: "aaaabbbbcccc"}, &decoder{}, nil)
		j, err := s.JPEG(c.uid, zero.Add(c.at), false, c.width)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := tags[j.Tag]; ok {
			t.Errorf("%s has the tag of %s", name, other)
		}
		tags[j.Tag] = name
		same, err := s.JPEG(c.uid, zero.Add(c.at+900*time.Millisecond), false, c.width)
		if err != nil || same.Tag != j.Tag || same.At != j.At {
			t.Errorf("%s: a little later the same picture has %s, not %s: %v", name, same.Tag, j.Tag, err)
		}
	}
}

// TestDeletedMeanwhile: what is deleted between plan and reading is told as such.
func TestDeletedMeanwhile(t *testing.T) {
	s := New(&camera{codec: media.H264, data: "aaaabbbbcccc", gone: archive.ErrGone}, &decoder{}, nil)
	j, err := s.JPEG("gate", zero, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, j); !errors.Is(err, archive.ErrGone) {
		t.Error(err)
	}
	if _, err := New(&camera{}, &decoder{}, nil).JPEG("gate", zero, true, 0); !errors.Is(err, timeline.ErrNoFootage) {
		t.Error(err)
	}
}

// snapper is a camera that makes pictures by itself.
type snapper struct {
	err   error
	asked int
}

func (s *snapper) Snapshot(string) ([]byte, media.Wall, error) {
	s.asked++
	return []byte("its own"), zero.Add(5 * time.Second), s.err
}

// TestCamerasOwn: what a camera makes itself is shown live, as large as it is; else the
// footage is.
func TestCamerasOwn(t *testing.T) {
	footage := &camera{codec: media.H264, data: "aaaabbbbcccc"}
	for name, c := range map[string]struct {
		src   *camera
		live  bool
		width int
		err   error
		want  string
		asked int
	}{
		"live":             {src: footage, live: true, want: "its own", asked: 1},
		"without footage":  {src: &camera{codec: media.H264}, live: true, want: "its own", asked: 1},
		"smaller":          {src: footage, live: true, width: 160, want: "decoded"},
		"of the past":      {src: footage, want: "decoded"},
		"it has none":      {src: footage, live: true, err: ErrNoSnapshot, want: "decoded", asked: 1},
		"it does not work": {src: footage, live: true, err: errors.New("away"), want: "decoded", asked: 1},
	} {
		cam := &snapper{err: c.err}
		s := New(c.src, &decoder{}, cam)
		j, err := s.JPEG("gate", zero, c.live, c.width)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := read(t, j)
		if err != nil || got != c.want || cam.asked != c.asked {
			t.Errorf("%s: %q, %v, asked %d times; want %q", name, got, err, cam.asked, c.want)
		}
		if again, _ := s.JPEG("gate", zero, c.live, c.width); again.Tag != j.Tag {
			t.Errorf("%s: the same picture has another tag", name)
		}
		if own := c.want == "its own"; own != (j.At == zero.Add(5*time.Second)) {
			t.Errorf("%s: taken at %v", name, j.At)
		}
	}
}
