package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"media-server/core/media"
	"media-server/core/mux"
)

// groomed is the file that takes an original's place: its key frames, each
// shown until the next, at the times they had. It is written from front to
// back, by Read; everything but the bytes themselves is known before.
type groomed struct {
	o      *original
	id     FileID
	at     media.Wall // when it is made
	signer Signer     // nil: not signed

	head   []byte
	init   InitID
	tracks []media.Track
	frags  []newFragment
	proof  []byte // the box; nil = not signed
	index  Index
	size   int64

	src   io.ReaderAt // the original, while it is written
	next  int         // fragment
	chain [32]byte
	piece []byte // not handed out yet
	ended bool
	link  [32]byte // of the last fragment, once it is written
}

// newFragment is a fragment of key frames.
type newFragment struct {
	from    int // fragment of the original
	kept    []int
	header  mux.PartHeader
	base    int64
	samples []media.Sample
}

// plan lays the groomed file out.
func (o *original) plan(id FileID, at media.Wall, program string, signer Signer) (*groomed, error) {
	g := &groomed{o: o, id: id, at: at}
	if o.proof != nil {
		if signer == nil {
			return nil, errNoKey
		}
		g.signer = signer
		g.proof = appendProof(nil, o.proof)
	}
	h := *o.header
	h.ID, h.Program = id, program
	h.Optional |= featureGroomed
	h.Groomed = &GroomedFrom{File: o.header.ID, Index: o.indexSum}
	if g.proof != nil {
		h.Groomed.Proof = sha256.Sum256(g.proof)
	}
	video := videoTracks(o.header.Tracks)
	for _, t := range o.header.Tracks {
		if video[t.ID] {
			g.tracks = append(g.tracks, t)
		}
	}
	h.Tracks = g.tracks
	init, err := mux.Init(g.tracks)
	if err != nil {
		return nil, err
	}
	g.init = initIDOf(init)
	if g.head, err = mux.FileInit(g.tracks, mux.FileInfo{Created: h.Opened}); err != nil {
		return nil, err
	}
	g.head = AppendFileHeader(g.head, &h)
	g.choose()
	g.stretch()
	g.layOut()
	return g, nil
}

// choose makes a fragment of each that has key frames.
func (g *groomed) choose() {
	part := 0
	var clock []byte // of the part
	last := -1       // part of the fragment before
	for i := range g.o.infos {
		x := &g.o.infos[i]
		if x.Header.First {
			part++
			clock = x.Header.Clock
		}
		if len(g.o.kept[i]) == 0 {
			continue
		}
		f := newFragment{from: i, kept: g.o.kept[i], header: keptHeader(x, g.o.kept[i])}
		f.header.First, f.header.Last, f.header.Independent = part != last, true, true
		if f.header.First {
			f.header.Clock = clock
		} else {
			g.frags[len(g.frags)-1].header.Last = false
		}
		f.header.HasChain = g.signer != nil
		f.base = x.BaseTime
		for u := range x.Samples {
			if u < f.kept[0] {
				f.base += int64(x.Samples[u].Duration)
			}
		}
		for _, u := range f.kept {
			f.samples = append(f.samples, x.Samples[u])
		}
		last = part
		g.frags = append(g.frags, f)
	}
}

// keptHeader is the part header of a fragment of which some units are left.
func keptHeader(x *mux.FragmentInfo, kept []int) mux.PartHeader {
	h := x.Header
	seq := func(u int) uint64 {
		if h.Seqs != nil {
			return h.Seqs[u]
		}
		return h.FirstSeq + uint64(u)
	}
	n := h
	n.Clock, n.Seqs, n.Hashes, n.DurableTo = nil, nil, nil, 0
	n.FirstSeq, n.LastSeq = seq(kept[0]), seq(kept[len(kept)-1])
	for _, u := range kept {
		n.Hashes = append(n.Hashes, h.Hashes[u])
	}
	if n.LastSeq-n.FirstSeq+1 != uint64(len(kept)) {
		for _, u := range kept {
			n.Seqs = append(n.Seqs, seq(u))
		}
	}
	return n
}

