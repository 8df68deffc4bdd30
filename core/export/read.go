package export

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"media-server/core/archive"
	"media-server/core/media"
)

// evidence is what a proof says, its chains followed.
type evidence struct {
	st    *Statement
	files []*source
	lanes []*lane
	end   *endLine
	sound bool     // its own signature is good
	why   string   // it is not
	heads []headAt // of exported fragments
}

// source is a source file of the export.
type source struct {
	fileLine
	header    *archive.FileHeader
	sig       *archive.Signature
	tracks    map[int]trackIn
	fragments int        // of the chain
	units     int        // shown
	span      media.Span // of those, first to last
	proven    bool       // its chain leads to a good signature by a known key
	why       string     // it does not
}

// is tells whether a file is the source, or was what it is groomed from.
func (s *source) is(id archive.FileID) bool {
	return id == s.header.ID || s.header.Groomed != nil && id == s.header.Groomed.File
}

// trackIn is a track of a source file.
type trackIn struct {
	media.Track
	lane int // -1: nothing of it is shown
}

// lane is one track of the export: the n-th of its kind in every file.
type lane struct {
	kind  media.Kind
	n     int // 0 = the first of its kind
	units []unit
	order []int32 // units sorted by payload hash
}

// unit is an access unit that the export shows.
type unit struct {
	payload, leaf [32]byte
	seq           uint64
	pts           int64
	size          uint32
	file          int32
	track         uint16
	chained       bool // leaf counts
}

type headAt struct {
	at, n int64
	hash  [32]byte
}

// reading follows the chain of the file at hand.
type reading struct {
	*evidence
	pub    map[[8]byte]ed25519.PublicKey
	cur    *source
	link   [32]byte
	frag   fragmentLine
	open   bool       // frag's units are coming
	rest   int64      // bytes of frag that no unit has taken yet
	leaves [][32]byte // of frag
}

// readProof reads a proof. The error says that it is not one, or is damaged.
func readProof(r io.Reader, pub map[[8]byte]ed25519.PublicKey) (*evidence, error) {
	k := &reading{evidence: new(evidence), pub: pub}
	msg, sig, err := parse(r, k.take)
	if err != nil {
		return k.evidence, err
	}
	if k.end == nil {
		return k.evidence, fmt.Errorf("%w: it has no end", errDamaged)
	}
	key, known := pub[k.st.Key]
	switch {
	case !known:
		k.why = fmt.Sprintf("the proof was signed with key %x, which was not given", k.st.Key)
	case !ed25519.Verify(key, msg, sig):
		k.why = "the proof was changed after it was made: its signature is wrong"
	default:
		k.sound = true
	}
	for _, l := range k.lanes {
		l.sort()
	}
	return k.evidence, nil
}

func (k *reading) take(line any) error {
	if k.end != nil {
		return fmt.Errorf("%w: something stands behind its end", errDamaged)
	}
	switch x := line.(type) {
	case *Statement:
		k.st = x
		return nil
	case *fileLine:
		if err := k.close(); err != nil {
			return err
		}
		return k.file(x)
	case endLine:
		if err := k.close(); err != nil {
			return err
		}
		k.end = &x
		n := 0
		for _, f := range k.files {
			n += f.units
		}
		if x.files != len(k.files) || x.files != k.st.Files || x.frames != n {
			return fmt.Errorf("%w: it counts %d files and %d frames, and has %d and %d", errDamaged, x.files, x.frames, len(k.files), n)
		}
		return nil
	case unitLine:
		return k.unit(&x)
	}
	if k.cur == nil {
		return fmt.Errorf("%w: a fragment without a file", errDamaged)
	}
	if err := k.endFragment(); err != nil {
		return err
	}
	switch x := line.(type) {
	case skipLine:
		k.link = archive.NextLink(k.link, x.head, x.root)
		k.cur.fragments++
	case fragmentLine:
		if _, ok := k.cur.tracks[x.track]; !ok {
			return fmt.Errorf("%w: file %s has no track %d", errDamaged, k.cur.header.ID, x.track)
		}
		k.frag, k.open, k.rest, k.leaves = x, true, x.size, k.leaves[:0]
		k.heads = append(k.heads, headAt{x.at, x.headLen, x.head})
	}
	return nil
}

