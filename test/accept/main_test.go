package accept

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"media-server/test/accept/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	sideBySide()
	os.Exit(run(m))
}

// sideBySide lets shortened scenarios run four at a time where nobody has said
// otherwise: most of their time they wait for cameras, which take real time, and
// the machine has nothing to do. At full length each has it for itself.
func sideBySide() {
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told && !harness.Full() {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
}

// gstDir is where GStreamer keeps what it has found out about its plugins, which
// takes it many seconds: once for all tests.
var gstDir string

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "accept")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		gstDir = filepath.Join(dir, "gst")
		err = errors.Join(os.Mkdir(gstDir, 0o777), os.Chmod(gstDir, 0o777)) // players run as nobody
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
