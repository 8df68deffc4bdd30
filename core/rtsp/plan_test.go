package rtsp

import (
	"testing"
	"time"

	"media-server/core/media"
	"media-server/core/timeline"
)

func TestPlan(t *testing.T) {
	now := media.WallOf(noon)
	at := func(d time.Duration) media.Wall { return now.Add(d) }
	hour := target{uid: "a", from: at(-time.Hour), to: at(-30 * time.Minute)}
	open := target{uid: "a", from: at(-time.Hour)}
	live := target{uid: "a", live: true}
	oldest := at(-24 * time.Hour)
	type head map[string]string
	for _, c := range []struct {
		name   string
		t      target
		h      head
		resume media.Wall
		udp    bool
		want   plan
		status int
	}{
		{name: "live", t: live, want: plan{read: timeline.Read{Live: true}, unit: "npt", scale: one, speed: one}},
		{name: "live from 0", t: live, h: head{"range": "npt=0.000-"}, want: plan{read: timeline.Read{Live: true}, unit: "npt", scale: one, speed: one}},
		{name: "live has one tempo", t: live, h: head{"scale": "2", "speed": "3", "rate-control": "no"}, want: plan{read: timeline.Read{Live: true}, unit: "npt", scale: one, speed: one}},
		{name: "live rewound", t: live, h: head{"range": "clock=20260301T110000Z-"}, want: plan{read: timeline.Read{From: at(-time.Hour)}, unit: "clock", scale: one, speed: one}},
		{name: "a range whole", t: hour, want: plan{read: timeline.Read{From: hour.from, To: hour.to}, unit: "npt", scale: one, speed: one}},
		{name: "npt", t: hour, h: head{"range": "npt=60-120"}, want: plan{read: timeline.Read{From: hour.from.Add(time.Minute), To: hour.from.Add(2 * time.Minute)}, unit: "npt", scale: one, speed: one}},
		{name: "npt to an end behind the range's", t: hour, h: head{"range": "npt=60-99999"}, want: plan{read: timeline.Read{From: hour.from.Add(time.Minute), To: hour.to}, unit: "npt", scale: one, speed: one}},
		{name: "npt since 1900", t: hour, h: head{"range": "npt=3981351600.5-"}, want: plan{read: timeline.Read{From: at(-time.Hour + time.Second/2), To: hour.to}, unit: "npt", scale: one, speed: one, since1900: true}},
		{name: "resumed", t: hour, resume: at(-40 * time.Minute), want: plan{read: timeline.Read{From: at(-40 * time.Minute), To: hour.to}, unit: "npt", scale: one, speed: one}},
		{name: "live, resumed in the archive", t: live, resume: at(-time.Hour), want: plan{read: timeline.Read{From: at(-time.Hour)}, unit: "npt", scale: one, speed: one}},
		{name: "live from 0, was in the archive", t: live, resume: at(-time.Hour), h: head{"range": "npt=0-"}, want: plan{read: timeline.Read{Live: true}, unit: "npt", scale: one, speed: one}},
		{name: "live again", t: live, resume: at(-time.Hour), h: head{"range": "npt=now-"}, want: plan{read: timeline.Read{Live: true}, unit: "npt", scale: one, speed: one}},
		{name: "into live", t: open, h: head{"range": "npt=now-"}, want: plan{read: timeline.Read{Live: true}, unit: "npt", scale: one, speed: one}},
		{name: "not before what the URL names", t: hour, h: head{"range": "clock=20260301T090000Z-"}, want: plan{read: timeline.Read{From: hour.from, To: hour.to}, unit: "clock", scale: one, speed: one}},
		{name: "scale and speed", t: hour, h: head{"scale": "2.0", "speed": "1.5"}, want: plan{read: timeline.Read{From: hour.from, To: hour.to}, unit: "npt", scale: 2 * one, speed: 1500}},
		{name: "fast", t: hour, h: head{"scale": "1000"}, want: plan{read: timeline.Read{From: hour.from, To: hour.to, Keys: true}, unit: "npt", scale: mostScale, speed: one}},
		{name: "backwards", t: hour, h: head{"scale": "-1"}, want: plan{read: timeline.Read{From: hour.to - 1, To: hour.from, Keys: true, Backward: true}, unit: "npt", scale: -one, speed: one}},
		{name: "backwards from an instant", t: hour, h: head{"scale": "-1", "range": "clock=20260301T111000Z-20260301T110500Z"}, want: plan{read: timeline.Read{From: at(-50 * time.Minute), To: at(-55 * time.Minute), Keys: true, Backward: true}, unit: "clock", scale: -one, speed: one}},
		{name: "as fast as it goes", t: hour, h: head{"rate-control": "no", "scale": "8", "frames": "intra/500"}, want: plan{read: timeline.Read{From: hour.from, To: hour.to, Keys: true}, unit: "npt", scale: one, speed: one, free: true, every: 500 * time.Millisecond}},
		{name: "not by UDP", t: hour, udp: true, h: head{"rate-control": "no"}, want: plan{read: timeline.Read{From: hour.from, To: hour.to}, unit: "npt", scale: one, speed: one}},
		{name: "scale 0 is none", t: hour, h: head{"scale": "0"}, want: plan{read: timeline.Read{From: hour.from, To: hour.to}, unit: "npt", scale: one, speed: one}},
		{name: "1970", t: open, h: head{"range": "clock=19700101T000000.0005Z-"}, want: plan{read: timeline.Read{From: open.from}, unit: "clock", scale: one, speed: one}},
		{name: "live rewound to 1970", t: live, h: head{"range": "clock=19700101T000000Z-"}, want: plan{read: timeline.Read{From: oldest}, unit: "clock", scale: one, speed: one}},
		{name: "live rewound to 1970 in seconds of NTP", t: live, h: head{"range": "npt=2208988800.0005-"}, want: plan{read: timeline.Read{From: oldest}, unit: "npt", scale: one, speed: one, since1900: true}},
		{name: "before all footage", t: live, h: head{"range": "clock=20260201T000000Z-20260201T010000Z"}, status: 457},
		{name: "backwards to 1970", t: live, h: head{"scale": "-1", "range": "clock=20260301T110000Z-19700101T000000Z"}, want: plan{read: timeline.Read{From: at(-time.Hour), To: oldest, Keys: true, Backward: true}, unit: "clock", scale: -one, speed: one}},
		{name: "the future", t: open, h: head{"range": "clock=20260301T130000Z-"}, status: 457},
		{name: "behind the end", t: hour, h: head{"range": "clock=20260301T114500Z-"}, status: 457},
		{name: "reversed", t: hour, h: head{"range": "clock=20260301T111000Z-20260301T110500Z"}, status: 457},
		{name: "backwards and reversed", t: hour, h: head{"scale": "-1", "range": "clock=20260301T110500Z-20260301T111000Z"}, status: 457},
		{name: "absurd", t: hour, h: head{"range": "clock=99990101T000000Z-"}, status: 457},
		{name: "smpte", t: hour, h: head{"range": "smpte=1:2:3-"}, status: 457},
		{name: "no number", t: hour, h: head{"scale": "fast"}, status: 400},
		{name: "not a number", t: hour, h: head{"scale": "NaN"}, status: 400},
		{name: "endless", t: hour, h: head{"speed": "Inf"}, status: 400},
		{name: "speed backwards", t: hour, h: head{"speed": "-1"}, status: 400},
		{name: "other frames", t: hour, h: head{"frames": "some"}, status: 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := &request{header: map[string][]string{}}
			for k, v := range c.h {
				req.header[k] = []string{v}
			}
			d := &description{t: c.t, origin: c.t.from}
			got, res := planOf(req, asked{d: d, tcp: !c.udp, now: now, resume: c.resume, oldest: oldest})
			switch {
			case c.status != 0:
				if res == nil || res.status != c.status {
					t.Errorf("%+v %+v, want %d", got, res, c.status)
				}
			case res != nil || got != c.want:
				t.Errorf("%+v %+v, want %+v", got, res, c.want)
			}
		})
	}
}
