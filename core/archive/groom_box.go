package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// boxGroom stands behind the last fragment of a signed file that was groomed
// (FORMAT.md, "Groomed files"). With it and the units that are left the chain
// of the original comes out again, up to the link that was signed when it was
// recorded: what is left is what was recorded then, whoever groomed it.
var boxGroom = boxID("msgrom")

const (
	featureGroomed = 2 // FileHeader.Optional

	recGroomed = 0x0010 // record of the file header: id of the original, SHA-256 of its index box, of the box msgrom (zeros = none)

	groomFixed = boxCommon + 8 + 32 + 32 + 4 + 2
)

// Proof is what a groomed file keeps of the chain of its original.
type Proof struct {
	File      FileID
	Index     [32]byte // SHA-256 of its index box
	Begin     [32]byte // link 0
	Signature []byte   // its signature box
	Fragments []ProofFragment
}

// ProofFragment is one fragment of the original.
type ProofFragment struct {
	Track  int
	Units  int
	Kept   []int      // positions of the units that are left, ascending
	Head   [32]byte   // SHA-256 of part header and moof
	Leaves [][32]byte // of the other units, in order
}

// appendProof appends the box.
func appendProof(b []byte, p *Proof) []byte {
	b, at := openBox(b, boxGroom, 0, 0)
	be := binary.BigEndian
	b = be.AppendUint64(b, uint64(p.File))
	b = append(b, p.Index[:]...)
	b = append(b, p.Begin[:]...)
	b = be.AppendUint32(b, uint32(len(p.Fragments)))
	b = be.AppendUint16(b, uint16(len(p.Signature)))
	b = append(b, p.Signature...)
	for i := range p.Fragments {
		f := &p.Fragments[i]
		b = binary.AppendUvarint(b, uint64(f.Track))
		b = binary.AppendUvarint(b, uint64(f.Units))
		b = binary.AppendUvarint(b, uint64(len(f.Kept)))
		before := -1
		for _, k := range f.Kept {
			b = binary.AppendUvarint(b, uint64(k-before-1))
			before = k
		}
		b = append(b, f.Head[:]...)
		for k := range f.Leaves {
			b = append(b, f.Leaves[k][:]...)
		}
	}
	closeBox(b, at, true)
	return b
}

// parseProof reads the box that fills b.
func parseProof(b []byte) (*Proof, error) {
	if err := checkBox(b, boxGroom); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if len(b) < groomFixed {
		return nil, fmt.Errorf("proof: %w", errShort)
	}
	if crc32.Checksum(b[boxCommon:], castagnoli) != binary.BigEndian.Uint32(b[28:]) {
		return nil, fmt.Errorf("proof: %w", errChecksum)
	}
	c := cursor{b: b[boxCommon:]}
	p := &Proof{File: FileID(c.u64())}
	copy(p.Index[:], c.take(32))
	copy(p.Begin[:], c.take(32))
	n := int(c.u32())
	size := c.take(2)
	if c.err == nil {
		p.Signature = append([]byte(nil), c.take(int(binary.BigEndian.Uint16(size)))...)
	}
	if c.err == nil && n > len(c.b)/(3+32) { // each takes so much at least
		c.err = errShort
	}
	for i := 0; i < n && c.err == nil; i++ {
		p.Fragments = append(p.Fragments, parseProofFragment(&c))
	}
	if c.err == nil && len(c.b) != 0 {
		c.err = fmt.Errorf("%d bytes behind the last fragment", len(c.b))
	}
	if c.err != nil {
		return nil, fmt.Errorf("proof: %w", c.err)
	}
	return p, nil
}

func parseProofFragment(c *cursor) (f ProofFragment) {
	track, units, kept := c.uvarint(), c.uvarint(), c.count()
	if track > 0xffff || units == 0 || units > uint64(kept+len(c.b)/32) || uint64(kept) > units {
		c.err = errShort
		return f
	}
	f.Track, f.Units = int(track), int(units)
	next := uint64(0)
	for range kept {
		d := c.uvarint()
		if next += d; d > units || next >= units {
			c.err = errShort
			return f
		}
		f.Kept = append(f.Kept, int(next))
		next++
	}
	copy(f.Head[:], c.take(32))
	for range f.Units - kept {
		p := c.take(32)
		if c.err != nil {
			return f
		}
		f.Leaves = append(f.Leaves, [32]byte(p))
	}
	return f
}

// link computes the last link of the original's chain. next gives the leaf of
// the next unit of a track that is left in the groomed file.
func (p *Proof) link(next func(track int) ([32]byte, bool)) (link [32]byte, ok bool) {
	link = p.Begin
	for i := range p.Fragments {
		f := &p.Fragments[i]
		leaves := make([][32]byte, 0, f.Units)
		k, d := 0, 0
		for u := range f.Units {
			if k < len(f.Kept) && f.Kept[k] == u {
				leaf, ok := next(f.Track)
				if !ok {
					return link, false
				}
				leaves = append(leaves, leaf)
				k++
				continue
			}
			leaves = append(leaves, f.Leaves[d])
			d++
		}
		link = NextLink(link, f.Head, rootOf(leaves))
	}
	return link, true
}
