package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"media-server/core/media"
)

// A ledger holds what media files cannot say by themselves: why footage is
// missing, where a file ends that its space failed under. It lies in the space
// beside the footage, so that a rebuild needs nothing else (FORMAT.md).
const (
	ledgerMagic  = "MSLEDGR1"
	ledgerHead   = 8 + 16 + 8 // magic, node, epoch
	ledgerPrefix = "ledger/"
	ledgerSuffix = ".ledger"
	ledgerMax    = 1 << 20 // then the next one is begun

	ledgerFixed = 4 // length u16, type u8, version u8
	ledgerCRC   = 4

	factMark     = 1 // footage missing from At on is missing for Cause
	factGap      = 2 // between At and Until units are missing for Cause
	factCut      = 3 // File is good up to Size only: the rest was written elsewhere
	factLock     = 4 // lock File keeps At to Until, until Size (0 = for ever); Size −1: it ended at At
	factEvent    = 5 // an event of kind Cause, At to Until; File before it and Size behind it, ns, were recorded for it
	factBackfill = 6 // reserved
	factSigned   = 7 // signed: File was sealed with Link, or went because of Cause

	factBirth   = 8 // the first footage is of Until; from At on it was missing for Cause (birth.go)
	factExpired = 9 // rules took footage up to Until, and older stays (expired.go)
)

// fact is one record of a ledger.
type fact struct {
	Type      uint8
	UID       string
	At, Until media.Wall
	Cause     GapCause
	File      FileID
	Size      int64
	Who       string     // lock: who made it
	Made      media.Wall // lock: when
	Flags     uint8      // event: 1 = footage is kept because of it

	Key  [8]byte // signed: by whom
	Link [32]byte
	Sig  [64]byte
}

