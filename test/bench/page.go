package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Page is what one measurement found.
type Page struct {
	Name, What string
	Command    string
	Machine    string
	Commit     string
	Date       string
	Load       [2]string // load average, before and after
	Rounds     int
	Quick      bool
	Tables     []*Table
	Notes      []string
}

// Table has rows of samples, one a round.
type Table struct {
	Title   string
	First   string   // heading of the labels
	Columns []string // in order of appearance
	Rows    []*Row
}

// Row is one line.
type Row struct {
	Label string
	Cells map[string][]float64 `json:",omitempty"`
	Texts map[string]string    `json:",omitempty"`
}

func newPage(b *bench, m measurement) *Page {
	cmd := fmt.Sprintf("go run ./test/bench -out DIR -only %s -rounds %d", m.name, b.rounds)
	if b.quick {
		cmd += " -quick"
	}
	p := &Page{Name: m.name, What: m.what, Command: cmd, Machine: machine(b.out), Date: time.Now().UTC().Format("2006-01-02 15:04"), Rounds: b.rounds, Quick: b.quick}
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		p.Commit = strings.TrimSpace(string(out))
	}
	p.Load[0] = loadAverage()
	return p
}

// Note adds a sentence.
func (p *Page) Note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// Table begins a table.
func (p *Page) Table(title, first string) *Table {
	t := &Table{Title: title, First: first}
	p.Tables = append(p.Tables, t)
	return t
}

func (t *Table) row(label string) *Row {
	for _, r := range t.Rows {
		if r.Label == label {
			return r
		}
	}
	r := &Row{Label: label, Cells: map[string][]float64{}, Texts: map[string]string{}}
	t.Rows = append(t.Rows, r)
	return r
}

// Add takes a round's sample.
func (t *Table) Add(label, column string, v float64) {
	if !slices.Contains(t.Columns, column) {
		t.Columns = append(t.Columns, column)
	}
	r := t.row(label)
	r.Cells[column] = append(r.Cells[column], v)
}

// Text puts words into a cell.
func (t *Table) Text(label, column, v string) {
	if !slices.Contains(t.Columns, column) {
		t.Columns = append(t.Columns, column)
	}
	t.row(label).Texts[column] = v
}

// Ratio adds a column: column of every row divided by that of the row of,
// round by round.
func (t *Table) Ratio(column, of, name string) {
	i := slices.IndexFunc(t.Rows, func(r *Row) bool { return r.Label == of })
	if i < 0 {
		return
	}
	base := t.Rows[i].Cells[column]
	for _, r := range t.Rows {
		for i, v := range r.Cells[column] {
			if i < len(base) && base[i] > 0 {
				t.Add(r.Label, name, v/base[i])
			}
		}
	}
}

// Median of a cell; NaN = nothing there.
func (t *Table) Median(label, column string) float64 { return median(t.row(label).Cells[column]) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// percentile q of 0 to 1, nearest rank.
func percentile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(math.Ceil(q*float64(len(s))))-1)]
}

func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 1000:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	case a == 0:
		return "0"
	}
	return fmt.Sprintf("%.3f", v)
}

// Write writes Markdown.
func (p *Page) Write(w io.Writer) {
	fmt.Fprintf(w, "## %s\n\n", strings.ToUpper(p.What[:1])+p.What[1:])
	kind := "full length"
	if p.Quick {
		kind = "quick run: an indication only"
	}
	fmt.Fprintf(w, "`%s`, %s UTC, commit %s, %s; medians of %d. %s. Load average before %s, after %s.\n\n",
		p.Command, p.Date, p.Commit, kind, p.Rounds, p.Machine, p.Load[0], p.Load[1])
	for _, t := range p.Tables {
		if t.Title != "" {
			fmt.Fprintf(w, "%s\n\n", t.Title)
		}
		fmt.Fprintf(w, "| %s | %s |\n|---|%s\n", t.First, strings.Join(t.Columns, " | "), strings.Repeat("---:|", len(t.Columns)))
		for _, r := range t.Rows {
			fmt.Fprintf(w, "| %s |", r.Label)
			for _, c := range t.Columns {
				s := r.Texts[c]
				if s == "" {
					s = number(median(r.Cells[c]))
				}
				fmt.Fprintf(w, " %s |", s)
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "%s\n\n", n)
	}
}

// Save writes NAME.json and NAME.md.
func (p *Page) Save(dir string) error {
	p.Load[1] = loadAverage()
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err
	}
	var md strings.Builder
	p.Write(&md)
	if err := os.WriteFile(filepath.Join(dir, p.Name+".json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, p.Name+".md"), []byte(md.String()), 0o644)
}

// gather puts the pages of this and earlier runs together.
func gather(dir string) error {
	all := "# Figures\n\nWritten by `make bench`.\n\n"
	for _, m := range measurements {
		if b, err := os.ReadFile(filepath.Join(dir, m.name+".md")); err == nil {
			all += string(b)
		}
	}
	return os.WriteFile(filepath.Join(dir, "BENCH.md"), []byte(all), 0o644)
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	if len(f) == 0 {
		return "?"
	}
	return f[0]
}

// machine names what was measured on.
func machine(dir string) string {
	cpu := "?"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			cpu = strings.TrimSpace(v)
			break
		}
	}
	mem := ""
	b, _ = os.ReadFile("/proc/meminfo")
	var kb int
	if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kb); err == nil {
		mem = fmt.Sprintf(", %d GB", (kb+512<<10)>>20)
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fs := ""
	if out, err := exec.Command("stat", "-f", "-c", "%T", dir).Output(); err == nil {
		fs = ", " + strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%d cores (%s)%s, Linux %s%s, %s", runtime.NumCPU(), cpu, mem, strings.TrimSpace(string(kernel)), fs, runtime.Version())
}
