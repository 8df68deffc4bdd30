package mux

import (
	"fmt"
	"math"
	"time"

	"media-server/core/media"
)

// Movie builds the head of a progressive MP4 (ftyp, moov, mdat header) over
// payload that is stored already: chunk offsets point into it, nothing is
// copied. It is a pure function of the calls made; the same calls give the
// same bytes. Memory is that of the moov: 4 bytes a sample and what does not
// run-length. Not safe for concurrent use.
type Movie struct {
	created media.Wall
	tracks  []*MovieTrack
}

// MovieTrack is one track of a Movie. Its timescale is that of the track it
// was made with; entries of another timescale are converted.
type MovieTrack struct {
	id      int
	first   media.Track
	entries []media.Track

	asked    media.Track // the last question to Entry, and its answer
	answered int

	sizes  boxes // stsz
	n      int
	times  []countValue // stts: runs of durations
	shifts []countValue // ctts: runs of composition offsets
	keys   boxes        // stss
	allKey bool
	chunks []uint64
	groups []group // stsc

	length int64 // sum of durations
	base   int64 // movie time of media time 0
	start  int64 // movie time of the first sample's decode time, as given
	lead   int64 // composition offset of the first sample
}

type countValue struct {
	count uint32
	value int64
}

type group struct{ firstChunk, samples, entry uint32 }

// movieScale is the timescale of mvhd and edit lists.
const movieScale = 90000

// NewMovie begins a movie whose time 0 is created, the wall clock of its first
// picture.
func NewMovie(created media.Wall) *Movie { return &Movie{created: created} }

// Track adds a track. samples and chunks are hints that save memory.
func (m *Movie) Track(t media.Track, samples, chunks int) *MovieTrack {
	mt := &MovieTrack{id: len(m.tracks) + 1, first: t, allKey: true,
		sizes: make(boxes, 0, 4*samples), chunks: make([]uint64, 0, chunks)}
	m.tracks = append(m.tracks, mt)
	return mt
}

// Entry returns the number of the sample entry for t, adding it when it is new.
func (t *MovieTrack) Entry(e media.Track) int {
	if len(t.entries) > 0 && t.asked.Equal(e) { // as for every chunk but the first of a run
		return t.answered
	}
	t.asked = e
	FillParameters(&e)
	for i, have := range t.entries {
		e.ID = have.ID
		if have.Equal(e) {
			t.answered = i
			return i
		}
	}
	e.ID = t.id
	t.entries = append(t.entries, e)
	t.answered = len(t.entries) - 1
	return t.answered
}

// Chunk adds samples that lie back to back at offset in the payload. at is the
// decode time of the first, in ticks of the entry's timescale since the
// movie's time 0; it may be negative (reordering; sound ahead of the first
// picture). Chunks come in order of time.
func (t *MovieTrack) Chunk(entry int, offset uint64, at int64, s []media.Sample) error {
	if entry < 0 || entry >= len(t.entries) {
		return fmt.Errorf("movie: no sample entry %d", entry)
	}
	if len(s) == 0 {
		return nil
	}
	from, to := int64(t.entries[entry].Timescale), int64(t.first.Timescale)
	start := media.Rescale(at, to, from)
	t.place(start, media.Rescale(int64(s[0].CTO), to, from))
	done := start
	for i := range s {
		d, shift := int64(s[i].Duration), int64(s[i].CTO)
		if from != to { // from absolute times, so that nothing adds up
			at += d
			next := media.Rescale(at, to, from)
			d, shift, done = next-done, media.Rescale(shift, to, from), next
		}
		t.sample(&s[i], d, shift)
	}
	t.chunks = append(t.chunks, offset)
	g := group{uint32(len(t.chunks)), uint32(len(s)), uint32(entry + 1)}
	if n := len(t.groups); n == 0 || t.groups[n-1].samples != g.samples || t.groups[n-1].entry != g.entry {
		t.groups = append(t.groups, g)
	}
	return nil
}

// place joins a chunk at movie time at to what is there. A hole, however long,
// is filled by the sample before it: ffmpeg takes an empty edit for one only
// ahead of all media and plays everything again at a later one. A duration has
// 32 bits (13 hours at 90 kHz); of a hole beyond that the rest is left out.
func (t *MovieTrack) place(at, lead int64) {
	if t.n == 0 {
		t.base, t.start, t.lead = at, at, max(lead, 0)
		return
	}
	gap := at - t.base - t.length
	if gap == 0 {
		return
	}
	t.stretch(gap)
	if at > t.base+t.length {
		t.base = at - t.length
	}
}

// stretch changes the last sample's duration, to no less than one tick: an
// overlap that is left shifts what follows until the next hole.
func (t *MovieTrack) stretch(by int64) {
	last := &t.times[len(t.times)-1]
	d := min(max(last.value+by, 1), math.MaxUint32)
	t.length += d - last.value
	if last.count == 1 {
		t.times = t.times[:len(t.times)-1]
	} else {
		last.count--
	}
	t.times = push(t.times, d)
}

func push(runs []countValue, v int64) []countValue {
	if n := len(runs); n > 0 && runs[n-1].value == v {
		runs[n-1].count++
		return runs
	}
	return append(runs, countValue{1, v})
}

func (t *MovieTrack) sample(s *media.Sample, d, shift int64) {
	t.n++
	t.sizes.u32(s.Size)
	t.times = push(t.times, min(max(d, 1), math.MaxUint32))
	t.length += min(max(d, 1), math.MaxUint32)
	t.shifts = push(t.shifts, shift)
	if s.Key {
		t.keys.u32(uint32(t.n))
	} else {
		t.allKey = false
	}
}

// end is where the track's presentation ends on the movie's timeline, in ticks
// of the movie.
func (t *MovieTrack) end() int64 {
	return max(media.Rescale(t.start+t.length+t.lead, movieScale, int64(t.first.Timescale)), 0)
}

// Duration is the movie's length.
func (m *Movie) Duration() time.Duration {
	end := int64(0)
	for _, t := range m.tracks {
		if t.n > 0 {
			end = max(end, t.end())
		}
	}
	return media.DurationOf(end, movieScale)
}
