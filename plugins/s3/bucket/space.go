package bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

const (
	markerName = private + "/marker"
	epochName  = private + "/epoch"
)

// Space is what lies below one prefix of a bucket. Its methods may be called
// from several goroutines.
type Space struct {
	c    *client
	id   [16]byte
	node string
	use  usage

	mu    sync.Mutex
	epoch uint64
	calls *calls // of the present epoch; nil while it is being opened
}

// calls are the changes that one epoch has under way.
type calls struct {
	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup
}

// Request says who opens which space.
type Request struct {
	Settings Settings
	Node     string
	Epoch    uint64
	Create   bool
}

// Open finds or makes the space. A problem is something an operator has to
// mend; an error may pass by itself.
func Open(ctx context.Context, r Request) (s *Space, created bool, problem *pb.Problem, err error) {
	c, err := newClient(r.Settings)
	if err != nil {
		//nolint:nilerr // told as a problem
		return nil, false, &pb.Problem{Key: "endpoint", What: "the endpoint cannot be used: " + err.Error(), Hint: "host or host:port"}, nil
	}
	s = &Space{c: c, node: r.Node}
	created, problem, err = s.mark(ctx, r)
	if problem != nil || err != nil {
		c.dropped()
		return nil, false, problem, err
	}
	return s, created, nil, nil
}

type marker struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Node    string    `json:"node,omitempty"`
}

const (
	markerFormat  = "media-server space"
	markerVersion = 1
)

// mark reads the marker, or writes it where nothing is.
func (s *Space) mark(ctx context.Context, r Request) (created bool, problem *pb.Problem, err error) {
	there := false
	var untrusted *tls.CertificateVerificationError
	err = s.c.try(ctx, "look for bucket "+s.c.set.Bucket, 0, func(ctx context.Context) (err error) {
		there, err = s.c.core.BucketExists(ctx, s.c.set.Bucket)
		errors.As(err, &untrusted)
		return err
	})
	switch {
	case err != nil && untrusted != nil:
		//nolint:nilerr // told as a problem
		return false, &pb.Problem{Key: "ca-file", What: "the certificate of the server is not trusted: " + untrusted.Err.Error(), Hint: "where an authority of your own signed it, name its certificate: ca-file = /path/to/ca.pem"}, nil
	case status.Code(err) == codes.PermissionDenied:
		return false, &pb.Problem{Key: "access-key", What: "the server does not let these keys in", Hint: "check access-key, secret-key and what they may do in the bucket"}, nil
	case err != nil:
		return false, nil, err
	case !there:
		return false, &pb.Problem{Key: "bucket", What: "there is no bucket " + s.c.set.Bucket, Hint: "make it at the server; the space makes itself in it"}, nil
	}
	b, err := s.small(ctx, markerName)
	if err == nil {
		return false, s.parseMarker(b), nil
	}
	if status.Code(err) != codes.NotFound {
		return false, nil, err
	}
	if !r.Create {
		return false, &pb.Problem{Key: "prefix", What: "there is no space in the bucket below the prefix", Hint: "check bucket and prefix; a new space is made where nothing is"}, nil
	}
	some := ""
	if err := s.list(ctx, "", "", 1, func(name string, _ minio.ObjectInfo) error { some = name; return nil }); err != nil {
		return false, nil, err
	}
	if some != "" {
		return false, &pb.Problem{Key: "prefix", What: "the bucket holds other objects below the prefix and is not a space", Hint: "choose another prefix, or empty it; nothing was changed"}, nil
	}
	rand.Read(s.id[:])
	if b, err = json.Marshal(marker{markerFormat, markerVersion, hex.EncodeToString(s.id[:]), time.Now().UTC().Truncate(time.Second), r.Node}); err != nil {
		return false, nil, err
	}
	return true, nil, s.replace(ctx, markerName, append(b, '\n'))
}

func (s *Space) parseMarker(b []byte) *pb.Problem {
	var m marker
	if err := json.Unmarshal(b, &m); err != nil || m.Format != markerFormat {
		return &pb.Problem{Key: "prefix", What: "the object .space/marker cannot be read", Hint: "the prefix belongs to something else"}
	}
	if m.Version != markerVersion {
		return &pb.Problem{Key: "prefix", What: "the space has format version " + strconv.Itoa(m.Version), Hint: "use a newer version of the server"}
	}
	raw, err := hex.DecodeString(m.ID)
	if err != nil || len(raw) != len(s.id) {
		return &pb.Problem{Key: "prefix", What: "the object .space/marker has no valid id", Hint: "restore it"}
	}
	copy(s.id[:], raw)
	return nil
}

// ID is the space's, from its marker.
func (s *Space) ID() [16]byte { return s.id }

// Settings are those it was opened with.
func (s *Space) Settings() Settings { return s.c.set }

