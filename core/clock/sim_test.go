package clock

import (
	"math/rand/v2"
	"sort"
	"time"

	"media-server/core/media"
)

// The simulation: a camera whose media clock drifts, a network that delays in
// order and stalls now and then, sender reports that may be wrong.

const (
	epoch = int64(1_790_000_000_000_000_000)
	ms    = int64(time.Millisecond)
	sec   = int64(time.Second)
)

type scene struct {
	seed      uint64
	rng       *rand.Rand
	length    int64 // ns
	drift     int64 // ppm of the camera's media clock
	base      int64 // least network delay
	jitter    int64
	bursts    bool
	reports   bool
	badReport float64 // share of sender reports that are wrong
	cameraOff int64   // camera's wall clock − true time
	cameraSet int64   // at this instant the camera's wall clock is set by an hour; 0 = never
	buffer    int64   // the microphone's buffer
	reorder   bool
}

type arrival struct {
	Observation
	truth int64 // capture
}

func newScene(seed uint64) scene {
	r := rand.New(rand.NewPCG(seed, 1))
	s := scene{seed: seed, rng: r, length: 90*sec + r.Int64N(90*sec)}
	s.drift = r.Int64N(201) - 100
	s.base = r.Int64N(10 * ms)
	s.jitter = r.Int64N(40 * ms)
	s.bursts = r.IntN(2) == 0
	s.reports = r.IntN(2) == 0
	s.cameraOff = []int64{0, 3600 * sec, -3600 * sec, r.Int64N(20*sec) - 10*sec}[r.IntN(4)]
	if r.IntN(3) == 0 {
		s.cameraSet = 20*sec + r.Int64N(60*sec)
	}
	if r.IntN(3) == 0 {
		s.badReport = 0.2
	}
	if s.reports {
		s.buffer = r.Int64N(400 * ms)
	}
	s.reorder = r.IntN(2) == 0
	return s
}

// run makes all arrivals of one capture that begins at start.
func (s scene) run(start int64) []arrival {
	var all []arrival
	stallFrom, stallTo := s.stalls(start)
	for id, tr := range []struct {
		scale          uint32
		period, buffer int64
	}{{90000, 40 * ms, 0}, {48000, 64 * ms, s.buffer}} {
		all = append(all, s.track(id+1, tr.scale, tr.period, tr.buffer, start, stallFrom, stallTo)...)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Received < all[j].Received })
	return all
}

func (s scene) stalls(start int64) (from, to []int64) {
	if !s.bursts {
		return nil, nil
	}
	for at := start + 2*sec; at < start+s.length; at += 8*sec + s.rng.Int64N(8*sec) {
		from = append(from, at)
		to = append(to, at+s.rng.Int64N(5*sec))
	}
	return from, to
}

func (s scene) track(id int, scale uint32, period, buffer, start int64, from, to []int64) []arrival {
	base := s.rng.Int64N(1 << 32)
	var out []arrival
	var lastArr, reportErr, nextReport int64
	n := int(s.length / period)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if s.reorder && id == 1 { // P B B: the P is sent first
		for i := 1; i+2 < n; i += 3 {
			order[i], order[i+1], order[i+2] = i+2, i, i+1
		}
	}
	for k, i := range order {
		capture := start + int64(i)*period
		sent := start + int64(max(k, i))*period + buffer
		media1 := int64(i) * period * (1_000_000 + s.drift) / 1_000_000
		arr := sent + s.base + s.rng.Int64N(s.jitter+1)*s.rng.Int64N(2)
		for j := range from {
			if arr >= from[j] && arr < to[j] {
				arr = to[j]
			}
		}
		arr = max(arr, lastArr+50_000)
		lastArr = arr
		a := arrival{truth: capture}
		a.Track, a.PTS = id, base+media.TicksOf(time.Duration(media1), scale)
		a.Received, a.Mono = media.Wall(arr), arr-epoch+77*sec
		if s.reports && capture-start > 3*sec {
			if capture >= nextReport {
				nextReport = capture + 5*sec
				reportErr = 0
				if s.rng.Float64() < s.badReport {
					reportErr = []int64{3600 * sec, -2 * sec, 700 * ms, -300 * ms, 1 << 60}[s.rng.IntN(5)]
				}
			}
			ntp := capture + s.cameraOff + reportErr
			if s.cameraSet > 0 && capture-start >= s.cameraSet {
				ntp += 3600 * sec
			}
			a.NTP = media.Wall(ntp)
		}
		out = append(out, a)
	}
	return out
}
