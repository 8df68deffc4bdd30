package rtspsource

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"media-server/core/clock"
	"media-server/core/media"
)

// TestBufferedSound: a device whose microphone has 600 ms of buffer sends its
// reports right at PLAY and never again. They are believed before the core places
// the first unit, so that sound and pictures taken at the same time lie together.
func TestBufferedSound(t *testing.T) {
	const buffer = 600
	type unit struct {
		track          int
		taken, arrived int64 // ms
	}
	var us []unit
	for at := int64(0); at < 2000; at += 40 {
		us = append(us, unit{1, at, at + 5})
	}
	for at := int64(-buffer); at < 1400; at += 20 {
		us = append(us, unit{2, at, at + buffer + 5})
	}
	slices.SortStableFunc(us, func(a, b unit) int { return cmp.Compare(a.arrived, b.arrived) })
	begin := media.Wall(sec2025 * int64(time.Second))
	lines := map[int]*timeline{1: {rate: 90000, head: 1}, 2: {rate: 8000, head: 1}}
	ts := func(track int, ms int64) uint32 { return uint32(1e6 + ms*lines[track].rate/1000) }
	m := clock.New(clock.Config{})
	for id, l := range lines {
		m.Track(id, uint32(l.rate))
		l.setReport(senderReport{ntp: (sec2025 + ntpToUnix) << 32, rtp: ts(id, 0)}, 0, stamp{wall: begin, mono: int64(time.Hour)})
	}
	for _, u := range us {
		l, mono := lines[u.track], int64(time.Hour)+u.arrived*1e6
		pts, _ := l.extend(ts(u.track, u.taken), mono)
		m.Observe(clock.Observation{Track: u.track, PTS: pts, NTP: l.ntp(ts(u.track, u.taken)),
			Received: begin.Add(time.Duration(u.arrived) * time.Millisecond), Mono: mono})
		if !m.Settled() {
			continue
		}
		if off := m.Wall(u.track, pts).Sub(begin.Add(time.Duration(u.taken) * time.Millisecond)); off < 0 || off > 30*time.Millisecond {
			t.Fatalf("what track %d took at %d ms lies %v off", u.track, u.taken, off)
		}
	}
}
