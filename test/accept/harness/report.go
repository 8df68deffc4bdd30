package harness

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	reportFile = flag.String("accept.report", "", "write the figures as a page to this `file`")
	reportAdd  = flag.Bool("accept.add", false, "keep the rows of tests that do not run now")
)

const (
	holds    = "holds"
	fails    = "**fails**"
	unjudged = "not judged"
)

// row is a line of the page.
type row struct {
	test string // the line's key, found again in its command
	name string
	fail bool
	line string // as it stands on the page
}

var (
	rowsMu sync.Mutex
	rows   []*row
	judged = map[string]bool{} // tests whose end is watched
)

// Row keeps a line for the report; seed 0 = nothing was drawn.
func Row(t testing.TB, name string, seed uint64, format string, args ...any) {
	t.Helper()
	keep(t, name, seed, holds, fmt.Sprintf(format, args...))
}

// NotJudged keeps a line for what could not be judged this time, and why: it
// neither holds nor fails.
func NotJudged(t testing.TB, name string, seed uint64, format string, args ...any) {
	t.Helper()
	keep(t, name, seed, unjudged, fmt.Sprintf(format, args...))
}

// keep adds a line; of a test that has failed it says so.
func keep(t testing.TB, name string, seed uint64, verdict, figure string) {
	t.Helper()
	watch(t)
	if t.Failed() && verdict == holds {
		verdict = fails
	}
	t.Logf("%s: %s: %s", name, verdict, figure)
	add(t, name, seed, figure, verdict)
}

func add(t testing.TB, name string, seed uint64, figure, verdict string) {
	test, _, _ := strings.Cut(t.Name(), "/")
	command := fmt.Sprintf("go test -tags accept ./test/accept -run '^%s$' -count 1", test)
	drawn := "–"
	if seed != 0 {
		drawn = fmt.Sprint(seed)
		command += fmt.Sprintf(" -accept.seed=%d", seed)
	}
	if Full() {
		command = "MEDIA_SERVER_ACCEPT=full " + command
	}
	line := fmt.Sprintf("| %s | %s | %s | %s | %s | `%s` |", name, verdict, strings.ReplaceAll(figure, "|", "\\|"), drawn, Commit(), command)
	rowsMu.Lock()
	defer rowsMu.Unlock()
	rows = append(rows, &row{test: test, name: name, fail: verdict == fails, line: line})
}

// watch makes a test that fails without a failing row of its own one that the
// page names: a scenario that broke off has no figure.
func watch(t testing.TB) {
	rowsMu.Lock()
	known := judged[t.Name()]
	judged[t.Name()] = true
	rowsMu.Unlock()
	if known {
		return
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		rowsMu.Lock()
		test, _, _ := strings.Cut(t.Name(), "/")
		told := slices.ContainsFunc(rows, func(r *row) bool { return r.test == test && r.fail })
		rowsMu.Unlock()
		if !told {
			add(t, t.Name(), 0, "no verdict: the scenario broke off", fails)
		}
	})
}

var testOf = regexp.MustCompile(`-run '\^(\w+)[^']*\$'`)

// earlier reads the rows of a page, but for tests that ran now.
func earlier(file string) (kept []*row, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		m := testOf.FindStringSubmatch(line)
		if m == nil || judged[m[1]] {
			continue
		}
		kept = append(kept, &row{test: m[1], line: strings.TrimRight(line, "\n")})
	}
	return kept, nil
}

// Report writes the page, if one is asked for.
func Report() error {
	if *reportFile == "" {
		return nil
	}
	rowsMu.Lock()
	defer rowsMu.Unlock()
	all := rows
	if *reportAdd {
		kept, err := earlier(*reportFile)
		if err != nil {
			return err
		}
		all = append(kept, all...)
	}
	slices.SortStableFunc(all, func(a, b *row) int { return cmp.Compare(a.test, b.test) })
	var b strings.Builder
	fmt.Fprintf(&b, "# Acceptance\n\nWritten by `make accept`, %s, on %d cores, %s. Each row names the commit it was had on.\n\n",
		Pick("full length", "shortened"), runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH)
	b.WriteString("Each row can be had again with its command and seed. Frames are counted by the frame ledger (test/ledger): " +
		"cameras stamp each one, and what they sent is compared with what comes back through HTTP.\n\n")
	b.WriteString("| row | verdict | figure | seed | commit | command |\n|---|---|---|---|---|---|\n")
	for _, r := range all {
		b.WriteString(r.line + "\n")
	}
	return os.WriteFile(*reportFile, []byte(b.String()), 0o644)
}
