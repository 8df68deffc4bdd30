package archive

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
)

// groomed checks the box at end that proves what a groomed file keeps: with the
// leaves of what is left the chain of the original comes out, up to the link
// that was signed when it was recorded. It returns where the box ends.
func (c *fileCheck) groomed(end int64) int64 {
	head := make([]byte, 8)
	if n, _ := c.r.ReadAt(head, end); n < len(head) || !c.isBox(end) {
		c.find(c.span, "what proves its key frames is missing")
		return end
	}
	size := int64(binary.BigEndian.Uint32(head))
	if size > c.size-end {
		c.find(c.span, "what proves its key frames was cut")
		return end
	}
	b := make([]byte, size)
	if n, _ := c.r.ReadAt(b, end); n < len(b) {
		c.find(c.span, "what proves its key frames cannot be read")
		return end
	}
	if [16]byte(b[8:24]) != boxGroom {
		c.find(c.span, "what proves its key frames is missing")
		return end
	}
	c.proves(b)
	return end + size
}

func (c *fileCheck) proves(b []byte) {
	g := c.header.Groomed
	p, err := parseProof(b)
	switch {
	case err != nil:
		c.find(c.span, "what proves its key frames is damaged: %v", err)
		return
	case sha256.Sum256(b) != g.Proof || p.File != g.File || p.Index != g.Index:
		c.find(c.span, "what proves its key frames was changed")
		return
	}
	sig, err := parseSignature(p.Signature)
	if err != nil {
		c.find(c.span, "the signature of its original is damaged: %v", err)
		return
	}
	next := map[int]int{}
	link, ok := p.link(func(track int) (leaf [32]byte, ok bool) {
		if next[track] >= len(c.kept[track]) {
			return leaf, false
		}
		leaf = c.kept[track][next[track]]
		next[track]++
		return leaf, true
	})
	for track, leaves := range c.kept {
		ok = ok && next[track] == len(leaves)
	}
	key, known := c.v.keys[sig.Key]
	switch {
	case !ok:
		c.find(c.span, "it has other key frames than its original had")
	case link != sig.Link || sig.File != p.File || sig.Index != p.Index || int(sig.Count) != len(p.Fragments):
		c.find(c.span, "its key frames are not those that were signed when they were recorded")
	case !known:
		c.find(c.span, "its original was signed with key %x, which was not given", sig.Key)
	case !ed25519.Verify(key, signedBytes(p.Signature), sig.Sig[:]):
		c.find(c.span, "the signature of its original is wrong")
	}
	if rec := c.v.sealed[p.File]; rec != nil && rec.Link != sig.Link {
		c.find(c.span, "the ledger knows its original with another content")
	}
}
