package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// save writes r to path under a temporary name and renames it when it is
// whole: a file under its final name is never half a recording.
func save(r io.Reader, size int64, path string) error {
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, &progress{r: r, size: size, show: term.IsTerminal(int(os.Stderr.Fd()))})
	if err == nil && size >= 0 && n != size {
		err = fmt.Errorf("the server sent %d of %d bytes", n, size)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path + ".part")
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".part", path)
}

// progress draws how far a copy is, on a terminal.
type progress struct {
	r          io.Reader
	size, done int64
	percent    int64
	show       bool
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += int64(n)
	if p.show && p.size > 0 {
		if pc := p.done * 100 / p.size; pc != p.percent || err == io.EOF {
			p.percent = pc
			fmt.Fprintf(os.Stderr, "\r%3d %%  %s of %s", pc, size(p.done), size(p.size))
			if p.done == p.size {
				fmt.Fprintln(os.Stderr)
			}
		}
	}
	return n, err
}
