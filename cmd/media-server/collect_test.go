package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// TestCollectByRoom: the goal of the heap follows what is live, by room and not by
// half.
func TestCollectByRoom(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	t.Setenv("GOGC", "")
	collectByRoom()
	goal := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64() - min(s[0].Value.Uint64(), s[1].Value.Uint64())
	}
	until := func(what string, least, most uint64) {
		t.Helper()
		var g uint64
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			runtime.GC()
			if g = goal(); g >= least && g <= most {
				return
			}
		}
		t.Errorf("%s: the heap may grow by %d bytes, not by %d to %d", what, g, least, most)
	}
	until("little is live", room/2, room*5/4)
	held := make([]byte, 64<<20)
	until("64 MB are live", room*3/4, room*5/4)
	runtime.KeepAlive(held)
	held = make([]byte, 200<<20)
	until("200 MB are live", 39<<20, 50<<20)
	runtime.KeepAlive(held)
	until("little is live again", room/2, room*5/4)
}
