package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"media-server/core/web/api"
)

type lockCmd struct {
	Add    lockAddCmd    `cmd:"" default:"withargs" help:"Keep a range of a stream whatever the rules say."`
	List   lockListCmd   `cmd:"" help:"Locks in force."`
	Remove lockRemoveCmd `cmd:"" help:"End a lock; the rules take what they want from then on."`
}

type lockAddCmd struct {
	UID    string `arg:"" help:"Stream."`
	From   string `required:"" help:"Begin, in any notation of the URLs: RFC 3339, Unix, --from=-2h."`
	To     string `required:"" help:"End."`
	Reason string `required:"" help:"Why; whoever finds it in a year wants to know."`
	Until  string `help:"The lock ends by itself then; without it when somebody removes it."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (c *lockAddCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	in := map[string]string{"from": c.From, "to": c.To, "reason": c.Reason}
	if c.Until != "" {
		in["until"] = c.Until
	}
	var l api.Lock
	if err := cl.do("POST", "/api/v1/streams/"+url.PathEscape(c.UID)+"/locks", in, &l); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(l)
	}
	printLocks([]api.Lock{l}, set.Server.Zone())
	return nil
}

func printLocks(ls []api.Lock, zone *time.Location) {
	at := func(ms int64) string { return time.UnixMilli(ms).In(zone).Format("2006-01-02 15:04:05.000") }
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "LOCK\tSTREAM\tFROM\tTO\tUNTIL\tWHO\tREASON")
	for _, l := range ls {
		until := "no end"
		if l.Until != 0 {
			until = at(l.Until)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.UID, at(l.From), at(l.To), until, l.Who, l.Reason)
	}
	_ = w.Flush() // to a terminal or a pipe that is gone
}

type lockListCmd struct {
	UID  string `arg:"" optional:"" help:"Only of this stream."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (c *lockListCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	uids := []string{c.UID}
	if c.UID == "" {
		streams, err := all[api.Stream](cl, "/api/v1/streams")
		if err != nil {
			return err
		}
		uids = nil
		for _, s := range streams {
			uids = append(uids, s.UID)
		}
	}
	list := []api.Lock{}
	for _, uid := range uids {
		ls, err := all[api.Lock](cl, "/api/v1/streams/"+url.PathEscape(uid)+"/locks")
		if err != nil {
			return err
		}
		list = append(list, ls...)
	}
	if c.JSON {
		return printJSON(list)
	}
	if len(list) == 0 {
		fmt.Println("no locks")
		return nil
	}
	printLocks(list, set.Server.Zone())
	return nil
}

type lockRemoveCmd struct {
	UID string `arg:"" help:"Stream."`
	ID  string `arg:"" help:"Lock."`
}

func (c *lockRemoveCmd) Run(g *globals) error {
	cl, _, err := g.server()
	if err != nil {
		return err
	}
	return cl.do("DELETE", "/api/v1/streams/"+url.PathEscape(c.UID)+"/locks/"+url.PathEscape(c.ID), nil, nil)
}

type retentionCmd struct {
	Preview retentionPreviewCmd `cmd:"" default:"withargs" help:"What the rules delete now, and how long each stream will be kept; with changes, what they would do."`
	Confirm retentionConfirmCmd `cmd:"" help:"Let the rules of a stream, or the limits of a space, delete what delete-most holds back."`
}

type retentionPreviewCmd struct {
	Set  []string `name:"set" placeholder:"UID.KEY=VALUE" help:"A setting to try: gate.dvr-duration=5d, pool.NAME.days=3d (or groom-after, overwrite-free, overwrite), space.NAME.size-limit=1T (or reserve). May be repeated."`
	JSON bool     `name:"json" help:"Print JSON."`
}

func (c *retentionPreviewCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	in := api.RetentionChanges{Streams: map[string]map[string]string{}, Pools: map[string]map[string]string{}, Spaces: map[string]map[string]string{}}
	for _, s := range c.Set {
		key, value, ok := strings.Cut(s, "=")
		of, name := in.Streams, key
		if rest, isPool := strings.CutPrefix(key, "pool."); isPool {
			of, name = in.Pools, rest
		} else if rest, isSpace := strings.CutPrefix(key, "space."); isSpace {
			of, name = in.Spaces, rest
		}
		uid, key, dotted := strings.Cut(name, ".")
		if !ok || !dotted {
			return usagef("--set %s: write UID.KEY=VALUE, pool.NAME.KEY=VALUE or space.NAME.KEY=VALUE", s)
		}
		if of[uid] == nil {
			of[uid] = map[string]string{}
		}
		of[uid][key] = value
	}
	var p api.RetentionPlan
	if err := cl.do("POST", "/api/v1/retention/preview", in, &p); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(p)
	}
	printPlan(&p, set.Server.Zone())
	return nil
}

