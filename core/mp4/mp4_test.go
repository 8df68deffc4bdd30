package mp4

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

// store is footage in memory, in the archive's shapes.
type store struct {
	segs    []archive.Segment
	layouts map[archive.FileID]*archive.Layout
	data    map[archive.FileID][]byte
	inits   map[archive.InitID][]media.Track
	sent    []sentUnit
	shapes  bool // extents know their shapes
	first   uint64
	ahead   time.Duration // by how much sound is sent before the pictures of its time
}

// sentUnit is what a camera sent and where it belongs.
type sentUnit struct {
	kind    media.Kind
	at      media.Wall // presentation
	payload []byte
}

func newStore() *store {
	return &store{layouts: map[archive.FileID]*archive.Layout{}, data: map[archive.FileID][]byte{}, inits: map[archive.InitID][]media.Track{}}
}

func (s *store) Segments(_ string, span media.Span) (out []archive.Segment, err error) {
	for _, g := range s.segs {
		if g.Span.Overlaps(span) {
			out = append(out, g)
		}
	}
	return out, nil
}
func (s *store) Extents(_ string, span media.Span) (out []archive.Extent, err error) {
	for _, g := range s.segs {
		if n := len(out); n > 0 && out[n-1].File == g.File {
			out[n-1].Span.To = g.Span.To
			continue
		}
		e := archive.Extent{File: g.File, Span: g.Span, Run: g.Run, Zero: g.Zero, Init: g.Init}
		if s.shapes {
			sh := archive.ShapeOf(s.layouts[g.File])
			e.Shape = &sh
		}
		s.firstSegment(&e)
		out = append(out, e)
	}
	return slices.DeleteFunc(out, func(e archive.Extent) bool { return !e.Span.Overlaps(span) }), nil
}
func (s *store) Tracks(_ string, id archive.InitID) ([]media.Track, error) { return s.inits[id], nil }
func (s *store) Readable([]archive.FileID) error                           { return nil }
func (s *store) Layout(_ string, id archive.FileID) (*archive.Layout, error) {
	return s.layouts[id], nil
}
func (s *store) NewLazy(string) *timeline.Lazy { return timeline.NewLazyOf(s.pin) }
func (s *store) pin(id archive.FileID) (timeline.File, error) {
	return memory{bytes.NewReader(s.data[id])}, nil
}

type memory struct{ *bytes.Reader }

func (memory) File() (*os.File, int64, bool) { return nil, 0, false }
func (memory) Release()                      {}

// record makes footage of a run: files of a few segments each.
func (s *store) record(t *testing.T, run byte, start time.Time, length time.Duration, names ...string) {
	t.Helper()
	var tracks []media.Track
	var clips []*clip.Clip
	for i, n := range names {
		c, err := clip.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		tr := c.Track
		tr.ID = i + 1
		tracks, clips = append(tracks, tr), append(clips, c)
	}
	zero := mux.Zero(media.WallOf(start))
	seg := uint64(100 * int(run))
	w := mux.NewWriter(mux.Default(), mux.Start{Run: media.RunID{run}, Zero: zero, Tracks: tracks, Segment: seg, Discontinuity: uint64(run)})
	next := make([]int64, len(clips))
	var parts []*media.Part
	for {
		k, least := -1, length
		for i, c := range clips {
			at := media.DurationOf(next[i]*c.Step, c.Track.Timescale)
			if at >= length {
				continue
			}
			if c.Track.Kind() == media.Audio {
				at -= s.ahead
			}
			if at < least {
				k, least = i, at
			}
		}
		if k < 0 {
			break
		}
		c, n := clips[k], next[k]
		sm := c.Samples[n%int64(len(c.Samples))]
		pts := (n - n%int64(len(c.Samples)) + sm.PTS) * c.Step
		dts := (n - c.Behind) * c.Step
		wall := media.WallOf(start).Add(media.DurationOf(pts, c.Track.Timescale))
		ps, ev, err := w.Write(media.AccessUnit{Track: k + 1, Seq: uint64(n), PTS: pts, DTS: dts, HasDTS: true, Key: sm.Key, Payload: sm.Payload}, wall, func() []byte { return nil })
		if err != nil || ev.Dropped != mux.Stored {
			t.Fatalf("unit %d of track %d: %v %v", n, k+1, err, ev.Dropped)
		}
		parts = append(parts, ps...)
		s.sent = append(s.sent, sentUnit{c.Track.Kind(), wall, sm.Payload})
		next[k]++
	}
	s.file(append(parts, w.Flush()...), tracks, zero, run)
}