// appendFact appends a record: length, type, version, fields, CRC32C of all
// that. Length counts the whole record.
func appendFact(b []byte, f *fact) []byte {
	at := len(b)
	b = append(b, 0, 0, f.Type, 1)
	be := binary.BigEndian
	b = be.AppendUint64(b, uint64(f.At))
	b = be.AppendUint64(b, uint64(f.Until))
	b = be.AppendUint64(b, uint64(f.File))
	b = be.AppendUint64(b, uint64(f.Size))
	b = append(b, byte(len(f.UID)))
	b = append(b, f.UID...)
	b = append(b, byte(len(f.Cause)))
	b = append(b, f.Cause...)
	if f.Type == factLock {
		b = append(b, byte(len(f.Who)))
		b = append(b, f.Who...)
		b = be.AppendUint64(b, uint64(f.Made))
	}
	if f.Type == factEvent {
		b = append(b, f.Flags)
	}
	if f.Type == factSigned {
		b = append(b, f.Key[:]...)
		b = append(b, f.Link[:]...)
		b = append(b, f.Sig[:]...)
	}
	be.PutUint16(b[at:], uint16(len(b)-at+ledgerCRC))
	return be.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// ledgerHeader is what a ledger starts with.
func ledgerHeader(node [16]byte, epoch uint64) []byte {
	b := append([]byte(ledgerMagic), node[:]...)
	return binary.BigEndian.AppendUint64(b, epoch)
}

// parseLedger calls fn for each good record and returns how many bytes are
// good: what follows is a torn tail. Records of unknown type or version are
// stepped over.
func parseLedger(b []byte, fn func(fact)) (good int, err error) {
	return parseRecords(b, func(f fact, _ []byte) { fn(f) })
}

// parseRecords is parseLedger for those who need a record's bytes.
func parseRecords(b []byte, fn func(f fact, rec []byte)) (good int, err error) {
	if len(b) < ledgerHead || string(b[:8]) != ledgerMagic {
		return 0, fmt.Errorf("not a ledger")
	}
	at := ledgerHead
	for len(b)-at >= ledgerFixed+ledgerCRC {
		n := int(binary.BigEndian.Uint16(b[at:]))
		if n < ledgerFixed+ledgerCRC || n > len(b)-at {
			break
		}
		rec := b[at : at+n]
		if crc32.Checksum(rec[:n-ledgerCRC], castagnoli) != binary.BigEndian.Uint32(rec[n-ledgerCRC:]) {
			break
		}
		if f, ok := parseFact(rec[:n-ledgerCRC]); ok {
			fn(f, rec)
		}
		at += n
	}
	return at, nil
}

func knownFact(t uint8) bool { return t >= factMark && t <= factExpired && t != factBackfill }

func parseFact(rec []byte) (fact, bool) {
	if rec[3] != 1 || !knownFact(rec[2]) {
		return fact{}, false
	}
	c := cursor{b: rec[ledgerFixed:]}
	f := fact{Type: rec[2]}
	f.At, f.Until, f.File, f.Size = media.Wall(c.u64()), media.Wall(c.u64()), FileID(c.u64()), int64(c.u64())
	f.UID = string(c.take(int(c.u8())))
	f.Cause = GapCause(c.take(int(c.u8())))
	if f.Type == factLock {
		f.Who, f.Made = string(c.take(int(c.u8()))), media.Wall(c.u64())
	}
	if f.Type == factEvent {
		f.Flags = c.u8()
	}
	if f.Type == factSigned {
		copy(f.Key[:], c.take(8))
		copy(f.Link[:], c.take(32))
		copy(f.Sig[:], c.take(64))
	}
	return f, c.err == nil
}

// ledger is the one of this process in one space.
type ledger struct {
	name  string
	final string
	size  int64
	body  []byte // what is stored of it; only where files cannot grow (whole.go)
}

// note writes a fact into the space's ledger, behind everything queued before,
// and numbers it (written).
func (s *space) note(f *fact) uint64 {
	rec := appendFact(nil, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes++
	s.noteLocked(rec, s.notes)
	poke(s.wake)
	return s.notes
}

// noteLocked queues a record, the n-th, for the ledger. s.mu is held.
func (s *space) noteLocked(rec []byte, n uint64) {
	if s.led == nil || s.led.size > ledgerMax {
		id := s.a.nextFile()
		s.led = &ledger{name: openPrefix + id.String() + ledgerSuffix, final: ledgerPrefix + id.String() + ledgerSuffix}
	}
	c := &chunk{led: s.led, note: n, off: s.led.size, queued: time.Now()}
	if c.off == 0 {
		c.create = true
		rec = append(ledgerHeader(s.a.o.Node, s.a.o.Epoch), rec...)
	}
	c.data, c.size = [][]byte{rec}, int64(len(rec))
	s.led.size += c.size
	s.q = append(s.q, c)
	s.bytes += c.size
}

// shortestGap is the shortest time that can be missing: less is rounding.
const shortestGap = time.Millisecond

// mark records that what is missing of the stream from at on is missing for cause.
func (a *Archive) mark(st *stream, at media.Wall, cause GapCause) {
	a.record(st, &fact{Type: factMark, UID: st.uid, At: at, Cause: cause})
}

// gapEnds records a gap that is over, and tells about it. Between two runs a
// hole is a gap however short: units are missing, if only a few. st.mu is held.
func (a *Archive) gapEnds(st *stream, from, to media.Wall, why GapCause) {
	if st.recalled && why != GapDisabled && why != GapOffSchedule {
		why = GapServerDown
	}
	st.recalled = false
	if to.Sub(from) < shortestGap {
		return
	}
	if why == GapNone {
		why = st.endCause
	}
	if why == GapNone {
		why = st.behindWhy
	}
	if why == GapNone {
		why = GapUnknown
	}
	a.record(st, &fact{Type: factGap, UID: st.uid, At: from, Until: to, Cause: why})
	if why == GapClockSet {
		return // no footage is missing: the clock never showed that time
	}
	st.gapTime.Add(int64(to - from))
	a.notify(Notice{Type: "record.gap", UID: st.uid, Level: "warning", Message: fmt.Sprintf("%s of %s are missing: %s", to.Sub(from).Round(time.Millisecond), st.uid, why),
		Data: map[string]any{"from_ms": from.Milli(), "to_ms": to.Milli(), "why": string(why)}})
}

// record writes a fact into state.db and into the ledger of the space that the
// stream is recorded in.
func (a *Archive) record(st *stream, f *fact) {
	a.state.add(f)
	sp := a.pick(st)
	if st.cur != nil {
		sp = st.cur.sp
	}
	if sp != nil {
		sp.note(f)
	}
}
