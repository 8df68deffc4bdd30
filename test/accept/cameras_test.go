package accept

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/camera"
)

// simTen is the preset of test/camera.Ten as simulated cameras, with the
// clocks that the issue names.
var simTen = []struct{ name, query, hls string }{
	{"h264-aac", "", "va"},
	{"hour-wrong", "clock-offset=1h", "va"},
	{"drifting", "clock-drift=100", "va"},
	{"no-reports", "sr=off", "va"},
	{"h265-pcma", "codec=h265&audio=pcma", "va"},
	{"mjpeg-opus", "codec=mjpeg&audio=opus", "a"},
	{"audio-only", "codec=none", "a"},
	{"one-fps", "fps=1&audio=none", "v"},
	{"gop-30s", "gop=30s", "va"},
	{"metadata", "audio=pcma&metadata=on", "va"},
}

// judge accounts for streams through the doors given and keeps a row for each
// door.
func judge(t *testing.T, s *harness.Server, name string, seed uint64, cams []harness.Camera, doors ...string) harness.Totals {
	t.Helper()
	var all harness.Totals
	for _, door := range doors {
		var sum harness.Totals
		for _, c := range cams {
			c.Door = door
			r, err := s.TryAccount(c)
			if err != nil {
				t.Errorf("%s through %s: %v", c.UID, door, err)
				continue
			}
			s.Judge(c.UID+" through "+door, r)
			sum.Add(r)
		}
		harness.Row(t, name+", through "+door, seed, "%d streams: %v", len(cams), sum)
		all = sum
	}
	return all
}

// footage waits until streams have some.
func footage(s *harness.Server, uids ...string) {
	for _, uid := range uids {
		s.Until("footage of "+uid, func() bool { return len(s.Footage(uid).Ranges) > 0 })
	}
}

func TestCamerasSim(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	var cams []harness.Camera
	var uids []string
	for _, c := range simTen {
		sent := s.Sim(c.name, c.query, "dvr-chunk = 10s")
		cams = append(cams, harness.Camera{UID: c.name, Sent: sent, HLS: c.hls})
		uids = append(uids, c.name)
	}
	s.Start()
	footage(s, uids...)
	time.Sleep(harness.Pick(5*time.Minute, 20*time.Second)) // real cameras take real time
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail = to, -1
		if cams[i].UID == "gop-30s" {
			cams[i].Rules.Head = 31 * time.Second
		}
	}
	judge(t, s, "ten simulated cameras", 0, cams, doors...)
}

// gstCameras are test/camera's ten and those with the clocks that the issue
// names.
func gstCameras() []camera.Camera {
	return append(camera.Ten(),
		camera.Camera{Name: "hour-wrong", ClockOffset: 3600}, camera.Camera{Name: "drifting", Drift: 100, Transport: "udp"},
		camera.Camera{Name: "no-reports", NoReports: true})
}

// gstreamer runs cameras and adds a stream for each.
func gstreamer(t *testing.T, s *harness.Server, cameras []camera.Camera, lines ...string) (cams []harness.Camera) {
	t.Helper()
	gst, err := camera.Start(context.Background(), filepath.Join(s.Dir, "cameras"), 0, cameras)
	if errors.Is(err, camera.ErrMissing) {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if said, err := gst.Stop(); err != nil || strings.Contains(said, "Traceback") {
			t.Errorf("cameras: %v: %s", err, said)
		}
	})
	hls := map[string]string{"h265-pcma-tcp": "va", "h265-pcma-udp": "va", "mjpeg-opus-tcp": "a", "mjpeg-opus-udp": "a", "metadata": "v"}
	for _, c := range cameras {
		transport := c.Transport
		if transport == "" {
			transport = "tcp"
		}
		s.Put(c.Name, append([]string{"stream-url = " + gst.URL(c.Name), "stream-access = public", "driver-transport = " + transport}, lines...)...)
		cam := harness.Camera{UID: c.Name, Sent: gst.Ledger(c.Name), HLS: hls[c.Name]}
		if c.GOP == 30 {
			cam.Rules.Head = 31 * time.Second
		}
		cams = append(cams, cam)
	}
	return cams
}

// judgeGStreamer accounts for cameras, those over UDP only when the kernel has
// dropped nothing.
func judgeGStreamer(t *testing.T, s *harness.Server, name string, seed uint64, cameras []camera.Camera, cams []harness.Camera, drops int) {
	t.Helper()
	var tcp, udp []harness.Camera
	for i, c := range cameras {
		if c.Transport == "udp" {
			udp = append(udp, cams[i])
		} else {
			tcp = append(tcp, cams[i])
		}
	}
	judge(t, s, name+" over TCP", seed, tcp, doors...)
	if len(udp) == 0 {
		return
	}
	if drops > 0 {
		harness.NotJudged(t, name+" over UDP", seed, "the kernel dropped %d datagrams before the driver", drops)
		return
	}
	judge(t, s, name+" over UDP", seed, udp, doors...)
}

func TestCamerasGStreamer(t *testing.T) {
	t.Parallel()
	cameras := gstCameras()
	s := harness.New(t, harness.Options{})
	cams := gstreamer(t, s, cameras, "dvr-chunk = 10s")
	var uids []string
	for _, c := range cams {
		uids = append(uids, c.UID)
	}
	s.Start()
	footage(s, uids...)
	time.Sleep(harness.Pick(5*time.Minute, 15*time.Second))
	drops := udpDrops(s.Plugin("rtsp"))
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail = to, -1
	}
	judgeGStreamer(t, s, "GStreamer cameras", 0, cameras, cams, drops)
}

// udpDrops counts datagrams that the kernel dropped before a process read them.
func udpDrops(pid int) (drops int) {
	inodes := map[string]bool{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, f := range fds {
		if l, err := os.Readlink(f); err == nil && strings.HasPrefix(l, "socket:[") {
			inodes[strings.Trim(l, "socket:[]")] = true
		}
	}
	for _, f := range []string{"udp", "udp6"} {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, f))
		for line := range strings.SplitSeq(string(b), "\n") {
			if w := strings.Fields(line); len(w) == 13 && inodes[w[9]] {
				n := 0
				_, _ = fmt.Sscan(w[12], &n)
				drops += n
			}
		}
	}
	return drops
}
