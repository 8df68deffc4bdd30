package accept

import (
	"slices"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// pace is what a camera makes one wait for.
type pace struct {
	key  time.Duration // between two key frames; 0 = it starts with its driver, and with one
	unit time.Duration // between two units of its slowest track, where that is long
}

// mayBeAway bounds what a stream may miss once its driver has been killed: only
// the time to reconnect and the next key frame. But for the last term each is a
// wait that somebody makes:
//
//	200 ms  what died with the driver: it reads a camera each 87 ms and sends after 100 ms
//	1 s     [plugins] restart-max, as underAttack sets it: the pause before a plugin that dies again and again is started
//	1 s     reconnect-timeout: a camera that has not noticed yet may refuse the first try
//	unit    GStreamer's server describes a camera once each track has shown a unit
//	key     the next key frame
//	2 s     work: exec and handshake, dialling, subscribing, five answers of the camera. Each is a matter of
//	        milliseconds, this machine has all cameras to run beside, and what runs into a limit
//	        instead takes longer: 5 s to connect, 5 s of silence, 10 s for an answer, 15 s for a handshake
func (p pace) mayBeAway() time.Duration {
	return 200*time.Millisecond + time.Second + time.Second + p.unit + p.key + 2*time.Second
}

const (
	// A median of 1.5 s is what a driver has on a machine of its own, where key
	// frames are shortKey apart at most. Here cameras, players and the test share
	// it: twice that.
	medianAway = 2 * 1500 * time.Millisecond
	shortKey   = 2 * time.Second

	// gapSlack is how far units of a track may be missing outside a gap. A gap is
	// a stream's, and its tracks end and begin at instants of their own: pictures
	// come later than they were taken where they are reordered.
	gapSlack = 250 * time.Millisecond
)

// recorded waits until there is footage from behind a kill, so that each kill
// has a gap of its own. The last picture before it, of one a second, is shown for
// a second.
func (k *kills) recorded(dead time.Time) {
	k.T.Helper()
	for _, uid := range k.uids {
		k.Until(uid+" to be recorded again", func() bool {
			f := k.Footage(uid)
			return len(f.Ranges) > 0 && f.Ranges[len(f.Ranges)-1].To > dead.UnixMilli()+1100
		})
	}
}

// judgeGaps judges all gaps of all streams: their cause is the driver, a kill
// lies in each, and none is longer than it may be.
func (k *kills) judgeGaps(t *testing.T, name string, seed uint64, of map[string]pace) {
	t.Helper()
	var all, short []time.Duration
	near := time.Duration(-1 << 62) // the longest, against what it may have
	for _, c := range k.cams {
		p := of[c.UID]
		for _, g := range joined(k.Footage(c.UID).Gaps) {
			if g.Why != "driver" {
				t.Errorf("%s: a gap because of %q, not driver", c.UID, g.Why)
			}
			from, to := time.UnixMilli(g.From), time.UnixMilli(g.To)
			if !slices.ContainsFunc(k.dead, func(d time.Time) bool {
				return d.After(from.Add(-p.unit-gapSlack)) && d.Before(to.Add(gapSlack))
			}) {
				t.Errorf("%s: nothing was killed between %v and %v", c.UID, from.UTC(), to.UTC())
			}
			long := to.Sub(from)
			if long > p.mayBeAway() {
				t.Errorf("%s: nothing for %v from %v on, and %v is what a kill may cost", c.UID, long, from.UTC(), p.mayBeAway())
			}
			near = max(near, long-p.mayBeAway())
			all = append(all, long)
			if p.key <= shortKey {
				short = append(short, long)
			}
		}
	}
	if len(short) == 0 {
		t.Errorf("%d kills, and no gap", len(k.dead))
		return
	}
	slices.Sort(short)
	median := short[len(short)/2]
	if median > medianAway {
		t.Errorf("half of the gaps are longer than %v", median)
	}
	harness.Row(t, name, seed, "%s; %d gaps, longest %v; where key frames are at most %v apart median %v (allowed %v), longest %v; each at least %v shorter than a restart, a reconnect and the next key frame may take",
		k.moments(), len(all), slices.Max(all), shortKey, median, medianAway, short[len(short)-1], -near)
}

// joined makes one gap of those that touch, as they do where the cause changes:
// what was missing is bounded, not how it is told. One that is not the driver's
// gives the whole its cause.
func joined(gaps []harness.Span) (out []harness.Span) {
	for _, g := range gaps {
		if n := len(out); n > 0 && g.From-out[n-1].To < 100 {
			last := &out[n-1]
			last.To = max(last.To, g.To)
			if g.Why != "driver" {
				last.Why = g.Why
			}
			continue
		}
		out = append(out, g)
	}
	return out
}

// TestKillsOfDriver: only the time to reconnect and the next key frame, with
// which simulated cameras begin.
func TestKillsOfDriver(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	k := underAttack(t, rng, harness.Pick(50, 8), nil)
	for range harness.Pick(60, 5) {
		dead := k.kill("sim", harness.AnyMoment)
		k.recover(dead)
		k.recorded(dead)
	}
	k.closeAll(nil, gapSlack)
	judge(t, k.Server, "kills of the driver", seed, k.cams, "mp4")
	of := map[string]pace{}
	for i, c := range k.cams {
		of[c.UID] = kinds[i%len(kinds)].pace
	}
	k.judgeGaps(t, "gaps after kills of the driver", seed, of)
}
