package clip

import (
	"encoding/binary"
	"errors"
)

type sample struct {
	duration, offset int64 // ticks
	sync             bool
	payload          []byte
}

var errFragment = errors.New("fragment is cut short")

// fragments reads the samples of a fragmented MP4 of one track as make.sh
// writes it: default-base-is-moof, one traf a moof. mediacommon reads the same
// boxes but neither first_sample_flags nor offsets of trun version 0, both of
// which ffmpeg writes.
func fragments(file []byte, add func(sample) error) error {
	for at := 0; at < len(file); {
		name, body, next, err := box(file, at)
		if err != nil {
			return err
		}
		if name == "moof" {
			if err := fragment(file[at:], body, add); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

func box(b []byte, at int) (name string, body []byte, next int, err error) {
	if len(b)-at < 8 {
		return "", nil, 0, errFragment
	}
	n := int(binary.BigEndian.Uint32(b[at:]))
	if n < 8 || n > len(b)-at {
		return "", nil, 0, errFragment
	}
	return string(b[at+4 : at+8]), b[at+8 : at+n], at + n, nil
}

type defaults struct {
	duration, size, flags uint32
}

// fragment reads one moof; base begins at it.
func fragment(base, moof []byte, add func(sample) error) error {
	var def defaults
	var walk func(b []byte) error
	walk = func(b []byte) error {
		for at := 0; at < len(b); {
			name, body, next, err := box(b, at)
			if err != nil {
				return err
			}
			switch name {
			case "traf":
				err = walk(body)
			case "tfhd":
				err = def.read(body)
			case "trun":
				err = def.samples(base, body, add)
			}
			if err != nil {
				return err
			}
			at = next
		}
		return nil
	}
	return walk(moof)
}

// words takes big-endian 32-bit words off a box; the first misread sticks.
type words struct {
	b   []byte
	err error
}

func (w *words) next() uint32 {
	if len(w.b) < 4 {
		w.err = errFragment
		return 0
	}
	v := binary.BigEndian.Uint32(w.b)
	w.b = w.b[4:]
	return v
}

// optional is next if bit is set in flags, else old.
func (w *words) optional(flags, bit, old uint32) uint32 {
	if flags&bit == 0 {
		return old
	}
	return w.next()
}

// read takes a tfhd (ISO/IEC 14496-12 8.8.7).
func (d *defaults) read(b []byte) error {
	w := words{b: b}
	flags := w.next()
	w.next() // track_ID
	if flags&1 != 0 {
		return errors.New("base_data_offset is not expected here")
	}
	w.optional(flags, 2, 0) // sample_description_index
	d.duration = w.optional(flags, 8, 0)
	d.size = w.optional(flags, 0x10, 0)
	d.flags = w.optional(flags, 0x20, 0)
	return w.err
}

// samples takes a trun (8.8.8).
func (d *defaults) samples(base, b []byte, add func(sample) error) error {
	w := words{b: b}
	flags := w.next()
	count := w.next()
	at := int(int32(w.optional(flags, 1, 0)))
	first := w.optional(flags, 4, d.flags)
	for i := uint32(0); i < count && w.err == nil; i++ {
		s := sample{duration: int64(w.optional(flags, 0x100, d.duration))}
		n := int(w.optional(flags, 0x200, d.size))
		f := w.optional(flags, 0x400, d.flags)
		if i == 0 && flags&4 != 0 {
			f = first
		}
		s.offset = int64(int32(w.optional(flags, 0x800, 0)))
		s.sync = f&0x10000 == 0 // sample_is_non_sync_sample
		if at < 0 || n < 0 || at+n > len(base) {
			return errFragment
		}
		s.payload = base[at : at+n : at+n]
		at += n
		if err := add(s); err != nil {
			return err
		}
	}
	return w.err
}
