package archive

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// Signer signs what is recorded. Its methods are safe for concurrent use.
type Signer interface {
	KeyID() [8]byte
	Sign(message []byte) []byte // Ed25519, 64 bytes
}

var boxSign = boxID("mssign")

const (
	featureSigned = 1 // FileHeader.Optional

	signMessage = "MSSIGN1\n"
	factMessage = "MSFACT1\n"
	signFixed   = boxCommon + 8 + 8 + 8 + 4 + 32 + 32 + 8 + 32
	signSize    = signFixed + ed25519.SignatureSize
)

// Signature is the box between the last fragment and the index of a signed file.
type Signature struct {
	Recovered    bool // the file was taken up again after a crash
	Key          [8]byte
	At           media.Wall // when it was signed
	File         FileID
	Count        uint32   // fragments
	Link         [32]byte // of the last one
	Index        [32]byte // SHA-256 of the index box
	Previous     FileID   // signed file of the stream before this one; 0 = the first
	PreviousLink [32]byte
	Sig          [64]byte
}

// appendSignature appends the box, signed by s.
func appendSignature(b []byte, x *Signature, s Signer) []byte {
	var flags uint8
	if x.Recovered {
		flags = IndexRecovered
	}
	x.Key = s.KeyID()
	b, at := openBox(b, boxSign, flags, 0)
	be := binary.BigEndian
	b = append(b, x.Key[:]...)
	b = be.AppendUint64(b, uint64(x.At))
	b = be.AppendUint64(b, uint64(x.File))
	b = be.AppendUint32(b, x.Count)
	b = append(b, x.Link[:]...)
	b = append(b, x.Index[:]...)
	b = be.AppendUint64(b, uint64(x.Previous))
	b = append(b, x.PreviousLink[:]...)
	be.PutUint32(b[at:], signSize)
	copy(x.Sig[:], s.Sign(append([]byte(signMessage), b[at:]...)))
	b = append(b, x.Sig[:]...)
	closeBox(b, at, true)
	return b
}

// parseSignature reads the box that fills b.
func parseSignature(b []byte) (*Signature, error) {
	if err := checkBox(b, boxSign); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if len(b) < signSize {
		return nil, fmt.Errorf("signature: %w", errShort)
	}
	if crc32.Checksum(b[boxCommon:], castagnoli) != binary.BigEndian.Uint32(b[28:]) {
		return nil, fmt.Errorf("signature: %w", errChecksum)
	}
	c := cursor{b: b[boxCommon:]}
	x := &Signature{Recovered: b[25]&IndexRecovered != 0}
	copy(x.Key[:], c.take(8))
	x.At, x.File, x.Count = media.Wall(c.u64()), FileID(c.u64()), c.u32()
	copy(x.Link[:], c.take(32))
	copy(x.Index[:], c.take(32))
	x.Previous = FileID(c.u64())
	copy(x.PreviousLink[:], c.take(32))
	copy(x.Sig[:], c.take(64))
	return x, c.err
}

// signedBytes is what the signature of the box in b is over.
func signedBytes(b []byte) []byte {
	m := append([]byte(signMessage), b[:signFixed]...)
	clear(m[len(signMessage)+28 : len(signMessage)+boxCommon]) // the checksum came later
	return m
}

// signs tells whether a new file of the stream is signed.
func (st *stream) signs() bool {
	if st.a.o.Signer == nil {
		return false
	}
	p, err := st.a.pool(st.rules.Pool)
	return err == nil && p.Sign
}

// lastSigned is the newest signed file of a stream.
type lastSigned struct {
	file FileID
	link [32]byte
}

// signLocked makes the signature box of a file whose index is idx, and tells
// the ledger. st.mu and f.mu are held.
func (f *file) signLocked(idx []byte) []byte {
	a := f.st.a
	if f.chain == nil || a.o.Signer == nil || int(f.chain.count) != len(f.frags) {
		return nil
	}
	prev := a.lastSigned(f.header.UID)
	x := &Signature{Recovered: f.flags&IndexRecovered != 0, At: media.WallOf(time.Now()), File: f.header.ID, Count: f.chain.count, Link: f.chain.link,
		Index: sha256.Sum256(idx), Previous: prev.file, PreviousLink: prev.link}
	b := appendSignature(nil, x, a.o.Signer)
	sp := f.spanLocked()
	rec := &fact{Type: factSigned, UID: f.header.UID, At: sp.From, Until: sp.To, File: f.header.ID, Size: f.size + int64(len(b)+len(idx)), Cause: causeSealed, Link: f.chain.link}
	signFact(rec, a.o.Signer)
	a.state.add(rec)
	a.setSigned(f.header.UID, lastSigned{f.header.ID, f.chain.link})
	f.attest = rec
	return b
}

