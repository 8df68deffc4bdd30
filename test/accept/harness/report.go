package harness

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	reportFile = flag.String("accept.report", "", "write the figures as a page to this `file`")
	seedFlag   = flag.Uint64("accept.seed", 0, "seed of all draws; 0 = another each time")
)

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

type row struct {
	row, test, figure, verdict string
	seed                       uint64
}

var (
	rowsMu sync.Mutex
	rows   []row
)

// Row keeps a line for the report; seed 0 = nothing was drawn.
func Row(t testing.TB, name string, seed uint64, format string, args ...any) {
	t.Helper()
	figure := fmt.Sprintf(format, args...)
	t.Logf("%s: %s", name, figure)
	verdict := "holds"
	if t.Failed() {
		verdict = "**fails**"
	}
	rowsMu.Lock()
	defer rowsMu.Unlock()
	rows = append(rows, row{name, t.Name(), figure, verdict, seed})
}

// Report writes the page, if one is asked for.
func Report() error {
	if *reportFile == "" {
		return nil
	}
	rowsMu.Lock()
	defer rowsMu.Unlock()
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.test, b.test) })
	var b strings.Builder
	length := Pick("full length", "shortened")
	fmt.Fprintf(&b, "# Acceptance\n\nWritten by `make accept`. Commit %s, %s, %s, %d cores, %s.\n\n", Commit(), length,
		time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH)
	b.WriteString("Each row can be had again with its command and seed. Frames are counted by the frame ledger (test/ledger): " +
		"cameras stamp each one, and what they sent is compared with what comes back through HTTP.\n\n")
	b.WriteString("| row | holds | figure | seed | command |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		command := fmt.Sprintf("`go test ./test/accept -run '^%s$' -count 1", r.test)
		seed := "–"
		if r.seed != 0 {
			seed = fmt.Sprint(r.seed)
			command += fmt.Sprintf(" -accept.seed=%d", r.seed)
		}
		if Full() {
			command = "`MEDIA_SERVER_ACCEPT=full " + strings.TrimPrefix(command, "`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s` |\n", r.row, r.verdict, strings.ReplaceAll(r.figure, "|", "\\|"), seed, command)
	}
	return os.WriteFile(*reportFile, []byte(b.String()), 0o644)
}
