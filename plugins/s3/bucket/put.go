package bucket

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Put stores a file of size bytes under a name that is not taken. r gives
// exactly as many. A file of more than one part is a multipart upload: nothing
// shows before it is completed, and it is aborted when it is not.
func (s *Space) Put(ctx context.Context, epoch uint64, name string, size int64, r io.Reader) error {
	if err := CheckName(name); err != nil {
		return err
	}
	ctx, leave, err := s.enter(ctx, epoch)
	if err != nil {
		return err
	}
	defer leave()
	if _, taken, err := s.Stat(ctx, name); err != nil {
		return err
	} else if taken {
		return status.Error(codes.AlreadyExists, name+": a file of this name exists")
	}
	if size <= 0 {
		return status.Error(codes.OutOfRange, name+": a file has 1 byte or more")
	}
	if err := s.room(size); err != nil {
		return err
	}
	if size <= s.c.set.PartSize {
		err = s.putOne(ctx, name, size, r)
	} else {
		err = s.putParts(ctx, name, size, r)
	}
	if err == nil {
		s.use.changed(name, size)
	} else if gone := ctx.Err(); gone != nil && s.newer(epoch) {
		return stale()
	}
	return err
}

func (s *Space) newer(epoch uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch > epoch
}

// exact reads n bytes, and, when they are the last, that no more come.
func exact(r io.Reader, b []byte, last bool) error {
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return status.Error(codes.OutOfRange, "fewer bytes came than the file was said to have")
		}
		return err
	}
	if !last {
		return nil
	}
	var more [1]byte
	switch n, err := r.Read(more[:]); {
	case n > 0:
		return status.Error(codes.OutOfRange, "more bytes came than the file was said to have")
	case err == io.EOF:
		return nil
	default:
		return err
	}
}

func (s *Space) putOne(ctx context.Context, name string, size int64, r io.Reader) error {
	b := make([]byte, size)
	if err := exact(r, b, true); err != nil {
		return err
	}
	return s.replace(ctx, name, b)
}

func (s *Space) putParts(ctx context.Context, name string, size int64, r io.Reader) (err error) {
	set, key := s.c.set, s.c.key(name)
	var id string
	err = s.c.try(ctx, "begin to store "+name, 0, func(ctx context.Context) (err error) {
		id, err = s.c.core.NewMultipartUpload(ctx, set.Bucket, key, minio.PutObjectOptions{})
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.abort(name, id)
		}
	}()
	part := max(set.PartSize, (size+9999)/10000) // no more than 10,000 parts
	b := make([]byte, part)
	var done []minio.CompletePart
	for at := int64(0); at < size; at += part {
		n := min(part, size-at)
		if err := exact(r, b[:n], at+n == size); err != nil {
			return err
		}
		err := s.c.try(ctx, "store a part of "+name, n, func(ctx context.Context) error {
			p, err := s.c.up.PutObjectPart(ctx, set.Bucket, key, id, len(done)+1, bytes.NewReader(b[:n]), n, minio.PutObjectPartOptions{})
			if err == nil {
				done = append(done, minio.CompletePart{PartNumber: p.PartNumber, ETag: p.ETag})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.c.try(ctx, "complete "+name, size, func(ctx context.Context) error {
		_, err := s.c.up.CompleteMultipartUpload(ctx, set.Bucket, key, id, done, minio.PutObjectOptions{})
		if minio.ToErrorResponse(err).Code == "NoSuchUpload" { // the answer to an earlier try was lost?
			if o, serr := s.c.core.StatObject(ctx, set.Bucket, key, minio.StatObjectOptions{}); serr == nil && o.Size == size {
				return nil
			}
		}
		return err
	})
}

// abort gives up an upload, also when its caller is gone.
func (s *Space) abort(name, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// What this misses goes at the next epoch's Open.
	_ = s.c.core.AbortMultipartUpload(ctx, s.c.set.Bucket, s.c.key(name), id)
}

// abortUploads gives up what earlier processes left.
func (s *Space) abortUploads(ctx context.Context) error {
	for {
		var got minio.ListMultipartUploadsResult
		err := s.c.try(ctx, "list uploads", 0, func(ctx context.Context) (err error) {
			got, err = s.c.core.ListMultipartUploads(ctx, s.c.set.Bucket, s.c.set.Prefix, "", "", "", 1000)
			return err
		})
		if err != nil || len(got.Uploads) == 0 {
			return err
		}
		for _, u := range got.Uploads {
			err := s.c.try(ctx, "abort an upload", 0, func(ctx context.Context) error {
				return s.c.core.AbortMultipartUpload(ctx, s.c.set.Bucket, u.Key, u.UploadID)
			})
			if err != nil && status.Code(err) != codes.NotFound {
				return err
			}
		}
		if !got.IsTruncated {
			return nil
		}
	}
}
