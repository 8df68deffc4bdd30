package archive

import (
	"crypto/sha256"
	"encoding/binary"

	"media-server/core/media"
	"media-server/core/mux"
)

// A signed file is a chain: each fragment's part header holds the link of the
// fragment before, and its own link is made of that, of its header and moof,
// and of a tree over its units (FORMAT.md, "Signature"). What is changed, cut
// or swapped breaks the chain at the very fragment; what one unit is can be
// shown without the others (tree), after cuts and grooming too.

// chain is where a growing file's chain stands. st.mu guards it.
type chain struct {
	link  [32]byte
	count uint32 // fragments in it
}

// beginChain starts a chain with the head of a file: ftyp, moov, file header.
func beginChain(head []byte) *chain {
	h := sha256.New()
	h.Write([]byte("MSCHAIN1"))
	h.Write(head)
	c := &chain{}
	h.Sum(c.link[:0])
	return c
}

// add takes in a fragment that is about to be stored: it writes the link so far
// into its header. The header must have room for it.
func (c *chain) add(f *media.Fragment) {
	mux.SetChain(f.Head, c.link)
	c.link = linkOf(c.link, f.Head[:len(f.Head)-mdatHeader], unitsOf(f.Track, f.FirstSeq, f.LastSeq, f.BaseTime, f.Samples, f.Head), f.Payload)
	c.count++
}

// units tells what the leaves of a fragment's tree say beside the bytes.
type units struct {
	track   int
	seqs    []uint64 // nil: first, first+1, …
	first   uint64
	base    int64
	samples []media.Sample
}

// unitsOf describes a fragment; where units were lost its header lists their
// numbers.
func unitsOf(track int, first, last uint64, base int64, samples []media.Sample, head []byte) units {
	u := units{track: track, first: first, base: base, samples: samples}
	if last-first+1 != uint64(len(samples)) {
		if h, err := mux.ParsePartHeader(head); err == nil {
			u.seqs = h.Seqs
		}
	}
	return u
}

func (u *units) seq(i int) uint64 {
	if u.seqs != nil && i < len(u.seqs) {
		return u.seqs[i]
	}
	return u.first + uint64(i)
}

// linkOf is SHA-256 of "L", the link before, SHA-256 of part header and moof,
// and the root of the tree over the units in payload.
func linkOf(before [32]byte, headAndMoof []byte, u units, payload []byte) (link [32]byte) {
	return NextLink(before, sha256.Sum256(headAndMoof), rootOf(u.leaves(payload)))
}

// leafHead is what a leaf's hash begins with.
func leafHead(track int, seq uint64, pts int64) (b [19]byte) {
	binary.BigEndian.PutUint16(b[1:], uint16(track))
	binary.BigEndian.PutUint64(b[3:], seq)
	binary.BigEndian.PutUint64(b[11:], uint64(pts))
	return b
}

// leaves are the hashes of the units: SHA-256 of a zero byte, track u16,
// sequence number u64, presentation time in ticks i64, and the unit's bytes.
func (u *units) leaves(payload []byte) [][32]byte {
	out := make([][32]byte, len(u.samples))
	h := sha256.New()
	var fixed [19]byte // outside of the loop: it escapes
	dts := u.base
	for i := range u.samples {
		s := &u.samples[i]
		n := min(int(s.Size), len(payload))
		fixed = leafHead(u.track, u.seq(i), dts+int64(s.CTO))
		h.Reset()
		h.Write(fixed[:])
		h.Write(payload[:n])
		h.Sum(out[i][:0])
		payload = payload[n:]
		dts += int64(s.Duration)
	}
	return out
}

// rootOf is the root of a binary tree: SHA-256 of a one byte and both children;
// one without a sibling moves up as it is. It uses leaves as its memory.
func rootOf(leaves [][32]byte) [32]byte {
	if len(leaves) == 0 {
		return sha256.Sum256(nil)
	}
	var pair [65]byte
	pair[0] = 1
	for n := len(leaves); n > 1; {
		k := 0
		for i := 0; i < n; i += 2 {
			if i+1 < n {
				copy(pair[1:], leaves[i][:])
				copy(pair[33:], leaves[i+1][:])
				leaves[k] = sha256.Sum256(pair[:])
			} else {
				leaves[k] = leaves[i]
			}
			k++
		}
		n = k
	}
	return leaves[0]
}
