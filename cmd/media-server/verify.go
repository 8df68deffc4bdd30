package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/term"

	"media-server/core/archive"
	"media-server/core/keys"
	"media-server/core/media"
)

type verifyCmd struct {
	What []string `arg:"" optional:"" help:"Streams; with --key folders of spaces, or single files. Nothing = all spaces of the settings."`
	Key  string   `type:"existingfile" placeholder:"PUB" help:"Public keys (PEM). No server and no settings are needed then: footage verifies on any machine."`
	JSON bool     `name:"json" help:"Print JSON."`
}

// job is a folder, or a file, to verify.
type job struct{ path, only string }

func (c *verifyCmd) Run(g *globals) error {
	pubs, jobs, zone, err := c.plan(g)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var all archive.Verified
	for _, j := range jobs {
		v := &archive.Verifier{Keys: pubs, Only: j.only, Found: func(f archive.Finding) {
			if !c.JSON {
				fmt.Println(findingLine(f, zone))
			}
		}}
		if term.IsTerminal(int(os.Stderr.Fd())) {
			v.Progress = func(n int) { fmt.Fprintf(os.Stderr, "\r%d files", n) }
		}
		out, err := verifyPath(ctx, v, j.path)
		if err != nil {
			return fmt.Errorf("%s: %w", j.path, err)
		}
		all.Groomed += out.Groomed
		all.Files, all.Signed, all.Unsigned, all.Gone, all.Bytes = all.Files+out.Files, all.Signed+out.Signed, all.Unsigned+out.Unsigned, all.Gone+out.Gone, all.Bytes+out.Bytes
		all.Findings = append(all.Findings, out.Findings...)
	}
	if c.JSON {
		if err := printJSON(all); err != nil {
			return err
		}
	} else {
		groomed := ""
		if all.Groomed > 0 {
			groomed = fmt.Sprintf(" (%d of them groomed: their key frames are)", all.Groomed)
		}
		fmt.Printf("%d files, %s: %d signed and as they were recorded%s, %d never signed, %d gone by rule, %d findings\n",
			all.Files, size(all.Bytes), all.Signed, groomed, all.Unsigned, all.Gone, len(all.Findings))
	}
	if len(all.Findings) > 0 {
		return exitError(exitFailed)
	}
	return nil
}

func verifyPath(ctx context.Context, v *archive.Verifier, path string) (*archive.Verified, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		return v.Verify(ctx, path)
	}
	return v.VerifyFile(path), nil
}

// plan says what to verify with which keys.
func (c *verifyCmd) plan(g *globals) (pubs []ed25519.PublicKey, jobs []job, zone *time.Location, err error) {
	if c.Key != "" {
		b, err := os.ReadFile(c.Key)
		if err != nil {
			return nil, nil, nil, err
		}
		if pubs, err = keys.ParsePublic(b); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", c.Key, err)
		}
		for _, w := range c.What {
			jobs = append(jobs, job{path: w})
		}
		if len(jobs) == 0 {
			return nil, nil, nil, usagef("verify --key needs the folder of a space, or files")
		}
		return pubs, jobs, time.Local, nil
	}
	set, err := g.load()
	if err != nil {
		return nil, nil, nil, err
	}
	list, err := keys.List(set.KeysDir())
	if err != nil {
		return nil, nil, nil, err
	}
	for _, k := range list {
		pubs = append(pubs, k.Key)
	}
	streams := c.What
	if len(streams) == 0 {
		streams = []string{""}
	}
	for _, sp := range set.Archive.Spaces {
		if sp.Driver != "local" {
			continue // its files are not on this machine
		}
		for _, uid := range streams {
			jobs = append(jobs, job{sp.Path, uid})
		}
	}
	return pubs, jobs, set.Server.Zone(), nil
}

func findingLine(f archive.Finding, zone *time.Location) string {
	at := ""
	if f.Span.From > 0 {
		at = " at " + clockOf(f.Span.From, zone)
		if f.Span.To > f.Span.From {
			at = " from " + clockOf(f.Span.From, zone) + " to " + clockOf(f.Span.To, zone)
		}
	}
	return f.File + at + ": " + f.What
}

func clockOf(w media.Wall, zone *time.Location) string {
	return w.Time().In(zone).Format("2006-01-02 15:04:05.000")
}
