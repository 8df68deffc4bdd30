package node

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/core/stream"
)

func TestViewers(t *testing.T) {
	v := newViewers()
	at := time.Unix(1000, 0)
	for i, want := range []bool{true, true, false, false} {
		if limit := v.seen("cam", "hls", fmt.Sprint(i), 2, 0, at); limit == "" != want {
			t.Errorf("viewer %d: %q", i, limit)
		}
	}
	if v.seen("cam", "hls", "0", 2, 1, at.Add(viewerIdle)) != "" {
		t.Error("who watches already goes on")
	}
	// Viewer 1 has been silent for longer than viewerIdle: a place is free at
	// once, without waiting for the sweep.
	if v.seen("gate", "mp4", "0", 2, 0, at.Add(viewerIdle+time.Second)) != "" {
		t.Error("a place that is free again")
	}
	if v.of("") != 2 || v.of("cam") != 1 || v.of("gate") != 1 || v.of("none") != 0 {
		t.Errorf("%d in all, %d, %d", v.of(""), v.of("cam"), v.of("gate"))
	}
	if v.seen("cam", "hls", "many", 0, 0, at.Add(viewerIdle)) != "" {
		t.Error("0 is no limit")
	}
	v.served("cam", 5)
	v.served("cam", -1)
	if sent, refused := v.totals("cam"); sent != 5 || refused != 2 {
		t.Errorf("%d bytes sent, %d refused", sent, refused)
	}
}

// TestHeld: who has connections keeps his place until the last of his rights to play
// has ended, however long that takes.
func TestHeld(t *testing.T) {
	v := newViewers()
	at := time.Unix(1000, 0)
	for range 2 { // whoever seeks
		if limit := v.seen("cam", "rtsp", "a", 1, 1, at); limit != "" {
			t.Fatal(limit)
		}
		v.hold("cam", "rtsp", "a")
	}
	v.gone("cam", "rtsp", "a")
	at = at.Add(2 * viewerIdle)
	v.expire(at)
	if limit := v.seen("cam", "rtsp", "b", 0, 1, at); limit == "" || v.of("cam") != 1 {
		t.Errorf("somebody else has the place: %d", v.of("cam"))
	}
	v.gone("cam", "rtsp", "a")
	if limit := v.seen("cam", "rtsp", "b", 0, 1, at); limit != "" || v.of("") != 1 || len(v.held) != 0 {
		t.Errorf("the place is not free: %q, %d, %v", limit, v.of(""), v.held)
	}
}

// TestStreamLimit: a stream has places of its own, of which those of other streams
// take none, and the refusal names the setting.
func TestStreamLimit(t *testing.T) {
	v := newViewers()
	at := time.Unix(1000, 0)
	for i, want := range []string{"", "", "stream-limit in its stream file"} {
		if limit := v.seen("cam", "hls", fmt.Sprint(i), 3, 2, at); limit != want {
			t.Errorf("viewer %d: %q, want %q", i, limit, want)
		}
	}
	for i, want := range []string{"", "[limits] viewers"} {
		if limit := v.seen("gate", "hls", fmt.Sprint(i), 3, 2, at); limit != want {
			t.Errorf("viewer %d of the other: %q, want %q", i, limit, want)
		}
	}
	if limit := v.seen("cam", "mp4", "0", 0, 2, at.Add(viewerIdle)); limit == "" {
		t.Error("all are there still")
	}
	if limit := v.seen("cam", "mp4", "0", 0, 2, at.Add(viewerIdle+time.Second)); limit != "" || v.of("cam") != 1 || v.of("gate") != 0 {
		t.Errorf("when all have left: %q, %d and %d watch", limit, v.of("cam"), v.of("gate"))
	}
	v.expire(at.Add(time.Hour))
	if len(v.m) != 0 || len(v.by) != 0 {
		t.Errorf("%d are left, of %d streams", len(v.m), len(v.by))
	}
}

// TestKnown: who might play a stream is remembered beyond its file, also over
// a restart, and a damaged record opens nothing.
func TestKnown(t *testing.T) {
	p := newPlace(t)
	none := func(string) (media.Wall, bool) { return 0, false }
	set := &Settings{Streams: map[string]*StreamSettings{"gate": {UID: "gate", Config: stream.Config{Name: "North", Access: "public", Proto: []string{"hls"}}}}}
	if err := readKnown(p.dir).update(set, none); err != nil {
		t.Fatal(err)
	}
	k := readKnown(p.dir)
	if v, ok := k.get("gate"); !ok || v.Title != "North" || v.Access != "public" || len(v.Proto) != 1 {
		t.Errorf("%+v, %v", v, ok)
	}
	if err := k.update(&Settings{}, none); err != nil {
		t.Fatal(err)
	}
	if _, ok := readKnown(p.dir).get("gate"); !ok {
		t.Error("a removed stream is forgotten")
	}
	p.write("streams.json", "{ torn")
	if _, ok := readKnown(p.dir).get("gate"); ok {
		t.Error("something was read from a torn file")
	}
}

func TestHome(t *testing.T) {
	p := newPlace(t)
	h, err := takeHome(p.dir)
	if err != nil || h.epoch != 1 {
		t.Fatal(h, err)
	}
	if _, err := takeHome(p.dir); err == nil {
		t.Fatal("two servers have one folder")
	}
	h.Close()
	again, err := takeHome(p.dir)
	if err != nil || again.epoch != 2 || again.node != h.node {
		t.Fatal(again, err)
	}
	again.Close()
	for name, file := range map[string]string{"epoch": "epoch", "node": "node-id"} {
		q := newPlace(t)
		q.write(file, "rubbish\n")
		if _, err := takeHome(q.dir); err == nil {
			t.Errorf("a damaged %s was taken", name)
		}
	}
}

// TestSystemd: states go to the socket in NOTIFY_SOCKET, and nowhere without.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	notifySystemd("READY=1")
	t.Setenv("NOTIFY_SOCKET", path)
	notifySystemd("STOPPING=1")
	b := make([]byte, 100)
	if n, err := l.Read(b); string(b[:n]) != "STOPPING=1" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	for us, want := range map[string]time.Duration{"": 0, "x": 0, "-5": 0, "3000000": 1500 * time.Millisecond} {
		t.Setenv("WATCHDOG_USEC", us)
		if got := watchdogPeriod(); got != want {
			t.Errorf("WATCHDOG_USEC=%s: %v", us, got)
		}
	}
	t.Setenv("WATCHDOG_PID", "1")
	if watchdogPeriod() != 0 {
		t.Error("a watchdog of another process")
	}
}
