package mux

import (
	"hash/crc32"

	"media-server/core/media"
)

// AppendHead appends what stands in front of a fragment's payload: the part
// header h, a moof of the samples, and the head of the mdat that holds them.
// h.Hashes has one hash a sample. It is for those who write stored fragments
// anew (grooming); what comes from a driver goes through a Writer. uuidLen is
// the length of the part header.
func AppendHead(b []byte, h *PartHeader, sequence uint32, base int64, samples []media.Sample) (out []byte, uuidLen int) {
	at := len(b)
	w := boxes(h.append(b, nil))
	moof := len(w)
	w.moof(sequence, h.Track, base, samples)
	setMoofCRC(w[at:moof], crc32.Checksum(w[moof:], castagnoli))
	w.mdatHead(samples)
	return w, moof - at
}

// AppendFragmentHead appends what stands in front of samples that are served by
// themselves: a moof, and the head of the mdat that holds them.
func AppendFragmentHead(b []byte, track int, sequence uint32, base int64, samples []media.Sample) []byte {
	w := boxes(b)
	w.moof(sequence, track, base, samples)
	w.mdatHead(samples)
	return w
}

func (b *boxes) mdatHead(samples []media.Sample) {
	size := 8
	for i := range samples {
		size += int(samples[i].Size)
	}
	b.u32(uint32(size))
	b.str("mdat")
}
