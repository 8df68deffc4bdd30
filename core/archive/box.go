package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Ids of our uuid boxes: ten common bytes and six ASCII ones (FORMAT.md).
var (
	boxFile  = boxID("msfile")
	boxIndex = boxID("msindx")
)

const (
	boxCommon   = 32 // size, "uuid", id, version, flags, two bytes, CRC
	boxVersion  = 1
	trailerSize = 20
	trailerMark = "MSINDEX1"
)

func boxID(last string) (id [16]byte) {
	copy(id[:], "\x8a\x1f\x0d\x3c\x5b\x7e\x4c\x62\x9d\x41")
	copy(id[10:], last)
	return id
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of decoding. A file whose version or features are not known is set
// aside; one that is damaged is recovered or reported.
var (
	errShort      = errors.New("cut short")
	errChecksum   = errors.New("checksum does not match")
	errNewVersion = errors.New("written by a newer version")
)

// openBox begins a box of ours at the end of b and returns its start.
func openBox(b []byte, id [16]byte, flags uint8, byBox uint16) ([]byte, int) {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 'u', 'u', 'i', 'd')
	b = append(b, id[:]...)
	b = append(b, boxVersion, flags)
	b = binary.BigEndian.AppendUint16(b, byBox)
	return append(b, 0, 0, 0, 0), at
}

// closeBox writes the size, and the CRC if asked.
func closeBox(b []byte, at int, crc bool) {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	if crc {
		binary.BigEndian.PutUint32(b[at+28:], crc32.Checksum(b[at+boxCommon:], castagnoli))
	}
}

// checkBox verifies size, id and version of a box that fills b.
func checkBox(b []byte, id [16]byte) error {
	switch {
	case len(b) < boxCommon || int(binary.BigEndian.Uint32(b)) != len(b):
		return errShort
	case string(b[4:8]) != "uuid" || [16]byte(b[8:24]) != id:
		return fmt.Errorf("box %q is not the one expected", b[4:24])
	case b[24] != boxVersion:
		return fmt.Errorf("%w: box version %d", errNewVersion, b[24])
	}
	return nil
}

// appendRecord adds a record (tag, length, bytes); those that do not fit the
// 16-bit length are left out: every record is optional.
func appendRecord(b []byte, tag uint16, p []byte) []byte {
	if len(p) > 0xffff {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, tag)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	return append(b, p...)
}

// records calls fn for each record in b.
func records(b []byte, fn func(tag uint16, p []byte)) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errShort
		}
		tag, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return errShort
		}
		fn(tag, b[4:4+n])
		b = b[4+n:]
	}
	return nil
}

// cursor reads varints and fixed fields; the first failure sticks.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if c.err != nil || n < 0 || n > len(c.b) {
		c.err = errShort
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) u8() uint8 {
	if p := c.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if p := c.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if p := c.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	if c.err != nil {
		return 0
	}
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.err = errShort
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	if c.err != nil {
		return 0
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.err = errShort
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count reads a number of things of at least one byte each, so that a lie
// cannot make us allocate more than the input is long.
func (c *cursor) count() int {
	v := c.uvarint()
	if v > uint64(len(c.b)) {
		c.err = errShort
		return 0
	}
	return int(v)
}

func (c *cursor) bytes() []byte { return c.take(c.count()) }
