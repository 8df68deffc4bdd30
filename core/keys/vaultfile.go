package keys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// The file of the vault (FORMAT.md): magic, then records of
// length u16, type u8, version u8, body, CRC32C u32.
const (
	vaultMagic = "MSKEYS1\n"
	vaultType  = "MEDIA-SERVER ENCRYPTION KEYS" // PEM, of an export

	recMaster    = 1
	recDay       = 2
	recDestroyed = 3

	recHead = 4
	recCRC  = 4

	wrapNone   = 0
	wrapArgon2 = 1

	keySize    = 32
	nonceSize  = 12
	tagSize    = 16
	mostUID    = 255
	mostRecord = 1024
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// KeyID names a master key or a day's key.
type KeyID [16]byte

func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// vaultKey is the key of one day of one stream; sealed under the master.
type vaultKey struct {
	id     KeyID
	uid    string
	day    uint32 // since 1970-01-01
	made   int64  // Unix ms
	nonce  [nonceSize]byte
	sealed [keySize + tagSize]byte
}

// GoneKey is a key that was destroyed on purpose.
type GoneKey struct {
	ID  KeyID
	UID string
	Day uint32
	At  time.Time
	Who string
}

// vaultMaster is the master key as it lies in the file.
type vaultMaster struct {
	id    KeyID
	made  int64
	wrap  uint8
	salt  [saltSize]byte
	nonce [nonceSize]byte
	body  []byte // the key, or the key sealed under the passphrase
}

// vaultFile is what a file says, still wrapped.
type vaultFile struct {
	master vaultMaster
	keys   []vaultKey
	gone   []GoneKey
	good   int // bytes up to the end of the last whole record
}

// errPassphrase: a passphrase does not open a master key.
var errPassphrase = errors.New("the master key is not opened")

var errVaultDamaged = errors.New("the file of the keys is damaged")

func appendVaultRecord(b []byte, typ uint8, body []byte) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, uint16(recHead+len(body)+recCRC))
	b = append(b, typ, 1)
	b = append(b, body...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

func (m *vaultMaster) append(b []byte) []byte {
	body := append([]byte(nil), m.id[:]...)
	body = binary.BigEndian.AppendUint64(body, uint64(m.made))
	body = append(body, m.wrap)
	body = append(body, m.salt[:]...)
	body = append(body, m.nonce[:]...)
	return appendVaultRecord(b, recMaster, append(body, m.body...))
}

func appendUID(b []byte, s string) []byte {
	b = append(b, uint8(len(s)))
	return append(b, s...)
}

func (k *vaultKey) append(b []byte) []byte {
	body := append([]byte(nil), k.id[:]...)
	body = binary.BigEndian.AppendUint32(body, k.day)
	body = binary.BigEndian.AppendUint64(body, uint64(k.made))
	body = appendUID(body, k.uid)
	body = append(body, k.nonce[:]...)
	return appendVaultRecord(b, recDay, append(body, k.sealed[:]...))
}

func (d *GoneKey) append(b []byte) []byte {
	body := append([]byte(nil), d.ID[:]...)
	body = binary.BigEndian.AppendUint32(body, d.Day)
	body = binary.BigEndian.AppendUint64(body, uint64(d.At.UnixMilli()))
	body = appendUID(body, d.UID)
	return appendVaultRecord(b, recDestroyed, appendUID(body, d.Who[:min(len(d.Who), mostUID)]))
}

// vaultReader reads fields; the first failure sticks.
type vaultReader struct {
	b   []byte
	bad bool
}

func (r *vaultReader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *vaultReader) u64() int64   { return int64(binary.BigEndian.Uint64(r.take(8))) }
func (r *vaultReader) u32() uint32  { return binary.BigEndian.Uint32(r.take(4)) }
func (r *vaultReader) text() string { return string(r.take(int(r.take(1)[0]))) }

// HasVault tells whether keys of encrypted footage are in an export.
func HasVault(export []byte) bool {
	for block, rest := pem.Decode(export); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == vaultType {
			return true
		}
	}
	return false
}

