//go:build accept

package accept

import (
	"slices"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/camera"
)

// This scenario is for make accept alone, which runs one after the other: fifteen
// cameras are asked anew at the same instant, and of a track with one unit a
// second two have to come in time, or it is placed too late.
//
// The cameras of test/camera stop their pipeline with the last client that dies,
// and begin it anew for the next one, as devices do that are made with GStreamer's
// server. What they say of time then has to be looked at twice: their first sender
// reports may be off by as much as half a second (rtspsource, first_report.go).

// TestKillsOfRTSPDriver: what TestKillsOfDriver says, with GStreamer cameras, whose
// next key frame has to be waited for. Each kind is there over TCP, some over
// UDP.
func TestKillsOfRTSPDriver(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	cameras := append(gstCameras(), camera.Camera{Name: "one-fps-tcp", Audio: "none", FPS: 1, Transport: "tcp"},
		camera.Camera{Name: "drifting-tcp", Drift: 100, Transport: "tcp"})
	k := underAttack(t, rng, 0, func(s *harness.Server) []harness.Camera { return gstreamer(t, s, cameras, "dvr-chunk = 5s") })
	drops := 0
	k.before = func() { drops += udpDrops(k.Plugin("rtsp")) }
	for i := range harness.Pick(60, 3) {
		if i == harness.Pick(10, 1) {
			k.closeLong(cameras) // or each kill takes half a minute
		}
		dead := k.kill("rtsp", harness.AnyMoment)
		k.recover(dead)
		k.recorded(dead)
	}
	k.before()
	k.closeAll(nil, gapSlack)
	judgeGStreamer(t, k.Server, "kills of the RTSP driver, GStreamer cameras", seed, cameras, k.cams, drops)
	of := map[string]pace{}
	for _, c := range cameras {
		of[c.Name] = paceOf(c)
	}
	k.judgeGaps(t, "gaps after kills of the RTSP driver", seed, of)
}

// paceOf says how a GStreamer camera goes (test/camera).
func paceOf(c camera.Camera) (p pace) {
	switch c.Video {
	case "none":
	case "mjpeg": // five a second, and each is one
		p.key = 200 * time.Millisecond
	default:
		p.key = time.Duration(max(c.GOP, 1)) * time.Second
	}
	if c.FPS == 1 || c.Metadata {
		p.unit = time.Second
	}
	return p
}

// closeLong ends the cameras whose key frames are far apart.
func (k *kills) closeLong(cameras []camera.Camera) {
	k.T.Helper()
	for i, c := range cameras {
		if paceOf(c).key > shortKey {
			k.cams[i].Rules.To = k.Close(c.Name)
			k.uids = slices.DeleteFunc(k.uids, func(uid string) bool { return uid == c.Name })
		}
	}
}
