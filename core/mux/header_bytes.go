package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"media-server/core/media"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BoxID returns the uuid of one of our boxes: the common ten bytes and six
// ASCII letters (FORMAT.md, "Box ids").
func BoxID(last string) [16]byte {
	id := [16]byte{0x8a, 0x1f, 0x0d, 0x3c, 0x5b, 0x7e, 0x4c, 0x62, 0x9d, 0x41}
	copy(id[10:], last)
	return id
}

var partID = BoxID("mspart")

const (
	headerFixed = 152
	headerV1    = 1

	flagFirst       = 1
	flagLast        = 2
	flagIndependent = 4

	recordSeqs      = 1
	recordChain     = 2
	recordEncrypted = 0x8001
	mustUnderstand  = 0x8000

	// MaxHeader bounds a part header; a reader that knows nothing of a file
	// need not read more before it can judge one.
	MaxHeader = headerFixed + 8*maxUnits + 2*math.MaxUint16
	maxUnits  = 4096 // of one track in one part; the writer cuts before
)

// Errors of the decoders. All wrap ErrFormat.
var (
	ErrFormat      = errors.New("not a fragment of ours")
	ErrChecksum    = fmt.Errorf("%w: checksum differs", ErrFormat)
	ErrUnknownForm = fmt.Errorf("%w: version or record of a later program", ErrFormat)
)

// append encodes the header behind b, with the hashes of units (or, where
// there are none, those in the header itself).
func (h *PartHeader) append(b []byte, units []unit) []byte {
	at := len(b)
	var seqs []byte
	if h.Seqs != nil {
		for i := 1; i < len(h.Seqs); i++ {
			seqs = binary.AppendUvarint(seqs, h.Seqs[i]-h.Seqs[i-1])
		}
	}
	records := 0
	if seqs != nil {
		records = 4 + len(seqs)
	}
	if h.HasChain {
		records += chainRecord
	}
	n := max(len(units), len(h.Hashes))
	w := boxes(b)
	w.u32(uint32(headerFixed + 8*n + len(h.Clock) + records))
	w.str("uuid")
	w.bytes(partID[:]...)
	flags := byte(0)
	for i, set := range [...]bool{h.First, h.Last, h.Independent} {
		if set {
			flags |= 1 << i
		}
	}
	w.bytes(headerV1, flags)
	w.u16(uint16(h.Track))
	w.u32(0)
	w.u64(h.DurableTo)
	w.u64(h.Epoch)
	w.bytes(h.Run[:]...)
	w.u64(uint64(h.Zero))
	w.u64(h.Segment)
	w.u64(h.Discontinuity)
	w.u32(uint32(h.PartIndex))
	w.u32(h.MoofCRC)
	w.u64(h.FirstSeq)
	w.u64(h.LastSeq)
	w.u64(uint64(h.WallStart))
	w.u64(uint64(h.CameraPTS))
	w.u64(uint64(h.CameraOffset))
	w.u64(uint64(h.CameraNTP))
	w.u32(uint32(n))
	w.u16(uint16(len(h.Clock)))
	w.u16(uint16(records))
	for i := range n {
		if units != nil {
			w.u64(units[i].hash)
		} else {
			w.u64(h.Hashes[i])
		}
	}
	w.bytes(h.Clock...)
	if h.HasChain { // first, where SetChain looks for it
		w.u16(recordChain)
		w.u16(uint16(len(h.Chain)))
		w.bytes(h.Chain[:]...)
	}
	if seqs != nil {
		w.u16(recordSeqs)
		w.u16(uint16(len(seqs)))
		w.bytes(seqs...)
	}
	sealHeader(w[at:])
	return w
}

func sealHeader(box []byte) { binary.BigEndian.PutUint32(box[28:], headerCRC(box)) }

// headerCRC covers version, flags and track id as well as what follows it.
func headerCRC(box []byte) uint32 {
	return crc32.Update(crc32.Checksum(box[24:28], castagnoli), castagnoli, box[32:])
}

func setMoofCRC(box []byte, crc uint32) {
	binary.BigEndian.PutUint32(box[92:], crc)
	sealHeader(box)
}

// SetDurable writes the file offset up to which everything is known to be
// synced into a fragment's part header. head is Fragment.Head. Only whoever
// hands the part on may call it, before anybody else can see the part.
func SetDurable(head []byte, durableTo uint64) {
	n := binary.BigEndian.Uint32(head)
	binary.BigEndian.PutUint64(head[32:], durableTo)
	sealHeader(head[:n])
}

const chainRecord = 4 + 32

