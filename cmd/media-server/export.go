package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"media-server/core/export"
)

type exportCmd struct {
	UID      string `arg:"" help:"Stream."`
	From     string `required:"" help:"First moment."`
	To       string `help:"Last moment; or --duration."`
	Duration string `help:"Length."`
	Output   string `short:"o" required:"" placeholder:"FILE" help:"MP4 file to write."`
	Proof    bool   `help:"Write FILE.proof too: who exported what and why, and what leads each frame to the signature of its recording. See verify."`
	Reason   string `placeholder:"TEXT" help:"With --proof: why it is exported."`
}

func (c *exportCmd) Run(g *globals) error {
	switch {
	case (c.To == "") == (c.Duration == ""):
		return usagef("give --to or --duration, one of the two")
	case c.Reason != "" && !c.Proof:
		return usagef("a reason is written into the proof: give --proof too")
	}
	cl, _, err := g.server()
	if err != nil {
		return err
	}
	q := url.Values{"from": {c.From}}
	if c.To != "" {
		q.Set("to", c.To)
	} else {
		q.Set("duration", c.Duration)
	}
	resp, err := cl.send(context.Background(), "GET", "/dvr/"+url.PathEscape(c.UID)+"/record.mp4?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	if err := save(io.TeeReader(resp.Body, sum), resp.ContentLength, c.Output); err != nil || !c.Proof {
		return err
	}
	// The server has answered relative times with the URL that means the same
	// for ever; the proof is of that.
	q = resp.Request.URL.Query()
	q.Set("reason", c.Reason)
	name := c.Output + export.Suffix
	err = cl.proof("/api/v1/streams/"+url.PathEscape(c.UID)+"/proof?"+q.Encode(), resp.Header.Get("ETag"), name)
	if err == nil {
		err = export.Proves(name, resp.ContentLength, [32]byte(sum.Sum(nil)))
	}
	if err != nil {
		return fmt.Errorf("%s was written, and there is no proof of it: %w", c.Output, err)
	}
	return nil
}

// proof saves the proof of the export with an ETag.
func (c *client) proof(path, etag, name string) error {
	resp, err := c.sendIf(context.Background(), "GET", path, nil, func(h http.Header) { h.Set("If-Match", etag) })
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := save(resp.Body, -1, name); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the server broke off: its log and problems say why (%w)", err)
		}
		return err
	}
	return nil
}
