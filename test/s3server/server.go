package s3server

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// module is the server; ACCEPTANCE and dependencies name the same version.
const module = "github.com/versity/versitygw/cmd/versitygw@v1.7.0"

// Access and Secret are the keys of every server made here.
const (
	Access = "testaccess"
	Secret = "testsecret-never-to-be-shown"
	Bucket = "footage"
)

// anybody only looks whether a server answers.
var anybody = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

var built struct {
	sync.Mutex
	path string
}

// binary builds the server where it is not built yet.
func binary(t testing.TB) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.path != "" {
		return built.path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "media-server-test", strings.ReplaceAll(filepath.Base(module), "@", "-"))
	path := filepath.Join(dir, "versitygw")
	if _, err := os.Stat(path); err != nil {
		tmp := t.TempDir()
		c := exec.Command("go", "install", module)
		c.Dir = tmp // not in this module
		c.Env = append(os.Environ(), "GOBIN="+tmp, "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("go install %s: %v\n%s", module, err, out)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(tmp, "versitygw"))
		if err != nil {
			t.Fatal(err)
		}
		// Another test binary may do the same: the name comes last.
		part := fmt.Sprintf("%s.%d", path, os.Getpid())
		if err := os.WriteFile(part, b, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(part, path); err != nil {
			t.Fatal(err)
		}
	}
	built.path = path
	return path
}

// Server is a process that serves a folder with one bucket.
type Server struct {
	Addr string // of the server itself
	Dir  string // of the bucket
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, "http")
}

// StartTLS runs a server that speaks TLS with a certificate and its key.
func StartTLS(t testing.TB, cert, key string) *Server {
	t.Helper()
	return start(t, "https", "--cert", cert, "--key", key)
}

func start(t testing.TB, scheme string, args ...string) *Server {
	t.Helper()
	bin := binary(t)
	root := t.TempDir()
	s := &Server{Addr: freePort(t), Dir: filepath.Join(root, "data", Bucket)}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(bin, append(append([]string{"--quiet", "--port", s.Addr}, args...), "posix", filepath.Join(root, "data"))...)
	c.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+Access, "ROOT_SECRET_KEY="+Secret)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		log.Close()
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		r, err := anybody.Get(scheme + "://" + s.Addr + "/")
		if err == nil {
			r.Body.Close()
			return s
		}
	}
	b, _ := os.ReadFile(log.Name())
	t.Fatalf("the S3 server did not come up:\n%s", b)
	return nil
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Settings are the keys of a space at addr.
func Settings(addr, prefix string) map[string]string {
	return map[string]string{"endpoint": addr, "bucket": Bucket, "prefix": prefix, "access-key": Access, "secret-key": Secret,
		"tls": "off", "part-size": "5M", "timeout": "2s"}
}
