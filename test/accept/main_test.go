package accept

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"media-server/test/accept/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "accept")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = harness.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := harness.Report(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// doors are the ways out through which frames are accounted for.
var doors = []string{"mp4", "hls"}
