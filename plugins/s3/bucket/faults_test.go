package bucket_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/s3/bucket"
	"media-server/test/s3server"
)

func open(t *testing.T, addr, prefix string, epoch uint64, change func(*bucket.Settings)) *bucket.Space {
	t.Helper()
	set, bad := bucket.ParseSettings(s3server.Settings(addr, prefix))
	if bad != nil {
		t.Fatal(bad)
	}
	set.Timeout = time.Second
	if change != nil {
		change(&set)
	}
	s, _, problem, err := bucket.Open(t.Context(), bucket.Request{Settings: set, Node: "n", Epoch: epoch, Create: true})
	if err != nil || problem != nil {
		t.Fatal(err, problem)
	}
	if err := s.Advance(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

func read(t *testing.T, s *bucket.Space, name string, off, n int64) ([]byte, error) {
	t.Helper()
	var out []byte
	err := s.Read(t.Context(), name, off, n, make([]byte, 100_000), func(b []byte) error { out = append(out, b...); return nil })
	return out, err
}

// TestFaults: a server that answers slowly, cuts, refuses or hangs ends every
// call within its bound, leaves nothing half stored, and works again after.
func TestFaults(t *testing.T) {
	srv := s3server.Start(t)
	p := s3server.NewProxy(t, srv.Addr)
	s := open(t, p.Addr, "a", 1, nil)
	b := noise(12 << 20)
	if err := s.Put(t.Context(), 1, "cam/1", int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		on, off  func()
		code     codes.Code
		at, most time.Duration
	}{
		{"slow", func() { p.Delay(20 * time.Millisecond) }, func() { p.Delay(0) }, codes.OK, 0, 40 * time.Second},
		{"refuses", func() { p.Refuse(true); p.Reset() }, func() { p.Refuse(false) }, codes.Unavailable, 0, 10 * time.Second},
		{"hangs", func() { p.Hang(true) }, func() { p.Hang(false) }, codes.Unavailable, 2 * time.Second, 20 * time.Second},
		{"cuts uploads", func() { p.CutAfter(1 << 20) }, func() { p.CutAfter(0) }, codes.Unavailable, 0, 40 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.on()
			name := "cam/" + strings.ReplaceAll(c.name, " ", "-")
			start := time.Now()
			err := s.Put(t.Context(), 1, name, int64(len(b)), bytes.NewReader(b))
			if took := time.Since(start); took < c.at || took > c.most {
				t.Errorf("Put ended after %s", took)
			}
			if status.Code(err) != c.code {
				t.Errorf("Put: %v, want %v", err, c.code)
			}
			if err != nil && strings.Contains(err.Error(), s3server.Secret) {
				t.Error("the secret is in the error")
			}
			if c.name != "cuts uploads" {
				start = time.Now()
				got, err := read(t, s, "cam/1", 5<<20-10, 2<<20)
				if status.Code(err) != c.code || c.code == codes.OK && !bytes.Equal(got, b[5<<20-10:7<<20-10]) {
					t.Errorf("Read: %d bytes, %v; want %v", len(got), err, c.code)
				}
				if took := time.Since(start); took > c.most {
					t.Errorf("Read ended after %s", took)
				}
				if _, _, _, err := s.Usage(t.Context()); status.Code(err) != c.code {
					t.Errorf("Usage: %v, want %v", err, c.code)
				}
			}
			c.off()
			e, there, err := s.Stat(t.Context(), name)
			if err != nil || there != (c.code == codes.OK) {
				t.Fatalf("afterwards %s: %+v %v %v", name, e, there, err)
			}
		})
	}
	// An answer that ends before its end is not the end of the file.
	p.Reset()
	p.CutAnswers(1 << 20)
	if got, err := read(t, s, "cam/1", 0, 0); status.Code(err) != codes.Unavailable || len(got) >= len(b) {
		t.Errorf("an answer that was cut: %d of %d bytes, %v", len(got), len(b), err)
	}
	if got, err := read(t, s, "cam/1", 100, 5<<20); status.Code(err) != codes.Unavailable || len(got) >= 5<<20 {
		t.Errorf("an answer of a part that was cut: %d bytes, %v", len(got), err)
	}
	p.CutAnswers(0)
	p.Reset()
	got, err := read(t, s, "cam/1", 0, 0)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(b) {
		t.Fatal("other bytes", err)
	}
	// What hung while it was to be aborted goes with the next epoch.
	if err := s.Advance(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	left := 0
	filepath.WalkDir(srv.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "multipart") {
			left++
			t.Log(path)
		}
		return nil
	})
	if left > 0 {
		t.Fatalf("%d files of uploads are left", left)
	}
}

