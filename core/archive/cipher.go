package archive

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"sync"

	"github.com/cespare/xxhash/v2"

	"media-server/core/media"
	"media-server/core/mux"
)

// mostCiphers bounds how many are kept; each takes about a kilobyte.
const mostCiphers = 4096

// ciphers keeps those that were used.
type ciphers struct {
	mu    sync.Mutex
	byKey map[KeyID]*partCipher
	gen   uint64 // grows when they are forgotten: what was fetched before is not kept then
}

// partCipher encrypts and decrypts the payloads of one day of one stream. It
// is safe for concurrent use.
type partCipher struct {
	enc    Encryption
	aead   cipher.AEAD
	hashes cipher.Block
}

// newCipher derives what a day's key is used for: payloads, and the mask over
// the hashes of units.
func newCipher(e Encryption, key *[32]byte) (*partCipher, error) {
	block := func(use string) (cipher.Block, error) {
		k, err := hkdf.Key(sha256.New, key[:], nil, "media-server 1 "+use, 32)
		if err != nil {
			return nil, err
		}
		return aes.NewCipher(k)
	}
	payload, err := block("payload")
	if err != nil {
		return nil, err
	}
	c := &partCipher{enc: e}
	if c.hashes, err = block("hashes"); err != nil {
		return nil, err
	}
	c.aead, err = cipher.NewGCM(payload)
	return c, err
}

// mask hides the hashes of units, and shows them again: they are combined with
// AES-CTR under a key of their own, counting from the part's nonce. Equal
// units have different hashes so, in one part and in two.
func (c *partCipher) mask(hashes []byte, nonce *[12]byte) {
	var iv [aes.BlockSize]byte
	copy(iv[:], nonce[:])
	cipher.NewCTR(c.hashes, iv[:]).XORKeyStream(hashes, hashes)
}

// sealedBox is a part whose payload is encrypted, with everything it owns.
type sealedBox struct {
	part    media.Part
	frags   []media.Fragment
	samples []media.Sample
	buf     *sealedBuffer
}

// sealedBuffer comes in powers of two, so that parts of small streams do not
// hold what a large one needed.
type sealedBuffer struct{ b []byte }

var sealedBuffers [32]sync.Pool

func getSealedBuffer(n int) *sealedBuffer {
	k := bits.Len(uint(max(n, 4096) - 1))
	if b, ok := sealedBuffers[k].Get().(*sealedBuffer); ok {
		return b
	}
	return &sealedBuffer{make([]byte, 0, 1<<k)}
}

func putSealedBuffer(b *sealedBuffer) {
	sealedBuffers[bits.Len(uint(cap(b.b)-1))].Put(b)
}

// seal makes an encrypted copy of a part. The caller owns its first reference.
func (c *partCipher) seal(p *media.Part) (*media.Part, error) {
	size, samples := 0, 0
	for i := range p.Fragments {
		size += p.Fragments[i].Size() + sealOverhead
		samples += len(p.Fragments[i].Samples)
	}
	box := &sealedBox{frags: make([]media.Fragment, 0, len(p.Fragments)), samples: make([]media.Sample, 0, samples), buf: getSealedBuffer(size)}
	b := box.buf.b[:0]
	for i := range p.Fragments {
		var f media.Fragment
		var err error
		if b, f, err = c.sealFragment(b, &p.Fragments[i]); err != nil {
			return nil, fmt.Errorf("encrypt a part: %w", err)
		}
		at := len(box.samples)
		box.samples = append(box.samples, f.Samples...)
		f.Samples = box.samples[at:len(box.samples):len(box.samples)]
		box.frags = append(box.frags, f)
	}
	s := &box.part
	s.Run, s.Segment, s.Discontinuity, s.Index, s.Independent = p.Run, p.Segment, p.Discontinuity, p.Index, p.Independent
	s.Start, s.End, s.Fragments = p.Start, p.End, box.frags
	s.Own(func(*media.Part) { putSealedBuffer(box.buf) })
	return s, nil
}

// sealOverhead is what a fragment may need beyond its size: the record in its
// header, and room for the tag while it is made.
const sealOverhead = 64

// sealFragment appends an encrypted fragment to b, which has room for it.
func (c *partCipher) sealFragment(b []byte, f *media.Fragment) ([]byte, media.Fragment, error) {
	at := len(b)
	b, uuidLen, err := mux.AppendEncryptedHead(b, f.Head)
	if err != nil {
		return b, media.Fragment{}, err
	}
	head := b[at:len(b):len(b)]
	var e mux.Encryption
	if _, err := rand.Read(e.Nonce[:]); err != nil {
		return b, media.Fragment{}, err
	}
	c.mask(mux.UnitHashes(head), &e.Nonce)
	mux.SetEncryption(head, &e)
	aad, err := mux.AppendAssociated(make([]byte, 0, 4096), head[:len(head)-mdatHeader])
	if err != nil {
		return b, media.Fragment{}, err
	}
	data := len(b)
	b = c.aead.Seal(b, e.Nonce[:], f.Payload, aad)
	end := len(b) - len(e.Tag)
	copy(e.Tag[:], b[end:])
	b = b[:end]
	out := *f
	out.Head, out.UUIDLen, out.Payload = head, uuidLen, b[data:end:end]
	e.CRC = crc32.Checksum(out.Payload, castagnoli)
	mux.SetEncryption(head, &e)
	return b, out, nil
}

var errNotEncrypted = errors.New("a part without encryption in an encrypted file")

// open decrypts the payload of a stored fragment in place. head is what lies
// before it: part header, moof, mdat header. Nothing of the payload may be used
// when it fails.
func (c *partCipher) open(head, payload []byte) (*mux.PartHeader, error) {
	h, err := mux.ParsePartHeader(head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if !h.Encrypted {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, errNotEncrypted)
	}
	if len(head) < h.Size+mdatHeader {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, errShort)
	}
	aad, err := mux.AppendAssociated(make([]byte, 0, len(head)), head[:len(head)-mdatHeader])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	sealed := append(payload, h.Encryption.Tag[:]...)
	if _, err := c.aead.Open(sealed[:0], h.Encryption.Nonce[:], sealed, aad); err != nil {
		return nil, fmt.Errorf("%w: the part fails its authentication", ErrDamaged)
	}
	if len(sealed) > 0 && len(payload) > 0 && &sealed[0] != &payload[0] {
		copy(payload, sealed)
	}
	return &h, nil
}

// checkHashes compares the units of a decrypted payload with the hashes in its
// header, which are masked.
func (c *partCipher) checkHashes(head []byte, h *mux.PartHeader, samples []media.Sample, payload []byte) error {
	hashes := append([]byte(nil), mux.UnitHashes(head)...)
	c.mask(hashes, &h.Encryption.Nonce)
	for i := range samples {
		n := int(samples[i].Size)
		if n > len(payload) || 8*i+8 > len(hashes) || xxhash.Sum64(payload[:n]) != binary.BigEndian.Uint64(hashes[8*i:]) {
			return fmt.Errorf("unit %d of %d: %w", i, len(samples), errChecksum)
		}
		payload = payload[n:]
	}
	return nil
}
