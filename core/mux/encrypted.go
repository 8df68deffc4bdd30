package mux

import (
	"encoding/binary"
	"fmt"
)

// Encryption is the record of a part header that says how the payload of its
// mdat was encrypted (FORMAT.md, "Encryption"). Keys are not this room's.
type Encryption struct {
	Nonce [12]byte
	Tag   [16]byte
	CRC   uint32 // CRC32C of the payload as it is stored
}

const (
	encryptedSize   = 12 + 16 + 4
	encryptedRecord = 4 + encryptedSize
)

// AppendEncryptedHead appends a copy of the head of a clear fragment to dst,
// its part header with an encryption record that SetEncryption fills. It
// returns how long the part header is then.
func AppendEncryptedHead(dst, head []byte) (out []byte, uuidLen int, err error) {
	n := int(binary.BigEndian.Uint32(head))
	records := int(binary.BigEndian.Uint16(head[150:]))
	if records+encryptedRecord > 0xffff {
		return dst, 0, fmt.Errorf("%w: no room for an encryption record", ErrFormat)
	}
	at := len(dst)
	dst = append(dst, head[:n]...)
	dst = binary.BigEndian.AppendUint16(dst, recordEncrypted)
	dst = binary.BigEndian.AppendUint16(dst, encryptedSize)
	dst = append(dst, make([]byte, encryptedSize)...)
	dst = append(dst, head[n:]...)
	uuidLen = n + encryptedRecord
	binary.BigEndian.PutUint32(dst[at:], uint32(uuidLen))
	binary.BigEndian.PutUint16(dst[at+150:], uint16(records+encryptedRecord))
	return dst, uuidLen, nil
}

// UnitHashes is the part of a part header that holds the hashes of the units,
// 8 bytes each, to be changed in place before SetEncryption.
func UnitHashes(head []byte) []byte {
	return head[headerFixed : headerFixed+8*int(binary.BigEndian.Uint32(head[144:]))]
}

// SetEncryption fills the encryption record of a head that
// AppendEncryptedHead made. As SetDurable.
func SetEncryption(head []byte, e *Encryption) {
	n := binary.BigEndian.Uint32(head)
	at := recordAt(head[:n], recordEncrypted)
	copy(head[at:], e.Nonce[:])
	copy(head[at+12:], e.Tag[:])
	binary.BigEndian.PutUint32(head[at+28:], e.CRC)
	sealHeader(head[:n])
}

// AppendAssociated appends to dst what is authenticated along with an encrypted
// payload: part header and moof, with what is written later taken as 0 —
// checksum, durable-to, chain link, and of the encryption record all but the
// nonce.
func AppendAssociated(dst, headAndMoof []byte) ([]byte, error) {
	n := int(binary.BigEndian.Uint32(headAndMoof))
	at := len(dst)
	dst = append(dst, headAndMoof...)
	box := dst[at : at+n]
	clear(box[28:40])
	if c := recordAt(box, recordChain); c > 0 {
		clear(box[c : c+chainRecord-4])
	}
	e := recordAt(box, recordEncrypted)
	if e < 0 {
		return dst, fmt.Errorf("%w: no encryption record", ErrFormat)
	}
	clear(box[e+12 : e+encryptedSize])
	return dst, nil
}

// recordAt finds the value of a record of known length in a part header that
// was parsed, or made here; -1 = there is none.
func recordAt(box []byte, tag uint16) int {
	c, r := int(binary.BigEndian.Uint16(box[148:])), int(binary.BigEndian.Uint16(box[150:]))
	at := headerFixed + 8*int(binary.BigEndian.Uint32(box[144:])) + c
	for end := at + r; at+4 <= end; {
		t, n := binary.BigEndian.Uint16(box[at:]), int(binary.BigEndian.Uint16(box[at+2:]))
		if at+4+n > end {
			break
		}
		if t == tag && (t == recordEncrypted && n >= encryptedSize || t == recordChain && n == chainRecord-4) {
			return at + 4
		}
		at += 4 + n
	}
	return -1
}

// encryption reads the value of the record.
func (h *PartHeader) encryption(b []byte) error {
	if len(b) < encryptedSize || h.Encrypted {
		return fmt.Errorf("%w: encryption record", ErrFormat)
	}
	h.Encrypted = true
	h.Encryption = Encryption{Nonce: [12]byte(b), Tag: [16]byte(b[12:]), CRC: binary.BigEndian.Uint32(b[28:])}
	return nil
}
