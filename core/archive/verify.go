package archive

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"media-server/core/media"
)

// Finding is something that is not as it was recorded.
type Finding struct {
	Dir  string     // folder that is verified; "" = a single file
	File string     // path below it
	UID  string     // stream, where known
	Span media.Span // time concerned; empty = not known
	What string
}

// Verified is the outcome of a verification.
type Verified struct {
	Files     int // media files read
	Signed    int // of them with a good signature by a known key
	Groomed   int // of the signed ones those that keep key frames only, as they were signed when they were recorded
	Unsigned  int // of them that say they were never signed
	Encrypted int // of them encrypted
	Closed    int // of those whose units were not looked into, for want of the key
	Destroyed int // of the closed ones those whose key was destroyed: nobody can read them again
	Bytes     int64
	Gone      int // files that went by rule, as signed records say
	Elsewhere int // files that were moved to a space that was not read
	Findings  []Finding
}

// Verifier reads spaces, or single files, and compares them with what was
// signed. It needs neither settings nor a server, only public keys. Not safe
// for concurrent use.
type Verifier struct {
	Keys     []ed25519.PublicKey
	UnitKeys UnitKeys       // of encrypted footage; nil: what is stored is verified, not what is in it
	Only     []string       // streams; nil = all
	Grace    time.Duration  // a file signed a moment ago may not be in the ledger yet; 0 = a minute, negative = none
	Progress func(done int) // may be nil
	Found    func(Finding)  // called as findings come; may be nil

	out    Verified
	keys   map[[8]byte]ed25519.PublicKey
	dir    string                // being read
	places map[string]*place     // by folder or name
	again  bool                  // ledgers are read a second time
	told   int                   // findings that Found was called for
	sealed map[FileID]*fact      // newest record of each, of all places
	late   map[FileID]bool       // of which the first record was read again
	gone   map[FileID]string     // why; not what was moved
	seen   map[FileID]found      // where it lies
	heard  map[string]bool       // streams that a file or a record is of
	newest map[FileID]media.Wall // when it was signed
	refers []reference

	stands map[FileID]string // path of the groomed file in an original's place
	placed map[FileID]FileID // the same, as the ledger says
}

// place is what the ledgers of one place say of its files.
type place struct {
	shelf
	sealed map[FileID]*fact
	moved  map[FileID]bool  // to another space
	read   map[string]int64 // bytes read of its ledgers, by name without folder: one that grows is in open/
}

type found struct{ dir, rel string }

// reference is what one signed file says of the one before it.
type reference struct {
	by   found
	uid  string
	file FileID
	link [32]byte
	at   media.Span
}

// Verify reads spaces at dirs, which belong together: a file that was moved from
// one to another is looked for there. Files below open/ and aside/ are left
// apart: those are being written, or were never understood.
func (v *Verifier) Verify(ctx context.Context, dirs ...string) (*Verified, error) {
	places := make([]Place, len(dirs))
	for i, dir := range dirs {
		places[i].Dir = dir
	}
	return v.VerifyPlaces(ctx, places...)
}

// VerifyPlaces is Verify of spaces wherever they are. A place that cannot be
// listed is an error; a file that cannot be read is a finding.
func (v *Verifier) VerifyPlaces(ctx context.Context, places ...Place) (*Verified, error) {
	v.begin()
	for _, p := range places {
		v.places[p.Dir] = &place{shelf: p.shelf(), sealed: map[FileID]*fact{}, moved: map[FileID]bool{}, read: map[string]int64{}}
		if err := v.ledgers(ctx, p.Dir); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Dir, err)
		}
	}
	for _, p := range places {
		v.dir = p.Dir
		before := v.out.Files
		if err := v.files(ctx, v.places[p.Dir]); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Dir, err)
		}
		if x := v.places[p.Dir]; len(x.read) == 0 && v.out.Files == before && !x.shelf.marked() {
			v.find("", "", media.Span{}, "no space lies there: neither ledgers nor footage; its disk is not mounted, or it is another folder")
		}
	}
	// Beside a running server footage goes by rule, and moves, while files are
	// read, for hours where they are far away: what the ledgers say of it since.
	v.again = true
	for _, p := range places {
		if err := v.ledgers(ctx, p.Dir); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Dir, err)
		}
	}
	v.missing()
	return &v.out, nil
}

