package node

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestListenLater: an address or a network interface that is not there when the server
// starts keeps no stream from being recorded; it is told, and served when it comes.
func TestListenLater(t *testing.T) {
	const inside = "NODE_TEST_NAMESPACE"
	if os.Getenv(inside) == "" {
		if out, err := exec.Command("unshare", "--net", "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Skipf("no network of its own is to be had: %v %s", err, out)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run=^TestListenLater$", "-test.timeout=3m")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", args, err, out)
		}
	}
	ip("link set lo up")
	r := newRig(t, "[rtsp]\nenable = true\nlisten = wg9:8554\n", "streams.d/rec.ini", "[rec]\n"+simStream)
	s := strings.Replace(r.server(), "[http]\nlisten = 127.0.0.1:0", "[http]\nlisten = 192.0.2.77:8080", 1)
	r.write("media-server.ini", strings.Replace(s, "[admin]\nlisten = 127.0.0.1:0", "[admin]\nlisten = 127.0.0.1:9998", 1))
	r.start()
	r.until("rec", "recording", recording)
	told := func() string {
		var p struct {
			Items []struct{ Level, Where, What, Hint string }
		}
		r.get("/api/v1/problems", &p)
		text := ""
		for _, x := range p.Items {
			text += fmt.Sprintf("%s %s %s; %s\n", x.Level, x.Where, x.What, x.Hint)
		}
		return text
	}
	for _, want := range []string{"error [http] listen tcp 192.0.2.77:8080:", "error [rtsp] listen wg9:8554: wg9 is no address, no network interface"} {
		if got := told(); !strings.Contains(got, want) {
			t.Errorf("%q is not told:\n%s", want, got)
		}
	}
	if status, text := page(t, "http://127.0.0.1:9998/readyz"); status != 503 || !strings.Contains(text, "no http or https listener has its address yet") {
		t.Errorf("%d %s", status, text)
	}
	ip("addr add 192.0.2.77/32 dev lo")
	ip("link add wg9 type veth peer name wg8")
	ip("addr add 192.0.2.78/32 dev wg9")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, text := page(t, "http://127.0.0.1:9998/readyz"); status == 200 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d %s", status, text)
		}
	}
	if status, text := page(t, "http://192.0.2.77:8080/cpanel/"); status != 200 {
		t.Errorf("%d %.100s", status, text)
	}
	for end := time.Now().Add(20 * time.Second); strings.Contains(told(), "listen "); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(told())
		}
	}
	c, err := net.Dial("tcp", "192.0.2.78:8554")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(c, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	var b [8]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "RTSP/1.0" {
		t.Errorf("%q %v", b, err)
	}
}

func page(t *testing.T, url string) (status int, text string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
