package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/keys"
	"media-server/core/media"
)

type verifyCmd struct {
	What  []string `arg:"" optional:"" help:"Streams, or exports with a proof beside them; with --key also folders of spaces, or single files. Nothing = all spaces of the settings."`
	Key   string   `type:"existingfile" placeholder:"PUB" help:"Public keys (PEM). No server and no settings are needed then: footage verifies on any machine."`
	Proof string   `type:"existingfile" placeholder:"FILE.proof" help:"The proof of the export that the files were cut out of; else FILE.proof beside each."`
	JSON  bool     `name:"json" help:"Print JSON."`

	exports []exported
}

// job is what is verified at once.
type job struct {
	paths []string // folders that belong together, or one file
	only  string
}

func (c *verifyCmd) Run(g *globals) error {
	var err error
	if c.exports, c.What, err = split(c.What, c.Proof, c.Key != ""); err != nil {
		return err
	}
	pubs, jobs, zone, units, err := c.plan(g)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	reports, found, err := verifyExports(ctx, c.exports, pubs, zone, c.JSON)
	if err != nil {
		return err
	}
	var all archive.Verified
	for _, j := range jobs {
		v := &archive.Verifier{Keys: pubs, UnitKeys: units, Only: j.only, Found: func(f archive.Finding) {
			if !c.JSON {
				fmt.Println(findingLine(f, zone))
			}
		}}
		if term.IsTerminal(int(os.Stderr.Fd())) {
			v.Progress = func(n int) { fmt.Fprintf(os.Stderr, "\r%d files", n) }
		}
		out, err := verifyPaths(ctx, v, j.paths)
		if err != nil {
			return err
		}
		all.Groomed += out.Groomed
		all.Files, all.Signed, all.Unsigned, all.Gone, all.Bytes = all.Files+out.Files, all.Signed+out.Signed, all.Unsigned+out.Unsigned, all.Gone+out.Gone, all.Bytes+out.Bytes
		all.Elsewhere += out.Elsewhere
		all.Encrypted, all.Closed = all.Encrypted+out.Encrypted, all.Closed+out.Closed
		all.Findings = append(all.Findings, out.Findings...)
	}
	if c.JSON {
		if err := printJSON(struct {
			archive.Verified
			Exports []*export.Report `json:",omitempty"`
		}{all, reports}); err != nil {
			return err
		}
	} else if len(jobs) > 0 {
		elsewhere := ""
		if all.Elsewhere > 0 {
			elsewhere = fmt.Sprintf("%d moved to a space that was not read, ", all.Elsewhere)
		}
		groomed := ""
		if all.Groomed > 0 {
			groomed = fmt.Sprintf(" (%d of them groomed: their key frames are)", all.Groomed)
		}
		fmt.Printf("%d files, %s: %d signed and as they were recorded%s, %d never signed, %d gone by rule, %s%d findings\n",
			all.Files, size(all.Bytes), all.Signed, groomed, all.Unsigned, all.Gone, elsewhere, len(all.Findings))
		if all.Encrypted > 0 {
			fmt.Printf("%d files are encrypted, of %d of them the units were not looked into for want of the key\n", all.Encrypted, all.Closed)
		}
	}
	if len(all.Findings)+found > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// verifyPaths verifies folders of spaces as one archive, or a single file.
func verifyPaths(ctx context.Context, v *archive.Verifier, paths []string) (*archive.Verified, error) {
	if fi, err := os.Stat(paths[0]); err != nil {
		return nil, err
	} else if !fi.IsDir() {
		return v.VerifyFile(paths[0]), nil
	}
	return v.Verify(ctx, paths...)
}

// together makes one job of all folders, and one of each file.
func together(paths []string) (jobs []job, err error) {
	var dirs []string
	for _, p := range paths {
		fi, err := os.Stat(p)
		switch {
		case err != nil:
			return nil, err
		case fi.IsDir():
			dirs = append(dirs, filepath.Clean(p))
		default:
			jobs = append(jobs, job{paths: []string{p}})
		}
	}
	if len(dirs) > 0 {
		jobs = append(jobs, job{paths: dirs})
	}
	return jobs, nil
}

// plan says what to verify with which keys.
func (c *verifyCmd) plan(g *globals) (pubs []ed25519.PublicKey, jobs []job, zone *time.Location, units archive.UnitKeys, err error) {
	if c.Key != "" {
		b, err := os.ReadFile(c.Key)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		if pubs, err = keys.ParsePublic(b); err != nil {
			return nil, nil, nil, nil, fmt.Errorf("%s: %w", c.Key, err)
		}
		if len(c.What)+len(c.exports) == 0 {
			return nil, nil, nil, nil, usagef("verify --key needs folders of spaces, or files")
		}
		jobs, err = together(c.What)
		return pubs, jobs, time.Local, nil, err
	}
	set, err := g.load()
	if err != nil {
		return nil, nil, nil, nil, err
	}
	list, err := keys.List(set.KeysDir())
	if err != nil {
		return nil, nil, nil, nil, err
	}
	for _, k := range list {
		pubs = append(pubs, k.Key)
	}
	streams := c.What
	if len(streams) == 0 && len(c.exports) > 0 {
		return pubs, nil, set.Server.Zone(), nil, nil
	}
	if len(streams) == 0 {
		streams = []string{""}
	}
	var dirs []string
	for _, sp := range set.Archive.Spaces {
		if sp.Driver != "local" {
			fmt.Fprintf(os.Stderr, "space %s: its files are not on this machine and are not verified; copy them into a folder (they keep their names) and verify that with --key\n", sp.Name)
			continue
		}
		dirs = append(dirs, sp.Path)
	}
	for _, uid := range streams {
		jobs = append(jobs, job{dirs, uid})
	}
	return pubs, jobs, set.Server.Zone(), unitKeys(set), nil
}

func findingLine(f archive.Finding, zone *time.Location) string {
	at := ""
	if f.Span.From > 0 {
		at = " at " + clockOf(f.Span.From, zone)
		if f.Span.To > f.Span.From {
			at = " from " + clockOf(f.Span.From, zone) + " to " + clockOf(f.Span.To, zone)
		}
	}
	return filepath.Join(f.Dir, f.File) + at + ": " + f.What
}

func clockOf(w media.Wall, zone *time.Location) string {
	return w.Time().In(zone).Format("2006-01-02 15:04:05.000")
}
