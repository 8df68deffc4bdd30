package stream

import (
	"slices"
	"testing"

	"media-server/core/config"
	"media-server/core/media"
)

// TestCaptureKeys: these keys begin the capture anew, and only these; a title
// or a retention rule never does.
func TestCaptureKeys(t *testing.T) {
	sec := config.NewSection("x", "")
	c := DefaultConfig()
	c.Bind(sec)
	var got []string
	for _, k := range sec.Keys {
		if k.Effect == config.RestartStream {
			got = append(got, k.Name)
		}
		if k.Doc == "" {
			t.Errorf("%s has no manual", k.Name)
		}
	}
	want := []string{"stream-enable", "stream-url", "stream-driver", "stream-tracks", "reconnect-timeout", "reconnect-interval", "reconnect-numbers", "read-timeout"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if ps := c.Validate("x"); len(ps) != 1 || ps[0].Key != "stream-url" {
		t.Errorf("defaults: %v", ps)
	}
}

func TestKinds(t *testing.T) {
	c := DefaultConfig()
	if c.Kinds() != nil {
		t.Error("all kinds are not the empty list")
	}
	c.Tracks = []string{"data", "video"}
	if got := c.Kinds(); !slices.Equal(got, []media.Kind{media.Video, media.Data}) {
		t.Errorf("%v", got)
	}
}

func TestDriverName(t *testing.T) {
	for _, c := range []struct{ url, driver, want string }{
		{"rtsp://u:p#s@h/", "", "rtsp"}, {"RTSPS://h/", "", "rtsps"}, {"sim://", "", "sim"}, {"rtsp://h/", "mine", "mine"},
	} {
		cfg := Config{URL: c.url, Driver: c.driver}
		if got := cfg.DriverName(); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
