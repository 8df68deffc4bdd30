package clock

import "time"

// reference is the track whose reports the others are compared with: the
// first that has any.
func (m *Map) reference(at int64) *track {
	for _, t := range m.tracks {
		if t.floor.known && t.reports.usable(at) {
			return t
		}
	}
	return nil
}

// behind is server − camera NTP as the track's arrivals and reports show it:
// the true difference plus the track's own least delay.
func (t *track) behind() int64 { return t.floor.value - t.reports.median }

func (m *Map) believable(t, ref *track, at int64) bool {
	return t.floor.known && t.reports.usable(at) && abs(t.behind()-ref.behind()) <= int64(m.cfg.Plausible)
}

// leastDelayed is the smallest behind of all tracks that agree with ref.
func (m *Map) leastDelayed(ref *track, at int64) int64 {
	least := ref.behind()
	for _, t := range m.tracks {
		if m.believable(t, ref, at) {
			least = min(least, t.behind())
		}
	}
	return least
}

// realign moves each track that has believable reports to where the
// least-delayed one says that it belongs. Others keep what they had: a camera
// whose clock is set sends the new time for one track some seconds before the
// other, and a track that stops reporting has not moved.
func (m *Map) realign(at int64) {
	ref := m.reference(at)
	if ref == nil {
		return
	}
	others := 0
	for _, t := range m.tracks {
		if t != ref && m.believable(t, ref, at) {
			others++
		}
	}
	if others == 0 {
		return
	}
	least := m.leastDelayed(ref, at)
	for _, t := range m.tracks {
		if !m.believable(t, ref, at) {
			continue
		}
		align := least - t.behind()
		if t.reports.n < firmReports && abs(align) < int64(firstDoubt) {
			align = 0
		}
		t.align = align
	}
}

// A first report may be off by what the first packet was behind the beginning of
// the sender's pipeline, such as the reordering depth of a stream with B-frames:
// GStreamer 1.22 makes such, and the driver does not recognise them all. Arrivals
// are better than that, so a small difference waits for the median of three; a
// large one is a microphone's buffer and counts at once, because later it could
// only be worked off at 500 ppm.
const (
	firmReports = 3
	firstDoubt  = 125 * time.Millisecond
)
