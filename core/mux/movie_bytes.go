package mux

import (
	"fmt"
	"math"

	"media-server/core/media"
)

// HeadSize returns the length of Head for a payload of so many bytes, without
// making it.
func (m *Movie) HeadSize(payload uint64) (int64, error) {
	n, _, err := m.size(payload)
	return n, err
}

// size also tells whether chunk offsets need 64 bits.
func (m *Movie) size(payload uint64) (n int64, wide bool, err error) {
	var frame boxes
	if err := m.encode(&frame, 0, false, false); err != nil {
		return 0, false, err
	}
	n = int64(len(frame)) + mdatHeader(payload)
	chunks := int64(0)
	for _, t := range m.tracks {
		if t.n > 0 {
			n += t.tableSize()
			chunks += int64(len(t.chunks))
		}
	}
	wide = uint64(n)+payload > math.MaxUint32
	if wide {
		n += 4 * chunks
	}
	return n, wide, nil
}

func mdatHeader(payload uint64) int64 {
	if payload+8 > math.MaxUint32 {
		return 16
	}
	return 8
}

// Head returns ftyp, moov and the header of an mdat of payload bytes. Tracks
// without samples are left out.
func (m *Movie) Head(payload uint64) ([]byte, error) {
	n, wide, err := m.size(payload)
	if err != nil {
		return nil, err
	}
	b := make(boxes, 0, n)
	if err := m.encode(&b, uint64(n), wide, true); err != nil {
		return nil, err
	}
	if mdatHeader(payload) == 16 {
		b.u32(1)
		b.str("mdat")
		b.u64(payload + 16)
	} else {
		b.u32(uint32(payload + 8))
		b.str("mdat")
	}
	if int64(len(b)) != n {
		panic(fmt.Sprintf("mux: moov of %d bytes, computed %d", len(b), n))
	}
	return b, nil
}

// encode writes ftyp and moov. Without tables it writes everything whose size
// does not follow from counts alone; offsets are shifted by shift.
func (m *Movie) encode(b *boxes, shift uint64, wide, tables bool) error {
	at := b.open("ftyp")
	b.str("isom\x00\x00\x02\x00isomiso2mp41")
	b.shut(at)
	moov := b.open("moov")
	b.mvhd(created(m.created), movieScale, uint64(media.TicksOf(m.Duration(), movieScale)), len(m.tracks)+1)
	empty := true
	for _, t := range m.tracks {
		if t.n == 0 {
			continue
		}
		empty = false
		if err := t.encode(b, created(m.created), shift, wide, tables); err != nil {
			return err
		}
	}
	b.shut(moov)
	if empty {
		return fmt.Errorf("movie: no samples")
	}
	return nil
}

func (t *MovieTrack) encode(b *boxes, created, shift uint64, wide, tables bool) error {
	as := t.entries[0]
	as.ID, as.Timescale = t.id, t.first.Timescale
	trak := b.open("trak")
	b.tkhd(&as, created, uint64(t.end()))
	t.editList(b)
	mdia := b.mdia(&as, created, uint64(t.length))
	stsd := b.full("stsd", 0, 0)
	b.u32(uint32(len(t.entries)))
	for i := range t.entries {
		if err := b.sampleEntry(&t.entries[i]); err != nil {
			return fmt.Errorf("movie: %w", err)
		}
	}
	b.shut(stsd)
	if tables {
		t.tables(b, shift, wide)
	}
	mdia.shut(b)
	b.shut(trak)
	return nil
}

// editList says where on the movie's timeline the media lies: after an empty
// edit, or from a point inside it when it begins before the movie does.
func (t *MovieTrack) editList(b *boxes) {
	empty, from := media.Rescale(t.start+t.lead, movieScale, int64(t.first.Timescale)), t.lead
	if empty < 0 {
		empty, from = 0, -t.start
	}
	edts := b.open("edts")
	elst := b.full("elst", 1, 0)
	if empty > 0 {
		b.u32(2)
		b.u64(uint64(empty))
		b.u64(math.MaxUint64)
		b.u32(1 << 16)
	} else {
		b.u32(1)
	}
	b.u64(uint64(max(t.end()-empty, 1)))
	b.u64(uint64(from))
	b.u32(1 << 16)
	b.shut(elst)
	b.shut(edts)
}

func (t *MovieTrack) hasShifts() bool { return len(t.shifts) > 1 || t.shifts[0].value != 0 }

// tableSize is the length of what tables writes, with 32-bit offsets.
func (t *MovieTrack) tableSize() int64 {
	n := 16 + 8*len(t.times) + 16 + 12*len(t.groups) + 20 + len(t.sizes) + 16 + 4*len(t.chunks)
	if t.hasShifts() {
		n += 16 + 8*len(t.shifts)
	}
	if !t.allKey {
		n += 16 + len(t.keys)
	}
	return int64(n)
}

func (t *MovieTrack) tables(b *boxes, shift uint64, wide bool) {
	runs := func(kind string, version byte, runs []countValue) {
		at := b.full(kind, version, 0)
		b.u32(uint32(len(runs)))
		for _, r := range runs {
			b.u32(r.count)
			b.u32(uint32(r.value))
		}
		b.shut(at)
	}
	runs("stts", 0, t.times)
	if t.hasShifts() {
		version := byte(0)
		for _, r := range t.shifts {
			if r.value < 0 {
				version = 1
			}
		}
		runs("ctts", version, t.shifts)
	}
	if !t.allKey {
		at := b.full("stss", 0, 0)
		b.u32(uint32(len(t.keys) / 4))
		b.bytes(t.keys...)
		b.shut(at)
	}
	at := b.full("stsc", 0, 0)
	b.u32(uint32(len(t.groups)))
	for _, g := range t.groups {
		b.u32(g.firstChunk)
		b.u32(g.samples)
		b.u32(g.entry)
	}
	b.shut(at)
	at = b.full("stsz", 0, 0)
	b.u32(0)
	b.u32(uint32(t.n))
	b.bytes(t.sizes...)
	b.shut(at)
	if wide {
		at = b.full("co64", 0, 0)
		b.u32(uint32(len(t.chunks)))
		for _, c := range t.chunks {
			b.u64(c + shift)
		}
	} else {
		at = b.full("stco", 0, 0)
		b.u32(uint32(len(t.chunks)))
		for _, c := range t.chunks {
			b.u32(uint32(c + shift))
		}
	}
	b.shut(at)
}
