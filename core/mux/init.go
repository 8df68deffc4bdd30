package mux

import (
	"fmt"

	"media-server/core/media"
)

// FileInfo is what the moov at the head of a file says beyond its tracks.
type FileInfo struct {
	Created media.Wall // first presentation time; 0 = leave out
	FLAC    bool       // G.711 is described as the FLAC that it is converted to on the way out
}

// Init makes an init segment (ftyp, moov with mvex) for any subset of a run's
// tracks. Same tracks, same bytes.
func Init(tracks []media.Track) ([]byte, error) { return FileInit(tracks, FileInfo{}) }

// FileInit makes the head of a stored file. There is no edit list, though
// decode times count from the run's zero: FORMAT.md, "Players".
func FileInit(tracks []media.Track, info FileInfo) ([]byte, error) {
	if len(tracks) == 0 {
		return nil, fmt.Errorf("init: no tracks")
	}
	b := make(boxes, 0, 1024*len(tracks))
	at := b.open("ftyp")
	b.str("iso6\x00\x00\x00\x01iso6iso5mp41")
	b.shut(at)

	moov := b.open("moov")
	next := 0
	for _, t := range tracks {
		next = max(next, t.ID)
	}
	b.mvhd(created(info.Created), 1000, 0, next+1)
	for i := range tracks {
		t := &tracks[i]
		if t.ID <= 0 {
			return nil, fmt.Errorf("init: track id %d", t.ID)
		}
		trak := b.open("trak")
		b.tkhd(t, created(info.Created), 0)
		mdia := b.mdia(t, created(info.Created), 0)
		stsd := b.full("stsd", 0, 0)
		b.u32(1)
		if info.FLAC && FLACable(*t) {
			b.flacEntry(t)
		} else if err := b.sampleEntry(t); err != nil {
			return nil, fmt.Errorf("init: %w", err)
		}
		b.shut(stsd)
		for _, empty := range []string{"stts", "stsc", "stco"} {
			e := b.full(empty, 0, 0)
			b.u32(0)
			b.shut(e)
		}
		e := b.full("stsz", 0, 0)
		b.u64(0)
		b.shut(e)
		mdia.shut(&b)
		b.shut(trak)
	}
	mvex := b.open("mvex")
	for _, t := range tracks {
		at := b.full("trex", 0, 0)
		b.u32(uint32(t.ID))
		b.u32(1)
		b.zeros(12)
		b.shut(at)
	}
	b.shut(mvex)
	b.shut(moov)
	return b, nil
}

// created converts to seconds since 1904.
func created(w media.Wall) uint64 {
	if w == 0 {
		return 0
	}
	return uint64(w.Time().Unix() + 2082844800)
}

func (b *boxes) mvhd(created uint64, timescale uint32, duration uint64, nextID int) {
	at := b.full("mvhd", 1, 0)
	b.u64(created)
	b.u64(created)
	b.u32(timescale)
	b.u64(duration)
	b.u32(0x10000)
	b.u16(0x100)
	b.zeros(10)
	b.matrix()
	b.zeros(24)
	b.u32(uint32(nextID))
	b.shut(at)
}

func (b *boxes) tkhd(t *media.Track, created, duration uint64) {
	at := b.full("tkhd", 1, 7)
	b.u64(created)
	b.u64(created)
	b.u32(uint32(t.ID))
	b.u32(0)
	b.u64(duration)
	b.zeros(8)
	b.u16(0)
	b.u16(0)
	volume := uint16(0)
	if t.Kind() == media.Audio {
		volume = 0x100
	}
	b.u16(volume)
	b.u16(0)
	b.matrix()
	b.u32(uint32(t.Width) << 16)
	b.u32(uint32(t.Height) << 16)
	b.shut(at)
}

// open boxes of a track's mdia, minf and stbl.
type mdia struct{ mdia, minf, stbl int }

func (m mdia) shut(b *boxes) {
	b.shut(m.stbl)
	b.shut(m.minf)
	b.shut(m.mdia)
}

func (b *boxes) mdia(t *media.Track, created, duration uint64) mdia {
	var m mdia
	m.mdia = b.open("mdia")
	at := b.full("mdhd", 1, 0)
	b.u64(created)
	b.u64(created)
	b.u32(t.Timescale)
	b.u64(duration)
	b.u16(0x55c4) // und
	b.u16(0)
	b.shut(at)

	at = b.full("hdlr", 0, 0)
	b.u32(0)
	switch t.Kind() {
	case media.Video:
		b.str("vide")
	case media.Audio:
		b.str("soun")
	default:
		b.str("text") // "meta" would be right for metx, but VLC 3 then plays a fragmented file in circles
	}
	b.zeros(12)
	b.str(t.Kind().String() + "\x00")
	b.shut(at)

	m.minf = b.open("minf")
	switch t.Kind() {
	case media.Video:
		at = b.full("vmhd", 0, 1)
		b.u64(0)
	case media.Audio:
		at = b.full("smhd", 0, 0)
		b.u32(0)
	default:
		at = b.full("nmhd", 0, 0)
	}
	b.shut(at)
	dinf := b.open("dinf")
	dref := b.full("dref", 0, 0)
	b.u32(1)
	b.shut(b.full("url ", 0, 1))
	b.shut(dref)
	b.shut(dinf)
	m.stbl = b.open("stbl")
	return m
}