// SetChain writes the link of the fragment before into a fragment's part
// header; false: the header has no room for one. As SetDurable.
func SetChain(head []byte, link [32]byte) bool {
	n := binary.BigEndian.Uint32(head)
	at := headerFixed + 8*int(binary.BigEndian.Uint32(head[144:])) + int(binary.BigEndian.Uint16(head[148:]))
	if binary.BigEndian.Uint16(head[150:]) < chainRecord || binary.BigEndian.Uint16(head[at:]) != recordChain {
		return false
	}
	copy(head[at+4:at+chainRecord], link[:])
	sealHeader(head[:n])
	return true
}

// ParsePartHeader decodes the part header at the beginning of b, which may go
// on behind it. The result does not alias b.
func ParsePartHeader(b []byte) (PartHeader, error) {
	var h PartHeader
	if len(b) < headerFixed || string(b[4:8]) != "uuid" || [16]byte(b[8:24]) != partID {
		return h, ErrFormat
	}
	size := int64(binary.BigEndian.Uint32(b))
	if size < headerFixed || size > int64(len(b)) || size > MaxHeader {
		return h, fmt.Errorf("%w: header of %d bytes", ErrFormat, size)
	}
	b = b[:size]
	if b[24] != headerV1 {
		return h, fmt.Errorf("%w: part header version %d", ErrUnknownForm, b[24])
	}
	h.Size, h.CRC = int(size), binary.BigEndian.Uint32(b[28:])
	if headerCRC(b) != h.CRC {
		return h, ErrChecksum
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	h.First, h.Last, h.Independent = b[25]&flagFirst != 0, b[25]&flagLast != 0, b[25]&flagIndependent != 0
	h.Track = int(binary.BigEndian.Uint16(b[26:]))
	h.DurableTo, h.Epoch, h.Run = u64(32), u64(40), media.RunID(b[48:64])
	h.Zero, h.Segment, h.Discontinuity = media.Wall(u64(64)), u64(72), u64(80)
	h.PartIndex, h.MoofCRC = int(binary.BigEndian.Uint32(b[88:])), binary.BigEndian.Uint32(b[92:])
	h.FirstSeq, h.LastSeq = u64(96), u64(104)
	h.WallStart, h.CameraPTS = media.Wall(u64(112)), int64(u64(120))
	h.CameraOffset, h.CameraNTP = int64(u64(128)), media.Wall(u64(136))
	n := int64(binary.BigEndian.Uint32(b[144:]))
	c, r := int64(binary.BigEndian.Uint16(b[148:])), int64(binary.BigEndian.Uint16(b[150:]))
	if n == 0 || headerFixed+8*n+c+r != size || h.LastSeq < h.FirstSeq {
		return h, fmt.Errorf("%w: header fields disagree", ErrFormat)
	}
	h.Hashes = make([]uint64, n)
	for i := range h.Hashes {
		h.Hashes[i] = u64(headerFixed + 8*i)
	}
	b = b[headerFixed+8*n:]
	if c > 0 {
		h.Clock = append([]byte(nil), b[:c]...)
	}
	return h, h.records(b[c:])
}

func (h *PartHeader) records(b []byte) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return fmt.Errorf("%w: record cut short", ErrFormat)
		}
		tag, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			return fmt.Errorf("%w: record cut short", ErrFormat)
		}
		switch {
		case tag == recordSeqs:
			if err := h.sequences(b[:n]); err != nil {
				return err
			}
		case tag == recordChain && n == len(h.Chain):
			h.HasChain, h.Chain = true, [32]byte(b[:n])
		case tag == recordEncrypted:
			if err := h.encryption(b[:n]); err != nil {
				return err
			}
		case tag&mustUnderstand != 0:
			return fmt.Errorf("%w: record %#x", ErrUnknownForm, tag)
		}
		b = b[n:]
	}
	return nil
}

func (h *PartHeader) sequences(b []byte) error {
	h.Seqs = append(make([]uint64, 0, len(h.Hashes)), h.FirstSeq)
	for range len(h.Hashes) - 1 {
		d, n := binary.Uvarint(b)
		if n <= 0 || d == 0 {
			return fmt.Errorf("%w: sequence numbers", ErrFormat)
		}
		b = b[n:]
		h.Seqs = append(h.Seqs, h.Seqs[len(h.Seqs)-1]+d)
	}
	if len(b) != 0 || h.Seqs[len(h.Seqs)-1] != h.LastSeq {
		return fmt.Errorf("%w: sequence numbers", ErrFormat)
	}
	return nil
}
