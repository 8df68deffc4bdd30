package accept

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// curl runs curl and returns the head and the body of the answer; code is
// curl's own.
func curl(t *testing.T, args ...string) (head string, body []byte, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "head")
	cmd := exec.Command("curl", append([]string{"-sS", "-m", "60", "-D", file}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	body, err := cmd.Output()
	var x *exec.ExitError
	if err != nil && !errors.As(err, &x) {
		t.Fatal(err)
	}
	if x != nil {
		return said.String(), body, x.ExitCode()
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), body, 0
}

// another is an address of this machine that is not its loopback.
func another() string {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}

// TestHTTPS: with the pair that the server makes for itself, what is private
// plays over https by a login: recordings whole and in ranges, live and past
// playlists. Plain http stands beside it, and takes passwords from this machine
// alone.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"curl", "ffmpeg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not there: install the Debian package %s (make setup does)", tool, tool)
		}
	}
	s := harness.New(t, harness.Options{})
	edit(t, s, "[http]\nlisten = 127.0.0.1:", "[http]\nlisten = :")
	base := https(t, s)
	gate := harness.Camera{UID: "gate", Sent: filepath.Join(s.Dir, "gate.csv")}
	s.Put("gate", "stream-url = sim://?ledger="+gate.Sent, "stream-access = private", "dvr-chunk = 2s")
	s.Start()
	passwd(t, s)
	s.Active("gate")

	// The certificate is its own, the one whose fingerprint was printed.
	ca := filepath.Join(s.Data, "keys", "tls-cert.pem")
	b, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	fingerprint := strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(block.Bytes)), " ", ":")
	if !strings.Contains(s.Log(1<<20), "TLS certificate, SHA-256: "+fingerprint) {
		t.Errorf("the fingerprint %s was not printed", fingerprint)
	}
	if fi, err := os.Stat(filepath.Join(s.Data, "keys", "tls-key.pem")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", fi, err)
	}
	_, at, _ := strings.Cut(s.Log(1<<20), "control panel at ")
	at, _, _ = strings.Cut(at, "\n")
	if head, _, code := curl(t, "--cacert", ca, at); code != 0 || !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Errorf("the address that is printed, %s: %d %s", at, code, head)
	}
	if said, _, code := curl(t, base+"/cpanel/"); code != 60 {
		t.Errorf("nobody vouches for the certificate, and curl ends with %d %s", code, said)
	}
	if said, _, code := curl(t, "--cacert", ca, "--tls-max", "1.1", base+"/cpanel/"); code == 0 {
		t.Errorf("TLS 1.1 is spoken: %s", said)
	}

	// A login gives a cookie that goes over TLS only.
	jar := filepath.Join(t.TempDir(), "jar")
	login := func(to, origin string, more ...string) (head, body string) {
		t.Helper()
		head, b, code := curl(t, append(more, "-H", "Content-Type: application/json", "-H", "Origin: "+origin,
			"-d", fmt.Sprintf(`{"user":"admin","password":%q}`, panelPassword), to+"/cpanel/login")...)
		if code != 0 {
			t.Errorf("login at %s: curl ends with %d: %s", to, code, head)
		}
		return head, string(b)
	}
	cookie := func(head string) string { return strings.ToLower(field(head, "Set-Cookie")) }
	head, _ := login(base, base, "--cacert", ca, "-c", jar)
	if c := cookie(head); !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(c, "; secure") || !strings.Contains(c, "; httponly") || !strings.Contains(c, "; samesite=strict") {
		t.Fatalf("login over https: %s", head)
	}
	if head, _ := login(base, "https://elsewhere.example", "--cacert", ca); !strings.HasPrefix(head, "HTTP/1.1 403 ") {
		t.Errorf("login from another site's page: %s", head)
	}
	if head, _ := login(s.HTTP, s.HTTP); !strings.HasPrefix(head, "HTTP/1.1 200 ") || cookie(head) == "" || strings.Contains(cookie(head), "; secure") {
		t.Errorf("login over http from this machine: %s", head)
	}
	if ip := another(); ip != "" {
		far := "http://" + net.JoinHostPort(ip, s.HTTP[strings.LastIndexByte(s.HTTP, ':')+1:])
		if head, body := login(far, far); !strings.HasPrefix(head, "HTTP/1.1 403 ") || !strings.Contains(body, "plain_http") || !strings.Contains(body, "https://") || cookie(head) != "" {
			t.Errorf("login over http from another address: %s%s", head, body)
		}
	}

	// What was recorded: whole, and in ranges.
	var f harness.Footage
	s.Until("some seconds of footage", func() bool {
		var got struct{ Ranges []harness.Span } // the public page of it is not for everybody
		_, _ = s.Call("GET", "streams/gate/ranges", &got)
		f.Ranges = got.Ranges
		return len(f.Ranges) > 0 && f.Ranges[0].To-f.Ranges[0].From > 6000
	})
	from, to := f.Ranges[0].From, f.Ranges[0].From+5000
	path := fmt.Sprintf("/dvr/gate/record.mp4?from=%d&to=%d", from, to)
	get := func(args ...string) (head string, body []byte) {
		t.Helper()
		head, body, code := curl(t, append([]string{"--cacert", ca, "-b", jar, base + path}, args...)...)
		if code != 0 {
			t.Fatalf("curl %v ends with %d: %s", args, code, head)
		}
		return head, body
	}
	for _, to := range []string{base, s.HTTP} {
		if head, _, _ := curl(t, "--cacert", ca, to+path); !strings.HasPrefix(head, "HTTP/1.1 401 ") {
			t.Errorf("%s without a login: %s", to, head)
		}
	}
	head, whole := get()
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") || field(head, "Content-Length") != strconv.Itoa(len(whole)) || field(head, "Accept-Ranges") != "bytes" {
		t.Fatalf("%d bytes: %s", len(whole), head)
	}
	n := len(whole)
	for _, r := range []struct {
		ask      string
		from, to int // the last one not in it
	}{{"0-0", 0, 1}, {"1000-4999", 1000, 5000}, {fmt.Sprintf("%d-", n/2), n / 2, n}, {"-500", n - 500, n}, {fmt.Sprintf("%d-%d", n-10, n+1000), n - 10, n}} {
		head, body := get("-r", r.ask)
		if !strings.HasPrefix(head, "HTTP/1.1 206 ") || field(head, "Content-Range") != fmt.Sprintf("bytes %d-%d/%d", r.from, r.to-1, n) || !bytes.Equal(body, whole[r.from:r.to]) {
			t.Errorf("Range %s: %d bytes: %s", r.ask, len(body), head)
		}
	}
	if head, _ := get("-r", fmt.Sprintf("%d-", n)); !strings.HasPrefix(head, "HTTP/1.1 416 ") || field(head, "Content-Range") != fmt.Sprintf("bytes */%d", n) {
		t.Errorf("a range behind the end: %s", head)
	}
	if _, body, _ := curl(t, "-H", "Authorization: Bearer "+s.Verb("token", "api", "--role", "viewer"), s.HTTP+path); !bytes.Equal(body, whole) {
		t.Errorf("plain http gives %d bytes, https %d", len(body), n)
	}

	// What players and the ledger make of it.
	file := filepath.Join(t.TempDir(), "whole.mp4")
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	decoded := func(args ...string) (out string) {
		t.Helper()
		cmd := exec.Command("ffmpeg", append(append([]string{"-v", "error", "-nostdin"}, args...), "-map", "0", "-f", "framecrc", "-")...)
		var said bytes.Buffer
		cmd.Stderr = &said
		b, err := cmd.Output()
		if err != nil || said.Len() > 0 {
			t.Errorf("ffmpeg %v: %v: %s", args, err, said.String())
		}
		return string(b)
	}
	shown := decoded("-tls_verify", "1", "-ca_file", ca, "-headers", "Cookie: "+cookieOf(t, jar)+"\r\n", "-i", base+path)
	if pictures := strings.Count(shown, "\n0, "); pictures < 100 || shown != decoded("-i", file) {
		t.Errorf("ffmpeg shows %d pictures over https, and others than of the file", pictures)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, IdleConnTimeout: time.Second}}
	sent, err := ledger.ReadSent(gate.Sent)
	if err != nil {
		t.Fatal(err)
	}
	line := ""
	for _, door := range []string{"record.mp4", "playlist.m3u8"} {
		m, err := ledger.Read(context.Background(), ledger.Source{Client: client, Header: http.Header{"Cookie": {cookieOf(t, jar)}},
			URL: base + strings.Replace(path, "record.mp4", door, 1)})
		if err != nil {
			t.Fatalf("%s over https: %v", door, err)
		}
		line += fmt.Sprintf("; %s over https: %s", door, s.Judge(door, ledger.Compare(sent, m,
			ledger.Rules{From: from * 1e6, To: to*1e6 - int64(300*time.Millisecond), Head: 300 * time.Millisecond, Tail: -1, Gaps: map[string][]ledger.Gap{}})))
	}
	harness.Row(t, "https with the pair that the server makes", 0, "login gives a Secure cookie, ranges of record.mp4 are those of the whole, byte for byte what plain http gives; ffmpeg shows %d pictures%s", strings.Count(shown, "\n0, "), line)
}

// field is a header of an answer.
func field(head, name string) string {
	for l := range strings.Lines(head) {
		if k, v, _ := strings.Cut(l, ":"); strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// cookieOf is the cookie in a file that curl has written.
func cookieOf(t *testing.T, jar string) string {
	t.Helper()
	for l := range strings.Lines(text(t, jar)) {
		if w := strings.Split(strings.TrimSpace(l), "\t"); len(w) == 7 {
			return w[5] + "=" + w[6]
		}
	}
	t.Fatal("there is no cookie in it")
	return ""
}
