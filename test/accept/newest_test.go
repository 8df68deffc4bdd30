package accept

import (
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// newest is how much of the end is missing of what a camera sent before off.
func newest(c harness.Camera, r *ledger.Report, off time.Time) (loss time.Duration) {
	sent, err := ledger.ReadSent(c.Sent)
	if err != nil {
		return 0
	}
	for _, tr := range r.Tracks {
		var units []ledger.Unit
		for _, u := range sent[tr.ID] {
			if u.Time < off.UnixNano() {
				units = append(units, u)
			}
		}
		if tr.Tail > 0 && tr.Tail <= len(units) {
			loss = max(loss, off.Sub(time.Unix(0, units[len(units)-tr.Tail].Time)))
		}
	}
	return loss
}
