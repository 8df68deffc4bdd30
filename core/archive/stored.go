package archive

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// open gives random access to a stored file: a descriptor, or reads through
// the backend with a little ahead.
func (s *space) open(ctx context.Context, name string) (readerAtCloser, error) {
	f, err := s.st.File(ctx, name)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return &remoteFile{ctx: ctx, st: s.st, name: name}, nil
}

type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

// remoteFile reads blocks of 256 kB through the backend and keeps the last.
type remoteFile struct {
	ctx  context.Context
	st   Storage
	name string

	mu  sync.Mutex
	off int64
	buf []byte
}

const remoteBlock = 256 << 10

func (r *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	if len(p) >= remoteBlock {
		return r.st.ReadAt(r.ctx, r.name, off, p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < r.off || off+int64(len(p)) > r.off+int64(len(r.buf)) {
		b := make([]byte, remoteBlock)
		n, err := r.st.ReadAt(r.ctx, r.name, off, b)
		if n < len(p) && err != nil && !errors.Is(err, io.EOF) {
			return copy(p, b[:n]), err // not the end of the file: what is behind was not given
		}
		if n == 0 && err != nil {
			return 0, err
		}
		r.off, r.buf = off, b[:n]
	}
	n := copy(p, r.buf[off-r.off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *remoteFile) Close() error { return nil }
