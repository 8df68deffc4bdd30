package archive

import (
	"crypto/ed25519"
	"crypto/sha256"
	"io"

	"media-server/core/media"
	"media-server/core/mux"
)

// fileCheck is the verification of one file.
type fileCheck struct {
	v    *Verifier
	r    io.ReaderAt
	rel  string
	uid  string
	size int64

	header *FileHeader
	infos  []mux.FragmentInfo
	link   [32]byte
	span   media.Span
	bad    bool
	cipher *partCipher        // nil: clear, or the key is not at hand
	kept   map[int][][32]byte // leaves of the units of a groomed file, by track
	undo   []func()           // take back what is known of it, newest last
}

// note puts what a file says into a map of the verifier, as long as it does not go.
func note[V any](c *fileCheck, m map[FileID]V, id FileID, v V) {
	was, had := m[id]
	m[id] = v
	c.undo = append(c.undo, func() {
		if had {
			m[id] = was
		} else {
			delete(m, id)
		}
	})
}

func (c *fileCheck) find(span media.Span, format string, args ...any) {
	c.bad = true
	c.v.find(c.rel, c.uid, span, format, args...)
}

func (c *fileCheck) run() {
	h, _, at, err := parseHead(c.r, c.size)
	if err != nil {
		c.find(media.Span{}, "its head is damaged: %v", err)
		return
	}
	c.header = h
	c.span = media.Span{From: h.Opened, To: h.Opened}
	switch id, named := idOf(c.rel); {
	case c.uid != "" && h.UID != c.uid:
		c.find(c.span, "it is footage of stream %s, not of %s", h.UID, c.uid)
	case named && id != h.ID:
		c.find(c.span, "it is file %s under another's name", h.ID)
	}
	c.uid = h.UID
	if other, twice := c.v.seen[h.ID]; twice && other.dir == c.v.dir { // in two spaces while it is moved
		c.find(c.span, "it is a copy of %s", other.rel)
	}
	note(c, c.v.seen, h.ID, found{c.v.dir, c.rel})
	if h.Groomed != nil {
		note(c, c.v.stands, h.Groomed.File, c.rel)
	}
	c.secretFile()
	if h.Optional&featureSigned == 0 {
		c.v.out.Unsigned++
		if c.wasSigned() {
			c.find(c.span, "it was signed when it was recorded and is not any more")
		}
		c.plain(at)
		return
	}
	head := make([]byte, at)
	if _, err := c.r.ReadAt(head, 0); err != nil {
		c.find(c.span, "cannot be read: %v", err)
		return
	}
	c.link = beginChain(head).link
	end := c.fragments(at)
	c.signature(end)
}

// wasSigned tells whether the ledger knows the file, or the one that it was
// groomed from, as signed.
func (c *fileCheck) wasSigned() bool {
	_, was := c.v.sealed[c.header.ID]
	if g := c.header.Groomed; g != nil && !was {
		_, was = c.v.sealed[g.File]
	}
	return was
}

// plain checks what an unsigned file says of itself: checksums only.
func (c *fileCheck) plain(at int64) {
	c.fragments(at)
	if _, _, err := readIndex(c.r, c.size); err != nil {
		c.find(c.span, "its index is damaged: %v", err)
	}
}

// fragments walks the chain and returns where the fragments end.
func (c *fileCheck) fragments(at int64) int64 {
	end := at
	signed := c.header.Optional&featureSigned != 0
	for at < c.size {
		x, next, err := mux.ParseFragment(c.r, at, c.size)
		if err != nil {
			if at == end && c.isBox(at) {
				return end
			}
			resume, _ := findPart(c.r, at+1, c.size) // what cannot be read is damaged, here
			from := c.span.To
			if resume < 0 {
				if !c.isBox(at) {
					c.find(media.Span{From: from, To: from}, "it is damaged from byte %d on: %v", at, err)
				}
				return end
			}
			at = resume
			if y, _, err := mux.ParseFragment(c.r, at, c.size); err == nil {
				c.find(media.Span{From: from, To: y.Header.WallStart}, "bytes %d to %d are damaged", end, at)
				c.link = y.Header.Chain // the rest is judged by itself
			}
			continue
		}
		span := c.spanOf(&x)
		if signed {
			c.chained(&x, span)
		} else if err := verifyUnits(c.r, &x); err != nil {
			c.find(span, "units were changed: %v", err)
		}
		c.inside(&x, span)
		c.infos = append(c.infos, x)
		c.span.To = max(c.span.To, span.To)
		at, end = next, next
	}
	return end
}

