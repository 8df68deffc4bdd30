package archive

import (
	"errors"
	"fmt"
	"io"

	"media-server/core/media"
	"media-server/core/mux"
)

// UnitKeys finds keys of encrypted footage.
type UnitKeys interface {
	Key(id KeyID) (key [32]byte, err error)
}

// secretFile notes an encrypted file, and gets its cipher where the key is at
// hand. The chain is over what is stored and needs none.
func (c *fileCheck) secretFile() {
	if c.header.Encryption == nil {
		return
	}
	c.v.out.Encrypted++
	destroyed := false
	if c.v.UnitKeys != nil {
		key, err := c.v.UnitKeys.Key(c.header.Encryption.Key)
		if err == nil {
			c.cipher, _ = newCipher(*c.header.Encryption, &key)
		}
		destroyed = err != nil && errors.Is(&KeyError{Err: err}, ErrKeyDestroyed)
	}
	if c.cipher == nil {
		c.v.out.Closed++
	}
	if destroyed {
		c.v.out.Destroyed++
	}
}

// inside decrypts a part and compares its units with their hashes.
func (c *fileCheck) inside(x *mux.FragmentInfo, span media.Span) {
	if c.cipher == nil {
		return
	}
	if err := c.cipher.verify(c.r, x); err != nil {
		c.find(span, "%v", err)
	}
}

// verify authenticates a stored fragment and compares its units with their
// hashes.
func (c *partCipher) verify(r io.ReaderAt, x *mux.FragmentInfo) error {
	b := make([]byte, x.End()-x.HeaderAt, x.End()-x.HeaderAt+16)
	if n, err := r.ReadAt(b, x.HeaderAt); n < len(b) {
		return fmt.Errorf("cannot be read: %w", err)
	}
	at := x.PayloadAt - x.HeaderAt
	h, err := c.open(b[:at], b[at:])
	if err == nil {
		err = c.checkHashes(b[:at], h, x.Samples, b[at:])
	}
	return err
}
