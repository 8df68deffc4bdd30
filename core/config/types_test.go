package config

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"500ms": 500 * time.Millisecond, "10s": 10 * time.Second, "2m": 2 * time.Minute, "12h": 12 * time.Hour,
		"10d": 240 * time.Hour, "4w": 28 * 24 * time.Hour, "0": 0, "1h30m": 90 * time.Minute, "1439m": 1439 * time.Minute, "0s": 0,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"10": "a duration needs a unit", "": errDuration.Error(), "d": errDuration.Error(), "-1s": errDuration.Error(), "1.5d": "a duration needs a unit",
		"10 s": "a duration needs a unit", "10D": "a duration needs a unit", "3fortnights": `unknown unit "fortnights"`,
		"99999999999999999999s": "the number is too large", "99999999999w": "the duration is too long",
	} {
		if got, err := ParseDuration(in); err == nil || err.Error() != want {
			t.Errorf("%s: %v %v, want %q", in, got, err, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0", 240 * time.Hour: "10d", 1439 * time.Minute: "1439m", 90 * time.Second: "90s", time.Second / 2: "500ms"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]Size{
		"0": {}, "512M": {Bytes: 512 << 20}, "10G": {Bytes: 10 << 30}, "10GB": {Bytes: 10 << 30}, "10GiB": {Bytes: 10 << 30}, "1t": {Bytes: 1 << 40}, "80%": {Percent: 80}, "7": {Bytes: 7}, "7B": {Bytes: 7},
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "G", "-1G", "1.5G", "0%", "101%", "10X", "10GG", "10i", "10iB", "9999999999P", "99999999999999999999", "10 G"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%s: %v", in, got)
		}
	}
	if got := (Size{Percent: 10}).Of(1005); got != 100 {
		t.Errorf("10%% of 1005 = %d", got)
	}
	if got := FormatBytes(10 << 30); got != "10G" {
		t.Error(got)
	}
}

func FuzzTypes(f *testing.F) {
	for _, s := range []string{"1h30m", "10d", "80%", "512M", "9223372036854775807", "1w1w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(FormatDuration(d)); d < 0 || err != nil || again != d {
				t.Errorf("%q: %v, formatted %v %v", s, d, again, err)
			}
		}
		if v, err := ParseSize(s); err == nil {
			if again, err := ParseSize(v.String()); v.Bytes < 0 || err != nil || again != v {
				t.Errorf("%q: %v, formatted %v %v", s, v, again, err)
			}
		}
		Mask(s)
	})
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://u:p#ss@h/1":              "rtsp://u:***@h/1",
		"rtsp://u:p/s?s@h/1":             "rtsp://u:***@h/1",
		"rtsp://u:p@ss@h/1":              "rtsp://u:***@h/1",
		"rtsp://u:p@ss/w@h:554/1":        "rtsp://u:***@h:554/1",
		"rtsp://h:554/a@b":               "rtsp://h:554/a@b",
		"rtsp://u@h/1":                   "rtsp://u@h/1",
		"sim://":                         "sim://",
		"http://h/?a=1&api_key=x&b=2":    "http://h/?a=1&api_key=***&b=2",
		"dial rtsp://u:p@h: and http://": "dial rtsp://u:***@h: and http://",
		"nothing":                        "nothing",
	} {
		if got := Mask(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	if KeepSecret("***", "x") != "x" || KeepSecret("y", "x") != "y" || KeepSecret("rtsp://u:***@h", "rtsp://u:p@h") != "rtsp://u:p@h" {
		t.Error("KeepSecret")
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"dvr-chunk", "dvr-keep", "stream-url", "labels", "dvr-enable", "stream-enable"}
	for in, want := range map[string]string{"url": "stream-url", "Keep": "dvr-keep", "enable": "", "dvr-chnk": "dvr-chunk", "Stream-URL": "stream-url", "lables": "labels", "dvr_keep": "dvr-keep", "foo": "", "x": ""} {
		if got := Nearest(in, keys); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
