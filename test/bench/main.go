package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is one run of the program.
type bench struct {
	out    string // figures
	work   string // footage and logs of this run; removed
	keep   string // what later runs use again: clip, archive
	bin    string // server under test
	counts []int  // of cameras
	asked  bool   // counts were given
	env    string // of core and plugins, in record
	modes  string // recorders, in record; "" = all
	rounds int
	quick  bool
}

// pick is the full or the quick figure.
func pick[T any](b *bench, full, quick T) T {
	if b.quick {
		return quick
	}
	return full
}

// measurement is something -only can name.
type measurement struct {
	name   string
	what   string
	budget [2]time.Duration // full, quick
	run    func(ctx context.Context, b *bench, t *Page) error
}

var measurements = []measurement{
	{"record", "CPU and memory at 10, 50, 100 cameras beside lower bounds", [2]time.Duration{40 * time.Minute, 4 * time.Minute}, record},
	{"most", "the most cameras without a lost frame", [2]time.Duration{15 * time.Minute, 4 * time.Minute}, most},
	{"reconnect", "what an outage of 3 s costs beyond it", [2]time.Duration{5 * time.Minute, 2 * time.Minute}, reconnect},
	{"viewers", "100 HLS viewers of one camera", [2]time.Duration{5 * time.Minute, 90 * time.Second}, viewers},
	{"outgoing", "500 HLS viewers of one of 20 cameras, beside nginx with the same bytes", [2]time.Duration{10 * time.Minute, 3 * time.Minute}, outgoing},
	{"profile", "allocations per access unit, and CPU and allocation profiles of the three processes", [2]time.Duration{5 * time.Minute, 2 * time.Minute}, profile},
	{"read", "first byte of record.mp4 and playlists, an export, rebuild and start, on 1, 7 and 30 days", [2]time.Duration{60 * time.Minute, 6 * time.Minute}, read},
}

func main() {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{}
	names := make([]string, len(measurements))
	for i, m := range measurements {
		names[i] = m.name
	}
	only := flag.String("only", "", "measure these alone: "+strings.Join(names, ", "))
	flag.StringVar(&b.out, "out", "bin/bench", "`folder` of the figures; what takes long to make (archive) stays in it too")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds; figures are their medians")
	flag.BoolVar(&b.quick, "quick", false, "a tenth of the time and size, to see that it works")
	budget := flag.Duration("budget", 0, "longest `time` of one measurement; 0 = its own")
	flag.StringVar(&b.bin, "bin", "", "`folder` of media-server and plugins/; empty = built from this tree")
	flag.StringVar(&b.env, "env", "", "`NAME=value` for core and plugins in record, to try something")
	counts := flag.String("cameras", "10,50,100", "numbers of cameras in record; if given, also those that most tries instead of searching")
	flag.StringVar(&b.modes, "modes", "", "recorders in record, by semicolon; empty = all")
	flag.Parse()
	for n := range strings.SplitSeq(*counts, ",") {
		k, err := strconv.Atoi(n)
		if err != nil || k < 1 {
			return fmt.Errorf("-cameras %s: numbers by comma", *counts)
		}
		b.counts = append(b.counts, k)
	}
	flag.Visit(func(f *flag.Flag) { b.asked = b.asked || f.Name == "cameras" })

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)
	defer endAll()
	var failed error
	for _, m := range measurements {
		if *only != "" && !listed(*only, m.name) {
			continue
		}
		limit := m.budget[0]
		if b.quick {
			limit = m.budget[1]
		}
		if *budget > 0 {
			limit = *budget
		}
		fmt.Fprintf(os.Stderr, "== %s: %s (at most %v)\n", m.name, m.what, limit)
		p := newPage(b, m)
		mctx, cancel := context.WithTimeout(ctx, limit)
		err := m.run(mctx, b, p)
		cancel()
		endAll()
		if err != nil {
			p.Note("Not finished: %v.", err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", m.name, err))
		}
		if err := p.Save(b.out); err != nil {
			return err
		}
		p.Write(os.Stdout)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed, gather(b.out))
}

func listed(list, name string) bool {
	for n := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(n) == name {
			return true
		}
	}
	return false
}

func (b *bench) prepare(ctx context.Context) (err error) {
	if b.out, err = filepath.Abs(b.out); err != nil {
		return err
	}
	b.keep, b.work = filepath.Join(b.out, "keep"), filepath.Join(b.out, "work")
	// What a run that was killed has left.
	if err := errors.Join(os.RemoveAll(b.work), os.MkdirAll(b.keep, 0o755), os.MkdirAll(b.work, 0o755)); err != nil {
		return err
	}
	if b.bin == "" {
		b.bin = filepath.Join(b.out, "built")
		return build(ctx, b.bin, "")
	}
	b.bin, err = filepath.Abs(b.bin)
	return err
}

// sleep is time.Sleep that ends with ctx.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