// Advance hands the space to an epoch: what older ones have under way is
// ended and awaited, uploads that were not completed are aborted.
func (s *Space) Advance(ctx context.Context, epoch uint64) error {
	s.mu.Lock()
	old := s.calls
	switch {
	case epoch < s.epoch:
		s.mu.Unlock()
		return stale()
	case epoch == s.epoch && old != nil:
		s.mu.Unlock()
		return nil // the same core again
	}
	s.epoch, s.calls = epoch, nil
	s.mu.Unlock()
	if old != nil {
		old.end()
		old.wg.Wait() // every request of theirs ends with its context
	}
	b, err := s.small(ctx, epochName)
	if err != nil && status.Code(err) != codes.NotFound {
		return err
	}
	if who, n, ok := strings.Cut(strings.TrimSpace(string(b)), " "); ok && who == s.node {
		if newest, err := strconv.ParseUint(n, 10, 64); err == nil && newest > epoch {
			return stale()
		}
	}
	if err := s.replace(ctx, epochName, []byte(s.node+" "+strconv.FormatUint(epoch, 10)+"\n")); err != nil {
		return err
	}
	if err := s.abortUploads(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		return stale()
	}
	n := &calls{}
	n.ctx, n.end = context.WithCancel(context.Background())
	s.calls = n
	s.use.begin(s)
	return nil
}

func stale() error {
	return status.Error(codes.FailedPrecondition, "a newer core has opened this space")
}

// enter is what every change begins with; leave ends it. The context ends with
// the epoch.
func (s *Space) enter(ctx context.Context, epoch uint64) (_ context.Context, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case epoch < s.epoch:
		return nil, nil, stale()
	case epoch > s.epoch || s.calls == nil:
		return nil, nil, status.Error(codes.Unavailable, "this epoch has not opened the space")
	}
	n := s.calls
	n.wg.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.ctx, cancel)
	return ctx, func() { stop(); cancel(); n.wg.Done() }, nil
}

// Current refuses an epoch that is not the newest.
func (s *Space) Current(epoch uint64) error {
	_, leave, err := s.enter(context.Background(), epoch)
	if err == nil {
		leave()
	}
	return err
}

// Close ends what is under way.
func (s *Space) Close() {
	s.mu.Lock()
	n := s.calls
	s.calls = nil
	s.mu.Unlock()
	if n != nil {
		n.end()
		n.wg.Wait()
	}
	s.use.end()
	s.c.dropped()
}

