package accept

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

var newestEntry = regexp.MustCompile(`(?s).*\n(\d+)-\d+\.m4s`)

// TestOnDemand: a stream that is captured on demand leaves its camera alone until
// somebody watches, plays then within seconds, and leaves it alone again; what was not
// captured meanwhile is no outage.
func TestOnDemand(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	sent := s.Sim("gate", "bitrate=500k", "stream-enable = on-demand")
	s.Start()
	state := func() string { return s.Stream("gate").State }
	s.Until("the stream to be listed", func() bool { return state() == "on-demand" })
	time.Sleep(2 * time.Second)
	if b, err := os.ReadFile(sent); err == nil && strings.Count(string(b), "\n") > 1 {
		t.Fatalf("the camera was asked though nobody watches: %.200s", b)
	}
	began := time.Now()
	code, list := s.Get(s.HTTP + "/live/gate/playlist.m3u8")
	first := time.Since(began)
	if code != 200 {
		t.Fatalf("the first viewer gets %d %s", code, list)
	}
	code, list = s.Get(s.HTTP + "/live/gate/media.m3u8")
	if code != 200 || !strings.Contains(list, "#EXTINF") || state() != "active" {
		t.Errorf("%s: %d %s", state(), code, list)
	}
	asked := time.Now()
	s.Until("the capture to end behind the last viewer", func() bool { return state() == "on-demand" })
	idle := time.Since(asked)
	if idle < 25*time.Second {
		t.Errorf("it ended %v behind the last request", idle)
	}
	if why := s.Footage("gate"); len(why.Ranges) == 0 || len(why.Gaps) != 0 {
		t.Errorf("footage %+v", why)
	}
	time.Sleep(5 * time.Second) // with nothing captured
	again := time.Now().UnixMilli()
	s.Until("the second viewer to see what is now", func() bool {
		if code, _ := s.Get(s.HTTP + "/live/gate/playlist.m3u8"); code != 200 {
			t.Fatalf("the second viewer gets %d", code)
		}
		_, list := s.Get(s.HTTP + "/live/gate/media.m3u8")
		ms, _ := strconv.ParseInt(newestEntry.FindStringSubmatch(list)[1], 10, 64)
		return ms >= again
	})
	if why := s.Footage("gate"); len(why.Ranges) != 2 || len(why.Gaps) != 1 || why.Gaps[0].Why != "disabled" {
		t.Errorf("footage %+v", why)
	}
	harness.Row(t, "captured on demand", 0, "the first viewer got a playlist in %.1f s; the capture ended %.0f s behind the last request", first.Seconds(), idle.Seconds())
}
