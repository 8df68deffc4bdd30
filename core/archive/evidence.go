package archive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"media-server/core/mux"
)

// What an export's proof is made of and checked with (core/export): a file's
// head, the links of its chain, its signature. Whoever has them needs no byte
// of the file that was not exported.

// Signed tells whether a file says that it is a chain.
func (h *FileHeader) Signed() bool { return h.Optional&featureSigned != 0 }

// ReadHead reads a media file's first bytes, up to the end of its file header:
// what the chain's link 0 is made of.
func ReadHead(r io.ReaderAt, size int64) (*FileHeader, []byte, error) {
	h, _, end, err := parseHead(r, size)
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, end)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return nil, nil, fmt.Errorf("read the head of the file: %w", err)
	}
	return h, b, nil
}

// ParseHead reads a head that fills b.
func ParseHead(b []byte) (*FileHeader, error) {
	h, _, end, err := parseHead(bytes.NewReader(b), int64(len(b)))
	if err == nil && end != int64(len(b)) {
		err = fmt.Errorf("file header: %d bytes too many", int64(len(b))-end)
	}
	return h, err
}

// ReadSignature reads the signature box behind the last fragment, which ends at
// end; nil = there is none.
func ReadSignature(r io.ReaderAt, end int64) ([]byte, error) {
	b := make([]byte, signSize)
	if n, _ := r.ReadAt(b[:24], end); n == 24 && string(b[4:8]) == "uuid" && [16]byte(b[8:24]) == boxGroom {
		end += int64(binary.BigEndian.Uint32(b)) // a groomed file's own signature lies behind what proves its key frames
	}
	if n, err := r.ReadAt(b, end); n < len(b) {
		if err == io.EOF || err == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("read the signature: %w", err)
	}
	if string(b[4:8]) != "uuid" || [16]byte(b[8:24]) != boxSign || binary.BigEndian.Uint32(b) != signSize {
		return nil, nil
	}
	return b, nil
}

// ParseSignature reads a signature box that fills b.
func ParseSignature(b []byte) (*Signature, error) {
	if len(b) != signSize {
		return nil, fmt.Errorf("signature: %w", errShort)
	}
	return parseSignature(b)
}

// SignatureGood tells whether the signature box that fills b was signed with the
// key whose public half is pub.
func SignatureGood(b []byte, pub ed25519.PublicKey) bool {
	x, err := ParseSignature(b)
	return err == nil && ed25519.Verify(pub, signedBytes(b), x.Sig[:])
}

// FirstLink is link 0 of a file whose head is given.
func FirstLink(head []byte) [32]byte { return beginChain(head).link }

// NextLink is the link of a fragment: head is SHA-256 of its part header and
// moof, root that of the tree over its units.
func NextLink(before, head, root [32]byte) (link [32]byte) {
	h := sha256.New()
	h.Write([]byte{'L'})
	h.Write(before[:])
	h.Write(head[:])
	h.Write(root[:])
	h.Sum(link[:0])
	return link
}

// Unit is an access unit as its leaf names it.
type Unit struct {
	Track int
	Seq   uint64
	PTS   int64 // ticks since the run's zero
	Size  uint32
}

// UnitsOf lists the units of a stored fragment.
func UnitsOf(x *mux.FragmentInfo) []Unit {
	u := storedUnits(x)
	out := make([]Unit, len(x.Samples))
	dts := x.BaseTime
	for i, s := range x.Samples {
		out[i] = Unit{Track: u.track, Seq: u.seq(i), PTS: dts + int64(s.CTO), Size: s.Size}
		dts += int64(s.Duration)
	}
	return out
}

// LeavesOf are the leaves of a stored fragment, over its payload as stored.
func LeavesOf(x *mux.FragmentInfo, payload []byte) [][32]byte {
	u := storedUnits(x)
	return u.leaves(payload)
}

// Leaf is the leaf of a unit of these bytes.
func (u Unit) Leaf(b []byte) (leaf [32]byte) {
	h := sha256.New()
	fixed := leafHead(u.Track, u.Seq, u.PTS)
	h.Write(fixed[:])
	h.Write(b)
	h.Sum(leaf[:0])
	return leaf
}

// RootOf is the root of the tree over leaves, which it uses as its memory.
func RootOf(leaves [][32]byte) [32]byte { return rootOf(leaves) }