// TestNewerEpochEndsUploads: it does not wait for a file that is slow to come.
func TestNewerEpochEndsUploads(t *testing.T) {
	srv := s3server.Start(t)
	s := open(t, srv.Addr, "a", 1, nil)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Put(context.Background(), 1, "cam/1", 20<<20, r) }()
	w.Write(noise(6 << 20)) // one part, and a piece of the next
	go func() {
		time.Sleep(100 * time.Millisecond)
		w.CloseWithError(errors.New("the core is gone"))
	}()
	if err := s.Advance(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := <-done; status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("Put of the older epoch: %v", err)
	}
	if _, there, err := s.Stat(t.Context(), "cam/1"); there || err != nil {
		t.Fatal(there, err)
	}
}

// TestUsageAndLimit: bytes are counted once and kept, size-limit holds.
func TestUsageAndLimit(t *testing.T) {
	srv := s3server.Start(t)
	s := open(t, srv.Addr, "a", 1, nil)
	for _, n := range []string{"b/1", "a/1", "c/1"} {
		if err := s.Put(t.Context(), 1, n, 1000, bytes.NewReader(noise(1000))); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, srv.Addr, "a", 2, func(x *bucket.Settings) { x.SizeLimit = 5000 })
	used := func() int64 {
		_, _, u, err := s.Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for deadline := time.Now().Add(10 * time.Second); used() < 3000; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("used %d", used())
		}
	}
	base := used() // marker and epoch count as well
	if _, err := s.Delete(t.Context(), 2, []string{"a/1"}); err != nil {
		t.Fatal(err)
	}
	if u := used(); u != base-1000 {
		t.Fatalf("used %d after a deletion, %d before", u, base)
	}
	if err := s.Put(t.Context(), 2, "d/1", 4000, bytes.NewReader(noise(4000))); status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("over the limit: %v", err)
	}
}

// TestProblems: what an operator has to mend is said with key and remedy, and
// never with a key's value.
func TestProblems(t *testing.T) {
	srv := s3server.Start(t)
	os.WriteFile(filepath.Join(srv.Dir, "somebody.txt"), []byte("x"), 0o644)
	for _, c := range []struct {
		name, key string
		set       map[string]string
	}{
		{"no bucket", "bucket", map[string]string{"bucket": "nothere"}},
		{"wrong secret", "access-key", map[string]string{"secret-key": "wrong-secret"}},
		{"foreign objects", "prefix", map[string]string{"prefix": ""}},
		{"URL as endpoint", "endpoint", map[string]string{"endpoint": "http://x/"}},
		{"part too small", "part-size", map[string]string{"part-size": "1M"}},
		{"unknown key", "buckt", map[string]string{"buckt": "x"}},
		{"no secret", "secret-key", map[string]string{"secret-key": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := s3server.Settings(srv.Addr, "p")
			for k, v := range c.set {
				m[k] = v
			}
			set, p := bucket.ParseSettings(m)
			if p == nil {
				var err error
				if _, _, p, err = bucket.Open(t.Context(), bucket.Request{Settings: set, Node: "n", Epoch: 1, Create: true}); err != nil {
					t.Fatal(err)
				}
			}
			if p == nil || p.Key != c.key || p.What == "" || p.Hint == "" {
				t.Fatalf("%v, want key %s", p, c.key)
			}
			if strings.Contains(p.String(), s3server.Secret) || strings.Contains(p.String(), "wrong-secret") {
				t.Fatal("a secret is shown")
			}
		})
	}
}