const causeSealed = "sealed"

// signFact signs a record of the ledger.
func signFact(f *fact, s Signer) {
	f.Key = s.KeyID()
	rec := appendFact(nil, f)
	copy(f.Sig[:], s.Sign(factBytes(rec)))
}

// factBytes is what the signature of a record is over: all of it from its type
// to the signature.
func factBytes(rec []byte) []byte {
	return append([]byte(factMessage), rec[2:len(rec)-ledgerCRC-ed25519.SignatureSize]...)
}

// attestGone notes in the ledger of a space that files went, and why: a later
// verify can tell them from files that somebody took away. What counts is that
// files of the stream were signed once, not whether its pool signs today; a
// record of one that was not changes nothing. It returns the number of the last
// record (space.note), 0 where there is none.
func (a *Archive) attestGone(s *space, rows []*row, why map[FileID]string) (last uint64) {
	if a.o.Signer == nil {
		return 0
	}
	signed := map[string]bool{}
	for _, r := range rows {
		was, asked := signed[r.UID]
		if !asked {
			was = a.hasSigned(r.UID)
			signed[r.UID] = was
		}
		if !was {
			continue
		}
		cause := why[r.ID]
		if cause == "" {
			cause = "rule"
		}
		f := &fact{Type: factSigned, UID: r.UID, At: r.Span.From, Until: r.Span.To, File: r.headerID(), Size: r.Size, Cause: GapCause(cause)}
		signFact(f, a.o.Signer)
		last = s.note(f)
	}
	return last
}

// ledgerWait is how long a deletion waits for what the ledger is to say of it.
const ledgerWait = 2 * time.Second

