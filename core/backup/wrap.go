package backup

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
)

const (
	wrapMagic = "MSBAKE1\n"
	saltSize  = 16
	pieceSize = 64 << 10
)

// Errors that callers tell apart.
var (
	ErrPassphrase = errors.New("the passphrase is not the one this backup was made with")
	ErrWrapped    = errors.New("the backup is wrapped by a passphrase")
)

func aead(passphrase string, salt []byte) (cipher.AEAD, error) {
	c, err := aes.NewCipher(argon2.IDKey([]byte(passphrase), salt, 3, 64<<10, 2, 32))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}

// wrapper encrypts what is written to it, piece by piece.
type wrapper struct {
	w     io.Writer
	g     cipher.AEAD
	buf   []byte
	count uint64
}

func wrap(w io.Writer, passphrase string) (*wrapper, error) {
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	g, err := aead(passphrase, salt)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(append([]byte(wrapMagic), salt...))
	return &wrapper{w: w, g: g}, err
}

func nonce(count uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4, 12), count) }

func (x *wrapper) Write(p []byte) (int, error) {
	x.buf = append(x.buf, p...)
	for len(x.buf) > pieceSize { // the last piece is Close's
		if err := x.piece(x.buf[:pieceSize], 0); err != nil {
			return 0, err
		}
		x.buf = append(x.buf[:0], x.buf[pieceSize:]...)
	}
	return len(p), nil
}

func (x *wrapper) piece(p []byte, last byte) error {
	sealed := x.g.Seal(make([]byte, 4, 4+len(p)+16), nonce(x.count), p, []byte{last})
	binary.BigEndian.PutUint32(sealed, uint32(len(sealed)-4))
	x.count++
	_, err := x.w.Write(sealed)
	return err
}

func (x *wrapper) Close() error { return x.piece(x.buf, 1) }

// unwrapped gives the tar in r, which may be wrapped.
func unwrapped(r io.Reader, passphrase string) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(len(wrapMagic))
	if err != nil || string(head) != wrapMagic {
		return b, nil //nolint:nilerr // a tar, or nothing at all: the tar reader says so
	}
	if passphrase == "" {
		return nil, ErrWrapped
	}
	top := make([]byte, len(wrapMagic)+saltSize)
	if _, err := io.ReadFull(b, top); err != nil {
		return nil, fmt.Errorf("the backup is cut short: %w", err)
	}
	g, err := aead(passphrase, top[len(wrapMagic):])
	if err != nil {
		return nil, err
	}
	return &unwrapper{r: b, g: g}, nil
}

type unwrapper struct {
	r     io.Reader
	g     cipher.AEAD
	buf   []byte
	count uint64
	last  bool
}

func (x *unwrapper) Read(p []byte) (int, error) {
	for len(x.buf) == 0 {
		if x.last {
			return 0, io.EOF
		}
		if err := x.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, x.buf)
	x.buf = x.buf[n:]
	return n, nil
}

func (x *unwrapper) next() error {
	var n [4]byte
	if _, err := io.ReadFull(x.r, n[:]); err != nil {
		return fmt.Errorf("the backup is cut short: %w", io.ErrUnexpectedEOF)
	}
	size := binary.BigEndian.Uint32(n[:])
	if size < 16 || size > pieceSize+16 {
		return errors.New("the backup is damaged")
	}
	sealed := make([]byte, size)
	if _, err := io.ReadFull(x.r, sealed); err != nil {
		return fmt.Errorf("the backup is cut short: %w", io.ErrUnexpectedEOF)
	}
	for _, last := range []byte{0, 1} {
		if p, err := x.g.Open(nil, nonce(x.count), sealed, []byte{last}); err == nil {
			x.buf, x.last = p, last == 1
			x.count++
			return nil
		}
	}
	if x.count == 0 {
		return ErrPassphrase
	}
	return errors.New("the backup is damaged")
}
