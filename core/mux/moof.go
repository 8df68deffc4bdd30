package mux

import (
	"encoding/binary"

	"media-server/core/media"
)

// Sample flags (ISO/IEC 14496-12 8.8.3.1): a key sample depends on no other;
// the rest depend on others and are not sync samples.
const (
	flagsKey   = 0x02000000
	flagsDelta = 0x01010000

	tfhdBaseIsMoof = 0x020000
	tfhdDuration   = 0x08
	tfhdSize       = 0x10
	tfhdFlags      = 0x20

	trunOffset     = 0x01
	trunFirstFlags = 0x04
	trunDuration   = 0x100
	trunSize       = 0x200
	trunFlags      = 0x400
	trunCTO        = 0x800
)

func sampleFlags(key bool) uint32 {
	if key {
		return flagsKey
	}
	return flagsDelta
}

// uniform finds what need not be said for each sample.
func uniform(s []media.Sample) (tfhd, trun uint32) {
	sameDuration, sameSize, sameKey, restSame, cto := true, true, true, true, false
	for i := range s {
		sameDuration = sameDuration && s[i].Duration == s[0].Duration
		sameSize = sameSize && s[i].Size == s[0].Size
		sameKey = sameKey && s[i].Key == s[0].Key
		restSame = restSame && (i == 0 || s[i].Key == s[len(s)-1].Key)
		cto = cto || s[i].CTO != 0
	}
	tfhd, trun = tfhdBaseIsMoof|tfhdFlags, trunOffset
	if sameDuration {
		tfhd |= tfhdDuration
	} else {
		trun |= trunDuration
	}
	if sameSize {
		tfhd |= tfhdSize
	} else {
		trun |= trunSize
	}
	switch {
	case sameKey:
	case restSame:
		trun |= trunFirstFlags
	default:
		tfhd &^= tfhdFlags
		trun |= trunFlags
	}
	if cto {
		trun |= trunCTO
	}
	return tfhd, trun
}

// moof appends a moof box with one traf. The mdat header of 8 bytes follows it.
func (b *boxes) moof(sequence uint32, track int, base int64, s []media.Sample) {
	moof := b.open("moof")
	at := b.full("mfhd", 0, 0)
	b.u32(sequence)
	b.shut(at)
	traf := b.open("traf")

	tfhd, trun := uniform(s)
	at = b.full("tfhd", 0, tfhd)
	b.u32(uint32(track))
	if tfhd&tfhdDuration != 0 {
		b.u32(s[0].Duration)
	}
	if tfhd&tfhdSize != 0 {
		b.u32(s[0].Size)
	}
	if tfhd&tfhdFlags != 0 {
		b.u32(sampleFlags(s[len(s)-1].Key))
	}
	b.shut(at)

	at = b.full("tfdt", 1, 0)
	b.u64(uint64(base))
	b.shut(at)

	at = b.full("trun", 1, trun)
	b.u32(uint32(len(s)))
	offset := len(*b)
	b.u32(0)
	if trun&trunFirstFlags != 0 {
		b.u32(sampleFlags(s[0].Key))
	}
	for i := range s {
		if trun&trunDuration != 0 {
			b.u32(s[i].Duration)
		}
		if trun&trunSize != 0 {
			b.u32(s[i].Size)
		}
		if trun&trunFlags != 0 {
			b.u32(sampleFlags(s[i].Key))
		}
		if trun&trunCTO != 0 {
			b.u32(uint32(s[i].CTO))
		}
	}
	b.shut(at)
	b.shut(traf)
	b.shut(moof)
	binary.BigEndian.PutUint32((*b)[offset:], uint32(len(*b)-moof+8))
}