// said waits until what was noted in the ledger up to n is there for good: a
// file that went before would look stolen ever after where this process ends in
// between and the catalogue is lost with it. It gives up where the space takes
// nothing, or takes its time: room that recording waits for comes first. An error
// means that this process ends: nothing may go any more, the next one does it.
func (s *space) said(ctx context.Context, n uint64) error {
	for end := time.Now().Add(ledgerWait); n > 0 && !s.written(n) && time.Now().Before(end); {
		s.mu.Lock()
		stuck := s.full || s.failing != "" || !s.opened
		s.mu.Unlock()
		if stuck {
			break
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// hasSigned tells whether a file of the stream was ever signed. What cannot be
// told counts as yes: where state.db was lost, until the ledgers were read and
// what they say was committed.
func (a *Archive) hasSigned(uid string) bool {
	if a.lastSigned(uid).file != 0 || !a.knowsLocks.Load() {
		return true
	}
	var n int
	err := a.state.reader().QueryRow("SELECT count(*) FROM signed WHERE uid = ?", uid).Scan(&n)
	return err != nil || n > 0
}

// headerID is the number that a file has in its header, its signature and the
// ledgers: in the catalogue it may have another one. Its name says it.
func (r *row) headerID() FileID {
	if id, ok := idOf(r.Name); ok {
		return id
	}
	base := strings.TrimSuffix(r.Name, ".mp4")
	if i := strings.LastIndexByte(base, '-'); i >= 0 { // -2 of a move that found its name taken
		if id, ok := idOf(base[:i]); ok {
			return id
		}
	}
	return r.ID
}

func (a *Archive) lastSigned(uid string) lastSigned {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signed[uid]
}

func (a *Archive) setSigned(uid string, l lastSigned) {
	a.mu.Lock()
	a.signed[uid] = l
	a.mu.Unlock()
}

// loadSigned reads which file of each stream was signed last.
func (a *Archive) loadSigned() error {
	return each(a.state.reader(), "SELECT uid, file, link FROM signed", func(rows *sql.Rows) error {
		var uid string
		var file int64
		var link []byte
		err := rows.Scan(&uid, &file, &link)
		l := lastSigned{file: FileID(file)}
		copy(l.link[:], link)
		a.setSigned(uid, l)
		return err
	})
}

// insertSigned keeps the newest signed file of a stream in state.db.
func insertSigned(tx *sql.Tx, f *fact) error {
	if f.Cause != causeSealed {
		return nil
	}
	_, err := tx.Exec(`INSERT INTO signed VALUES (?,?,?) ON CONFLICT (uid) DO UPDATE SET file = excluded.file, link = excluded.link
		WHERE excluded.file > file`, f.UID, int64(f.File), f.Link[:])
	return err
}

// chainOf computes where the chain of a recovered file stands, from its last
// fragment: that has the link of the one before.
func chainOf(r io.ReaderAt, infos []mux.FragmentInfo) (*chain, error) {
	if len(infos) == 0 || !infos[len(infos)-1].Header.HasChain {
		return nil, nil
	}
	last := &infos[len(infos)-1]
	link, _, err := storedLink(r, last)
	if err != nil {
		return nil, err
	}
	return &chain{link: link, count: uint32(len(infos))}, nil
}

// storedLink is the link of a stored fragment, from its bytes, and the leaves
// that it is made of.
func storedLink(r io.ReaderAt, x *mux.FragmentInfo) (link [32]byte, leaves [][32]byte, err error) {
	b := make([]byte, x.End()-x.HeaderAt)
	if n, err := r.ReadAt(b, x.HeaderAt); n < len(b) {
		return link, nil, fmt.Errorf("read fragment at %d: %w", x.HeaderAt, err)
	}
	at := x.PayloadAt - x.HeaderAt
	u := storedUnits(x)
	leaves = u.leaves(b[at:])
	return NextLink(x.Header.Chain, sha256.Sum256(b[:at-mdatHeader]), rootOf(slices.Clone(leaves))), leaves, nil
}

func storedUnits(x *mux.FragmentInfo) units {
	return units{track: x.Header.Track, first: x.Header.FirstSeq, seqs: x.Header.Seqs, base: x.BaseTime, samples: x.Samples}
}

// attestThere notes in the ledger of a space that a signed file came to it from
// another one: whoever takes it away from there is found out there. It returns
// the record's number (space.note), 0 for a file that was never signed.
func (a *Archive) attestThere(ctx context.Context, s *space, name string, r *row) (uint64, error) {
	if a.o.Signer == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	f, err := s.open(ctx, name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sig, err := signatureOf(f, r.Size)
	if err != nil || sig == nil {
		return 0, err
	}
	rec := &fact{Type: factSigned, UID: r.UID, At: r.Span.From, Until: r.Span.To, File: sig.File, Size: r.Size, Cause: causeSealed, Link: sig.Link}
	signFact(rec, a.o.Signer)
	return s.note(rec), nil
}

// signatureOf reads the signature in front of a file's index; nil = it has none.
func signatureOf(r io.ReaderAt, size int64) (*Signature, error) {
	idx, err := readIndexBox(r, size)
	if err != nil {
		return nil, err
	}
	b := make([]byte, signSize)
	at := size - int64(len(idx)) - signSize
	if at < 0 {
		return nil, nil
	}
	if n, err := r.ReadAt(b, at); n < len(b) {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	if string(b[4:8]) != "uuid" || [16]byte(b[8:24]) != boxSign {
		return nil, nil
	}
	return parseSignature(b)
}

// attestAgain makes the ledger's record of a file that was found signed but not
// sealed: the one made then may have died with its process.
func (f *file) attestAgain(r io.ReaderAt, indexAt int64) error {
	a := f.st.a
	b := make([]byte, indexAt-f.size)
	if a.o.Signer == nil || len(b) != signSize {
		return nil
	}
	if n, err := r.ReadAt(b, f.size); n < len(b) {
		return fmt.Errorf("read signature: %w", err)
	}
	sig, err := parseSignature(b)
	if err != nil {
		return nil //nolint:nilerr // readers say so
	}
	sp := f.spanLocked()
	f.attest = &fact{Type: factSigned, UID: f.header.UID, At: sp.From, Until: sp.To, File: f.header.ID, Size: f.size, Cause: causeSealed, Link: sig.Link}
	signFact(f.attest, a.o.Signer)
	a.state.add(f.attest)
	return nil
}
