package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"media-server/core/mux"
)

// notCut: only state.db knows whether a file is good up to its end.
const notCut = math.MaxInt64

// recoverEntry brings what was growing to order; nil = nothing of it was good. Up to
// cut it is known to be good, what followed was written elsewhere.
func (a *Archive) recoverEntry(ctx context.Context, s *space, e Entry, renumber bool, cut int64, heard func()) (*file, error) {
	switch {
	case e.Size == 0:
		return nil, s.st.Delete(ctx, []string{e.Name})
	case strings.HasSuffix(e.Name, ledgerSuffix):
		return nil, a.recoverLedger(ctx, s, e)
	case !strings.HasSuffix(e.Name, ".mp4"):
		return nil, fmt.Errorf("%w: neither a media file nor a ledger", errAside)
	}
	stored, err := s.open(ctx, e.Name)
	if err != nil {
		return nil, err
	}
	defer stored.Close()
	r := heardReader{marked{stored}, heard}
	size := e.Size
	f, err := a.readHead(r, s, e.Name, size)
	if err != nil {
		return nil, err
	}
	f.id = a.numberOf(s, f, renumber)
	if cut != notCut {
		size, f.cut = min(size, cut), true
	} else if cut, ok := a.state.cut(f.id); ok && cut <= size { // also where nothing of it was written again
		size, f.cut = cut, true
	}
	err = a.walk(ctx, r, f, e, size)
	if f.cut && errors.Is(err, errAside) {
		return nil, s.st.Delete(ctx, []string{e.Name}) // all of it was written elsewhere
	}
	return f, err
}

// numberOf is the number that a growing file has with us: the one in its header,
// or another one where it came with a space of another installation. strange: its
// own number says nothing here.
func (a *Archive) numberOf(s *space, f *file, strange bool) FileID {
	for _, g := range a.filesIn(s) {
		if g.openName == f.openName && (!strange || g.id != f.header.ID) {
			return g.id // it was given up, under the number that it got here
		}
	}
	if strange {
		return a.nextFile()
	}
	r, err := a.cat.at(s.cfg.Name, f.final)
	if err == nil {
		return r.ID // as an earlier process has listed it
	}
	if errors.Is(err, sql.ErrNoRows) {
		r, err = a.cat.get(f.header.ID)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return f.header.ID
	case err != nil: // of a damaged catalogue: recovery does not depend on it
		a.log.Warn("a growing file cannot be looked up, it keeps its number", "space", s.cfg.Name, "file", f.openName, "err", err)
		return f.header.ID
	case r.UID == f.header.UID && r.Run == f.header.Run:
		return f.header.ID // the same, in another place
	}
	return a.nextFile() // a file of ours has it
}

// heardReader tells when something was read.
type heardReader struct {
	io.ReaderAt
	heard func()
}

func (r heardReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	r.heard()
	return n, err
}

// readHead reads ftyp, moov and the file header.
func (a *Archive) readHead(r io.ReaderAt, s *space, name string, size int64) (*file, error) {
	h, init, end, err := parseHead(r, size)
	if isReadError(err) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAside, err)
	}
	f := &file{st: a.stream(h.UID), sp: s, id: h.ID, openName: name, header: *h, init: init, first: end, size: end, rowOpen: make(chan struct{}), since: time.Now()}
	f.final = finalName(h.UID, h.ID, h.Opened)
	return f, nil
}

const maxHead = 1 << 20

