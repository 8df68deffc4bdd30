package hls

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"media-server/core/archive"
	"media-server/core/flac"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// Browsers do not play G.711, so it leaves as FLAC, which loses nothing. It is
// muxed with the pictures as AAC is: a rendition of its own would be silent in
// hls.js without alternate audio. Each unit becomes a frame of its own, with the
// number of its first sample since the run's zero, so that the bytes of a segment
// depend on nothing but what is stored.
//
//	moof + mdat of a fragment ─▶ a frame for each sample ─▶ moof + mdat, times as stored

// Converts tells whether a playlist that is newly asked for should be read with
// Request.FLAC: there is G.711 in its range.
func (s *Server) Converts(req Request) (bool, error) {
	inits, err := s.initsAlong(req)
	if err != nil {
		return false, err
	}
	for id := range inits {
		tracks, err := s.src.Tracks(req.UID, id)
		if err != nil {
			return false, err
		}
		if converts(tracks) {
			return true, nil
		}
	}
	return false, nil
}

func converts(tracks []media.Track) bool { return slices.ContainsFunc(tracks, mux.FLACable) }

// codec is the RFC 6381 name of a track as it is served; false: it is left out.
func (req Request) codec(t media.Track) (string, bool) {
	switch {
	case req.TS && !mux.TSable(t):
		return "", false
	case req.FLAC && mux.FLACable(t):
		return mux.FLACString, true
	}
	return mux.CodecString(t)
}

// convertedBits is by how many bits a second converted tracks grow at most: noise
// is not compressed, and each unit of 20 ms gets a header.
func convertedBits(tracks []media.Track) (n int64) {
	for _, t := range tracks {
		if converts([]media.Track{t}) {
			mux.FillParameters(&t)
			n += int64(t.SampleRate)*int64(t.Channels)*8 + 50*20*8
		}
	}
	return n
}

// mostSound bounds the fragment that is converted: half a second of G.711 is 4 kB
// for a telephone, and one unit takes 8 MB at most.
const mostSound = mux.MaxUnit + 1<<20

// workshop holds what conversion needs again and again.
type workshop struct {
	stored []byte
	pcm    []int32
	frames []byte
	table  []media.Sample
	base   int64 // of the first frame, ticks
	enc    flac.Encoder
}

var workshops = sync.Pool{New: func() any { return new(workshop) }}

// addFLAC appends a fragment of G.711 as FLAC. It is made at once, because the
// length of an answer is told before its bytes.
func addFLAC(body *timeline.Body, file timeline.File, fr *archive.Fragment, t media.Track) error {
	n := fr.End() - fr.MoofOffset
	head := fr.DataOffset - fr.MoofOffset
	if head < 24 || n < head || n > mostSound {
		return fmt.Errorf("%w: a fragment of sound with a head of %d and %d bytes in all", archive.ErrDamaged, head, n)
	}
	w := workshops.Get().(*workshop)
	defer workshops.Put(w)
	w.stored = slices.Grow(w.stored[:0], int(n))[:n]
	if _, err := file.ReadAt(w.stored, fr.MoofOffset); err != nil {
		return fmt.Errorf("read sound at %d: %w", fr.MoofOffset, err)
	}
	if err := w.convert(t, w.stored[head:], fr.BaseTime, fr.Samples); err != nil {
		return err
	}
	if len(w.table) == 0 {
		return nil
	}
	sequence := binary.BigEndian.Uint32(w.stored[20:]) // moof, mfhd, version and flags
	b := mux.AppendFragmentHead(make([]byte, 0, 128+16*len(w.table)+len(w.frames)), fr.Track, sequence, w.base, w.table)
	body.Add(append(b, w.frames...))
	return nil
}

// convert makes the frames of the units in data, which begin at base, and their table.
func (w *workshop) convert(t media.Track, data []byte, base int64, units []media.Sample) error {
	mux.FillParameters(&t)
	law := flac.ULaw
	if t.Codec == media.PCMA {
		law = flac.ALaw
	}
	w.enc.Rate, w.enc.Channels = t.SampleRate, t.Channels
	w.frames, w.table, w.base = w.frames[:0], w.table[:0], base
	for _, u := range units {
		if int64(u.Size) > int64(len(data)) {
			return fmt.Errorf("%w: a unit of sound reaches over the end of its fragment", archive.ErrDamaged)
		}
		unit := data[:u.Size]
		data = data[u.Size:]
		number := uint64(media.Rescale(base, int64(t.SampleRate), int64(t.Timescale)))
		left, ends := int64(u.Duration), base+int64(u.Duration)
		unit = unit[:len(unit)/t.Channels*t.Channels]
		for total := len(unit); len(unit) > 0; {
			block := unit[:min(len(unit), flac.MaxBlock*t.Channels)]
			unit = unit[len(block):]
			w.pcm = law.Expand(w.pcm[:0], block)
			from := len(w.frames)
			w.frames = w.enc.Append(w.frames, w.pcm, number)
			number += uint64(len(block) / t.Channels)
			ticks := left
			if len(unit) > 0 {
				ticks = min(int64(u.Duration)*int64(len(block))/int64(total), left)
			}
			left -= ticks
			w.table = append(w.table, media.Sample{Duration: uint32(ticks), Size: uint32(len(w.frames) - from), Key: true})
		}
		switch k := len(w.table); { // a unit without a sample
		case k == 0:
			w.base = ends
		case left > 0:
			w.table[k-1].Duration += uint32(left)
		}
		base = ends
	}
	return nil
}
