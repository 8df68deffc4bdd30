package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"media-server/core/media"
)

// movie is an MP4 that is to be verified: made by this server, or by whatever
// program cut it. Read by the letter of ISO/IEC 14496-12; nothing is shared
// with what writes exports.
type movie struct{ tracks []movieTrack }

type movieTrack struct {
	kind    media.Kind
	scale   uint32
	entries []byte // stsd
	samples []sample
	raw     bool // sound whose samples are single values: units are not to be seen
}

// sample is where a sample lies, and when it is shown in ticks of its track.
type sample struct {
	at   int64
	size uint32
	pts  int64
}

const (
	mostMoov    = 1 << 30
	mostSample  = 256 << 20
	mostSamples = 1 << 28
)

var errMovie = errors.New("it is no MP4 that can be read")

var be = binary.BigEndian

// readMovie reads the tables of an MP4 of size bytes.
func readMovie(r io.ReaderAt, size int64) (*movie, error) {
	var moov []byte
	for at := int64(0); at+8 <= size && moov == nil; {
		var b [16]byte
		if n, err := r.ReadAt(b[:min(16, size-at)], at); n < 8 {
			return nil, fmt.Errorf("read at %d: %w", at, err)
		}
		n, head, kind := int64(be.Uint32(b[:])), int64(8), string(b[4:8])
		switch n {
		case 0:
			n = size - at
		case 1:
			n, head = int64(be.Uint64(b[8:])), 16
		}
		if n < head {
			return nil, fmt.Errorf("%w: a box of %d bytes at %d", errMovie, n, at)
		}
		switch kind {
		case "moov":
			if n > mostMoov || at+n > size {
				return nil, fmt.Errorf("%w: its tables are cut off", errMovie)
			}
			moov = make([]byte, n-head)
			if k, err := r.ReadAt(moov, at+head); k < len(moov) {
				return nil, fmt.Errorf("read its tables: %w", err)
			}
		}
		if n > size-at {
			break
		}
		at += n
	}
	if moov == nil {
		return nil, fmt.Errorf("%w: it has no moov", errMovie)
	}
	if within(moov, "mvex") != nil {
		return nil, fmt.Errorf("%w: it is a fragmented MP4; rewrap it without re-encoding: ffmpeg -i FILE -c copy OTHER.mp4", errMovie)
	}
	m := new(movie)
	scale := uint32(0)
	if mvhd := within(moov, "mvhd"); len(mvhd) > 0 {
		if at := 12 + 8*int(mvhd[0]&1); len(mvhd) >= at+4 {
			scale = be.Uint32(mvhd[at:])
		}
	}
	for kind, b := range boxes(moov) {
		if kind != "trak" {
			continue
		}
		t, err := readTrack(b, size)
		if err != nil {
			return nil, fmt.Errorf("%w: track %d: %w", errMovie, len(m.tracks)+1, err)
		}
		t.edit(within(b, "edts", "elst"), scale)
		m.tracks = append(m.tracks, t)
	}
	return m, nil
}