// chained compares a fragment's link to the one before, and its units with
// their hashes.
func (c *fileCheck) chained(x *mux.FragmentInfo, span media.Span) {
	if !x.Header.HasChain || x.Header.Chain != c.link {
		before := media.Span{From: c.span.To, To: span.From}
		if n := len(c.infos); n > 0 {
			before.From = c.infos[n-1].Header.WallStart
		}
		c.find(before, "the chain is broken in front of this part: something before it was changed, cut out, put in or swapped")
	}
	if err := verifyUnits(c.r, x); err != nil {
		c.find(span, "units were changed: %v", err)
	}
	link, leaves, err := storedLink(c.r, x)
	if err != nil {
		c.find(span, "cannot be read: %v", err)
		return
	}
	c.link = link
	if c.header.Groomed != nil {
		if c.kept == nil {
			c.kept = map[int][][32]byte{}
		}
		c.kept[x.Header.Track] = append(c.kept[x.Header.Track], leaves...)
	}
}

func (c *fileCheck) spanOf(x *mux.FragmentInfo) media.Span {
	s := media.Span{From: x.Header.WallStart}
	s.To = s.From
	for _, t := range c.header.Tracks {
		if t.ID == x.Header.Track {
			s.To = s.From.Add(media.DurationOf(x.Duration, t.Timescale))
		}
	}
	return s
}

// isBox tells whether a signature or an index begins at a byte.
func (c *fileCheck) isBox(at int64) bool {
	b := make([]byte, 24)
	if _, err := c.r.ReadAt(b, at); err != nil {
		return false
	}
	id := [16]byte(b[8:])
	return string(b[4:8]) == "uuid" && (id == boxSign || id == boxIndex || id == boxGroom)
}

// signature checks what lies behind the last fragment.
func (c *fileCheck) signature(end int64) {
	at := c.span.To
	last := media.Span{From: at, To: at}
	if c.header.Groomed != nil {
		end = c.groomed(end)
	}
	b := make([]byte, signSize)
	if n, _ := c.r.ReadAt(b, end); n < len(b) {
		c.find(last, "its tail was cut: the signature is missing")
		return
	}
	sig, err := parseSignature(b)
	if err != nil {
		c.find(last, "its signature is missing or damaged: %v", err)
		return
	}
	key, known := c.v.keys[sig.Key]
	switch {
	case !known:
		c.find(c.span, "it was signed with key %x, which was not given", sig.Key)
		return
	case !ed25519.Verify(key, signedBytes(b), sig.Sig[:]):
		c.find(c.span, "its signature is wrong")
		return
	case sig.File != c.header.ID:
		c.find(c.span, "its signature is that of file %s", sig.File)
	case int(sig.Count) != len(c.infos):
		c.find(c.span, "%d parts were signed, %d are there", sig.Count, len(c.infos))
	case sig.Link != c.link:
		c.find(last, "its last part was changed")
	}
	idx := make([]byte, c.size-end-signSize)
	if n, _ := c.r.ReadAt(idx, end+signSize); n < len(idx) || sha256.Sum256(idx) != sig.Index {
		c.find(last, "its index was changed or cut")
	}
	c.v.refers = append(c.v.refers, reference{by: found{c.v.dir, c.rel}, uid: c.uid, file: sig.Previous, link: sig.PreviousLink, at: c.span})
	note(c, c.v.newest, c.header.ID, sig.At)
	if rec := c.v.sealed[c.header.ID]; rec != nil && rec.Link != sig.Link && !c.bad {
		c.find(c.span, "the ledger knows it with another content")
	}
	if !c.bad {
		c.v.out.Signed++
		if c.header.Groomed != nil {
			c.v.out.Groomed++
		}
	}
}
