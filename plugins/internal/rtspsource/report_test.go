package rtspsource

import (
	"testing"
	"time"
)

// TestFirstReport: a first sender report is believed, unless the source held its
// media back when it made it: then it waits for the next one. Times are ms of the
// sender, whose RTP clock ticks 90 times in one.
func TestFirstReport(t *testing.T) {
	const late = 150 // ms by which the report says that all was taken too early
	for _, c := range []struct {
		name     string
		before   []int64 // units received before it
		packets  uint32  // of each
		at       int64   // when it was made
		counts   uint32  // packets it knows of
		behind   int64   // the unit behind it
		believed bool
	}{
		{"in front of the first unit", nil, 1, 0, 0, 0, true},
		{"right behind the first unit", []int64{0}, 1, 5, 1, 40, true},
		{"after five seconds", []int64{0, 2500, 4960}, 10, 5000, 30, 5000, true},
		{"with reordered pictures behind it", []int64{0, 2500, 5000}, 10, 5000, 30, 4840, true},
		{"joined late", nil, 1, 3600_000, 90000, 3600_010, true},
		{"a device that does not count", []int64{0, 2500, 4960}, 10, 5000, 0, 5000, true},
		{"overtaken by a few packets", []int64{0, 2500, 4960}, 10, 4950, 28, 5000, true},
		{"one picture a second", []int64{0}, 4, 900, 4, 1000, true},
		{"made before PLAY, in front of the units", nil, 1, 2130, 1, 0, false},
		{"made before PLAY, behind the first unit", []int64{0}, 5, 1080, 5, 200, false},
		{"made before PLAY, behind most units", []int64{0, 200, 400, 600, 800, 1000, 1200}, 5, 1080, 5, 1400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			const ssrcStart = 1<<32 - 90000 // wraps on the way
			ts := func(ms int64) uint32 { return uint32(ssrcStart + ms*90) }
			tl := timeline{rate: 90000}
			now := stamp{wall: sec2025 * 1e9, mono: int64(time.Hour)}
			report := func(at int64, counts uint32, off int64) bool {
				ntp := uint64(sec2025+ntpToUnix)<<32 + uint64(at)<<32/1000
				return tl.setReport(senderReport{ntp: ntp, rtp: ts(at + off), packets: counts}, uint64(len(c.before))*uint64(c.packets), now)
			}
			for _, at := range c.before {
				tl.extend(ts(at), now.mono)
				if tl.ntp(ts(at)) != 0 {
					t.Fatal("NTP without a report")
				}
			}
			off := int64(0)
			if !c.believed {
				off = late
			}
			if !report(c.at, c.counts, off) {
				t.Fatal("not taken")
			}
			tl.extend(ts(c.behind), now.mono)
			if got := tl.ntp(ts(c.behind)); (got != 0) != c.believed {
				t.Fatalf("NTP %v", got)
			}
			// The next report holds, whatever comes behind it.
			report(c.at+5000, c.counts+500, 0)
			want := sec2025*int64(1e9) + (c.at+4000)*1e6
			if got := int64(tl.ntp(ts(c.at + 4000))); got < want-1000 || got > want+1000 {
				t.Errorf("off by %v behind the second report", time.Duration(got-want))
			}
			// Another sender's first report is a first one.
			tl.restart()
			report(c.at+10000, 1, late)
			tl.extend(ts(c.at+8000), now.mono)
			if got := tl.ntp(ts(c.at + 8000)); got != 0 {
				t.Errorf("NTP %v of another sender that held its media back", got)
			}
		})
	}
}

// TestFirstReportTwice: the second report is no better than the first, as long as
// no unit has come behind either, and what was refused does not come in as a copy.
func TestFirstReportTwice(t *testing.T) {
	const unit = 5 // packets
	for _, c := range []struct {
		name          string
		before        int64 // units received before both, 40 ms each
		first, second int64 // when they were made, ms
	}{
		{"one twice", 0, 2130, 2130},
		{"two before PLAY", 0, 1080, 2130},
		{"one twice, behind the units", 50, 1080, 1080},
	} {
		t.Run(c.name, func(t *testing.T) {
			tl := timeline{rate: 90000}
			now := stamp{wall: sec2025 * 1e9, mono: int64(time.Hour)}
			report := func(at int64) {
				ntp := uint64(sec2025+ntpToUnix)<<32 + uint64(at)<<32/1000
				tl.setReport(senderReport{ntp: ntp, rtp: uint32(at+150) * 90, packets: unit}, uint64(c.before*unit), now)
			}
			for i := range c.before + 20 {
				if i == c.before {
					report(c.first)
					report(c.second)
				}
				ts := uint32(i * 40 * 90)
				tl.extend(ts, now.mono)
				if got := tl.ntp(ts); got != 0 {
					t.Fatalf("NTP %v of the unit at %d ms", got, i*40)
				}
			}
		})
	}
}

func TestReportCountsPackets(t *testing.T) {
	b := srBytes(1, time.Unix(sec2025, 0), 7)
	b[23] = 9
	readRTCP(b, func(r senderReport) {
		if r.packets != 9 {
			t.Errorf("%d packets", r.packets)
		}
	}, nil)
}
