package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"media-server/core/media"
)

// Flags of the index box.
const (
	IndexRecovered = 1 // the file was recovered after a crash
	IndexTailCut   = 2 // a damaged tail was cut
	IndexGroomed   = 4 // the file keeps key frames only
)

const (
	mdatHeader = 8

	idxRecUID   = 1
	idxRecRun   = 2
	idxRecInit  = 3
	idxRecRules = 4
	idxRecShape = 5

	segIndependent = 1
	segComplete    = 2

	partFirst       = 1
	partLast        = 2
	partIndependent = 4
)

// FragmentMark is what the index keeps of a part header.
type FragmentMark struct {
	CRC     uint32
	Flags   uint8
	LastSeq uint64 // not stored: FirstSeq + samples - 1 after parsing
}

// IndexTrack sums a track of a file up.
type IndexTrack struct {
	ID        int
	Timescale uint32
	Samples   uint64
	Bytes     uint64
	Base, End int64 // first tfdt; last tfdt + its duration
	FirstSeq  uint64
	LastSeq   uint64
}

// Index is the box at the end of a sealed file.
type Index struct {
	Flags  uint8
	First  int64 // offset of the first fragment
	End    int64 // offset behind the last one
	Layout Layout
	Marks  []FragmentMark // one a fragment
	Tracks []IndexTrack
	Rules  Rules
	Shape  *Shape // nil = not stored; AppendIndex counts the layout itself
}

// AppendIndex appends the box with its trailer.
func AppendIndex(b []byte, x *Index) []byte {
	b, at := openBox(b, boxIndex, x.Flags, 0)
	be := binary.BigEndian
	l := &x.Layout
	for _, v := range [...]uint64{uint64(l.File), uint64(l.Zero), uint64(x.First), uint64(x.End)} {
		b = be.AppendUint64(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(x.Tracks)))
	for i := range x.Tracks {
		t := &x.Tracks[i]
		for _, v := range [...]uint64{uint64(t.ID), uint64(t.Timescale), t.Samples, t.Bytes} {
			b = binary.AppendUvarint(b, v)
		}
		b = be.AppendUint64(b, uint64(t.Base))
		b = be.AppendUint64(b, uint64(t.End))
		b = binary.AppendUvarint(b, t.FirstSeq)
		b = binary.AppendUvarint(b, t.LastSeq)
	}
	b = appendSegments(b, l)
	b = appendFragments(b, x)
	for i := range x.Tracks {
		b = appendSamples(b, l.Fragments, x.Tracks[i].ID)
	}
	b = appendRecord(b, idxRecUID, []byte(l.UID))
	b = appendRecord(b, idxRecRun, l.Run[:])
	b = appendRecord(b, idxRecInit, be.AppendUint64(nil, uint64(l.Init)))
	b = appendRecord(b, idxRecRules, []byte(x.Rules.text()))
	sh := ShapeOf(l)
	b = appendRecord(b, idxRecShape, appendShape(nil, &sh))
	if l.Encryption != nil {
		b = appendRecord(b, idxRecEncryption, l.Encryption.append(nil))
	}

	b = append(b, trailerMark...)
	b = be.AppendUint64(b, uint64(len(b)-at+12))
	b = append(b, 0, 0, 0, 0)
	closeBox(b, at, false)
	crc := crc32.Checksum(b[at:len(b)-4], castagnoli)
	be.PutUint32(b[len(b)-4:], crc)
	return b
}

func appendSegments(b []byte, l *Layout) []byte {
	b = binary.AppendUvarint(b, uint64(len(l.Segments)))
	var number, disc uint64
	end := l.Zero
	for i := range l.Segments {
		s := &l.Segments[i]
		if i == 0 {
			b = binary.AppendUvarint(b, s.Number)
		} else {
			b = binary.AppendUvarint(b, s.Number-number-1)
		}
		b = binary.AppendUvarint(b, s.Discontinuity-disc)
		var flags uint8
		if s.Independent {
			flags |= segIndependent
		}
		if s.Complete {
			flags |= segComplete
		}
		b = append(b, flags)
		b = binary.AppendVarint(b, int64(s.Span.From-end))
		b = binary.AppendUvarint(b, uint64(s.Span.To-s.Span.From))
		b = binary.AppendUvarint(b, uint64(s.Last-s.First))
		number, disc, end = s.Number, s.Discontinuity, s.Span.To
	}
	return b
}