// file begins a file.
func (k *reading) file(x *fileLine) error {
	h, err := archive.ParseHead(x.head)
	if err != nil {
		return fmt.Errorf("%w: file %016x: %w", errDamaged, x.id, err)
	}
	s := &source{fileLine: *x, header: h, tracks: map[int]trackIn{}}
	ordinal := map[media.Kind]int{}
	for _, t := range h.Tracks {
		s.tracks[t.ID] = trackIn{t, k.lane(t.Kind(), ordinal[t.Kind()])}
		ordinal[t.Kind()]++
	}
	k.files, k.cur, k.link = append(k.files, s), s, archive.FirstLink(x.head)
	return nil
}

// lane finds or makes the n-th lane of a kind.
func (k *reading) lane(kind media.Kind, n int) int {
	for i, l := range k.lanes {
		if l.kind == kind && l.n == n {
			return i
		}
	}
	k.lanes = append(k.lanes, &lane{kind: kind, n: n})
	return len(k.lanes) - 1
}

func (k *reading) unit(x *unitLine) error {
	if !k.open || int64(x.size) > k.rest {
		return fmt.Errorf("%w: a unit that belongs to no fragment", errDamaged)
	}
	k.rest -= int64(x.size)
	chained := k.cur.state != stateUnsigned
	if chained != x.hasLeaf {
		return fmt.Errorf("%w: a unit whose leaf is missing, or should be", errDamaged)
	}
	k.leaves = append(k.leaves, x.leaf)
	if x.shown {
		l := k.lanes[k.cur.tracks[k.frag.track].lane]
		l.units = append(l.units, unit{payload: x.payload, leaf: x.leaf, seq: x.seq, pts: x.pts, size: x.size,
			file: int32(len(k.files) - 1), track: uint16(k.frag.track), chained: chained})
		at := k.wall(&l.units[len(l.units)-1])
		if k.cur.units == 0 {
			k.cur.span = media.Span{From: at, To: at}
		}
		k.cur.span.From, k.cur.span.To = min(k.cur.span.From, at), max(k.cur.span.To, at)
		k.cur.units++
	}
	return nil
}

// endFragment links the fragment whose units have come.
func (k *reading) endFragment() error {
	if !k.open {
		return nil
	}
	k.open = false
	if k.rest != 0 {
		return fmt.Errorf("%w: the units of a fragment do not fill it", errDamaged)
	}
	if k.cur.state != stateUnsigned {
		k.link = archive.NextLink(k.link, k.frag.head, archive.RootOf(k.leaves))
		k.cur.fragments++
	}
	return nil
}

// close judges the chain of the file that is over.
func (k *reading) close() error {
	if k.cur == nil {
		return nil
	}
	if err := k.endFragment(); err != nil {
		return err
	}
	s := k.cur
	k.cur = nil
	if uint64(s.header.ID) != s.id || s.header.UID != k.st.UID {
		s.why = fmt.Sprintf("it is file %s of stream %s by its own head", s.header.ID, s.header.UID)
		return nil
	}
	if s.header.Signed() != (s.state != stateUnsigned) || (s.header.Features != 0) != (s.over == overStored) {
		s.why = "its own head says otherwise how it was signed and stored"
		return nil
	}
	if s.state == stateSigned {
		s.why = k.judge(s)
		s.proven = s.why == ""
	}
	return nil
}

// judge compares where the chain has led with what was signed.
func (k *reading) judge(s *source) string {
	x, err := archive.ParseSignature(s.fileLine.sig)
	if err != nil {
		return "the signature of its recording is damaged: " + err.Error()
	}
	s.sig = x
	key, known := k.pub[x.Key]
	switch {
	case !known:
		return fmt.Sprintf("its recording was signed with key %x, which was not given", x.Key)
	case !archive.SignatureGood(s.fileLine.sig, key):
		return "the signature of its recording is wrong"
	case x.File != s.header.ID:
		return fmt.Sprintf("the signature is that of file %s", x.File)
	case int(x.Count) != s.fragments || x.Link != k.link:
		return "its chain does not lead to what was signed when it was recorded: a frame, a time or the order of them is another"
	}
	return ""
}

// wall is when a unit is shown, by the server's clock.
func (e *evidence) wall(u *unit) media.Wall {
	s := e.files[u.file]
	return s.header.Zero.Add(media.DurationOf(u.pts, s.tracks[int(u.track)].Timescale))
}
