package mux

import (
	"encoding/binary"
	"fmt"

	"media-server/core/media"
)

// Edit is one entry of a track's edit list (ISO/IEC 14496-12 8.6.6).
type Edit struct {
	Duration uint64 // ticks of the movie's timescale
	Media    int64  // where in the track's media, ticks of the track; -1 = nothing is shown
}

// TrackHead describes a track of a progressive MP4 up to its sample tables.
type TrackHead struct {
	ID            int           // in the movie
	Entries       []media.Track // one sample entry each; the first gives the kind
	Timescale     uint32
	Created       media.Wall
	MovieDuration uint64 // ticks of the movie's timescale
	MediaDuration uint64 // ticks of the track
	Edits         []Edit
}

// AppendTrak appends a trak box from its header to the end of stsd. The tables
// that follow in stbl (stts, ctts, stss, stsz, stsc, co64) are written by the
// caller; tables is their size in bytes and counted in all enclosing boxes.
func AppendTrak(dst []byte, h TrackHead, tables int64) ([]byte, error) {
	b := boxes(dst)
	t := h.Entries[0]
	t.ID, t.Timescale = h.ID, h.Timescale
	for i := range h.Entries {
		FillParameters(&h.Entries[i])
		t.Width, t.Height = max(t.Width, h.Entries[i].Width), max(t.Height, h.Entries[i].Height)
	}
	trak := b.open("trak")
	b.tkhd(&t, created(h.Created), h.MovieDuration)
	if len(h.Edits) > 0 {
		edts := b.open("edts")
		elst := b.full("elst", 1, 0)
		b.u32(uint32(len(h.Edits)))
		for _, e := range h.Edits {
			b.u64(e.Duration)
			b.u64(uint64(e.Media))
			b.u32(1 << 16)
		}
		b.shut(elst)
		b.shut(edts)
	}
	m := b.mdia(&t, created(h.Created), h.MediaDuration)
	stsd := b.full("stsd", 0, 0)
	b.u32(uint32(len(h.Entries)))
	for i := range h.Entries {
		if err := b.sampleEntry(&h.Entries[i]); err != nil {
			return dst, fmt.Errorf("movie: %w", err)
		}
	}
	b.shut(stsd)
	for _, at := range [...]int{m.stbl, m.minf, m.mdia, trak} {
		size := int64(len(b)-at) + tables
		if size > 1<<32-1 {
			return dst, fmt.Errorf("movie: the tables of track %d take more than 4 GB", h.ID)
		}
		binary.BigEndian.PutUint32(b[at:], uint32(size))
	}
	return b, nil
}

// AppendMovieHead appends ftyp and the head of moov up to its first trak, whose
// traks take that many bytes.
func AppendMovieHead(dst []byte, start media.Wall, timescale uint32, duration uint64, nextID int, traks int64) ([]byte, error) {
	b := boxes(dst)
	at := b.open("ftyp")
	b.str("isom\x00\x00\x02\x00isomiso2mp41")
	b.shut(at)
	moov := b.open("moov")
	b.mvhd(created(start), timescale, duration, nextID)
	size := int64(len(b)-moov) + traks
	if size > 1<<32-1 {
		return dst, fmt.Errorf("movie: the tables take more than 4 GB; ask for a shorter range")
	}
	binary.BigEndian.PutUint32(b[moov:], uint32(size))
	return b, nil
}