// trail follows a track from fragment to fragment.
type trail struct {
	end  int64
	next uint64
}

func appendFragments(b []byte, x *Index) []byte {
	b = binary.AppendUvarint(b, uint64(len(x.Layout.Fragments)))
	trails := map[int]*trail{}
	end := x.First
	for i := range x.Layout.Fragments {
		f := &x.Layout.Fragments[i]
		t := trails[f.Track]
		if t == nil {
			t = &trail{}
			trails[f.Track] = t
		}
		for _, v := range [...]int64{int64(f.Track), f.Offset - end, f.MoofOffset - f.Offset, f.MoofSize, f.DataSize, int64(len(f.Samples))} {
			b = binary.AppendUvarint(b, uint64(v))
		}
		b = binary.AppendVarint(b, f.BaseTime-t.end)
		b = binary.AppendVarint(b, int64(f.FirstSeq-t.next))
		b = binary.BigEndian.AppendUint32(b, x.Marks[i].CRC)
		b = append(b, x.Marks[i].Flags)
		t.end, t.next = f.BaseTime+f.Duration, f.FirstSeq+uint64(len(f.Samples))
		end = f.End()
	}
	return b
}

// appendSamples writes the four columns of one track.
func appendSamples(b []byte, frags []Fragment, track int) []byte {
	each := func(fn func(s *media.Sample)) {
		for i := range frags {
			if frags[i].Track == track {
				for j := range frags[i].Samples {
					fn(&frags[i].Samples[j])
				}
			}
		}
	}
	each(func(s *media.Sample) { b = binary.AppendUvarint(b, uint64(s.Size)) })
	b = appendRuns(b, each, func(s *media.Sample) int64 { return int64(s.Duration) }, false)
	run, key := uint64(0), false
	each(func(s *media.Sample) {
		if s.Key != key {
			b = binary.AppendUvarint(b, run)
			run, key = 0, s.Key
		}
		run++
	})
	b = binary.AppendUvarint(b, run) // 0 where there is no sample at all: such a track is not listed
	return appendRuns(b, each, func(s *media.Sample) int64 { return int64(s.CTO) }, true)
}

func appendRuns(b []byte, each func(func(*media.Sample)), value func(*media.Sample) int64, signed bool) []byte {
	run, last := uint64(0), int64(0)
	flush := func() {
		if run == 0 {
			return
		}
		b = binary.AppendUvarint(b, run)
		if signed {
			b = binary.AppendVarint(b, last)
		} else {
			b = binary.AppendUvarint(b, uint64(last))
		}
	}
	each(func(s *media.Sample) {
		if v := value(s); v != last || run == 0 {
			flush()
			run, last = 0, v
		}
		run++
	})
	flush()
	return b
}

// TrailerLength reads the last bytes of a file and tells how long its index
// box is; an error means that there is none.
func TrailerLength(tail []byte) (int64, error) {
	if len(tail) < trailerSize {
		return 0, fmt.Errorf("trailer: %w", errShort)
	}
	t := tail[len(tail)-trailerSize:]
	n := binary.BigEndian.Uint64(t[8:])
	if string(t[:8]) != trailerMark || n < boxCommon+trailerSize || n > maxIndex {
		return 0, fmt.Errorf("trailer: %w", errChecksum)
	}
	return int64(n), nil
}

// maxIndex bounds what a lying trailer can make us read: a file of a day with
// four tracks stays below.
const maxIndex = 256 << 20

