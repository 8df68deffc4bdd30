package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"media-server/core/web/api"
)

type whyCmd struct {
	UID  string `arg:"" help:"Stream."`
	At   string `required:"" help:"Time, in any notation of the URLs."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (c *whyCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	var r api.Reason
	if err := cl.do("GET", "/api/v1/streams/"+url.PathEscape(c.UID)+"/why?at="+url.QueryEscape(c.At), nil, &r); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(r)
	}
	fmt.Println(r.Text)
	if r.Hint != "" {
		fmt.Println("  " + r.Hint)
	}
	at := func(ms int64) string {
		return time.UnixMilli(ms).In(set.Server.Zone()).Format("2006-01-02 15:04:05")
	}
	if r.Before != 0 && !r.Recorded {
		fmt.Println("  footage before it ends at", at(r.Before))
	}
	if r.After != 0 && !r.Recorded {
		fmt.Println("  footage behind it begins at", at(r.After))
	}
	for _, e := range r.Events {
		fmt.Printf("  %s  %s  %s\n", at(e.TimeMS), e.Type, e.Message)
	}
	return nil
}

type inspectCmd struct {
	UID   string `arg:"" optional:"" help:"Only this stream."`
	Day   string `help:"2026-03-01; today if neither is given."`
	Month string `help:"2026-03."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

func (c *inspectCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	q := url.Values{}
	for k, v := range map[string]string{"day": c.Day, "month": c.Month, "uid": c.UID} {
		if v != "" {
			q.Set(k, v)
		}
	}
	in, err := inspection(cl, q)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(in)
	}
	span := func(s float64) string { return (time.Duration(s) * time.Second).String() }
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tEXPECTED\tRECORDED\tMISSING\tWHY")
	for _, s := range in.Streams {
		why := ""
		for cause, d := range s.Causes {
			why += fmt.Sprintf("%s %s  ", cause, span(d))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.UID, span(s.Expected), span(s.Recorded), span(s.Missing), why)
		for _, b := range s.Buckets {
			if b.Missing >= 1 {
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t\n", time.UnixMilli(b.From).In(set.Server.Zone()).Format("2006-01-02 15:04"), span(b.Expected), span(b.Recorded), span(b.Missing))
			}
		}
	}
	return w.Flush()
}

// inspection reads all pages of an inspection.
func inspection(cl *client, q url.Values) (*api.Inspection, error) {
	var out *api.Inspection
	for {
		in := new(api.Inspection)
		if err := cl.do("GET", "/api/v1/inspection?"+q.Encode(), nil, in); err != nil {
			return nil, err
		}
		if out == nil {
			out = in
		} else {
			out.Streams = append(out.Streams, in.Streams...)
		}
		if in.Next == nil {
			out.Next = nil
			return out, nil
		}
		q.Set("cursor", *in.Next)
	}
}

// printToday is a line of status: how much of today's video there is.
func printToday(out io.Writer, in *api.Inspection) {
	var expected, recorded, missing float64
	worst, most := "", 0.0
	for _, s := range in.Streams {
		expected, recorded, missing = expected+s.Expected, recorded+s.Recorded, missing+s.Missing
		if s.Missing > most {
			worst, most = s.UID, s.Missing
		}
	}
	span := func(s float64) string { return (time.Duration(s) * time.Second).String() }
	fmt.Fprintf(out, "today: %s of video expected, %s recorded, %s missing", span(expected), span(recorded), span(missing))
	if most >= 1 {
		fmt.Fprintf(out, ", most of it of %s (%s); see media-server inspect", worst, span(most))
	}
	fmt.Fprintln(out)
}