// parseHead reads the start of a media file up to the end of its file header.
func parseHead(r io.ReaderAt, size int64) (*FileHeader, InitID, int64, error) {
	buf := make([]byte, min(size, 16<<10))
	if _, err := r.ReadAt(buf, 0); err != nil && err != io.EOF {
		return nil, 0, 0, err
	}
	at := int64(0)
	var initEnd int64
	for {
		if at+boxCommon > int64(len(buf)) {
			return nil, 0, 0, fmt.Errorf("no file header: %w", errShort)
		}
		n := int64(binary.BigEndian.Uint32(buf[at:]))
		typ := string(buf[at+4 : at+8])
		if n < 8 || n > maxHead || at+n > size {
			return nil, 0, 0, fmt.Errorf("no file header: box of %d bytes at %d", n, at)
		}
		if at+n+boxCommon > int64(len(buf)) && int64(len(buf)) < size {
			grown := make([]byte, min(size, at+n+16<<10))
			if _, err := r.ReadAt(grown, 0); err != nil && err != io.EOF {
				return nil, 0, 0, err
			}
			buf = grown
		}
		switch {
		case typ == "ftyp" && at == 0, typ == "moov":
			initEnd = at + n
		case typ == "uuid" && initEnd > 0:
			h, err := ParseFileHeader(buf[at : at+n])
			if err != nil {
				return nil, 0, 0, err
			}
			if h.UID == "" || !validName(h.UID) {
				return nil, 0, 0, fmt.Errorf("file header names no stream")
			}
			init, err := mux.Init(h.Tracks)
			if err != nil {
				return nil, 0, 0, err
			}
			return h, initIDOf(init), at + n, nil
		default:
			return nil, 0, 0, fmt.Errorf("no file header: box %q at %d", typ, at)
		}
		at += n
	}
}

// validName tells whether a uid read from a file may become part of a name.
func validName(uid string) bool {
	for _, c := range []byte(uid) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return len(uid) > 0 && len(uid) <= 64
}

// adoptIndex takes over a file that was complete but not yet sealed.
func (f *file) adoptIndex(x *Index, b []byte, size int64) {
	f.frags, f.segs, f.marks = x.Layout.Fragments, x.Layout.Segments, x.Marks
	f.flags = x.Flags
	f.indexAt, f.indexSum = size-int64(len(b)), sum256(b)
	f.size, f.written, f.found, f.synced = size, size, size, 0
	f.state = sealing
	for i := range f.marks {
		for k := range x.Tracks {
			if t := &x.Tracks[k]; t.ID == f.frags[i].Track && i == lastOf(f.frags, t.ID) {
				f.marks[i].LastSeq = t.LastSeq
			}
		}
	}
}

func lastOf(frags []Fragment, track int) int {
	for i := len(frags) - 1; i >= 0; i-- {
		if frags[i].Track == track {
			return i
		}
	}
	return -1
}

