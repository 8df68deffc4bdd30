package mux

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cespare/xxhash/v2"

	"media-server/core/media"
)

const (
	maxMoof    = 1 << 20
	maxPayload = 1 << 30
)

// ParseFragment reads the part header, moof and mdat header of the fragment at
// off; nothing of it may lie at or behind end. next is the offset behind it.
// The payload is not read: VerifyPayload does. An error that wraps ErrFormat
// means that no whole fragment is there; others come from r.
func ParseFragment(r io.ReaderAt, off, end int64) (frag FragmentInfo, next int64, err error) {
	// One read takes in header and moof of an ordinary part.
	first := make([]byte, min(4096, max(end-off, 0)))
	if err := readFull(r, first, off); err != nil {
		return frag, 0, err
	}
	head, rest, err := whole(r, first, off, end, MaxHeader)
	if err != nil {
		return frag, 0, err
	}
	if frag.Header, err = ParsePartHeader(head); err != nil {
		return frag, 0, err
	}
	frag.HeaderAt, frag.HeaderLen = off, int64(len(head))
	frag.MoofAt = off + int64(len(head))
	moof, rest, err := whole(r, rest, frag.MoofAt, end, maxMoof)
	if err != nil {
		return frag, 0, err
	}
	frag.MoofLen = int64(len(moof))
	if crc32.Checksum(moof, castagnoli) != frag.Header.MoofCRC {
		return frag, 0, fmt.Errorf("%w (moof at %d)", ErrChecksum, frag.MoofAt)
	}
	if err := frag.parseMoof(moof); err != nil {
		return frag, 0, err
	}
	at := frag.MoofAt + frag.MoofLen
	if len(rest) < 8 {
		rest = make([]byte, 8)
		if at+8 > end {
			return frag, 0, fmt.Errorf("%w: ends before the mdat at %d", ErrFormat, at)
		}
		if err := readFull(r, rest, at); err != nil {
			return frag, 0, err
		}
	}
	n := int64(binary.BigEndian.Uint32(rest)) - 8
	frag.PayloadAt, frag.PayloadLen = at+8, n
	var sum int64
	for i := range frag.Samples {
		sum += int64(frag.Samples[i].Size)
	}
	switch {
	case string(rest[4:8]) != "mdat" || n != sum || n > maxPayload:
		return frag, 0, fmt.Errorf("%w: mdat at %d does not match its moof", ErrFormat, at)
	case frag.End() > end:
		return frag, 0, fmt.Errorf("%w: payload at %d is cut short", ErrFormat, at+8)
	}
	return frag, frag.End(), nil
}

// whole returns the box at off: from buf, which holds the bytes there as far
// as they have been read, or by reading on.
func whole(r io.ReaderAt, buf []byte, off, end, limit int64) (box, rest []byte, err error) {
	if off+8 > end {
		return nil, nil, fmt.Errorf("%w: nothing at %d", ErrFormat, off)
	}
	if len(buf) < 8 {
		buf = make([]byte, 8)
		if err := readFull(r, buf, off); err != nil {
			return nil, nil, err
		}
	}
	n := int64(binary.BigEndian.Uint32(buf))
	if kind := string(buf[4:8]); n < 8 || n > limit || kind != "uuid" && kind != "moof" {
		return nil, nil, fmt.Errorf("%w: box at %d", ErrFormat, off)
	}
	if off+n > end {
		return nil, nil, fmt.Errorf("%w: box at %d is cut short", ErrFormat, off)
	}
	if n <= int64(len(buf)) {
		return buf[:n], buf[n:], nil
	}
	box = make([]byte, n)
	return box, nil, readFull(r, box, off)
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		return fmt.Errorf("%w: ends at %d", ErrFormat, off+int64(n))
	}
	return err
}

// parseMoof reads what boxes.moof writes, in any of its forms.
func (f *FragmentInfo) parseMoof(b []byte) error {
	bad := func(what string) error { return fmt.Errorf("%w: %s in the moof at %d", ErrFormat, what, f.MoofAt) }
	mfhd, b, ok := child(b[8:], "mfhd", 8)
	traf, b, ok2 := child(b, "traf", 0)
	if !ok || !ok2 || len(b) != 0 {
		return bad("boxes")
	}
	f.Sequence = binary.BigEndian.Uint32(mfhd[4:])
	tfhd, traf, ok := child(traf, "tfhd", 8)
	tfdt, traf, ok2 := child(traf, "tfdt", 12)
	if !ok || !ok2 || tfdt[0] != 1 {
		return bad("boxes")
	}
	trun, traf, ok := child(traf, "trun", 12)
	if !ok || len(traf) != 0 || trun[0] != 1 {
		return bad("trun")
	}
	if binary.BigEndian.Uint32(tfhd[4:]) != uint32(f.Header.Track) {
		return bad("another track")
	}
	f.BaseTime = int64(binary.BigEndian.Uint64(tfdt[4:]))
	if f.BaseTime < 0 {
		return bad("negative tfdt")
	}
	return f.samples(tfhd, trun, bad)
}