func printPlan(p *api.RetentionPlan, zone *time.Location) {
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tFOOTAGE\tA DAY\tLOCKED\tKEPT\tBY\tDELETES NOW\tGROOMS NOW\tNOTE")
	for _, s := range p.Streams {
		kept, goes, note := "for ever", "-", ""
		if s.LimitedBy != "" {
			kept = fmt.Sprintf("%.1f days", s.Days)
		}
		if s.Deletes > 0 {
			goes = fmt.Sprintf("%d files, %s, up to %s", s.Deletes, size(s.Goes), time.UnixMilli(s.GoneTo).In(zone).Format("2006-01-02 15:04"))
		}
		grooms := "-"
		if s.Grooms > 0 {
			grooms = fmt.Sprintf("%d files, %s of %s", s.Grooms, size(s.GroomGain), size(s.GroomBytes))
		}
		switch {
		case s.Asks:
			note = "asks first: media-server retention confirm " + s.UID
		case s.Broken:
			note = "breaks dvr-keep"
		case s.Short:
			note = fmt.Sprintf("dvr-keep promises %.1f days", s.KeepDays)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.UID, size(s.Bytes), size(s.PerDay), size(s.Locked), kept, s.LimitedBy, goes, grooms, note)
	}
	_ = w.Flush()
	printPools(os.Stdout, p.Pools)
	for _, s := range p.Spaces {
		switch {
		case s.Asks:
			fmt.Printf("space %s: %s would delete %d files, %s at once; asks first: media-server retention confirm --space %s\n", s.Name, s.Why, s.Deletes, size(s.Goes), s.Name)
		case s.Deletes > 0:
			fmt.Printf("space %s: %d files, %s go for want of room\n", s.Name, s.Deletes, size(s.Goes))
		}
	}
	fmt.Printf("%d files, %s would be deleted now\n", p.Deletes, size(p.Goes))
	if p.Grooms > 0 {
		fmt.Printf("%d files would keep their key frames only now, which frees about %s and cannot be undone\n", p.Grooms, size(p.GroomGain))
	}
}

func printPools(out io.Writer, ps []api.RetentionPool) {
	for _, q := range ps {
		fmt.Fprintf(out, "pool %s: %s of %s free, %s a day, %s locked", q.Name, size(q.Free), size(q.Total), size(q.PerDay), size(q.Locked))
		switch {
		case q.FullIn > 0:
			fmt.Fprintf(out, ", full in %.1f days", q.FullIn)
		case q.Days > 0:
			fmt.Fprintf(out, ", room for %.1f days", q.Days)
		}
		fmt.Fprintln(out)
	}
}

type retentionConfirmCmd struct {
	UID   string `arg:"" optional:"" help:"Stream."`
	Space string `help:"Space whose limits, or the thresholds of whose pools, may delete what they want there."`
}

func (c *retentionConfirmCmd) Run(g *globals) error {
	in := map[string]string{"uid": c.UID}
	switch {
	case (c.UID == "") == (c.Space == ""):
		return usagef("name a stream, or a space with --space NAME")
	case c.Space != "":
		in = map[string]string{"space": c.Space}
	}
	cl, _, err := g.server()
	if err != nil {
		return err
	}
	return cl.do("POST", "/api/v1/retention/confirm", in, nil)
}