// small reads an object of the space's own.
func (s *Space) small(ctx context.Context, name string) (b []byte, err error) {
	err = s.c.try(ctx, "read "+name, 0, func(ctx context.Context) error {
		r, _, _, err := s.c.core.GetObject(ctx, s.c.set.Bucket, s.c.key(name), minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		b, err = io.ReadAll(io.LimitReader(r, 4096))
		return err
	})
	return b, err
}

// replace writes an object whole.
func (s *Space) replace(ctx context.Context, name string, b []byte) error {
	return s.c.try(ctx, "write "+name, int64(len(b)), func(ctx context.Context) error {
		_, err := s.c.up.PutObject(ctx, s.c.set.Bucket, s.c.key(name), bytes.NewReader(b), int64(len(b)), "", "", minio.PutObjectOptions{})
		return err
	})
}

// Write replaces a small file. It does not look at size-limit: ledgers must be
// written when media may not be.
func (s *Space) Write(ctx context.Context, epoch uint64, name string, b []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	ctx, leave, err := s.enter(ctx, epoch)
	if err != nil {
		return err
	}
	defer leave()
	old, _, err := s.Stat(ctx, name)
	if err != nil {
		return err
	}
	if err := s.replace(ctx, name, b); err != nil {
		return err
	}
	s.use.changed(name, int64(len(b))-max(old.Size, 0))
	return nil
}

// Entry is a stored file.
type Entry struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Stat looks for a file.
func (s *Space) Stat(ctx context.Context, name string) (e Entry, there bool, err error) {
	if err := CheckName(name); err != nil {
		return e, false, err
	}
	err = s.c.try(ctx, "look for "+name, 0, func(ctx context.Context) error {
		o, err := s.c.core.StatObject(ctx, s.c.set.Bucket, s.c.key(name), minio.StatObjectOptions{})
		e = Entry{name, o.Size, o.LastModified}
		return err
	})
	if status.Code(err) == codes.NotFound {
		return Entry{}, false, nil
	}
	return e, err == nil, err
}

// List calls fn with the files below a prefix and behind a name, by the bytes
// of their names.
func (s *Space) List(ctx context.Context, prefix, after string, fn func(Entry) error) error {
	return s.list(ctx, prefix, after, 1000, func(name string, o minio.ObjectInfo) error {
		if name == private || strings.HasPrefix(name, private+"/") || CheckName(name) != nil {
			return nil //nolint:nilerr // not a file of ours: it is left alone
		}
		return fn(Entry{name, o.Size, o.LastModified})
	})
}

// list shows the space's own objects, too; page 1 stops after the first.
func (s *Space) list(ctx context.Context, prefix, after string, page int, fn func(string, minio.ObjectInfo) error) error {
	token, start := "", ""
	if after != "" {
		start = s.c.key(after)
	}
	for {
		var got minio.ListBucketV2Result
		err := s.c.try(ctx, "list the bucket", 0, func(context.Context) (err error) {
			// minio-go lists without a context; the transport's deadlines hold.
			got, err = s.c.core.ListObjectsV2(s.c.set.Bucket, s.c.key(prefix), start, token, "", page)
			return err
		})
		if err != nil {
			return err
		}
		for _, o := range got.Contents {
			name := strings.TrimPrefix(o.Key, s.c.set.Prefix)
			if name == "" || strings.HasSuffix(name, "/") || name <= after {
				continue
			}
			if err := fn(name, o); err != nil {
				return err
			}
		}
		if page == 1 || !got.IsTruncated || got.NextContinuationToken == "" {
			return ctx.Err()
		}
		token = got.NextContinuationToken
	}
}

// Read gives a file's bytes from off on, n of them, 0 = all that follow; fn is
// called with pieces that are its own only during the call.
func (s *Space) Read(ctx context.Context, name string, off, n int64, buf []byte, fn func([]byte) error) error {
	if err := CheckName(name); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var body io.ReadCloser
	var left int64 // of the answer: net/http tells a cut one by the error that io.ReadFull has for a short end
	// The deadline of try is for the first byte: the body comes under idle.
	idle := time.AfterFunc(s.c.set.Timeout, cancel)
	defer idle.Stop()
	err := s.c.try(context.WithoutCancel(ctx), "read "+name, 0, func(tctx context.Context) error {
		idle.Reset(s.c.set.Timeout + 5*time.Second)
		if err := ctx.Err(); err != nil {
			return err
		}
		o := minio.GetObjectOptions{}
		if n > 0 {
			if err := o.SetRange(off, off+n-1); err != nil {
				return err
			}
		} else if off > 0 {
			if err := o.SetRange(off, 0); err != nil {
				return err
			}
		}
		r, info, _, err := s.c.core.GetObject(ctx, s.c.set.Bucket, s.c.key(name), o)
		body, left = r, info.Size
		return err
	})
	if status.Code(err) == codes.OutOfRange {
		e, there, serr := s.Stat(ctx, name)
		if serr == nil && there && e.Size == off {
			return nil
		}
	}
	if err != nil {
		return err
	}
	defer body.Close()
	for {
		idle.Reset(s.c.set.Timeout)
		k, err := io.ReadFull(body, buf)
		idle.Stop()
		if k > 0 {
			left -= int64(k)
			if err := fn(buf[:k]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && left <= 0: // < 0: the server did not say
			return nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return status.Errorf(codes.Unavailable, "read %s: the answer was cut %d bytes before its end", name, left)
		default:
			return toStatus("read "+name, err)
		}
	}
}

// Delete removes files and names those that were not there. One that cannot be
// removed keeps none of the others: the error names those that stay, and its code
// is that of the first. Where the server does not answer it ends at once.
func (s *Space) Delete(ctx context.Context, epoch uint64, names []string) (missing []string, err error) {
	ctx, leave, err := s.enter(ctx, epoch)
	if err != nil {
		return nil, err
	}
	defer leave()
	var stay []error
	for _, n := range names {
		if ctx.Err() != nil {
			return missing, status.FromContextError(ctx.Err()).Err()
		}
		there, err := s.remove(ctx, n)
		switch {
		case status.Code(err) == codes.Unavailable:
			return missing, err
		case err != nil:
			stay = append(stay, err)
		case !there:
			missing = append(missing, n)
		}
	}
	return missing, undeleted(stay)
}

func (s *Space) remove(ctx context.Context, name string) (there bool, err error) {
	if err := CheckName(name); err != nil {
		return false, status.Error(status.Code(err), strconv.Quote(name)+": "+status.Convert(err).Message())
	}
	e, there, err := s.Stat(ctx, name)
	if err != nil || !there {
		return there, err
	}
	err = s.c.try(ctx, "delete "+name, 0, func(ctx context.Context) error {
		return s.c.core.RemoveObject(ctx, s.c.set.Bucket, s.c.key(name), minio.RemoveObjectOptions{})
	})
	if err != nil && status.Code(err) != codes.NotFound {
		return true, err
	}
	s.use.changed(name, -e.Size)
	return true, nil
}

// tellMost is how many files an error names; how many more there are it counts.
const tellMost = 10

// undeleted is one error of files that could not be removed.
func undeleted(stay []error) error {
	if len(stay) == 0 {
		return nil
	}
	var text []string
	for _, err := range stay[:min(len(stay), tellMost)] {
		text = append(text, status.Convert(err).Message())
	}
	if more := len(stay) - len(text); more > 0 {
		text = append(text, strconv.Itoa(more)+" more")
	}
	return status.Error(status.Code(stay[0]), strings.Join(text, "; "))
}
