package harness

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
)

var seedFlag = flag.Uint64("accept.seed", 0, "seed of all draws; 0 = another each time")

// Full tells whether scenarios run as long as they are worded.
func Full() bool { return os.Getenv("MEDIA_SERVER_ACCEPT") == "full" }

// Pick is the full or the shortened figure.
func Pick[T any](full, short T) T {
	if Full() {
		return full
	}
	return short
}

// Seed draws and prints the seed of a scenario.
func Seed(t testing.TB) (uint64, *rand.Rand) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()>>40 + 1
	}
	t.Logf("seed %d (again with -accept.seed=%d)", seed, seed)
	return seed, rand.New(rand.NewPCG(seed, seed))
}
