package accept

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// TestPictures: preview.jpg and videoshot.jpg show the frame that preview.mp4 and
// videoshot.mp4 hold, of H.264, H.265 (encrypted) and MJPEG; each is decoded once,
// whoever asks; no decoder outlives its picture or the server.
func TestPictures(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is not there: install the Debian package ffmpeg")
	}
	s := harness.New(t, harness.Options{Ini: "[space.main]\npath = SPACE\n[space.other]\npath = OTHER\n[pool.default]\nspaces = main\n[pool.vault]\nspaces = other\nencrypt = true"})
	edit(t, s, "SPACE", filepath.Join(s.Data, "media"))
	edit(t, s, "OTHER", filepath.Join(s.Data, "vault"))
	s.Sim("gate", "bitrate=500k", "dvr-chunk = 2s")
	s.Sim("yard", "codec=h265&audio=pcma&bitrate=500k", "dvr-chunk = 2s", "dvr-pool = vault")
	s.Sim("mill", "codec=mjpeg", "dvr-chunk = 2s")
	uids := []string{"gate", "yard", "mill"}
	s.Start()
	footage(s, uids...)
	s.Past(time.Now().UnixMilli()+harness.Pick[int64](60_000, 12_000), uids...)
	for _, uid := range uids {
		r := s.Footage(uid).Ranges[0]
		shown, worst, other := 0, math.Inf(1), math.Inf(1)
		var last []byte
		for at := r.From + 700; at < r.To-1000; at += 2900 {
			psnr, small := shows(t, s, uid, fmt.Sprintf("/dvr/%s/videoshot.%%s?time=%d", uid, at), at)
			worst = min(worst, psnr)
			if last != nil {
				other = min(other, likeness(last, small))
			}
			last, shown = small, shown+1
		}
		live, _ := shows(t, s, uid, fmt.Sprintf("/live/%s/preview.%%s", uid), 0)
		worst = min(worst, live)
		if shown < 3 || worst < 30 {
			t.Errorf("%s: %d pictures, one only %.1f dB like its frame", uid, shown, worst)
		}
		if other > worst-6 {
			t.Errorf("%s: the test proves nothing: another picture is %.1f dB like it, its own %.1f", uid, other, worst)
		}
		harness.Row(t, "pictures as JPEG", 0, "%s: %d of %d at the right time, each at least %.1f dB like its key frame (another one %.1f dB)", uid, shown+1, shown+1, worst, other)
	}
	decodedOnce(t, s, "gate")
	s.Until("every decoder to have ended", func() bool { return len(decoders(s.PID())) == 0 })
}

// shows fetches a picture as MP4 and as JPEG and tells how alike they are, in dB, and
// what the JPEG shows. The frame must be the last key frame at a time, or of the last
// seconds.
func shows(t *testing.T, s *harness.Server, uid, form string, at int64) (psnr float64, small []byte) {
	t.Helper()
	for try := 0; ; try++ { // live, a key frame may come between the two
		film, filmAt := image(t, s.HTTP+fmt.Sprintf(form, "mp4"))
		still, stillAt := image(t, s.HTTP+fmt.Sprintf(form, "jpg"))
		if filmAt != stillAt && at == 0 && try < 5 {
			continue
		}
		taken, err := strconv.ParseFloat(stillAt, 64)
		found := ledger.Search(film)
		if err != nil || filmAt != stillAt || len(found) != 1 || found[0].ID.Camera != uid {
			t.Fatalf("%s: taken %q and %q, %v", form, filmAt, stillAt, found)
		}
		stamp := float64(found[0].Token) / 1e6
		from, to := float64(at)-1200, float64(at+1) // an address tells whole milliseconds
		if at == 0 {
			to = float64(time.Now().UnixMilli())
			from = to - 20_000
		}
		if math.Abs(stamp-taken) > 50 || taken < from || taken > to {
			t.Errorf("%s: a frame of %.3f is said to be of %s", form, stamp, stillAt)
		}
		small = gray(t, "mjpeg", still)
		return likeness(gray(t, "mp4", film), small), small
	}
}

func image(t *testing.T, url string) (b []byte, at string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %.300q %v", url, resp.StatusCode, b, err)
	}
	return b, resp.Header.Get("X-Media-Start")
}

// gray decodes a picture to 160 x 90 shades.
func gray(t *testing.T, format string, b []byte) []byte {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-f", format, "-i", "pipe:0", "-frames:v", "1", "-vf", "scale=160:90,format=gray", "-f", "rawvideo", "pipe:1")
	cmd.Stdin = bytes.NewReader(b)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || len(out) != 160*90 {
		t.Fatalf("ffmpeg gave %d bytes: %v %s", len(out), err, said.String())
	}
	return out
}

// likeness is the PSNR of two pictures in dB.
func likeness(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255/max(sum/float64(len(a)), 1e-3))
}

// decodedOnce: a crowd that asks for one picture has it decoded once.
func decodedOnce(t *testing.T, s *harness.Server, uid string) {
	t.Helper()
	decoded := func() float64 { return s.Metric("mediaserver_stills_total", `result="decoded"`) }
	before := decoded()
	at := s.Footage(uid).Ranges[0].From + 1000
	var all sync.WaitGroup
	got := make([]string, 100)
	for i := range got {
		all.Go(func() {
			_, got[i] = s.Get(fmt.Sprintf("%s/dvr/%s/videoshot.jpg?time=%d&width=%d", s.HTTP, uid, at, 161+i))
		})
	}
	all.Wait()
	if n := decoded() - before; n != 1 || len(slices.Compact(got)) != 1 || !strings.HasPrefix(got[0], "\xff\xd8") {
		t.Errorf("100 requests of one picture: decoded %.0f times, %.100q", n, got[0])
	}
}

// decoders lists the children of a process that are ffmpeg.
func decoders(pid int) (out []string) {
	ps, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range ps {
		b, err := os.ReadFile(p)
		_, rest, ok := strings.Cut(string(b), " (ffmpeg) ")
		if f := strings.Fields(rest); err == nil && ok && len(f) > 1 && f[1] == strconv.Itoa(pid) {
			out = append(out, string(b))
		}
	}
	return out
}
