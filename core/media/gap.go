package media

import "time"

// MaxGapSegments is the most segment numbers that are left free for one hole.
const MaxGapSegments = 6

// GapSegments is how many segment numbers a recording leaves free for a hole
// in front of a new run, so that a playlist can name the hole with that many
// EXT-X-GAP segments and media sequence numbers still follow from the numbers
// stored: one for each ten seconds begun; none for a hole above a minute,
// which a playlist shows as a discontinuity, or below a tenth of a second.
func GapSegments(hole time.Duration) uint64 {
	const each = 10 * time.Second
	if hole < 100*time.Millisecond || hole > MaxGapSegments*each {
		return 0
	}
	return uint64((hole + each - 1) / each)
}
