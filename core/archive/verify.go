package archive

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io/fs"
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
	Only     string         // a stream; "" = all
	Grace    time.Duration  // a file signed a moment ago may not be in the ledger yet; 0 = a minute, negative = none
	Progress func(done int) // may be nil
	Found    func(Finding)  // called as findings come; may be nil

	out    Verified
	keys   map[[8]byte]ed25519.PublicKey
	dir    string                // being read
	places map[string]*place     // by folder
	sealed map[FileID]*fact      // newest record of each, of all folders
	gone   map[FileID]string     // why; not what was moved
	seen   map[FileID]found      // where it lies
	newest map[FileID]media.Wall // when it was signed
	refers []reference

	stands map[FileID]string // path of the groomed file in an original's place
	placed map[FileID]FileID // the same, as the ledger says
}

// place is what the ledgers of one folder say of its files.
type place struct {
	sealed map[FileID]*fact
	moved  map[FileID]bool // to another space
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
	v.begin()
	for _, dir := range dirs {
		v.dir = dir
		v.places[dir] = &place{sealed: map[FileID]*fact{}, moved: map[FileID]bool{}}
		if err := v.ledgers(dir); err != nil {
			return nil, err
		}
	}
	for _, dir := range dirs {
		v.dir = dir
		if err := v.files(ctx, dir); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	v.missing()
	return &v.out, nil
}

// files verifies the media files of a space.
func (v *Verifier) files(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		rel = filepath.ToSlash(rel)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && (rel == "open" || rel == "aside" || rel == "ledger"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(rel, ".mp4"):
			return nil
		}
		uid, _, _ := strings.Cut(rel, "/")
		if v.Only == "" || uid == v.Only {
			v.file(path, rel, uid)
		}
		return nil
	})
}

// VerifyFile reads one media file by itself: what is missing beside it nobody
// can tell.
func (v *Verifier) VerifyFile(path string) *Verified {
	v.begin()
	v.file(path, filepath.Base(path), "")
	return &v.out
}

func (v *Verifier) begin() {
	v.out = Verified{}
	v.keys = map[[8]byte]ed25519.PublicKey{}
	for _, k := range v.Keys {
		h := sha256.Sum256(k)
		v.keys[[8]byte(h[:8])] = k
	}
	v.dir, v.places = "", map[string]*place{}
	v.sealed, v.gone, v.seen, v.newest, v.refers = map[FileID]*fact{}, map[FileID]string{}, map[FileID]found{}, map[FileID]media.Wall{}, nil
	v.stands, v.placed = map[FileID]string{}, map[FileID]FileID{}
}

func (v *Verifier) find(file, uid string, span media.Span, format string, args ...any) {
	f := Finding{Dir: v.dir, File: file, UID: uid, Span: span, What: fmt.Sprintf(format, args...)}
	v.out.Findings = append(v.out.Findings, f)
	if v.Found != nil {
		v.Found(f)
	}
}

// ledgers reads the signed records of a space.
func (v *Verifier) ledgers(dir string) error {
	var names []string
	for _, folder := range []string{"ledger", "open"} {
		m, err := filepath.Glob(filepath.Join(dir, folder, "*"+ledgerSuffix))
		if err != nil {
			return err
		}
		names = append(names, m...)
	}
	slices.Sort(names)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel := filepath.Base(filepath.Dir(name)) + "/" + filepath.Base(name)
		good, err := parseRecords(b, func(f fact, rec []byte) {
			if f.Type == factSigned {
				v.record(rel, f, rec)
			}
		})
		switch open := strings.HasPrefix(rel, openPrefix); {
		case err != nil:
			v.find(rel, "", media.Span{}, "is not a ledger: %v", err)
		case good < len(b) && !open: // a growing one may have a torn tail
			v.find(rel, "", media.Span{}, "the ledger is damaged at byte %d of %d", good, len(b))
		}
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
	switch f.Cause {
	case causeSealed, causeGroomedFile:
		v.sealed[f.File], v.places[v.dir].sealed[f.File] = &f, &f
	case causeMoved:
		v.places[v.dir].moved[f.File] = true
	case causeGroomed:
		v.placed[f.File] = FileID(f.Size)
		fallthrough
	default:
		v.gone[f.File] = string(f.Cause)
	}
}

// file verifies one media file.
func (v *Verifier) file(path, rel, uid string) {
	v.out.Files++
	if v.Progress != nil {
		v.Progress(v.out.Files)
	}
	f, err := os.Open(path)
	if err != nil {
		v.find(rel, uid, media.Span{}, "cannot be read: %v", err)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		v.find(rel, uid, media.Span{}, "cannot be read: %v", err)
		return
	}
	v.out.Bytes += fi.Size()
	c := fileCheck{v: v, r: f, rel: rel, uid: uid, size: fi.Size()}
	c.run()
}