// walk reads fragment after fragment and cuts the tail behind the last good
// one (FORMAT.md, "Recovery"). What cannot be read is no torn tail: then the file
// stays as it is.
func (a *Archive) walk(ctx context.Context, r io.ReaderAt, f *file, e Entry, size int64) error {
	var infos []mux.FragmentInfo
	var durable, verified int64
	damaged := false
	at := f.first
	for at < size && ctx.Err() == nil {
		info, next, err := mux.ParseFragment(r, at, size)
		if err == nil && info.Header.Run != f.header.Run {
			err = fmt.Errorf("fragment of another run")
		}
		if isReadError(err) {
			return err
		}
		if err != nil {
			if at >= durable {
				break
			}
			// Bytes that were acknowledged as synced are not ours to cut.
			damaged = true
			if at, err = findPart(r, at+1, size); err != nil {
				return err
			}
			if at < 0 {
				break
			}
			continue
		}
		durable = max(durable, int64(info.Header.DurableTo))
		infos = append(infos, info)
		at = next
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	durable = min(durable, size)
	good := len(infos)
	for i := range infos {
		if infos[i].End() <= durable {
			verified = infos[i].End()
			continue
		}
		if err := verifyUnits(r, &infos[i]); isReadError(err) {
			return err
		} else if err != nil {
			good = i
			break
		}
		verified = infos[i].End()
	}
	if err := ctx.Err(); err != nil {
		return err // what was not read is not torn
	}
	if good == 0 {
		return fmt.Errorf("%w: not one whole fragment in %d bytes", errAside, size)
	}
	for i := range infos[:good] {
		f.addStored(&infos[i])
	}
	last := &infos[good-1]
	f.tail.sequence = last.Sequence
	for i := good - 1; i >= 0; i-- {
		if infos[i].Header.First {
			f.tail.clock = infos[i].Header.Clock
			break
		}
	}
	f.size = verified
	if f.header.Optional&featureSigned != 0 {
		c, err := chainOf(r, infos[:good])
		if err != nil {
			return err
		}
		f.chain = c
	}
	// The trailer may have survived what lies before it, so it counts only now.
	x, b, err := readIndex(r, size)
	if isReadError(err) {
		return err
	}
	if err == nil && x.Layout.File == f.header.ID && x.End == f.size && len(x.Layout.Fragments) == good {
		if err := f.attestAgain(r, size-int64(len(b))); err != nil {
			return err
		}
		f.adoptIndex(x, b, size)
		return nil
	}
	if damaged {
		a.notify(Notice{Type: "archive.damaged", UID: f.header.UID, Level: "error", Message: "damaged bytes inside " + e.Name, Data: map[string]any{"file": e.Name}})
	}
	if e.Size > f.size {
		cctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := f.sp.st.Truncate(cctx, e.Name, f.size); err != nil {
			return fmt.Errorf("cut torn tail: %w", err)
		}
		f.flags |= IndexTailCut
		a.counters.tornTails.Add(1)
		a.notify(Notice{Type: "archive.torn_tail", UID: f.header.UID, Level: "info",
			Message: fmt.Sprintf("%d bytes behind the last whole fragment of %s were cut", e.Size-f.size, e.Name),
			Data:    map[string]any{"file": e.Name, "cut": e.Size - f.size, "kept": f.size}})
	}
	a.counters.recovered.Add(1)
	f.written, f.synced, f.found, f.reserved = f.size, min(durable, f.size), f.size, f.size
	return nil
}

// addStored adds a fragment read back from storage.
func (f *file) addStored(info *mux.FragmentInfo) {
	h := &info.Header
	if n := len(f.segs); n == 0 || f.segs[n-1].Number != h.Segment {
		if n > 0 {
			f.segs[n-1].Complete = true
		}
		f.segs = append(f.segs, SegmentLayout{Number: h.Segment, Discontinuity: h.Discontinuity,
			Independent: h.Independent && h.PartIndex == 0, First: len(f.frags), Last: len(f.frags)})
	}
	seg := len(f.segs) - 1
	f.frags = append(f.frags, Fragment{Track: h.Track, Segment: seg, Part: h.PartIndex, Offset: info.HeaderAt,
		MoofOffset: info.MoofAt, MoofSize: info.MoofLen, DataOffset: info.PayloadAt, DataSize: info.PayloadLen,
		BaseTime: info.BaseTime, Duration: info.Duration, FirstSeq: h.FirstSeq, Samples: f.keep(info.Samples)})
	var flags uint8
	if h.First {
		flags |= partFirst
	}
	if h.Last {
		flags |= partLast
	}
	if h.Independent {
		flags |= partIndependent
	}
	f.marks = append(f.marks, FragmentMark{CRC: h.CRC, Flags: flags, LastSeq: h.LastSeq})
	f.segs[seg].Last = len(f.frags)
	f.stretch(&f.segs[seg], &f.frags[len(f.frags)-1])
}

// findPart looks for the next part header from off on; -1 = none.
func findPart(r io.ReaderAt, off, size int64) (int64, error) {
	id := boxID("mspart")
	mark := append([]byte("uuid"), id[:]...)
	buf := make([]byte, 256<<10)
	for off < size {
		want := buf[:min(int64(len(buf)), size-off)]
		n, err := r.ReadAt(want, off)
		b := buf[:n]
		for at := 0; ; {
			i := bytes.Index(b[at:], mark)
			if i < 0 {
				break
			}
			start := off + int64(at+i) - 4
			if _, _, err := mux.ParseFragment(r, start, size); err == nil {
				return start, nil
			} else if isReadError(err) {
				return -1, err
			}
			at += i + 1
		}
		if isReadError(err) {
			return -1, err
		}
		if n < len(want) || n <= len(mark) {
			return -1, nil
		}
		off += int64(n - len(mark))
	}
	return -1, nil
}

// setAside moves a file that is not understood out of the way, keeping it.
func (a *Archive) setAside(ctx context.Context, s *space, e Entry, why error) {
	a.counters.setAside.Add(1)
	to := asidePrefix + strings.TrimPrefix(e.Name, openPrefix)
	if err := s.st.Seal(ctx, e.Name, to, e.Size); err != nil {
		to = e.Name // it stays where it is
	}
	a.notify(Notice{Type: "archive.set_aside", Level: "warning", Message: fmt.Sprintf("%s is kept as %s: %v", e.Name, to, why),
		Data: map[string]any{"space": s.cfg.Name, "file": to, "size": e.Size}})
}

// recoverLedger reads the ledger of a dead process and closes it.
func (a *Archive) recoverLedger(ctx context.Context, s *space, e Entry) error {
	good, err := a.readLedger(ctx, s, e)
	if err != nil {
		return err
	}
	if good == 0 {
		return fmt.Errorf("%w: not a ledger", errAside)
	}
	if int64(good) < e.Size {
		a.counters.tornTails.Add(1)
		if err := s.st.Truncate(ctx, e.Name, int64(good)); err != nil {
			return err
		}
	}
	return s.st.Seal(ctx, e.Name, ledgerPrefix+path.Base(e.Name), int64(good))
}

// readLedger puts the facts of a ledger into state.db.
func (a *Archive) readLedger(ctx context.Context, s *space, e Entry) (good int, err error) {
	if e.Size > 64<<20 {
		return 0, fmt.Errorf("%w: ledger of %d bytes", errAside, e.Size)
	}
	b := make([]byte, e.Size)
	if n, err := s.st.ReadAt(ctx, e.Name, 0, b); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return 0, readError{err}
	}
	// Where a file was cut is told by its number: of another node that is
	// another file. What rules took there of a stream of the same name, or what it
	// lacked at first, says nothing of ours. After the loss of state.db the node is
	// another one as well.
	others := len(b) >= ledgerHead && [16]byte(b[8:24]) != a.o.Node && !a.state.fresh
	good, _ = parseLedger(b, func(f fact) {
		if f.Type != factCut && f.Type != factBirth && f.Type != factExpired || !others {
			a.state.add(&f)
		}
	})
	return good, nil
}

// verifyUnits compares the bytes of a fragment with the hashes in its header.
func verifyUnits(r io.ReaderAt, info *mux.FragmentInfo) error {
	if info.Header.Encrypted { // no key is needed: the record has a checksum of the stored bytes
		n, err := info.VerifyPayload(r)
		if err == nil && n < len(info.Samples) {
			err = fmt.Errorf("encrypted payload: %w", errChecksum)
		}
		return err
	}
	b := make([]byte, info.PayloadLen)
	if n, err := r.ReadAt(b, info.PayloadAt); n < len(b) {
		return fmt.Errorf("read payload: %w", err)
	}
	for i, h := range info.Header.Hashes {
		n := int(info.Samples[i].Size)
		if n > len(b) || xxhash.Sum64(b[:n]) != h {
			return fmt.Errorf("unit %d of %d: %w", i, len(info.Header.Hashes), errChecksum)
		}
		b = b[n:]
	}
	return nil
}

func sum256(b []byte) [32]byte { return sha256.Sum256(b) }

func initIDOf(init []byte) InitID {
	sum := sha256.Sum256(init)
	return InitID(binary.BigEndian.Uint64(sum[:]))
}