// file cuts parts into files of three segments.
func (s *store) file(parts []*media.Part, tracks []media.Track, zero media.Wall, run byte) {
	id := archive.FileID(uint64(run) << 32)
	var l *archive.Layout
	var count int
	for _, p := range parts {
		if l == nil || p.Index == 0 && count == 3 {
			id++
			count = 0
			l = &archive.Layout{File: id, Zero: zero, Init: archive.InitID(run), Run: p.Run}
			s.layouts[id] = l
			s.data[id] = bytes.Repeat([]byte{0xee}, 777) // a file's head
		}
		if p.Index == 0 {
			count++
			l.Segments = append(l.Segments, archive.SegmentLayout{Number: p.Segment, Independent: p.Independent, First: len(l.Fragments), Span: media.Span{From: p.Start}})
			s.segs = append(s.segs, archive.Segment{Number: p.Segment, Discontinuity: p.Discontinuity, Run: p.Run, Zero: zero, Init: l.Init, File: id,
				Index: len(l.Segments) - 1, Independent: p.Independent, Complete: true, Span: media.Span{From: p.Start}})
		}
		for i := range p.Fragments {
			f := &p.Fragments[i]
			at := int64(len(s.data[id]))
			l.Fragments = append(l.Fragments, archive.Fragment{Track: f.Track, Segment: len(l.Segments) - 1, Part: p.Index, Offset: at,
				MoofOffset: at + int64(f.UUIDLen), DataOffset: at + int64(len(f.Head)), DataSize: int64(len(f.Payload)),
				BaseTime: f.BaseTime, Duration: f.Duration, FirstSeq: f.FirstSeq, Samples: f.Samples})
			s.data[id] = append(append(s.data[id], f.Head...), f.Payload...)
		}
		l.Segments[len(l.Segments)-1].Last = len(l.Fragments)
		l.Segments[len(l.Segments)-1].Span.To = p.End
		s.segs[len(s.segs)-1].Span.To = p.End
	}
	s.inits[archive.InitID(run)] = tracks
}

