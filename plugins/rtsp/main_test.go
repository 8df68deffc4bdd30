package main

import (
	"strings"
	"testing"

	"media-server/plugins/sdk"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		url, transport string
		ok             bool
	}{
		{"rtsp://user:p#ss@10.0.0.7/main", "auto", true},
		{"rtsps://10.0.0.7/main", "tcp", true},
		{"rtsps://10.0.0.7/main", "udp", false},
		{"rtsp://user:p#ss@/main", "", false},
		{"http://user:p#ss@host/main", "", false},
	} {
		got := validate(c.url, map[string]string{"transport": c.transport})
		if (len(got) == 0) != c.ok {
			t.Errorf("%s %s: %v", c.url, c.transport, got)
		}
		for _, p := range got {
			if strings.Contains(p.What+p.Hint, "p#ss") {
				t.Errorf("the password is shown: %v", p)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	c := config(sdk.Source{URL: "rtsp://h/", Settings: map[string]string{}})
	if c.VerifyTLS || c.NoGather {
		t.Errorf("defaults: %+v", c)
	}
	c = config(sdk.Source{Settings: map[string]string{"tls-verify": "yes", "gather": "off", "transport": "udp"}})
	if !c.VerifyTLS || !c.NoGather || c.Transport != "udp" {
		t.Errorf("%+v", c)
	}
}