// boxes walks the boxes in b; it ends at one that is not whole.
func boxes(b []byte) func(yield func(kind string, body []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for len(b) >= 8 {
			n := int64(be.Uint32(b))
			if n == 0 {
				n = int64(len(b))
			}
			if n < 8 || n > int64(len(b)) {
				return
			}
			if !yield(string(b[4:8]), b[8:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// within is the first box of a path.
func within(b []byte, path ...string) []byte {
	for kind, body := range boxes(b) {
		if kind == path[0] {
			if len(path) == 1 {
				return body
			}
			return within(body, path[1:]...)
		}
	}
	return nil
}

func readTrack(trak []byte, size int64) (t movieTrack, err error) {
	mdhd, hdlr := within(trak, "mdia", "mdhd"), within(trak, "mdia", "hdlr")
	at := 12
	if len(mdhd) > 0 {
		at += 8 * int(mdhd[0]&1)
	}
	if len(mdhd) < at+4 || len(hdlr) < 12 {
		return t, errors.New("mdhd or hdlr is missing")
	}
	if t.scale = be.Uint32(mdhd[at:]); t.scale == 0 {
		return t, errors.New("its timescale is 0")
	}
	switch string(hdlr[8:12]) {
	case "vide":
		t.kind = media.Video
	case "soun":
		t.kind = media.Audio
	default:
		t.kind = media.Data
	}
	stbl := within(trak, "mdia", "minf", "stbl")
	t.entries = within(stbl, "stsd")
	sizes, err := readSizes(within(stbl, "stsz"), within(stbl, "stz2"))
	if err != nil {
		return t, err
	}
	if sizes.common > 0 && sizes.common <= 32 && t.kind == media.Audio {
		t.raw = true
		return t, nil
	}
	if int64(sizes.n) > min(mostSamples, size) {
		return t, fmt.Errorf("it claims %d samples", sizes.n)
	}
	t.samples = make([]sample, sizes.n)
	for i := range t.samples {
		t.samples[i].size = sizes.of(i)
	}
	if err := t.places(stbl); err != nil {
		return t, err
	}
	return t, t.times(within(stbl, "stts"), within(stbl, "ctts"))
}

// sizeTable is stsz or stz2.
type sizeTable struct {
	n      int
	common uint32
	bits   int
	table  []byte
}

func readSizes(stsz, stz2 []byte) (s sizeTable, err error) {
	switch {
	case len(stsz) >= 12:
		s = sizeTable{n: int(be.Uint32(stsz[8:])), common: be.Uint32(stsz[4:]), bits: 32, table: stsz[12:]}
	case len(stz2) >= 12:
		s = sizeTable{n: int(be.Uint32(stz2[8:])), bits: int(stz2[7]), table: stz2[12:]}
		if s.bits != 4 && s.bits != 8 && s.bits != 16 {
			return s, errors.New("stz2 of an unknown width")
		}
	default:
		return s, errors.New("stsz is missing")
	}
	if s.common == 0 && int64(len(s.table))*8 < int64(s.n)*int64(s.bits) {
		return s, errors.New("stsz is cut short")
	}
	return s, nil
}

func (s *sizeTable) of(i int) uint32 {
	switch {
	case s.common != 0:
		return s.common
	case s.bits == 32:
		return be.Uint32(s.table[4*i:])
	case s.bits == 16:
		return uint32(be.Uint16(s.table[2*i:]))
	case s.bits == 8:
		return uint32(s.table[i])
	}
	b := s.table[i/2]
	if i%2 == 0 {
		b >>= 4
	}
	return uint32(b & 15)
}

// table is a full box with a count and entries of a width.
func table(b []byte, width int) (n int, entries []byte, err error) {
	if len(b) < 8 || int64(len(b)-8) < int64(be.Uint32(b[4:]))*int64(width) {
		return 0, nil, errors.New("a table is missing or cut short")
	}
	return int(be.Uint32(b[4:])), b[8:], nil
}

// places finds where the samples lie.
func (t *movieTrack) places(stbl []byte) error {
	groups, stsc, err := table(within(stbl, "stsc"), 12)
	if err != nil {
		return err
	}
	wide := within(stbl, "co64")
	width := 8
	if wide == nil {
		wide, width = within(stbl, "stco"), 4
	}
	chunks, offsets, err := table(wide, width)
	if err != nil {
		return err
	}
	i, g, per := 0, 0, 0
	for c := 0; c < chunks && i < len(t.samples); c++ {
		for g < groups && int64(be.Uint32(stsc[12*g:])) <= int64(c+1) {
			per = int(be.Uint32(stsc[12*g+4:]))
			g++
		}
		at := int64(be.Uint32(offsets[width*c:]))
		if width == 8 {
			at = int64(be.Uint64(offsets[width*c:]))
		}
		for k := 0; k < per && i < len(t.samples); k++ {
			t.samples[i].at = at
			at += int64(t.samples[i].size)
			i++
		}
	}
	if i < len(t.samples) {
		return fmt.Errorf("%d of %d samples lie nowhere", len(t.samples)-i, len(t.samples))
	}
	return nil
}

// times finds when they are shown.
func (t *movieTrack) times(stts, ctts []byte) error {
	runs, b, err := table(stts, 8)
	if err != nil {
		return err
	}
	i, at := 0, int64(0)
	for r := range runs {
		n, d := be.Uint32(b[8*r:]), int64(be.Uint32(b[8*r+4:]))
		for ; n > 0 && i < len(t.samples); n-- {
			t.samples[i].pts = at
			at += d
			i++
		}
	}
	if i < len(t.samples) {
		return errors.New("samples without a time")
	}
	if ctts == nil {
		return nil
	}
	if runs, b, err = table(ctts, 8); err != nil {
		return err
	}
	i = 0
	for r := range runs {
		n, d := be.Uint32(b[8*r:]), int64(int32(be.Uint32(b[8*r+4:])))
		for ; n > 0 && i < len(t.samples); n-- {
			t.samples[i].pts += d
			i++
		}
	}
	return nil
}

// edit moves the samples to where an edit list at the beginning of the track
// shows them: empty time, then the media from some time on.
func (t *movieTrack) edit(elst []byte, movieScale uint32) {
	if len(elst) < 8 || movieScale == 0 {
		return
	}
	width := 12 + 8*int(elst[0]&1)
	var empty, begin int64
	for b := elst[8:]; len(b) >= width; b = b[width:] {
		duration, at := int64(be.Uint32(b)), int64(int32(be.Uint32(b[4:])))
		if width == 20 {
			duration, at = int64(be.Uint64(b)), int64(be.Uint64(b[8:]))
		}
		if at >= 0 {
			begin = at
			break
		}
		empty += duration
	}
	for i := range t.samples {
		t.samples[i].pts += media.Rescale(empty, int64(t.scale), int64(movieScale)) - begin
	}
}