func whole(t *testing.T, m *Movie) []byte {
	t.Helper()
	b := make([]byte, m.Body.Size())
	if _, err := m.Body.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

// box finds a child box by path in b and returns its payload.
func find(b []byte, path ...string) (out [][]byte) {
	for len(b) >= 8 {
		n, head := int(binary.BigEndian.Uint32(b)), 8
		if n == 1 {
			n, head = int(binary.BigEndian.Uint64(b[8:])), 16
		}
		if string(b[4:8]) == path[0] {
			if len(path) == 1 {
				out = append(out, b[head:n])
			} else {
				out = append(out, find(b[head:n], path[1:]...)...)
			}
		}
		b = b[n:]
	}
	return out
}

// readTrack reads a trak by the letter of ISO/IEC 14496-12: samples with
// presentation time on the movie's timeline. It shares nothing with the writer.
func readTrack(t *testing.T, file, trak []byte) (out []sentUnit) {
	t.Helper()
	be := binary.BigEndian
	one := func(path ...string) []byte {
		x := find(trak, path...)
		if len(x) == 0 {
			return nil
		}
		return x[0]
	}
	mdhd := one("mdia", "mdhd")
	scale := be.Uint32(mdhd[20:])
	kind := map[string]media.Kind{"vide": media.Video, "soun": media.Audio}[string(one("mdia", "hdlr")[8:12])]
	stbl := func(name string) []byte { return one("mdia", "minf", "stbl", name) }
	sizes := stbl("stsz")
	n := int(be.Uint32(sizes[8:]))
	expand := func(b []byte) (v []int64) {
		for i := 8; b != nil && i < len(b); i += 8 {
			for range be.Uint32(b[i:]) {
				v = append(v, int64(int32(be.Uint32(b[i+4:]))))
			}
		}
		return v
	}
	durations, shifts := expand(stbl("stts")), expand(stbl("ctts"))
	if len(durations) != n || shifts != nil && len(shifts) != n {
		t.Fatalf("%d samples, %d durations, %d offsets", n, len(durations), len(shifts))
	}
	chunks, groups := stbl("co64"), stbl("stsc")
	sample, dts := 0, int64(0)
	var media_ []int64
	for c := 0; c < int(be.Uint32(chunks[4:])); c++ {
		per := 0
		for g := 8; g < len(groups); g += 12 {
			if int(be.Uint32(groups[g:])) <= c+1 {
				per = int(be.Uint32(groups[g+4:]))
			}
		}
		off := be.Uint64(chunks[8+8*c:])
		for range per {
			size := uint64(be.Uint32(sizes[12+4*sample:]))
			pts := dts
			if shifts != nil {
				pts += shifts[sample]
			}
			media_ = append(media_, pts)
			out = append(out, sentUnit{kind: kind, payload: file[off : off+size]})
			dts += durations[sample]
			off += size
			sample++
		}
	}
	if sample != n {
		t.Fatalf("chunks hold %d of %d samples", sample, n)
	}
	// Edit list: media time to movie time.
	elst := one("edts", "elst")
	type edit struct{ at, from, length int64 }
	edits := []edit{{0, 0, 1 << 62}}
	if elst != nil {
		edits = nil
		at := int64(0)
		for i := 8; i < len(elst); i += 20 {
			d, m := int64(be.Uint64(elst[i:])), int64(be.Uint64(elst[i+8:]))
			d = media.Rescale(d, int64(scale), movieScale)
			if m >= 0 {
				edits = append(edits, edit{at, m, d})
			}
			at += d
		}
	}
	for i, m := range media_ {
		for k := len(edits) - 1; k >= 0; k-- {
			if m >= edits[k].from-int64(scale)/50 || k == 0 {
				out[i].at = media.Wall(media.DurationOf(edits[k].at+m-edits[k].from, scale))
				break
			}
		}
	}
	return out
}

// check compares a movie with what was sent: from its start to the end of the
// span, every unit once, in order, at its time.
func check(t *testing.T, s *store, m *Movie, to media.Wall) {
	t.Helper()
	file := whole(t, m)
	got := map[media.Kind][]sentUnit{}
	for _, trak := range find(file, "moov", "trak") {
		for _, u := range readTrack(t, file, trak) {
			got[u.kind] = append(got[u.kind], u)
		}
	}
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		var want []sentUnit
		for _, u := range s.sent {
			if u.kind == kind && u.at >= m.Start-media.Wall(time.Millisecond) && u.at < to {
				want = append(want, u)
			}
		}
		// Around the end of the span decode order decides: B-frames.
		g := got[kind]
		if len(g) < len(want)-2 || len(g) > len(want)+3 {
			t.Fatalf("%v: %d units, want about %d", kind, len(g), len(want))
		}
		for i := range min(len(g), len(want)-3) {
			if !bytes.Equal(g[i].payload, want[i].payload) {
				t.Fatalf("%v unit %d of %d is not what was sent", kind, i, len(want))
			}
			if off := g[i].at + m.Start - want[i].at; off > media.Wall(time.Millisecond) || off < -media.Wall(time.Millisecond) {
				t.Fatalf("%v unit %d is %v off its time", kind, i, time.Duration(off))
			}
		}
	}
}

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestRecord: every range gives every unit once, in order, at its time; across
// files, a bridged hole, new parameters and a hole above an hour.
func TestRecord(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 20*time.Second, clip.H264, clip.AAC)
	s.record(t, 2, t0.Add(30*time.Second), 15*time.Second, clip.H264Small, clip.AAC) // hole of 10 s, other size
	s.record(t, 3, t0.Add(2*time.Hour), 12*time.Second, clip.H264, clip.AAC)
	s.record(t, 4, t0.Add(50*time.Hour), 12*time.Second, clip.H264, clip.AAC) // hole beyond 32 bits of 90 kHz
	srv := New(s)
	at := func(d time.Duration) media.Wall { return media.WallOf(t0.Add(d)) }
	for _, c := range []struct {
		name     string
		from, to time.Duration
	}{
		{"inside one file", 3 * time.Second, 5 * time.Second},
		{"across files", time.Second, 19 * time.Second},
		{"from before all", -time.Minute, 10 * time.Second},
		{"across the hole", 10 * time.Second, 40 * time.Second},
		{"begins in the hole", 25 * time.Second, 40 * time.Second},
		{"across the long hole", 35 * time.Second, 2*time.Hour + 8*time.Second},
		{"everything", 0, 3 * time.Hour},
		{"across two days", 35 * time.Second, 51 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := srv.Record("cam", media.Span{From: at(c.from), To: at(c.to)})
			if err != nil {
				t.Fatal(err)
			}
			check(t, s, m, at(c.to))
			probe(t, m)
			// From shapes alone the same bytes come out.
			s.shapes = true
			quick, err := srv.Record("cam", media.Span{From: at(c.from), To: at(c.to)})
			s.shapes = false
			if err != nil || quick.ETag != m.ETag || !bytes.Equal(whole(t, quick), whole(t, m)) {
				t.Errorf("planned from shapes: other bytes, %v", err)
			}
		})
	}
	if _, err := srv.Record("cam", media.Span{From: at(time.Hour), To: at(time.Hour + time.Minute)}); !errors.Is(err, timeline.ErrNoFootage) {
		t.Errorf("a span inside a hole: %v", err)
	}
}

