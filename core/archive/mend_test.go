package archive

import (
	"encoding/binary"
	"hash/crc32"
)

// mendIndex gives b a valid size and checksum again.
func mendIndex(b []byte) {
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	copy(b[len(b)-trailerSize:], trailerMark)
	binary.BigEndian.PutUint64(b[len(b)-12:], uint64(len(b)))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
}
