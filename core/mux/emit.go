package mux

import (
	"hash/crc32"
	"time"

	"media-server/core/media"
)

// emit publishes what is pending as one part.
func (w *Writer) emit() {
	n, end := 0, int64(0)
	for _, t := range w.tracks {
		if len(t.pending) > 0 {
			n++
			if t.Kind() != media.Data {
				end = max(end, t.ns(t.pending[len(t.pending)-1].end()))
			}
		}
	}
	if n == 0 {
		return
	}
	p := getPart(len(w.tracks))
	p.head = getBuffer(w.headSize())
	for i, t := range w.tracks {
		if len(t.pending) == 0 {
			continue
		}
		if t.Kind() == media.Data && end > 0 {
			to := media.TicksOf(time.Duration(end), t.Timescale)
			if t == w.adding { // its next unit has its place already
				to = min(to, w.addingAt)
			}
			t.stretch(to)
		}
		w.fragment(p, t, i, len(p.fragments) == 0, len(p.fragments) == n-1)
	}
	p.cutHeads()
	part := &p.part
	part.Run, part.Segment, part.Discontinuity = w.start.Run, w.segment, w.start.Discontinuity
	part.Index, part.Independent = w.partIndex, w.startsIndependent()
	part.Fragments = p.fragments
	w.span(part)
	part.Own(p.free)
	w.partIndex++
	for _, t := range w.tracks {
		t.pending, t.size, t.ticks = t.pending[:0], 0, 0
	}
	w.out = append(w.out, part)
}

func (w *Writer) startsIndependent() bool {
	if w.primary.Kind() != media.Video {
		return true
	}
	return len(w.primary.pending) > 0 && w.primary.pending[0].key
}

func (w *Writer) headSize() int {
	n := 256
	for _, t := range w.tracks {
		n += headerFixed + chainRecord + 144 + 32*len(t.pending)
	}
	return n
}

// fragment appends one track's share to p. Head is cut later: the buffer may
// still move.
func (w *Writer) fragment(p *partBox, t *track, index int, first, last bool) {
	samples := p.samples[index][:0]
	h := PartHeader{Track: t.ID, First: first, Last: last, Independent: w.startsIndependent(), Epoch: w.cfg.Epoch,
		Run: w.start.Run, Zero: w.zero, Segment: w.segment, Discontinuity: w.start.Discontinuity, PartIndex: w.partIndex, HasChain: w.cfg.Chain}
	holes := false
	for i := range t.pending {
		u := &t.pending[i]
		samples = append(samples, media.Sample{Size: u.size, Duration: u.duration, CTO: u.cto, Key: u.key})
		holes = holes || i > 0 && u.seq != t.pending[i-1].seq+1
	}
	p.samples[index] = samples
	u, l := &t.pending[0], &t.pending[len(t.pending)-1]
	h.FirstSeq, h.LastSeq = u.seq, l.seq
	h.WallStart, h.CameraPTS, h.CameraOffset, h.CameraNTP = u.wall, u.cameraPTS, NoCameraOffset, u.ntp
	if u.ntp != 0 {
		h.CameraOffset = int64(u.ntp.Sub(u.wall))
	}
	if first && w.clock != nil {
		h.Clock = w.clock()
	}
	if holes {
		h.Seqs = make([]uint64, len(t.pending)) // rare: units were lost
		for i := range t.pending {
			h.Seqs[i] = t.pending[i].seq
		}
	}
	w.fragments++
	b := boxes(p.head.b)
	at := len(b)
	b = h.append(b, t.pending)
	moof := len(b)
	b.moof(w.fragments, t.ID, u.dts, samples)
	setMoofCRC(b[at:moof], crc32.Checksum(b[moof:], castagnoli))
	b.u32(uint32(8 + t.size))
	b.str("mdat")
	p.head.b = b

	p.fragments = append(p.fragments, media.Fragment{Track: t.ID, FirstSeq: u.seq, LastSeq: l.seq,
		BaseTime: u.dts, Duration: t.ticks, Samples: samples, UUIDLen: moof - at,
		Payload: t.detach(p), Head: b[at:len(b):len(b)]})
}

// cutHeads points the heads into the buffer, which no longer moves.
func (p *partBox) cutHeads() {
	at := 0
	for i := range p.fragments {
		n := len(p.fragments[i].Head)
		p.fragments[i].Head = p.head.b[at : at+n : at+n]
		at += n
	}
}

// detach gives the pending payload to the part; the held unit's stays.
func (t *track) detach(p *partBox) []byte {
	b := t.bytes.take(t.size)
	p.payloads = append(p.payloads, b)
	return b.b[:t.size:t.size]
}

// span sets the part's presentation span by the primary track, so that the
// parts of a segment and segments join without overlap; parts without it span
// what they have.
func (w *Writer) span(p *media.Part) {
	var of *track
	for _, t := range w.tracks {
		if len(t.pending) > 0 && (of == nil || t.Kind() < of.Kind()) {
			of = t
		}
	}
	shift := int64(0)
	if of == w.primary {
		of, shift = w.primary, w.shift
	}
	p.Start = w.zero.Add(time.Duration(of.ns(of.pending[0].dts) + shift))
	p.End = w.zero.Add(time.Duration(of.ns(of.pending[len(of.pending)-1].end()) + shift))
}