// stretch lets each key frame last until the next one, or until the pictures of
// the original stop.
func (g *groomed) stretch() {
	shown := map[int]*media.Sample{} // by track: waits for its end
	since := map[int]int64{}
	end := map[int]int64{}
	close := func(track int, at int64) {
		if s := shown[track]; s != nil {
			s.Duration = uint32(min(at-since[track], 1<<32-1))
			shown[track] = nil
		}
	}
	next := 0
	for i := range g.o.infos {
		x := &g.o.infos[i]
		track, dts := x.Header.Track, x.BaseTime
		var f *newFragment
		if next < len(g.frags) && g.frags[next].from == i {
			f = &g.frags[next]
			next++
		}
		if before, had := end[track]; had && dts > before {
			close(track, before) // a hole
		}
		k := 0
		for u := range x.Samples {
			if f != nil && k < len(f.kept) && f.kept[k] == u {
				close(track, dts)
				shown[track], since[track] = &f.samples[k], dts
				k++
			}
			dts += int64(x.Samples[u].Duration)
		}
		end[track] = dts
	}
	for track, at := range end {
		close(track, at)
	}
}

// layOut finds the place of everything. The segments stay as they are, with
// their numbers and times; one without a key frame has no bytes.
func (g *groomed) layOut() {
	old := &g.o.index.Layout
	l := &g.index.Layout
	l.File, l.UID, l.Run, l.Zero, l.Init, l.Complete = g.id, old.UID, old.Run, old.Zero, g.init, true
	l.Segments = append([]SegmentLayout(nil), old.Segments...)
	at := int64(len(g.head))
	g.index.Flags, g.index.First, g.index.Rules = g.o.index.Flags|IndexGroomed, at, g.o.index.Rules
	next := 0
	for s := range l.Segments {
		seg, was := &l.Segments[s], old.Segments[s]
		seg.First = next
		parts := -1
		for ; next < len(g.frags) && g.frags[next].from < was.Last; next++ {
			f := &g.frags[next]
			if f.header.First {
				parts++
			}
			f.header.PartIndex = parts
			g.settle(f)
			x := &g.o.infos[f.from]
			head, uuid := f.head(x.Sequence, [32]byte{})
			fr := Fragment{Track: f.header.Track, Segment: s, Part: parts, Offset: at, MoofOffset: at + int64(uuid), MoofSize: int64(len(head) - uuid - mdatHeader),
				DataOffset: at + int64(len(head)), BaseTime: f.base, FirstSeq: f.header.FirstSeq, Samples: f.samples}
			for _, smp := range f.samples {
				fr.DataSize += int64(smp.Size)
				fr.Duration += int64(smp.Duration)
			}
			l.Fragments = append(l.Fragments, fr)
			g.index.Marks = append(g.index.Marks, FragmentMark{Flags: partFlags(&f.header), LastSeq: f.header.LastSeq})
			at = fr.End()
		}
		seg.Last = next
		seg.Independent = seg.Last > seg.First
	}
	g.index.End, l.Size = at, at
	g.index.Tracks = sumTracks(l.Fragments, g.index.Marks, g.tracks)
	g.size = at + int64(len(g.proof)) + int64(len(AppendIndex(nil, &g.index)))
	if g.signer != nil {
		g.size += signSize
	}
}

func partFlags(h *mux.PartHeader) (flags uint8) {
	for i, set := range [...]bool{h.First, h.Last, h.Independent} {
		if set {
			flags |= 1 << i
		}
	}
	return flags
}

// settle moves what a part header says of its first unit to the one that is
// the first now.
func (g *groomed) settle(f *newFragment) {
	x := &g.o.infos[f.from]
	if f.kept[0] == 0 {
		return
	}
	shown := func(u int) int64 {
		at := x.BaseTime
		for _, s := range x.Samples[:u] {
			at += int64(s.Duration)
		}
		return at + int64(x.Samples[u].CTO)
	}
	ticks := shown(f.kept[0])
	h := &f.header
	for _, t := range g.tracks {
		if t.ID != h.Track {
			continue
		}
		was := h.WallStart
		h.WallStart = h.Zero.Add(media.DurationOf(ticks, t.Timescale))
		h.CameraPTS += ticks - shown(0)
		if h.CameraNTP != 0 {
			h.CameraNTP = h.CameraNTP.Add(h.WallStart.Sub(was))
		}
	}
}

