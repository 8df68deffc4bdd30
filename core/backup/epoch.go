package backup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The spaces have noted the newest epoch of the node whose id comes back, and
// refuse an older one. How often that was started since the backup, and whether
// the same backup was restored before, nobody knows: so a restore goes on from
// beyond both what the backup knows of and the seconds since a day of the past,
// which no number of starts catches up with.
const (
	epochStep = 1 << 20
	epochFile = "epoch"
)

var epochDay = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// epochAfter is what a restore goes on from; known are those that are known of.
// A clock that is years behind leaves the step.
func epochAfter(now time.Time, known ...uint64) uint64 {
	return max(slices.Max(known)+epochStep, uint64(max(now.Sub(epochDay)/time.Second, 0)))
}

// readEpoch is the epoch of a data folder, 0 where none can be read.
func readEpoch(dataDir string) uint64 {
	b, err := os.ReadFile(filepath.Join(dataDir, epochFile))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 31)
	if err != nil {
		return 0
	}
	return n
}

// writeEpoch lets a data folder go on from an epoch, if it is not farther.
func writeEpoch(dataDir string, epoch uint64) error {
	if epoch <= readEpoch(dataDir) {
		return nil
	}
	return writeWhole(filepath.Join(dataDir, epochFile), []byte(strconv.FormatUint(epoch, 10)+"\n"))
}
