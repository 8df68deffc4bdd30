package rtspsource

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

// cameras starts testdata/camera.py for one test and returns its
// addresses: open, with Digest, with Basic. The
// process ends when the test closes its standard input.
func cameras(t *testing.T) (open, digest, basic string) {
	t.Helper()
	const python = "/usr/bin/python3"
	probe := exec.Command(python, "-c", `import gi; gi.require_version("GstRtspServer", "1.0")`)
	if err := probe.Run(); err != nil {
		t.Fatal("needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-{base,good,bad,ugly}, gstreamer1.0-libav")
	}
	cmd := exec.Command(python, filepath.Join("testdata", "camera.py"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	var p [3]int
	if _, err := fmt.Fscanf(bufio.NewReader(out), "PORTS %d %d %d\n", &p[0], &p[1], &p[2]); err != nil {
		t.Fatalf("camera.py did not start: %v", err)
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	return at(p[0]), at(p[1]), at(p[2])
}

// TestGStreamer captures from GStreamer's RTSP server, which nobody here wrote.
func TestGStreamer(t *testing.T) {
	open, digest, basic := cameras(t)
	turn := make(chan struct{}, 3) // encoders at work
	alone := map[string]*sync.Mutex{}
	cases := []struct {
		name, path, transport string
		want                  map[media.Codec]int
		check                 func(t *testing.T, m *memory)
	}{
		{"H264 B-frames AAC tcp", "/h264-aac", TCP, map[media.Codec]int{media.H264: 35, media.AAC: 40}, bframes},
		{"H264 B-frames AAC udp", "/h264-aac", UDP, map[media.Codec]int{media.H264: 35, media.AAC: 40}, bframes},
		{"LATM", "/h264-latm", TCP, map[media.Codec]int{media.H264: 20, media.AAC: 30}, nil},
		{"H265 PCMA tcp", "/h265-pcma", Auto, map[media.Codec]int{media.H265: 25, media.PCMA: 12}, nil},
		{"H265 PCMA udp", "/h265-pcma", UDP, map[media.Codec]int{media.H265: 25, media.PCMA: 12}, nil},
		{"MJPEG Opus tcp", "/mjpeg-opus", Auto, map[media.Codec]int{media.MJPEG: 20, media.Opus: 30}, pictureOK},
		{"MJPEG Opus udp", "/mjpeg-opus", UDP, map[media.Codec]int{media.MJPEG: 20, media.Opus: 30}, pictureOK},
		{"audio only", "/audio", Auto, map[media.Codec]int{media.AAC: 60}, nil},
		{"1 fps", "/slow", Auto, map[media.Codec]int{media.H264: 3}, nil},
		{"metadata", "/metadata", Auto, map[media.Codec]int{media.H264: 16, media.Metadata: 16}, documentsOK},
		{"unsupported audio", "/speex", Auto, map[media.Codec]int{media.H264: 16}, func(t *testing.T, m *memory) {
			if len(m.left) != 1 || !strings.Contains(m.left[0].Name, "SPEEX") || m.left[0].Reason == "" {
				t.Errorf("left out: %+v", m.left)
			}
		}},
		{"digest", digest + "/digest", Auto, map[media.Codec]int{media.H264: 16}, nil},
		{"basic", basic + "/digest", Auto, map[media.Codec]int{media.H264: 16}, nil},
	}
	for _, c := range cases {
		alone[c.path] = &sync.Mutex{}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// A second client that joins a shared media while it begins makes
			// GStreamer drop and repeat packets for the first: one after another.
			alone[c.path].Lock()
			defer alone[c.path].Unlock()
			turn <- struct{}{}
			defer func() { <-turn }()
			host := c.path
			if host[0] == '/' {
				host = open + host
			}
			enough := func(m *memory) bool {
				for codec, n := range c.want {
					if _, u := m.of(codec); len(u) < n {
						return false
					}
				}
				return true
			}
			m, err := capture(t, Config{URL: "rtsp://user:p#ss@" + host, Transport: c.transport}, enough, 30*time.Second)
			if err != nil {
				t.Fatalf("%v; have %d units of %v", err, len(m.units), m.tracks)
			}
			if n := m.stats.PacketsLost.Load(); n != 0 {
				t.Errorf("%d packets lost", n)
			}
			if n := m.stats.UnitsDamaged.Load(); n != 0 {
				t.Errorf("%d units damaged", n)
			}
			if m.stats.PacketsReceived.Load() == 0 || m.stats.BytesReceived.Load() == 0 {
				t.Error("nothing counted")
			}
			for codec := range c.want {
				track, units := m.of(codec)
				steady(t, c.path, track, units)
				if !track.Ready() {
					t.Errorf("%v is not ready", track)
				}
			}
			if c.check != nil {
				c.check(t, m)
			}
		})
	}
}

// rate checks that PTS grow as the source's units do, by the source's own
// count: neither a slow encoder nor a busy machine changes that.
func rate(t *testing.T, path string, track media.Track, units []media.AccessUnit) {
	t.Helper()
	least, most := units[0].PTS, units[0].PTS
	bytes := 0
	for i, u := range units {
		least, most = min(least, u.PTS), max(most, u.PTS)
		if i < len(units)-1 {
			bytes += len(u.Payload)
		}
	}
	steps := time.Duration(len(units) - 1)
	span, slack := media.DurationOf(most-least, track.Timescale), 2*time.Millisecond
	var want, more time.Duration // more: pictures whose turn comes with units not captured
	switch {
	case track.Codec == media.Metadata: // documents come by a timer that may be late
		want, more = steps*80*time.Millisecond, time.Hour
	case track.Codec == media.AAC:
		want = steps * 1024 * time.Second / 48000
	case track.Codec == media.Opus:
		want = steps * 20 * time.Millisecond
	case track.Codec == media.PCMA:
		want = time.Duration(bytes) * time.Second / 8000
	case path == "/slow":
		want = steps * time.Second
	default:
		want, more = steps*40*time.Millisecond, 3*40*time.Millisecond
	}
	if span < want-slack || span > want+more+slack {
		t.Errorf("%v: %d units span %v of PTS, want %v", track, len(units), span, want)
	}
}

// steady checks what holds for all tracks: times that fit the rate, DTS that
// grow and are not above PTS, sound sample form.
func steady(t *testing.T, path string, track media.Track, units []media.AccessUnit) {
	t.Helper()
	rate(t, path, track, units)
	reported := 0
	for i, u := range units {
		if u.NTP != 0 {
			reported++
			if d := u.Received.Sub(u.NTP); d < -time.Second || d > 3*time.Second {
				t.Errorf("%v unit %d: NTP %v, received %v", track, i, u.NTP.Time(), u.Received.Time())
				break
			}
		}
		if u.Mono == 0 || u.Received == 0 || len(u.Payload) == 0 || u.Damaged {
			t.Fatalf("%v unit %d: %+v", track, i, u)
		}
		if !u.HasDTS || u.DTS > u.PTS || i > 0 && u.DTS <= units[i-1].DTS {
			t.Fatalf("%v unit %d: PTS %d DTS %d %v", track, i, u.PTS, u.DTS, u.HasDTS)
		}
		if track.Codec == media.H264 || track.Codec == media.H265 {
			if err := sampleForm(u.Payload); err != nil {
				t.Fatalf("%v unit %d: %v", track, i, err)
			}
		}
	}
	if track.Kind() == media.Video && !units[0].Key && track.Codec == media.MJPEG {
		t.Error("an MJPEG picture is no key frame")
	}
	t.Logf("%v: %d units, %d with NTP", track, len(units), reported)
}

func sampleForm(b []byte) error {
	for len(b) > 0 {
		if len(b) < 5 {
			return fmt.Errorf("%d bytes left over", len(b))
		}
		n := int(binary.BigEndian.Uint32(b))
		if n == 0 || n > len(b)-4 {
			return fmt.Errorf("NAL unit of %d bytes in %d", n, len(b)-4)
		}
		b = b[4+n:]
	}
	return nil
}

func bframes(t *testing.T, m *memory) {
	_, units := m.of(media.H264)
	reordered, keys := 0, 0
	for i, u := range units {
		if i > 0 && u.PTS < units[i-1].PTS {
			reordered++
		}
		if u.Key {
			keys++
		}
		if d := u.PTS - u.DTS; i > 4 && d%3600 != 0 {
			t.Fatalf("unit %d: PTS - DTS = %d, not whole frames", i, d)
		}
	}
	if reordered == 0 {
		t.Error("no B-frames")
	}
	if keys == 0 {
		t.Error("no key frame")
	}
}

func pictureOK(t *testing.T, m *memory) {
	_, units := m.of(media.MJPEG)
	for i, u := range units {
		img, err := jpeg.Decode(bytes.NewReader(u.Payload))
		if err != nil {
			t.Fatalf("picture %d: %v", i, err)
		}
		if b := img.Bounds(); b.Dx() != 320 || b.Dy() != 240 {
			t.Fatalf("picture %d is %v", i, b)
		}
	}
}

func documentsOK(t *testing.T, m *memory) {
	_, units := m.of(media.Metadata)
	for i, u := range units {
		if !bytes.HasPrefix(u.Payload, []byte("<?xml")) || !bytes.HasSuffix(u.Payload, []byte("</tt:MetadataStream>")) {
			t.Fatalf("document %d: %.60q…", i, u.Payload)
		}
	}
}

// TestRefusals is what an operator is told when a camera does not deliver.
func TestRefusals(t *testing.T) {
	host, digest, basic := cameras(t)
	for _, c := range []struct {
		name, url string
		want      pb.Cause
	}{
		{"wrong password", "rtsp://user:geheim@" + digest + "/digest", pb.Cause_REFUSED},
		{"wrong basic password", "rtsp://user:geheim@" + basic + "/digest", pb.Cause_REFUSED},
		{"no password", "rtsp://" + digest + "/digest", pb.Cause_REFUSED},
		{"no such path", "rtsp://" + host + "/nowhere", pb.Cause_NOT_FOUND},
		{"unsupported", "rtsp://" + host + "/theora", pb.Cause_UNSUPPORTED},
		{"nobody there", "rtsp://user:geheim@127.0.0.1:1/x", pb.Cause_UNREACHABLE},
		{"no name", "rtsp://user:geheim@no-such-host.invalid/x", pb.Cause_UNREACHABLE},
		{"no TLS there", "rtsps://user:geheim@" + host + "/audio", pb.Cause_UNREACHABLE},
		{"other scheme", "http://user:geheim@" + host + "/x", pb.Cause_SETTINGS},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := capture(t, Config{URL: c.url}, nil, 10*time.Second)
			f := cause(t, err, c.want)
			if f.Hint == "" {
				t.Error("no hint")
			}
			if strings.Contains(f.Error(), "geheim") || strings.Contains(f.Error(), "user@") {
				t.Errorf("the message tells the password: %v", f)
			}
			t.Log(f)
		})
	}
}

func TestProbe(t *testing.T) {
	host, _, _ := cameras(t)
	r, err := Probe(t.Context(), Config{URL: "rtsp://" + host + "/speex"})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(r)
	if len(r.Tracks) != 1 || r.Tracks[0].Codec != media.H264 || r.Tracks[0].Width != 320 || len(r.LeftOut) != 1 || r.Device == "" {
		t.Errorf("%s", b)
	}
}
