package archive

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"media-server/core/media"
)

// Footage of a pool that encrypts is encrypted before it is queued for its
// space (FORMAT.md, "Encryption"): what lies in storage, in open/ and on the
// way there is never clear. Keys belong to somebody else.

// KeyID names the key of one day of one stream.
type KeyID [16]byte

func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// DayKeys keeps the keys of encrypting pools, one a stream and UTC day. Its
// methods are safe for concurrent use and do not block.
type DayKeys interface {
	// ForDay gives the key in force of a stream's day, and makes one where there
	// is none. durable is closed when the key survives a power cut; nil = it does
	// already. day counts from 1970-01-01.
	ForDay(uid string, day uint32) (id KeyID, key [32]byte, durable <-chan struct{}, err error)
	// Key finds a key by its id. An error that has a method Destroyed() bool
	// which says true means that it is gone for ever.
	Key(id KeyID) (key [32]byte, err error)
	// Gone lists the keys of a stream that were destroyed.
	Gone(uid string) []KeyID
}

const (
	featureEncrypted = 1 // FileHeader.Features
	schemeGCM        = 1
	recEncryption    = 0x8001 // of the file header
	idxRecEncryption = 6      // of the index box
	encryptionSize   = 1 + 16 + 4
)

// Encryption says which key a file's payload is encrypted with.
type Encryption struct {
	Key KeyID
	Day uint32 // days since 1970-01-01, UTC
}

// DayOf is the UTC day that an instant lies in.
func DayOf(w media.Wall) uint32 { return uint32(w.Milli() / 86400000) }

// DayName writes a day as 2006-01-02.
func DayName(day uint32) string {
	return time.Unix(int64(day)*86400, 0).UTC().Format("2006-01-02")
}

func (e *Encryption) append(b []byte) []byte {
	b = append(b, schemeGCM)
	b = append(b, e.Key[:]...)
	return binary.BigEndian.AppendUint32(b, e.Day)
}

// parseEncryption reads the record; nil: it is of a later version, and the
// file's media are not for us.
func parseEncryption(p []byte) *Encryption {
	if len(p) < encryptionSize || p[0] != schemeGCM {
		return nil
	}
	return &Encryption{Key: KeyID(p[1:17]), Day: binary.BigEndian.Uint32(p[17:])}
}

// Errors of footage that is there and cannot be read. Test with errors.Is.
var (
	// ErrNoKey: the key is not at hand.
	ErrNoKey = errors.New("the key of this footage is not at hand")
	// ErrKeyDestroyed: nobody will ever read it again.
	ErrKeyDestroyed = errors.New("the key of this footage was destroyed")
	// ErrDamaged: what is stored is not what was encrypted.
	ErrDamaged = errors.New("the stored bytes are not those that were recorded")
)

// KeyError says which footage cannot be read for want of its key. It is
// ErrNoKey or ErrKeyDestroyed.
type KeyError struct {
	File, UID string
	Day       uint32
	Err       error // what the keys say
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("file %s of stream %s, %s (UTC): %v", e.File, e.UID, DayName(e.Day), e.Err)
}

// Is tells which of the two it is.
func (e *KeyError) Is(target error) bool {
	gone := new(interface{ Destroyed() bool })
	destroyed := errors.As(e.Err, gone) && (*gone).Destroyed()
	return target == ErrKeyDestroyed && destroyed || target == ErrNoKey && !destroyed
}

func (e *KeyError) Unwrap() error { return e.Err }

var errNoKeys = errors.New("this server has no keys")

// cipher gives the cipher of a key that footage was recorded with. They are
// kept by id: a day of a stream needs its own for thousands of parts.
func (a *Archive) cipher(e *Encryption) (*partCipher, error) {
	a.ciphers.mu.Lock()
	c, gen := a.ciphers.byKey[e.Key], a.ciphers.gen
	a.ciphers.mu.Unlock()
	if c != nil {
		return c, nil
	}
	if a.o.Keys == nil {
		return nil, errNoKeys
	}
	key, err := a.o.Keys.Key(e.Key)
	if err != nil {
		return nil, err
	}
	return a.keepCipher(e, &key, gen)
}

func (a *Archive) keepCipher(e *Encryption, key *[32]byte, gen uint64) (*partCipher, error) {
	c, err := newCipher(*e, key)
	if err != nil {
		return nil, err
	}
	a.ciphers.mu.Lock()
	defer a.ciphers.mu.Unlock()
	if gen != a.ciphers.gen {
		return c, nil
	}
	if a.ciphers.byKey == nil || len(a.ciphers.byKey) >= mostCiphers {
		a.ciphers.byKey = map[KeyID]*partCipher{}
	}
	a.ciphers.byKey[e.Key] = c
	return c, nil
}

// cipherFor gives the cipher that a file which begins at an instant is written
// with.
func (a *Archive) cipherFor(uid string, at media.Wall) (c *partCipher, durable <-chan struct{}, err error) {
	if a.o.Keys == nil {
		return nil, nil, errNoKeys
	}
	a.ciphers.mu.Lock()
	gen := a.ciphers.gen
	a.ciphers.mu.Unlock()
	e := Encryption{Day: DayOf(at)}
	var key [32]byte
	if e.Key, key, durable, err = a.o.Keys.ForDay(uid, e.Day); err != nil {
		return nil, nil, err
	}
	a.ciphers.mu.Lock()
	c = a.ciphers.byKey[e.Key]
	a.ciphers.mu.Unlock()
	if c == nil {
		c, err = a.keepCipher(&e, &key, gen)
	}
	return c, durable, err
}

// ForgetKeys drops what was derived from keys, and what was decrypted with
// them: keys were destroyed, or others came.
func (a *Archive) ForgetKeys() {
	a.ciphers.mu.Lock()
	a.ciphers.byKey = nil
	a.ciphers.gen++
	a.ciphers.mu.Unlock()
	a.plain.clear()
}