// ParseIndex reads the box that fills b. Without samples it leaves
// Fragment.Samples out, for a scan that needs the segments only.
func ParseIndex(b []byte, samples bool) (*Index, error) {
	if n, err := TrailerLength(b); err != nil {
		return nil, err
	} else if n != int64(len(b)) {
		return nil, fmt.Errorf("index: %w", errShort)
	}
	if err := checkBox(b, boxIndex); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, fmt.Errorf("index: %w", errChecksum)
	}
	x := &Index{Flags: b[25]}
	c := &cursor{b: b[boxCommon : len(b)-trailerSize]}
	x.Layout.File, x.Layout.Zero = FileID(c.u64()), media.Wall(c.u64())
	x.First, x.End = int64(c.u64()), int64(c.u64())
	x.Layout.Complete = true
	for range c.count() {
		t := IndexTrack{ID: int(c.uvarint()), Timescale: uint32(c.uvarint()), Samples: c.uvarint(), Bytes: c.uvarint()}
		t.Base, t.End, t.FirstSeq, t.LastSeq = int64(c.u64()), int64(c.u64()), c.uvarint(), c.uvarint()
		x.Tracks = append(x.Tracks, t)
	}
	parseSegments(c, &x.Layout)
	parseFragments(c, x)
	if c.err == nil {
		c.err = parseSamples(c, x, samples)
	}
	if c.err != nil {
		return nil, fmt.Errorf("index: %w", c.err)
	}
	err := records(c.b, func(tag uint16, p []byte) {
		switch {
		case tag == idxRecUID:
			x.Layout.UID = string(p)
		case tag == idxRecRun && len(p) == 16:
			copy(x.Layout.Run[:], p)
		case tag == idxRecInit && len(p) == 8:
			x.Layout.Init = InitID(binary.BigEndian.Uint64(p))
		case tag == idxRecRules:
			x.Rules = parseRules(string(p))
		case tag == idxRecShape:
			x.Shape, _ = parseShape(p) // of a later version: not known
		case tag == idxRecEncryption:
			x.Layout.Encryption = parseEncryption(p)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return x, nil
}

func parseSegments(c *cursor, l *Layout) {
	n := c.count()
	if c.err != nil {
		return
	}
	l.Segments = make([]SegmentLayout, 0, n)
	var number, disc uint64
	end, first := l.Zero, 0
	for i := range n {
		d := c.uvarint()
		if i > 0 {
			d += number + 1
		}
		number, disc = d, disc+c.uvarint()
		flags := c.u8()
		s := SegmentLayout{Number: number, Discontinuity: disc, Independent: flags&segIndependent != 0, Complete: flags&segComplete != 0}
		s.Span.From = end + media.Wall(c.varint())
		s.Span.To = s.Span.From + media.Wall(c.uvarint())
		s.First = first
		s.Last = first + c.count()
		first, end = s.Last, s.Span.To
		if c.err != nil {
			return
		}
		l.Segments = append(l.Segments, s)
	}
}

func parseFragments(c *cursor, x *Index) {
	n := c.count()
	if c.err != nil {
		return
	}
	l := &x.Layout
	if k := len(l.Segments); k > 0 && l.Segments[k-1].Last != n || k == 0 && n > 0 {
		c.err = fmt.Errorf("segments do not cover the %d fragments", n)
		return
	}
	l.Fragments, x.Marks = make([]Fragment, 0, n), make([]FragmentMark, 0, n)
	trails := map[int]*trail{}
	end, seg, part := x.First, 0, -1
	for i := range n {
		for seg < len(l.Segments)-1 && i >= l.Segments[seg].Last {
			seg, part = seg+1, -1
		}
		f := Fragment{Track: int(c.uvarint()), Segment: seg}
		gap, head, moof, data := c.length(), c.length(), c.length(), c.length()
		samples := c.count()
		t := trails[f.Track]
		if t == nil {
			t = &trail{}
			trails[f.Track] = t
		}
		f.BaseTime = c.varint() // a distance until parseSamples knows the durations
		f.FirstSeq = t.next + uint64(c.varint())
		m := FragmentMark{CRC: c.u32(), Flags: c.u8(), LastSeq: f.FirstSeq + uint64(samples) - 1}
		if m.Flags&partFirst != 0 || part < 0 {
			part++
		}
		f.Part = part
		f.Offset = end + gap
		f.MoofOffset, f.MoofSize = f.Offset+head, moof
		f.DataOffset, f.DataSize = f.MoofOffset+moof+mdatHeader, data
		end, t.next = f.End(), f.FirstSeq+uint64(samples)
		if c.err != nil {
			return
		}
		f.Duration = int64(samples) // likewise
		l.Fragments, x.Marks = append(l.Fragments, f), append(x.Marks, m)
	}
	l.Size = end
	if end != x.End {
		c.err = fmt.Errorf("fragments end at %d instead of %d", end, x.End)
	}
}

// length reads a length in bytes of something inside a file.
func (c *cursor) length() int64 {
	v := c.uvarint()
	if v > 1<<40 {
		c.err = errShort
		return 0
	}
	return int64(v)
}

// parseSamples reads the columns and, if they are wanted, gives each fragment
// its samples, duration and decode time.
func parseSamples(c *cursor, x *Index, want bool) error {
	frags := x.Layout.Fragments
	total := map[int]int{}
	sum := 0
	for i := range frags {
		n := int(frags[i].Duration)
		total[frags[i].Track] += n
		if sum += n; sum > len(c.b) {
			return errShort
		}
	}
	var slab []media.Sample
	if want {
		slab = make([]media.Sample, sum)
	}
	known := 0
	for i := range x.Tracks {
		n, ok := total[x.Tracks[i].ID]
		if !ok {
			return fmt.Errorf("track %d twice, or without a fragment", x.Tracks[i].ID)
		}
		delete(total, x.Tracks[i].ID)
		known += n
		if n > len(c.b) || known > sum {
			return errShort
		}
		var col []media.Sample
		if want {
			col, slab = slab[:n:n], slab[n:]
		}
		parseColumns(c, col, n)
		if c.err != nil {
			return c.err
		}
		if want {
			if err := handOut(frags, x.Tracks[i].ID, col); err != nil {
				return err
			}
		}
	}
	if known != sum {
		return fmt.Errorf("%d samples of %d belong to a track of the file", known, sum)
	}
	if !want {
		for i := range frags {
			frags[i].BaseTime, frags[i].Duration = 0, 0
		}
	}
	return nil
}

// parseColumns reads sizes, durations, keys and offsets of n samples into col,
// or over them when col is nil.
func parseColumns(c *cursor, col []media.Sample, n int) {
	for i := range n {
		v := c.uvarint()
		if v > 1<<32-1 {
			c.err = errShort
		}
		if col != nil {
			col[i].Size = uint32(v)
		}
	}
	c.runs(n, false, func(i int, v int64) {
		if col != nil {
			col[i].Duration = uint32(v)
		}
	})
	key := false
	for i := 0; i < n && c.err == nil; key = !key {
		run := c.uvarint()
		if run > uint64(n-i) {
			c.err = errShort
			return
		}
		for range run {
			if col != nil {
				col[i].Key = key
			}
			i++
		}
	}
	c.runs(n, true, func(i int, v int64) {
		if col != nil {
			col[i].CTO = int32(v)
		}
	})
}

// runs reads pairs of run length and value until n values are there.
func (c *cursor) runs(n int, signed bool, set func(i int, v int64)) {
	for i := 0; i < n && c.err == nil; {
		run := c.uvarint()
		var v int64
		if signed {
			v = c.varint()
		} else {
			v = int64(c.uvarint())
		}
		if run == 0 || run > uint64(n-i) || v > 1<<32-1 || v < -1<<31 {
			c.err = errShort
			return
		}
		for range run {
			set(i, v)
			i++
		}
	}
}

// handOut cuts a track's samples into its fragments and resolves times.
func handOut(frags []Fragment, track int, col []media.Sample) error {
	var end int64
	for i := range frags {
		f := &frags[i]
		if f.Track != track {
			continue
		}
		n := int(f.Duration)
		f.Samples, col = col[:n:n], col[n:]
		f.Duration = 0
		var size int64
		for j := range f.Samples {
			f.Duration += int64(f.Samples[j].Duration)
			size += int64(f.Samples[j].Size)
		}
		if size != f.DataSize {
			return fmt.Errorf("fragment at %d: samples of %d bytes in %d", f.Offset, size, f.DataSize)
		}
		f.BaseTime += end
		end = f.BaseTime + f.Duration
	}
	return nil
}
