package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"media-server/test/ledger"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	var sent, gaps, ignore list
	var rules ledger.Rules
	flag.Var(&sent, "sent", "sent-ledger CSV `file`; may be given several times")
	flag.Var(&gaps, "gaps", "ranges.json as [CAMERA=]`URL`; may be given several times")
	flag.Var(&ignore, "ignore", "`CAMERA:TRACK` not to judge, * for every camera, such as *:d; may be given several times")
	start := flag.Float64("start", 0, "when a media file begins, Unix `ms`; else by its X-Media-Start")
	from := flag.Float64("from", 0, "judge frames captured from here, Unix `ms`")
	to := flag.Float64("to", 0, "judge frames captured before, Unix `ms`")
	flag.DurationVar(&rules.Head, "head", 3*time.Second, "may be missing at the beginning")
	flag.DurationVar(&rules.Tail, "tail", 3*time.Second, "may be missing at the end")
	flag.DurationVar(&rules.Off, "off", 50*time.Millisecond, "a frame may be misplaced by this")
	delay := flag.Duration("delay", 0, "what the way from capture to arrival takes for certain")
	token := flag.String("token", "", "sent as Authorization: Bearer")
	camera := flag.String("camera", "", "judge only this camera")
	asJSON := flag.Bool("json", false, "print the report as JSON")
	flag.Parse()
	if flag.NArg() == 0 || len(sent) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	head := http.Header{}
	if *token != "" {
		head.Set("Authorization", "Bearer "+*token)
	}
	rules.Ignore = func(id ledger.ID) bool {
		return slices.Contains(ignore, id.String()) || slices.Contains(ignore, "*:"+string(id.Track))
	}
	rules.From, rules.To = int64(*from*1e6), int64(*to*1e6)
	report, err := verify(ctx, sent, gaps, rules, *delay, *camera, func(url string) ledger.Source {
		return ledger.Source{URL: url, Start: int64(*start * 1e6), Header: head}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(2)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		report.Write(os.Stdout)
	}
	if report.Failures() > 0 {
		os.Exit(1)
	}
}

func verify(ctx context.Context, paths, gaps []string, rules ledger.Rules, delay time.Duration, camera string, source func(string) ledger.Source) (*ledger.Report, error) {
	sent, err := ledger.ReadSent(paths...)
	if err != nil {
		return nil, err
	}
	rules.Delay = map[string]time.Duration{}
	for id := range sent {
		rules.Delay[id.Camera] = delay
		if camera != "" && id.Camera != camera {
			delete(sent, id)
		}
	}
	rules.Gaps = map[string][]ledger.Gap{}
	for _, g := range gaps {
		name, url, ok := strings.Cut(g, "=")
		if !ok || strings.Contains(name, "/") {
			name, url = "", g
		}
		if rules.Gaps[name], err = source(url).Gaps(ctx); err != nil {
			return nil, err
		}
	}
	var all ledger.Media
	for _, url := range flag.Args() {
		m, err := ledger.Read(ctx, source(url))
		if err != nil {
			return nil, err
		}
		all.Add(m)
	}
	return ledger.Compare(sent, &all, rules), nil
}
