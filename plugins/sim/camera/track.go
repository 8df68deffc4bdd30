package camera

import (
	"math/rand/v2"
	"time"

	"media-server/core/media"
	"media-server/plugins/internal/stamp"
	"media-server/plugins/sim/clip"
)

// film is a clip prepared for stamping; shared by all cameras that show it.
type film struct {
	track         media.Track
	step          int64
	ahead, behind int64
	units         []frame
}

type frame struct {
	pts    int64
	key    bool
	plain  stamp.Template // without parameter sets
	inband stamp.Template // with them; the same for all but key frames
}

// track is one elementary stream of a camera. Its unit i is sample i modulo
// the film's length, for ever.
type track struct {
	id           int
	letter       byte
	film         *film
	other        *film // h264: shown after "params"
	inband       bool  // parameter sets come with each key frame
	swap         bool  // show other from the next key frame on
	num, den     int64 // ticks of unit i = i*num/den
	ahead        int64 // units by which sending lags decoding order
	behind       int64
	base         int64 // PTS of unit 0
	index        int64 // of the next unit in decoding order
	number       uint64
	target, debt int64  // bytes a unit should have on average; bytes still missing
	held         parcel // late on the way; empty = none
	rng          *rand.Rand
}

// ticks is the media time of place i, without base.
func (t *track) ticks(i int64) int64 { return media.Rescale(i, t.num, t.den) }

// at is the camera's clock at place i.
func (t *track) at(i int64) time.Duration {
	return media.DurationOf(t.ticks(i), t.film.track.Timescale)
}

// due is the camera's clock when the next unit is sent: once all it refers to
// has been seen.
func (t *track) due() time.Duration { return t.at(t.index + t.ahead) }

// seek passes over what was due before now (the camera's clock).
func (t *track) seek(now time.Duration) {
	i := media.Rescale(media.TicksOf(now, t.film.track.Timescale), t.den, t.num) - t.ahead - 2
	if i > t.index {
		t.number += uint64(i - t.index)
		t.index = i
	}
	for t.due() < now {
		t.skip()
	}
}

func (t *track) skip() {
	t.index++
	t.number++
}

func (t *track) frame() frame { return t.film.units[t.index%int64(len(t.film.units))] }

// place is the next unit's place in the order of presentation.
func (t *track) place() int64 {
	n := int64(len(t.film.units))
	return t.index - t.index%n + t.frame().pts
}

// media describes the track as it is now.
func (t *track) media() media.Track {
	m := t.film.track
	m.ID = t.id
	return m
}

// make writes the next unit. The payload is the one allocation.
func (t *track) make(camera string, seen media.Wall) media.AccessUnit {
	f := t.frame()
	tpl := &f.plain
	if t.inband {
		tpl = &f.inband
	}
	want := 0
	if t.target > 0 {
		t.debt += t.target
		want = int(t.debt)
	}
	tok := stamp.Token{Camera: camera, Track: t.letter, Number: t.number, Time: seen}
	b := make([]byte, 0, max(want, tpl.Size())+stamp.MaxLen+48)
	b = tpl.Append(b, tok, want)
	if t.target > 0 {
		t.debt -= int64(len(b))
	}
	p := t.place()
	return media.AccessUnit{
		Track:   t.id,
		PTS:     t.base + t.ticks(p),
		DTS:     t.base + t.ticks(t.index-t.behind),
		HasDTS:  true,
		Key:     f.key,
		Payload: b,
	}
}

func newTrack(id int, name string, keysOnly bool, rng *rand.Rand) (*track, error) {
	f, err := loadFilm(name, keysOnly)
	if err != nil {
		return nil, err
	}
	t := &track{id: id, film: f, num: f.step, den: 1, ahead: f.ahead, behind: f.behind, rng: rng}
	t.letter = stamp.TrackOf(f.track.Kind())
	t.base = rng.Int64N(1 << 32) // as RTP timestamps begin anywhere (RFC 3550 5.1)
	return t, nil
}

func loadFilm(name string, keysOnly bool) (*film, error) {
	films.Lock()
	defer films.Unlock()
	k := filmKey{name, keysOnly}
	if f := films.m[k]; f != nil {
		return f, nil
	}
	c, err := clip.Load(name)
	if name == metadataFilm {
		c, err = metadata(), nil
	}
	if err != nil {
		return nil, err
	}
	f, err := newFilm(c, keysOnly)
	if err == nil {
		films.m[k] = f
	}
	return f, err
}

func newFilm(c *clip.Clip, keysOnly bool) (*film, error) {
	f := &film{track: c.Track, step: c.Step, ahead: c.Ahead, behind: c.Behind}
	if keysOnly {
		f.ahead, f.behind = 0, 0
	}
	var sets []byte
	for _, n := range [][]byte{c.Track.VPS, c.Track.SPS, c.Track.PPS} {
		if len(n) > 0 {
			sets = append(sets, byte(len(n)>>24), byte(len(n)>>16), byte(len(n)>>8), byte(len(n)))
			sets = append(sets, n...)
		}
	}
	for _, s := range c.Samples {
		if keysOnly && !s.Key {
			continue
		}
		u := frame{pts: s.PTS, key: s.Key}
		if keysOnly {
			u.pts = int64(len(f.units))
		}
		var err error
		if u.plain, err = stamp.Split(c.Track.Codec, s.Payload); err != nil {
			return nil, err
		}
		u.inband = u.plain
		if s.Key && len(sets) > 0 {
			whole := append(append([]byte(nil), sets...), s.Payload...)
			if u.inband, err = stamp.Split(c.Track.Codec, whole); err != nil {
				return nil, err
			}
		}
		f.units = append(f.units, u)
	}
	return f, nil
}
