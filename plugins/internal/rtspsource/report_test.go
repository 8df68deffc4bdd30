package rtspsource

import (
	"testing"
	"time"
)

// TestFirstReport: a first sender report is believed, unless the source held its
// media back when it made it: then it waits for the next one. Times are ms of the
// sender, whose RTP clock ticks 90 times in one, and which sends what it is asked
// for at play.
func TestFirstReport(t *testing.T) {
	const never = -1
	for _, c := range []struct {
		name    string
		before  []int64 // units received before it
		packets uint32  // of each
		at      int64   // when it was made
		counts  uint32  // packets it knows of
		behind  int64   // the first unit behind it
		every   int64   // and the distance of those behind that one
		play    int64   // nothing arrives before
		delay   int64   // between capture and sending
		gains   int64   // percent by which that shrinks
		within  int64   // ms of arrivals until it is believed
		late    int64   // ms by which one that is not says that all was taken too early
	}{
		{"in front of the first unit", nil, 1, 0, 0, 0, 40, 0, 0, 0, 0, 0},
		{"right behind the first unit", []int64{0}, 1, 5, 1, 40, 40, 0, 0, 0, 0, 0},
		{"after five seconds", []int64{0, 2500, 4960}, 10, 5000, 30, 5000, 40, 0, 0, 0, 0, 0},
		{"with reordered pictures behind it", []int64{0, 2500, 5000}, 10, 5000, 30, 4840, 40, 0, 0, 0, 0, 0},
		{"joined late", nil, 1, 3600_000, 90000, 3600_010, 40, 3600_000, 0, 0, 0, 0},
		{"a device that does not count", []int64{0, 2500, 4960}, 10, 5000, 0, 5000, 40, 0, 0, 0, 0, 0},
		{"overtaken by a few packets", []int64{0, 2500, 4960}, 10, 4950, 28, 5000, 40, 0, 0, 0, 0, 0},
		{"one picture a second", []int64{0}, 4, 900, 4, 1000, 1000, 0, 0, 0, 0, 0},
		{"a device that counts pictures", []int64{0, 40, 80, 120, 160, 200}, 60, 230, 6, 240, 40, 0, 0, 0, 0, 0},
		{"the same, later", []int64{0, 500, 1000, 1500, 2000}, 60, 2010, 5, 2040, 40, 0, 0, 0, 0, 0},
		{"a microphone's buffer", nil, 1, 0, 0, -600, 20, 0, 600, 0, 320, 0},
		{"a microphone's buffer, joined late", nil, 1, 3600_000, 90000, 3599_410, 20, 3600_000, 600, 0, 0, 0},
		{"a microphone's buffer, behind some units", []int64{-600, -580, -560, -540}, 1, 80, 2, -520, 20, 0, 600, 0, 320, 0},
		{"a microphone's buffer, after a second", []int64{0, 300, 700, 1000}, 1, 1620, 2, 1020, 20, 0, 600, 0, 0, 0},
		{"a transcoder", []int64{0}, 4, 2500, 4, 40, 40, 0, 2500, 0, 320, 0},
		{"an encoder that is behind", nil, 4, 0, 0, -900, 40, 0, 900, 10, 400, 0},
		{"one picture a second through a transcoder", []int64{0}, 4, 2500, 4, 1000, 1000, 0, 2500, 0, 1000, 0},
		{"a source that stalled, in front of the units", nil, 1, 1520, 37, 0, 40, 1520, 0, 0, 0, 0},
		{"a connection that stalled, behind some units", []int64{0, 200, 400, 600, 800}, 10, 905, 45, 840, 40, 900, 0, 0, 0, 0},
		{"made before PLAY, in front of the units", nil, 1, 2130, 1, 0, 40, 2200, 0, 0, never, 150},
		{"made before PLAY, behind the first unit", []int64{0}, 5, 1080, 5, 200, 40, 1300, 0, 0, never, 150},
		{"made before PLAY, behind most units", []int64{0, 200, 400, 600, 800, 1000, 1200}, 5, 1080, 5, 1400, 40, 1300, 0, 0, never, 150},
		{"made before PLAY, of one picture a second", nil, 4, 1600, 4, 0, 1000, 1610, 0, 0, never, 600},
		{"made before PLAY, behind two pictures", []int64{0, 1000}, 4, 1600, 4, 2000, 1000, 2100, 0, 0, never, 150},
		{"made before PLAY, of a late source", nil, 1, 2130, 1, 0, 40, 3000, 600, 0, never, 150},
	} {
		t.Run(c.name, func(t *testing.T) {
			const ssrcStart = 1<<32 - 90000 // wraps on the way
			ts := func(ms int64) uint32 { return uint32(ssrcStart + ms*90) }
			tl := timeline{rate: 90000, head: uint64(c.packets)}
			mono := func(ms int64) int64 { return int64(time.Hour) + ms*1e6 }
			report := func(at int64, counts uint32, off int64) {
				ntp := uint64(sec2025+ntpToUnix)<<32 + uint64(at)<<32/1000
				now := stamp{wall: sec2025 * 1e9, mono: mono(max(at, c.play))}
				if !tl.setReport(senderReport{ntp: ntp, rtp: ts(at + off), packets: counts}, uint64(len(c.before))*uint64(c.packets), now) {
					t.Fatal("not taken")
				}
			}
			for _, at := range c.before {
				tl.extend(ts(at), mono(max(at+c.delay, c.play)))
				if tl.ntp(ts(at)) != 0 {
					t.Fatal("NTP without a report")
				}
			}
			off := int64(0)
			if c.within == never {
				off = c.late
			}
			report(c.at, c.counts, off)
			from, at, end := int64(0), c.behind, int64(0)
			for i := int64(0); i < 3 || end-from < 2000; i++ {
				// A sender that was held back lets go of a unit a millisecond.
				end = max(at+c.delay-i*c.every*c.gains/100, c.play+i)
				if i == 0 {
					from = end
				}
				tl.extend(ts(at), mono(end))
				got := int64(tl.ntp(ts(at)))
				if got != 0 && c.within == never || got == 0 && c.within != never && end-from >= c.within {
					t.Fatalf("NTP %v of the unit that came after %d ms", got, end-from)
				}
				if want := sec2025*int64(1e9) + at*1e6; got != 0 && (got < want-1000 || got > want+1000) {
					t.Fatalf("off by %v", time.Duration(got-want))
				}
				at += c.every
			}
			// The next report holds, whatever comes behind it.
			next := end + 1000
			report(next, c.counts+500, 0)
			tl.extend(ts(next-1000), mono(next+10))
			want := sec2025*int64(1e9) + (next-1000)*1e6
			if got := int64(tl.ntp(ts(next - 1000))); got < want-1000 || got > want+1000 {
				t.Errorf("off by %v behind the second report", time.Duration(got-want))
			}
			// Another sender's first report is a first one.
			tl.restart()
			report(next+5000, 1, 150)
			for i := range int64(50) {
				at := next + 3000 + i*40
				tl.extend(ts(at), mono(next+5010+i))
				if got := tl.ntp(ts(at)); got != 0 {
					t.Errorf("NTP %v of another sender that held its media back", got)
				}
			}
		})
	}
}

// TestFirstReportOfRareUnits: where units are too rare to tell within a report's
// life, the next one is believed.
func TestFirstReportOfRareUnits(t *testing.T) {
	tl := timeline{rate: 90000, head: 4}
	ms := func(v int64) int64 { return int64(time.Hour) + v*1e6 }
	for i := range int64(4) {
		at := i * 7000
		tl.setReport(senderReport{ntp: uint64(sec2025+at/1000+ntpToUnix) << 32, rtp: uint32(at) * 90, packets: uint32(i)},
			uint64(i), stamp{wall: sec2025 * 1e9, mono: ms(at)})
		tl.extend(uint32(at-600)*90, ms(at+100))
		if got := tl.ntp(uint32(at-600) * 90); (got != 0) != (i > 0) {
			t.Errorf("report %d: NTP %v", i, got)
		}
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
			tl := timeline{rate: 90000, head: unit}
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