// TestAnyByteRange: a body read in pieces is the body read whole, and planned
// twice it is the same.
func TestAnyByteRange(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 25*time.Second, clip.H264, clip.AAC)
	srv := New(s)
	span := media.Span{From: media.WallOf(t0.Add(3 * time.Second)), To: media.WallOf(t0.Add(22 * time.Second))}
	m, err := srv.Record("cam", span)
	if err != nil {
		t.Fatal(err)
	}
	again, err := srv.Record("cam", span)
	if err != nil || again.ETag != m.ETag {
		t.Fatalf("planned twice: %q and %q, %v", m.ETag, again.ETag, err)
	}
	all := whole(t, m)
	if !bytes.Equal(all, whole(t, again)) {
		t.Fatal("planned twice, other bytes")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		off := rnd.Int64N(m.Body.Size())
		n := min(rnd.Int64N(50_000)+1, m.Body.Size()-off)
		b := make([]byte, n)
		if _, err := m.Body.ReadAt(b, off); err != nil && err != io.EOF || !bytes.Equal(b, all[off:off+n]) {
			t.Fatalf("bytes %d+%d differ, %v", off, n, err)
		}
	}
}

// TestFrame: the picture at a time is the last key frame at or before it.
func TestFrame(t *testing.T) {
	s := newStore()
	s.record(t, 1, t0, 20*time.Second, clip.H264, clip.AAC)
	srv := New(s)
	if _, err := srv.Frame("cam", media.WallOf(t0).Add(-time.Millisecond)); !errors.Is(err, timeline.ErrNoFootage) {
		t.Errorf("a picture of a time before footage: %v", err)
	}
	for _, d := range []time.Duration{-999 * time.Microsecond, 0, 500 * time.Millisecond, 4 * time.Second, 19900 * time.Millisecond} {
		at := media.WallOf(t0.Add(d))
		m, err := srv.Frame("cam", at)
		at = max(at, media.WallOf(t0))
		if err != nil {
			t.Fatal(err)
		}
		var want sentUnit
		for _, u := range s.sent {
			if u.kind == media.Video && u.at <= at && mux.KeyFrame(media.H264, u.payload) {
				want = u
			}
		}
		bare := make([]byte, m.Sample().Size())
		if _, err := m.Sample().ReadAt(bare, 0); err != nil || !bytes.Equal(bare, want.payload) || m.Track.Codec != media.H264 {
			t.Errorf("at %v: %d bytes of %s without a container, %v", d, len(bare), m.Track, err)
		}
		file := whole(t, m.Movie)
		got := readTrack(t, file, find(file, "moov", "trak")[0])
		if len(got) != 1 || !bytes.Equal(got[0].payload, want.payload) || m.Start.Sub(want.at).Abs() > time.Millisecond {
			t.Errorf("at %v: %d samples, taken %v, want %v", d, len(got), m.Start.Time(), want.at.Time())
		}
	}
}

// probe lets ffprobe count the packets, where it is installed.
func probe(t *testing.T, m *Movie) {
	t.Helper()
	exe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Log("ffprobe is missing (Debian package ffmpeg): not judged by it")
		return
	}
	name := filepath.Join(t.TempDir(), "m.mp4")
	file := whole(t, m)
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(exe, "-v", "error", "-count_packets", "-show_entries", "stream=codec_type,nb_read_packets", "-of", "json", name).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	var v struct {
		Streams []struct {
			Type    string `json:"codec_type"`
			Packets string `json:"nb_read_packets"`
		}
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i, trak := range find(file, "moov", "trak") {
		want := len(readTrack(t, file, trak))
		var got int
		fmt.Sscan(v.Streams[i].Packets, &got)
		if got < want-3 || got > want { // edit lists hide a sample at their edges
			t.Errorf("%s: ffprobe counts %d packets, the tables %d", v.Streams[i].Type, got, want)
		}
	}
}