func (f *FragmentInfo) samples(tfhd, trun []byte, bad func(string) error) error {
	hflags, rflags := binary.BigEndian.Uint32(tfhd)&0xffffff, binary.BigEndian.Uint32(trun)&0xffffff
	tfhd = tfhd[8:]
	var common media.Sample
	key := func(flags uint32) bool { return flags&0x10000 == 0 }
	for _, d := range []struct {
		flag uint32
		set  func(uint32)
	}{
		{tfhdDuration, func(v uint32) { common.Duration = v }},
		{tfhdSize, func(v uint32) { common.Size = v }},
		{tfhdFlags, func(v uint32) { common.Key = key(v) }},
	} {
		if hflags&d.flag == 0 {
			continue
		}
		if len(tfhd) < 4 {
			return bad("tfhd")
		}
		d.set(binary.BigEndian.Uint32(tfhd))
		tfhd = tfhd[4:]
	}
	const known = trunOffset | trunFirstFlags | trunDuration | trunSize | trunFlags | trunCTO
	if len(tfhd) != 0 || hflags&^(tfhdBaseIsMoof|tfhdDuration|tfhdSize|tfhdFlags) != 0 || rflags&^known != 0 || rflags&trunOffset == 0 {
		return bad("flags")
	}
	n := int64(binary.BigEndian.Uint32(trun[4:]))
	if int64(binary.BigEndian.Uint32(trun[8:])) != f.MoofLen+8 || n != int64(len(f.Header.Hashes)) {
		return bad("offset or number of samples")
	}
	trun = trun[12:]
	first := common.Key
	if rflags&trunFirstFlags != 0 {
		if len(trun) < 4 {
			return bad("trun")
		}
		first = key(binary.BigEndian.Uint32(trun))
		trun = trun[4:]
	}
	fields := int64(0)
	for _, flag := range []uint32{trunDuration, trunSize, trunFlags, trunCTO} {
		if rflags&flag != 0 {
			fields++
		}
	}
	if int64(len(trun)) != 4*fields*n {
		return bad("length of the trun")
	}
	f.Samples = make([]media.Sample, n)
	for i := range f.Samples {
		s := common
		if i == 0 {
			s.Key = first
		}
		next := func() uint32 { v := binary.BigEndian.Uint32(trun); trun = trun[4:]; return v }
		if rflags&trunDuration != 0 {
			s.Duration = next()
		}
		if rflags&trunSize != 0 {
			s.Size = next()
		}
		if rflags&trunFlags != 0 {
			s.Key = key(next())
		}
		if rflags&trunCTO != 0 {
			s.CTO = int32(next())
		}
		if s.Duration == 0 {
			return bad("a sample without duration")
		}
		f.Samples[i] = s
		f.Duration += int64(s.Duration)
	}
	return nil
}

// child cuts a box of the kind off b and returns what follows its header.
func child(b []byte, kind string, least int) (body, rest []byte, ok bool) {
	if len(b) < 8 || string(b[4:8]) != kind {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)) || n < uint32(8+least) {
		return nil, nil, false
	}
	return b[8:n], b[n:], true
}

// VerifyPayload compares each unit with its hash and returns how many at the
// beginning are sound; of an encrypted payload, which is sound as a whole or
// not, with the checksum of what is stored. An error comes from r.
func (f *FragmentInfo) VerifyPayload(r io.ReaderAt) (sound int, err error) {
	var buf []byte
	if f.Header.Encrypted {
		buf = make([]byte, f.PayloadLen)
		switch n, err := r.ReadAt(buf, f.PayloadAt); {
		case n < len(buf) && err != io.EOF:
			return 0, err
		case n < len(buf) || crc32.Checksum(buf, castagnoli) != f.Header.Encryption.CRC:
			return 0, nil
		}
		return len(f.Samples), nil
	}
	at := f.PayloadAt
	for i, s := range f.Samples {
		if int(s.Size) > cap(buf) {
			buf = make([]byte, max(s.Size, 64<<10))
		}
		p := buf[:s.Size]
		if n, err := r.ReadAt(p, at); n < len(p) {
			if err == io.EOF {
				err = nil
			}
			return i, err
		}
		if xxhash.Sum64(p) != f.Header.Hashes[i] {
			return i, nil
		}
		at += int64(s.Size)
	}
	return len(f.Samples), nil
}
