package jobs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"media-server/core/archive"
	"media-server/core/timeline"
)

// output is a file being written in steps.
type output struct {
	w    *work
	f    *os.File
	n    *atomic.Int64 // written
	flat int64         // of it, handed to the disk
}

// create makes a temporary file.
func (w *work) create(name string, n *atomic.Int64) (*output, error) {
	path := w.j.path(name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, wrote(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, wrote(err)
	}
	return &output{w: w, f: f, n: n}, nil
}

// Write implements io.Writer. Every step it looks whether there is room for the
// next, and gives way to the recording.
func (o *output) Write(p []byte) (int, error) {
	if err := o.w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := o.f.Write(p)
	if err != nil {
		return n, wrote(err)
	}
	if done := o.n.Add(int64(n)); done-o.flat >= step {
		syncRange(o.f, o.flat, done-o.flat)
		o.flat = done
		if err := o.w.look(); err != nil {
			return n, err
		}
		if err := o.w.at("step"); err != nil {
			return n, err
		}
	}
	return n, nil
}

// look fails where there is no room for a step more.
func (w *work) look() error {
	w.j.mu.Lock()
	all, _ := w.j.promised(w.x)
	w.j.mu.Unlock()
	size, written := w.job.Size, w.x.written.Load()
	if err := w.j.room(min(step, max(size-written, 0)), all+size+w.x.proofSize.Load()); err != nil {
		return err
	}
	return w.giveWay()
}

func (o *output) sync() error { return wrote(o.f.Sync()) }

func (o *output) close() error { return wrote(o.f.Close()) }

// bufSize is how much is read at a time.
const bufSize = 1 << 20

// copy writes a body. Pieces that are made are made once each: reading them in
// blocks would make them anew for every block.
func (w *work) copy(to io.Writer, b *timeline.Body) error {
	buf := make([]byte, bufSize)
	for p := range b.Pieces(0, b.Size()) {
		if p.File == nil {
			made, err := p.Load()
			if err != nil {
				return err
			}
			for len(made) > 0 {
				n := min(len(made), bufSize)
				if _, err := to.Write(made[:n]); err != nil {
					return err
				}
				made = made[n:]
			}
			continue
		}
		if err := w.copyFile(to, p, buf); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) copyFile(to io.Writer, p timeline.Piece, buf []byte) error {
	for done := int64(0); done < p.Len; {
		b := buf[:min(p.Len-done, int64(len(buf)))]
		n, err := p.File.ReadAt(b, p.Off+done)
		if n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read %d bytes at %d: %w", len(b), p.Off+done, err)
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}

// counted is the source of a proof, whose reading is the second half of the
// work.
type counted struct {
	Source
	w *work
}

// Pin implements export.Footage.
func (c *counted) Pin(uid string, id archive.FileID) (timeline.File, error) {
	f, err := c.Source.Pin(uid, id)
	if err != nil {
		return nil, err
	}
	n := countedFile{f, c.w}
	if s, ok := f.(storedFile); ok {
		return &countedStored{n, s}, nil // proofs of encrypted footage need it
	}
	return &n, nil
}

type storedFile interface {
	StoredAt(p []byte, off int64) (int, error)
}

// held is a File under a name that is not that of its method.
type held interface{ timeline.File }

type countedFile struct {
	held
	w *work
}

func (f *countedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := f.held.ReadAt(p, off)
	before := f.w.x.read.Add(int64(n)) - int64(n)
	if before/step != (before+int64(n))/step {
		if e := f.w.giveWay(); e != nil {
			return n, e
		}
	}
	return n, err
}

type countedStored struct {
	countedFile
	s storedFile
}

func (f *countedStored) StoredAt(p []byte, off int64) (int, error) { return f.s.StoredAt(p, off) }
