package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files is what is read of a space that is no folder of this machine. Storage
// has both, and promises more about them.
type Files interface {
	List(ctx context.Context, prefix, after string, fn func([]Entry) error) error
	ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error)
}

// ErrAway is wrapped by an error of Files where nothing more can be read of the
// place: the verification ends with it.
var ErrAway = errors.New("the space cannot be read any more")

// Place is a space that is verified: a folder, or what its storage reads.
type Place struct {
	Dir   string // of the space; with Files the name that findings give the place
	Files Files  // nil: Dir is a folder
}

// shelf is a place as the Verifier reads it.
type shelf interface {
	// ledgers lists those that are there, by name.
	ledgers(ctx context.Context) ([]Entry, error)
	// marked tells whether anything shows that a space was made there, though it may
	// hold nothing.
	marked() bool
	// media calls fn for the media files of streams (none = all) but those that
	// are being written or were never understood.
	media(ctx context.Context, only []string, fn func(Entry) error) error
	// open opens a file. One that is not there is an error for which
	// errors.Is(err, os.ErrNotExist) holds.
	open(ctx context.Context, e Entry) (verified, error)
}

// verified is a file that is being verified.
type verified interface {
	io.ReaderAt
	io.Closer
	// failed tells that it could not be read, which says nothing of the file.
	failed() error
}

func (p Place) shelf() shelf {
	if p.Files == nil {
		return folder(p.Dir)
	}
	return far{p.Files}
}

// apart tells of folders of a space whose media files are not verified.
func apart(folder string) bool { return folder == "open" || folder == "aside" || folder == "ledger" }

// folder is a place in the file system.
type folder string

func (d folder) ledgers(context.Context) (out []Entry, err error) {
	for _, sub := range []string{"open", "ledger"} { // in the order in which they go from one to the other
		names, err := os.ReadDir(filepath.Join(string(d), sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range names {
			if !strings.HasSuffix(e.Name(), ledgerSuffix) {
				continue
			}
			fi, err := e.Info()
			if errors.Is(err, os.ErrNotExist) {
				continue // it has its final name now, and is found under that
			}
			if err != nil {
				return nil, err
			}
			out = append(out, Entry{Name: sub + "/" + e.Name(), Size: fi.Size()})
		}
	}
	return out, nil
}

// marked looks for the marker of plugins/local. Where a disk is not mounted, and in
// any other folder, there is none.
func (d folder) marked() bool {
	_, err := os.Stat(filepath.Join(string(d), ".space"))
	return err == nil
}

func (d folder) media(ctx context.Context, only []string, fn func(Entry) error) error {
	return filepath.WalkDir(string(d), func(path string, x fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(string(d), path)
		rel = filepath.ToSlash(rel)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case x.IsDir() && apart(rel):
			return fs.SkipDir
		case x.IsDir() || !strings.HasSuffix(rel, ".mp4"):
			return nil
		}
		if uid, _, _ := strings.Cut(rel, "/"); len(only) > 0 && !slices.Contains(only, uid) {
			return nil
		}
		return fn(Entry{Name: rel})
	})
}

func (d folder) open(_ context.Context, e Entry) (verified, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(e.Name)))
	if err != nil {
		return nil, err
	}
	return localFile{f}, nil
}

// localFile is a file of the file system: where that cannot be read the file is lost.
type localFile struct{ *os.File }

func (localFile) failed() error { return nil }

// far is a place that is read through its storage.
type far struct{ files Files }

// pageOf is how many names are asked for at once: no listing is kept open while
// files are read, which may take hours.
const pageOf = 1000

var errPage = errors.New("enough for a page")

// pages calls fn for all entries with the prefix, in pages.
func (f far) pages(ctx context.Context, prefix string, fn func([]Entry) error) error {
	for after := ""; ; {
		var page []Entry
		err := f.files.List(ctx, prefix, after, func(es []Entry) error {
			if page = append(page, es...); len(page) >= pageOf {
				return errPage
			}
			return nil
		})
		if err != nil && !errors.Is(err, errPage) {
			return err
		}
		if ferr := fn(page); ferr != nil || err == nil {
			return ferr
		}
		after = page[len(page)-1].Name
	}
}

func (f far) ledgers(ctx context.Context) (out []Entry, err error) {
	for _, prefix := range []string{openPrefix, ledgerPrefix} {
		err := f.pages(ctx, prefix, func(es []Entry) error {
			for _, e := range es {
				if strings.HasSuffix(e.Name, ledgerSuffix) {
					out = append(out, e)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (f far) marked() bool { return true } // its storage has opened it

func (f far) media(ctx context.Context, only []string, fn func(Entry) error) error {
	if len(only) == 0 {
		return f.mediaBelow(ctx, "", fn)
	}
	for _, uid := range only {
		if err := f.mediaBelow(ctx, uid+"/", fn); err != nil {
			return err
		}
	}
	return nil
}

func (f far) mediaBelow(ctx context.Context, prefix string, fn func(Entry) error) error {
	return f.pages(ctx, prefix, func(es []Entry) error {
		for _, e := range es {
			first, _, _ := strings.Cut(e.Name, "/")
			if !strings.HasSuffix(e.Name, ".mp4") || apart(first) {
				continue
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

func (f far) open(ctx context.Context, e Entry) (verified, error) {
	return &farFile{ctx: ctx, files: f.files, name: e.Name, size: e.Size}, nil
}

const (
	farBlock  = 1 << 20
	farBlocks = 8 // a part of the highest bit rates, which is read twice
	farTries  = 3
	farAway   = 10 // files in a row that cannot be read: it is the place that ails
)

// farFile reads a file in blocks, and keeps the last: units and boxes are read
// one by one, and each question may cost money. Not safe for concurrent use.
type farFile struct {
	ctx   context.Context
	files Files
	name  string
	size  int64
	kept  []farPage // oldest first
	err   error     // it could not be read
}

type farPage struct {
	at int64
	b  []byte
}

func (f *farFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= f.size {
			return n, io.EOF
		}
		b, err := f.page(at - at%farBlock)
		if err != nil {
			return n, err
		}
		if at%farBlock >= int64(len(b)) {
			return n, io.EOF // it is shorter than it was when it was listed
		}
		n += copy(p[n:], b[at%farBlock:])
	}
	return n, nil
}

// page gives the block that begins at at; one that cannot be read is asked for
// again before the file is given up.
func (f *farFile) page(at int64) ([]byte, error) {
	if i := slices.IndexFunc(f.kept, func(p farPage) bool { return p.at == at }); i >= 0 {
		return f.kept[i].b, nil
	}
	if f.err != nil {
		return nil, f.err
	}
	b := make([]byte, min(farBlock, f.size-at))
	for try := 1; ; try++ {
		n, err := f.files.ReadAt(f.ctx, f.name, at, b)
		if n == len(b) || errors.Is(err, io.EOF) {
			if len(f.kept) >= farBlocks {
				f.kept = slices.Delete(f.kept, 0, 1)
			}
			f.kept = append(f.kept, farPage{at, b[:n]})
			return b[:n], nil
		}
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrAway) || try == farTries || !sleep(f.ctx, time.Duration(try)*time.Second) {
			f.err = fmt.Errorf("read %d bytes at %d: %w", len(b), at, err)
			return nil, f.err
		}
	}
}

func (f *farFile) Close() error  { return nil }
func (f *farFile) failed() error { return f.err }
