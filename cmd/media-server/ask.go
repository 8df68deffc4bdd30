package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"media-server/core/web/api"
)

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func rate(b int64) string {
	if b <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f Mbit/s", float64(b)/1e6)
}

func size(b int64) string {
	const units = "kMGTP"
	if b < 1000 {
		return fmt.Sprintf("%d B", b)
	}
	v, i := float64(b)/1000, 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.1f %cB", v, units[i])
}

type problemsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *problemsCmd) Run(g *globals) error {
	cl, _, err := g.server()
	if err != nil {
		return err
	}
	ps, err := all[api.Problem](cl, "/api/v1/problems")
	if err != nil {
		return err
	}
	return printProblems(ps, c.JSON)
}

func printProblems(ps []api.Problem, asJSON bool) error {
	if asJSON {
		return printJSON(ps)
	}
	for _, p := range ps {
		fmt.Printf("%s: %s: %s", p.Level, p.Where, p.What)
		if p.Hint != "" {
			fmt.Printf("; %s", p.Hint)
		}
		fmt.Println()
	}
	if len(ps) == 0 {
		fmt.Println("no problems")
	}
	return nil
}

type reloadCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *reloadCmd) Run(g *globals) error {
	cl, _, err := g.server()
	if err != nil {
		return err
	}
	var a struct{ Problems []api.Problem }
	if err := cl.do("POST", "/api/v1/reload", nil, &a); err != nil {
		return err
	}
	if err := printProblems(a.Problems, c.JSON); err != nil {
		return err
	}
	for _, p := range a.Problems {
		if p.Level == "error" {
			return exitError(exitConfig)
		}
	}
	return nil
}

type rangesCmd struct {
	UID  string `arg:"" help:"Stream."`
	From string `help:"Only from this time on."`
	To   string `help:"Only up to this time."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type rangesAnswer struct {
	Ranges []struct {
		From, To, Duration int64
		Kind               string
	}
	Gaps []struct {
		From, To   int64
		State, Why string
	}
	Locks []struct {
		ID              string
		From, To, Until int64
	}
}

func (c *rangesCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	q := url.Values{}
	for k, v := range map[string]string{"from": c.From, "to": c.To} {
		if v != "" {
			q.Set(k, v)
		}
	}
	path := "/api/v1/streams/" + url.PathEscape(c.UID) + "/ranges?" + q.Encode()
	if c.JSON {
		var raw json.RawMessage
		if err := cl.do("GET", path, nil, &raw); err != nil {
			return err
		}
		return printJSON(raw)
	}
	var a rangesAnswer
	if err := cl.do("GET", path, nil, &a); err != nil {
		return err
	}
	at := func(ms int64) string {
		return time.UnixMilli(ms).In(set.Server.Zone()).Format("2006-01-02 15:04:05.000")
	}
	for _, r := range a.Ranges {
		fmt.Printf("%s  %s  %s  %s\n", at(r.From), at(r.To), time.Duration(r.Duration)*time.Millisecond, r.Kind)
	}
	for _, r := range a.Gaps {
		fmt.Printf("%s  %s  missing: %s (%s)\n", at(r.From), at(r.To), r.Why, r.State)
	}
	for _, l := range a.Locks {
		fmt.Printf("%s  %s  locked: %s\n", at(l.From), at(l.To), l.ID)
	}
	return nil
}

type eventsCmd struct {
	Follow bool   `short:"f" help:"Go on with new ones as they come."`
	Type   string `help:"Only these types, by comma; stream.* is allowed."`
	UID    string `help:"Only of this stream."`
	Limit  int    `default:"50" help:"How many old ones."`
	JSON   bool   `name:"json" help:"Print JSON, one event a line."`
}

func (c *eventsCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	show := func(e api.Event) {
		if c.JSON {
			b, _ := json.Marshal(e)
			fmt.Println(string(b))
			return
		}
		fmt.Printf("%s %-7s %-20s %s %s\n", time.UnixMilli(e.TimeMS).In(set.Server.Zone()).Format(time.DateTime), e.Level, e.Type, e.UID, e.Message)
	}
	q := url.Values{"limit": {fmt.Sprint(c.Limit)}}
	if c.Type != "" {
		q.Set("type", c.Type)
	}
	if c.UID != "" {
		q.Set("uid", c.UID)
	}
	var l struct{ Items []api.Event }
	if err := cl.do("GET", "/api/v1/events?"+q.Encode(), nil, &l); err != nil {
		return err
	}
	last := int64(0)
	for i := len(l.Items) - 1; i >= 0; i-- {
		show(l.Items[i])
		last = max(last, l.Items[i].ID)
	}
	if !c.Follow {
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	resp, err := cl.send(ctx, "GET", fmt.Sprintf("/api/v1/events/stream?last_event_id=%d", last), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		data, ok := strings.CutPrefix(sc.Text(), "data: ")
		var e api.Event
		if !ok || json.Unmarshal([]byte(data), &e) != nil || c.UID != "" && e.UID != c.UID {
			continue
		}
		show(e)
	}
	if ctx.Err() != nil {
		return nil
	}
	return sc.Err()
}