// parseVault reads a file, or the PEM of an export. A tail that was being
// written when its process ended is left out; anything else that is wrong is
// errVaultDamaged: a key must never be lost in silence.
func parseVault(b []byte) (*vaultFile, error) {
	if bytes.HasPrefix(b, []byte("-----BEGIN")) {
		var block *pem.Block
		for block, b = pem.Decode(b); block != nil && block.Type != vaultType; block, b = pem.Decode(b) {
		}
		if block == nil {
			return nil, errors.New("there are no encryption keys in it")
		}
		b = block.Bytes
	}
	if !bytes.HasPrefix(b, []byte(vaultMagic)) {
		return nil, fmt.Errorf("%w: it does not begin as one", errVaultDamaged)
	}
	v := &vaultFile{good: len(vaultMagic)}
	for first := true; v.good < len(b); first = false {
		rest := b[v.good:]
		if len(rest) < recHead {
			break
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n < recHead+recCRC || n > mostRecord {
			return nil, fmt.Errorf("%w at byte %d", errVaultDamaged, v.good)
		}
		if n > len(rest) {
			if !tornDay(rest, n) {
				return nil, fmt.Errorf("%w at byte %d", errVaultDamaged, v.good)
			}
			break
		}
		rec := rest[:n]
		if crc32.Checksum(rec[:n-recCRC], castagnoli) != binary.BigEndian.Uint32(rec[n-recCRC:]) {
			return nil, fmt.Errorf("%w at byte %d", errVaultDamaged, v.good)
		}
		if err := v.record(rec[2], rec[3], rec[recHead:n-recCRC], first); err != nil {
			return nil, fmt.Errorf("%w (at byte %d)", err, v.good)
		}
		v.good += n
	}
	if v.good == len(vaultMagic) {
		return nil, fmt.Errorf("%w: it has no master key", errVaultDamaged)
	}
	return v, nil
}

// tornDay tells whether what lies there can be the beginning of a key's record
// of n bytes: only those are ever added at the end.
func tornDay(rest []byte, n int) bool {
	const uidAt, fixed = recHead + 16 + 4 + 8, recHead + 16 + 4 + 8 + 1 + nonceSize + keySize + tagSize + recCRC
	return rest[2] == recDay && (len(rest) <= uidAt || n == fixed+int(rest[uidAt]))
}

func (v *vaultFile) record(typ, version uint8, body []byte, first bool) error {
	if version != 1 || typ < recMaster || typ > recDestroyed {
		return fmt.Errorf("it was written by a newer version (record %d.%d)", typ, version)
	}
	if first != (typ == recMaster) {
		return errVaultDamaged
	}
	r := &vaultReader{b: body}
	switch typ {
	case recMaster:
		m := &v.master
		m.id, m.made, m.wrap = KeyID(r.take(16)), r.u64(), r.take(1)[0]
		m.salt, m.nonce = [saltSize]byte(r.take(saltSize)), [nonceSize]byte(r.take(nonceSize))
		m.body = bytes.Clone(r.b)
		want := map[uint8]int{wrapNone: keySize, wrapArgon2: keySize + tagSize}[m.wrap]
		if want == 0 {
			return fmt.Errorf("it was wrapped by a newer version (%d)", m.wrap)
		}
		if len(m.body) != want {
			return errVaultDamaged
		}
	case recDay:
		k := vaultKey{id: KeyID(r.take(16)), day: r.u32(), made: r.u64(), uid: r.text(), nonce: [nonceSize]byte(r.take(nonceSize))}
		k.sealed = [keySize + tagSize]byte(r.take(keySize + tagSize))
		v.keys = append(v.keys, k)
	case recDestroyed:
		d := GoneKey{ID: KeyID(r.take(16)), Day: r.u32(), At: time.UnixMilli(r.u64()), UID: r.text(), Who: r.text()}
		v.gone = append(v.gone, d)
	}
	if r.bad {
		return errVaultDamaged
	}
	return nil
}

// wrapMaster puts a master key into the form of the file.
func wrapMaster(id KeyID, made int64, key *[keySize]byte, passphrase string) (m vaultMaster, err error) {
	m = vaultMaster{id: id, made: made, body: bytes.Clone(key[:])}
	if passphrase == "" {
		return m, nil
	}
	m.wrap = wrapArgon2
	if _, err = rand.Read(m.salt[:]); err != nil {
		return m, err
	}
	if _, err = rand.Read(m.nonce[:]); err != nil {
		return m, err
	}
	g, err := gcm(passphrase, m.salt[:])
	if err != nil {
		return m, err
	}
	m.body = g.Seal(nil, m.nonce[:], key[:], id[:])
	return m, nil
}

func (m *vaultMaster) unwrap(passphrase string) (key [keySize]byte, err error) {
	body := m.body
	if m.wrap == wrapArgon2 {
		if passphrase == "" {
			return key, fmt.Errorf("%w: it is wrapped, and [keys] passphrase is empty", errPassphrase)
		}
		g, err := gcm(passphrase, m.salt[:])
		if err != nil {
			return key, err
		}
		if body, err = g.Open(nil, m.nonce[:], body, m.id[:]); err != nil {
			return key, fmt.Errorf("%w: [keys] passphrase is not the one that it was wrapped with", errPassphrase)
		}
	}
	copy(key[:], body)
	return key, nil
}

func masterGCM(master *[keySize]byte) (cipher.AEAD, error) {
	c, err := aes.NewCipher(master[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}

// associated binds a wrapped key to what it is for.
func (k *vaultKey) associated() []byte {
	b := append([]byte("media-server day key 1"), k.id[:]...)
	b = binary.BigEndian.AppendUint32(b, k.day)
	return append(b, k.uid...)
}

func (k *vaultKey) seal(g cipher.AEAD, key *[keySize]byte) error {
	if _, err := rand.Read(k.nonce[:]); err != nil {
		return err
	}
	copy(k.sealed[:], g.Seal(nil, k.nonce[:], key[:], k.associated()))
	return nil
}

func (k *vaultKey) open(g cipher.AEAD) (key [keySize]byte, err error) {
	b, err := g.Open(nil, k.nonce[:], k.sealed[:], k.associated())
	if err != nil {
		return key, fmt.Errorf("%w: the key of %s for day %d is not under this master key", errVaultDamaged, k.uid, k.day)
	}
	copy(key[:], b)
	return key, nil
}