// head makes what stands in front of the fragment's payload. Its length does
// not depend on the link.
func (f *newFragment) head(sequence uint32, link [32]byte) (head []byte, uuidLen int) {
	h := f.header
	h.Chain = link
	return mux.AppendHead(nil, &h, sequence, f.base, f.samples)
}

// fragmentBytes makes a whole fragment of key frames and what goes into the
// index of it. Grooming writes media here and nowhere else: what is to lie
// encrypted in storage has to be made so here, and be as long as in the plan.
func (g *groomed) fragmentBytes(f *newFragment, payload []byte) (b []byte, crc uint32) {
	b, _ = f.head(g.o.infos[f.from].Sequence, g.chain)
	crc = binary.BigEndian.Uint32(b[28:])
	if g.signer != nil {
		u := units{track: f.header.Track, first: f.header.FirstSeq, seqs: f.header.Seqs, base: f.base, samples: f.samples}
		g.chain = linkOf(g.chain, b[:len(b)-mdatHeader], u, payload)
	}
	return append(b, payload...), crc
}

// begin makes the file ready to be read from its beginning.
func (g *groomed) begin(src io.ReaderAt) {
	g.src, g.next, g.ended, g.piece = src, 0, false, g.head
	if g.signer != nil {
		g.chain = beginChain(g.head).link
	}
}

// Read implements io.Reader.
func (g *groomed) Read(b []byte) (int, error) {
	for len(g.piece) == 0 {
		if g.ended {
			return 0, io.EOF
		}
		var err error
		if g.piece, err = g.more(); err != nil {
			return 0, err
		}
	}
	n := copy(b, g.piece)
	g.piece = g.piece[n:]
	return n, nil
}

// more makes the next piece.
func (g *groomed) more() ([]byte, error) {
	if g.next == len(g.frags) {
		g.ended = true
		return g.tail(), nil
	}
	f := &g.frags[g.next]
	x := &g.o.infos[f.from]
	all, err := unitsOfFragment(g.src, x)
	if err != nil {
		return nil, err
	}
	var payload []byte
	at, k := 0, 0
	for u := range x.Samples {
		n := int(x.Samples[u].Size)
		if k < len(f.kept) && f.kept[k] == u {
			payload = append(payload, all[at:at+n]...)
			k++
		}
		at += n
	}
	b, crc := g.fragmentBytes(f, payload)
	g.index.Marks[g.next].CRC = crc
	g.next++
	return b, nil
}

// tail is what lies behind the last fragment.
func (g *groomed) tail() []byte {
	idx := AppendIndex(nil, &g.index)
	b := g.proof[:len(g.proof):len(g.proof)]
	if g.signer != nil {
		g.link = g.chain
		b = appendSignature(b, &Signature{Recovered: g.index.Flags&IndexRecovered != 0, At: g.at, File: g.id, Count: uint32(len(g.frags)), Link: g.chain,
			Index: sha256.Sum256(idx), Previous: g.o.sig.Previous, PreviousLink: g.o.sig.PreviousLink}, g.signer)
	}
	return append(b, idx...)
}

// row describes the file for the catalogue.
func (g *groomed) row(space, name string) *row {
	r := &row{ID: g.id, UID: g.index.Layout.UID, Space: space, Size: g.size, Init: g.init, Zero: g.index.Layout.Zero, Run: g.index.Layout.Run,
		Name: name, Rules: g.index.Rules.text(), Flags: rowGroomed}
	r.fill(rowsOf(&g.index.Layout))
	sh := ShapeOf(&g.index.Layout)
	r.Shape = appendShape(nil, &sh)
	return r
}

// errNoKey: the original is signed and what took its place could not be.
var errNoKey = fmt.Errorf("it is signed, and this server has no signing key; set sign = true in a pool, or restore the keys")
