package accept

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
	"media-server/test/camera"
	"media-server/test/ledger"
)

// panelPassword is that of admin where a test logs in.
const panelPassword = "harbour lights 22"

// passwd gives admin a password, as an operator does.
func passwd(t *testing.T, s *harness.Server) {
	t.Helper()
	cmd := exec.Command(filepath.Join(harness.Bin, "media-server"), "passwd", "admin", "-c", s.Conf)
	cmd.Stdin = strings.NewReader(panelPassword + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("media-server passwd: %v: %s", err, out)
	}
}

// TestAudioNeverStopsVideo: cameras whose sound nobody here can store are
// recorded to the last picture, and wherever one looks the sound is named with
// what to do.
func TestAudioNeverStopsVideo(t *testing.T) {
	t.Parallel()
	codings := map[string]string{"g722": "G722/8000/1", "l16": "L16/16000/1", "mp2": "MPA/90000"}
	var cameras []camera.Camera
	for _, a := range []string{"g722", "l16", "mp2"} {
		for _, tr := range []string{"tcp", "udp"} {
			cameras = append(cameras, camera.Camera{Name: a + "-" + tr, Video: "h264", Audio: a, Transport: tr})
		}
	}
	s := harness.New(t, harness.Options{})
	cams := gstreamer(t, s, cameras, "dvr-chunk = 5s")
	var uids []string
	for i := range cams {
		uids = append(uids, cams[i].UID)
		cams[i].HLS = "v"
	}
	s.Start()
	footage(s, uids...)
	for i, c := range cameras {
		coding := codings[c.Audio]
		says := []string{"track audio " + coding + " is left out", "AAC, Opus or G.711"}
		all := func(text string) bool {
			return !slices.ContainsFunc(says, func(w string) bool { return !strings.Contains(text, w) })
		}
		uid := uids[i]
		of := func(ps []harness.Problem) bool {
			return slices.ContainsFunc(ps, func(p harness.Problem) bool { return p.UID == uid && all(p.String()) })
		}
		s.Until(uid+" to say what is left out", func() bool { return of(s.Problems()) })
		st := s.Stream(uid)
		if len(st.Tracks) != 2 || st.State != "active" || !st.Recording || !of(st.Problems) {
			t.Fatalf("%s: %+v", uid, st)
		}
		video, audio := st.Tracks[0], st.Tracks[1]
		if video.Codec != "h264" || video.LeftOut != "" || !video.InHLS || audio.Codec != "audio "+coding || !strings.Contains(audio.LeftOut, says[1]) || audio.InHLS {
			t.Errorf("%s: tracks %+v", uid, st.Tracks)
		}
		for _, args := range [][]string{{"problems"}, {"status", uid}} {
			if out, _ := verb(t, append(args, "-c", s.Conf)...); !slices.ContainsFunc(strings.Split(out, "\n"), all) {
				t.Errorf("%s: media-server %v says\n%s", uid, args, out)
			}
		}
	}
	if !t.Failed() {
		t.Run("page", func(t *testing.T) { leftOutPage(t, s, uids[0], codings["g722"]) })
	}
	time.Sleep(harness.Pick(5*time.Minute, 5*time.Second)) // real cameras take real time
	drops := udpDrops(s.Plugin("rtsp"))
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
		cams[i].Rules.Ignore = func(id ledger.ID) bool { return id.Track != 'v' }
	}
	judgeGStreamer(t, s, "pictures beside sound that cannot be stored (G.722, L16, MP2)", 0, cameras, cams, drops)
}

// leftOutPage looks for what is left out where an operator does.
func leftOutPage(t *testing.T, s *harness.Server, uid, coding string) {
	passwd(t, s)
	p := cdp.Start(t).Page(t)
	p.Go(s.HTTP + "/cpanel/#" + uid)
	p.Wait("the login", "document.querySelector('#login')")
	p.Type("[name=user]", "admin")
	p.Type("[name=password]", panelPassword)
	p.Key("Enter")
	p.Wait("the track with what to do", fmt.Sprintf("(f => f && f.includes('left out') && f.includes(%q) && f.includes('AAC, Opus or G.711'))(document.querySelector('#facts')?.textContent)", strings.ToUpper(coding)))
	p.Wait("the picture", "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 0")
	p.Click("#problems-button")
	p.Wait("the problem", fmt.Sprintf("document.querySelector('#problems-list').innerText.includes(%q)", "rack audio "+coding+" is left out"))
}