// files verifies the media files of a place.
func (v *Verifier) files(ctx context.Context, p *place) error {
	row := 0
	return p.media(ctx, v.Only, func(e Entry) error {
		uid, _, _ := strings.Cut(e.Name, "/")
		v.heard[uid] = true
		f, err := p.open(ctx, e)
		v.file(f, err, e, uid)
		v.tell()
		if err == nil {
			err = f.failed()
		}
		if row++; err == nil || errors.Is(err, os.ErrNotExist) {
			row = 0
		}
		if row >= farAway || errors.Is(err, ErrAway) {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		return ctx.Err()
	})
}

// VerifyFile reads one media file by itself: what is missing beside it nobody
// can tell.
func (v *Verifier) VerifyFile(path string) *Verified {
	v.begin()
	f, err := folder(filepath.Dir(path)).open(context.Background(), Entry{Name: filepath.Base(path)})
	v.file(f, err, Entry{Name: filepath.Base(path)}, "")
	v.tell()
	return &v.out
}

func (v *Verifier) begin() {
	v.out, v.again, v.told = Verified{}, false, 0
	v.keys = map[[8]byte]ed25519.PublicKey{}
	for _, k := range v.Keys {
		h := sha256.Sum256(k)
		v.keys[[8]byte(h[:8])] = k
	}
	v.dir, v.places = "", map[string]*place{}
	v.late = map[FileID]bool{}
	v.sealed, v.gone, v.seen, v.newest, v.refers = map[FileID]*fact{}, map[FileID]string{}, map[FileID]found{}, map[FileID]media.Wall{}, nil
	v.stands, v.placed, v.heard = map[FileID]string{}, map[FileID]FileID{}, map[string]bool{}
}

// Heard tells whether anything is known of a stream: a file, or a record of one.
func (v *Verifier) Heard(uid string) bool { return v.heard[uid] }

// leaves tells whether a stream is not among those that are verified.
func (v *Verifier) leaves(uid string) bool { return len(v.Only) > 0 && !slices.Contains(v.Only, uid) }

func (v *Verifier) find(file, uid string, span media.Span, format string, args ...any) {
	f := Finding{Dir: v.dir, File: file, UID: uid, Span: span, What: fmt.Sprintf(format, args...)}
	v.out.Findings = append(v.out.Findings, f)
}

// tell tells of findings that nothing will change any more.
func (v *Verifier) tell() {
	for ; v.told < len(v.out.Findings); v.told++ {
		if v.Found != nil {
			v.Found(v.out.Findings[v.told])
		}
	}
}

// ledgers reads the signed records of a place; again what has come since.
func (v *Verifier) ledgers(ctx context.Context, dir string) error {
	v.dir = dir
	p := v.places[dir]
	defer v.tell()
	for try := 1; ; try++ {
		list, err := p.shelf.ledgers(ctx)
		if err != nil {
			return err
		}
		slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
		for _, e := range list {
			if before, known := p.read[filepath.Base(e.Name)]; known && e.Size <= before {
				continue
			}
			if err = v.ledger(ctx, p, e); err != nil {
				break
			}
		}
		// A running server has given it its final name since it was listed.
		if !errors.Is(err, os.ErrNotExist) || try == farTries {
			return err
		}
	}
}

func (v *Verifier) ledger(ctx context.Context, p *place, e Entry) error {
	f, err := p.open(ctx, e)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, e.Size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", e.Name, err)
	}
	b, rel, at := b[:n], e.Name, int64(ledgerHead)
	good, err := parseRecords(b, func(fact fact, rec []byte) {
		if at += int64(len(rec)); at > p.read[filepath.Base(rel)] && fact.Type == factSigned {
			v.record(rel, fact, rec)
		}
	})
	p.read[filepath.Base(rel)] = int64(good)
	switch open := strings.HasPrefix(rel, openPrefix); {
	case v.again: // the first reading has told, and what has come since may not be whole
	case err != nil:
		v.find(rel, "", media.Span{}, "is not a ledger: %v", err)
	case good < len(b) && !open: // a growing one may have a torn tail
		v.find(rel, "", media.Span{}, "the ledger is damaged at byte %d of %d", good, len(b))
	}
	return nil
}

func (v *Verifier) record(ledger string, f fact, rec []byte) {
	key, ok := v.keys[f.Key]
	if !ok {
		return // of another server, or an earlier key that was not given
	}
	if !ed25519.Verify(key, factBytes(rec), f.Sig[:]) {
		v.find(ledger, f.UID, media.Span{From: f.At, To: f.Until}, "the signature of a record is wrong")
		return
	}
	v.heard[f.UID] = true
	switch f.Cause {
	case causeMoved:
		v.places[v.dir].moved[f.File] = true
	case causeSealed, causeGroomedFile:
		if v.again { // a file that came since is not missed; where it was found it is known
			v.late[f.File] = true
			break
		}
		v.sealed[f.File], v.places[v.dir].sealed[f.File] = &f, &f
	default:
		if f.Cause == causeGroomed && !v.again {
			v.placed[f.File] = FileID(f.Size)
		}
		v.gone[f.File] = string(f.Cause)
	}
}

// file verifies one media file, which could be opened or not.
func (v *Verifier) file(f verified, err error, e Entry, uid string) {
	v.out.Files++
	if v.Progress != nil {
		v.Progress(v.out.Files)
	}
	switch {
	case errors.Is(err, os.ErrNotExist) && v.dir != "":
		v.out.Files-- // it went since it was listed: the ledgers say why, or that it is missing
		return
	case err != nil:
		v.find(e.Name, uid, media.Span{}, "cannot be read: %v", err)
		return
	}
	defer f.Close()
	if o, ok := f.(localFile); ok {
		fi, err := o.Stat()
		if err != nil {
			v.find(e.Name, uid, media.Span{}, "cannot be read: %v", err)
			return
		}
		e.Size = fi.Size()
	}
	c := fileCheck{v: v, r: f, rel: e.Name, uid: uid, size: e.Size}
	before, refers := v.out, len(v.refers)
	id, named := idOf(e.Name)
	c.run()
	switch err := f.failed(); {
	case err == nil:
		v.out.Bytes += e.Size
		return
	case errors.Is(err, os.ErrNotExist): // as above: it was not verified, nor does it stand for another
		before.Files--
		v.out, v.refers = before, v.refers[:refers]
		for _, undo := range slices.Backward(c.undo) {
			undo()
		}
	default: // nobody knows how it is, only that it is there
		v.out.Findings = v.out.Findings[:len(before.Findings)]
		v.find(e.Name, uid, c.span, "cannot be read: %v", err)
		if named {
			v.seen[id] = found{v.dir, e.Name}
		}
	}
}
