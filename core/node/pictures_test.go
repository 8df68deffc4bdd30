package node

import (
	"bytes"
	"image/jpeg"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// picture asks for one as a browser does.
func (r *rig) picture(method, path string, header ...string) (*http.Response, []byte) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.base+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, b
}

// TestPictures: JPEG of H.264 by ffmpeg and of MJPEG without it, of footage on a disk
// and in memory; tags, lengths and ages of the answers; what is said where ffmpeg is
// missing.
func TestPictures(t *testing.T) {
	r := newRig(t, "", "streams.d/rec.ini", "[rec]\n"+simStream, "streams.d/ring.ini", "[ring]\n"+simStream+"dvr-enable = false\n",
		"streams.d/motion.ini", "[motion]\nstream-url = sim://?codec=mjpeg\nstream-access = public\n")
	defer http.DefaultClient.CloseIdleConnections()
	r.start()
	r.until("rec", "recording", recording)
	r.until("motion", "recording", recording)
	r.until("ring", "active", active)
	for _, uid := range []string{"rec", "ring", "motion"} {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if resp, _ := r.picture("GET", "/live/"+uid+"/preview.mp4"); resp.StatusCode == 200 {
				break
			} else if time.Now().After(end) {
				t.Fatalf("%s shows nothing", uid)
			}
		}
	}
	if _, err := exec.LookPath("ffmpeg"); err == nil {
		t.Run("with ffmpeg", r.decoded)
	} else {
		t.Log("ffmpeg is not there (Debian package ffmpeg): only what needs none is tested")
	}
	t.Setenv("PATH", t.TempDir())
	for _, url := range []string{"/live/ring/preview.jpg?width=320", "/dvr/rec/videoshot.jpg?time=now&width=320"} {
		resp, b := r.picture("GET", url)
		if resp.StatusCode != 503 || !strings.Contains(string(b), "no_decoder") || !strings.Contains(string(b), ".mp4") || !strings.Contains(string(b), "install") ||
			resp.Header.Get("X-Media-Start") != "" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %.300q", url, resp.StatusCode, resp.Header, b)
		}
	}
	for _, url := range []string{"/live/motion/preview.jpg", "/dvr/motion/videoshot.jpg?time=now", "/live/motion/preview.jpg?width=80"} {
		resp, b := r.picture("GET", url)
		if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("%s: %d, %d bytes, %v", url, resp.StatusCode, len(b), err)
		}
	}
}

func (r *rig) decoded(t *testing.T) {
	for _, url := range []string{"/live/rec/preview.jpg", "/live/ring/preview.jpg", "/live/rec/preview.jpg?width=150", "/dvr/rec/videoshot.jpg?time=now", "/live/motion/preview.jpg?width=80"} {
		resp, b := r.picture("GET", url)
		c, err := jpeg.DecodeConfig(bytes.NewReader(b))
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "image/jpeg" || resp.ContentLength != int64(len(b)) {
			t.Fatalf("%s: %d, %d bytes, %v %.200s", url, resp.StatusCode, len(b), err, b)
		}
		at, err := http.ParseTime(resp.Header.Get("Last-Modified"))
		if err != nil || time.Since(at) > time.Minute || resp.Header.Get("X-Media-Start") == "" || resp.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s: %v", url, resp.Header)
		}
		if want := map[bool]int{true: 160}[strings.Contains(url, "150")]; want != 0 && c.Width != want {
			t.Errorf("%s: %d pixels wide", url, c.Width)
		}
	}
	var ranges struct{ Ranges []struct{ From int64 } }
	r.get("/api/v1/streams/rec/ranges", &ranges)
	from := time.UnixMilli(ranges.Ranges[0].From).UTC()
	url := "/dvr/rec/videoshot.jpg?time=" + from.Format("2006-01-02T15:04:05.000Z")
	resp, b := r.picture("GET", url)
	tag := resp.Header.Get("ETag")
	if resp.StatusCode != 200 || tag == "" {
		t.Fatalf("%d %v %.200s", resp.StatusCode, resp.Header, b)
	}
	if resp, _ := r.picture("GET", url, "If-None-Match", tag); resp.StatusCode != 304 || resp.Header.Get("ETag") != tag {
		t.Errorf("who has it gets %d", resp.StatusCode)
	}
	if resp, some := r.picture("GET", url, "Range", "bytes=10-19"); resp.StatusCode != 206 || !bytes.Equal(some, b[10:20]) {
		t.Errorf("a piece: %d", resp.StatusCode)
	}
	if resp, _ := r.picture("HEAD", url); resp.StatusCode != 200 || resp.ContentLength != int64(len(b)) {
		t.Errorf("HEAD: %d %d", resp.StatusCode, resp.ContentLength)
	}
	if resp, _ := r.picture("GET", url+"&width=80"); resp.Header.Get("ETag") == tag {
		t.Error("a smaller one has the same tag")
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) { // real time makes footage old
		if resp, _ := r.picture("GET", url); resp.Header.Get("Cache-Control") == "private, max-age=3600" {
			if resp.Header.Get("ETag") != tag {
				t.Error("the tag has changed")
			}
			break
		} else if time.Now().After(end) {
			t.Fatalf("settled footage: %v", resp.Header)
		}
	}
}
