package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/term"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/fault"
	"media-server/core/keys"
	"media-server/core/media"
)

type verifyCmd struct {
	What  []string `arg:"" optional:"" help:"Streams, or exports with a proof beside them; with --key also folders of spaces, or single files. Nothing = all spaces of the settings."`
	Key   string   `type:"existingfile" placeholder:"PUB" help:"Public keys (PEM). No server and no settings are needed then: footage verifies on any machine."`
	Proof string   `type:"existingfile" placeholder:"FILE.proof" help:"The proof of the export that the files were cut out of; else FILE.proof beside each."`
	Space []string `placeholder:"NAME" help:"Only these spaces of the settings. Those that are no folders are read through the running server; while none runs through their storage plugins, and none can start meanwhile."`
	JSON  bool     `name:"json" help:"Print JSON."`

	exports []exported
	far     *farSpaces // those that are no folders; nil: there are none
}

// job is what is verified at once.
type job struct {
	file   string // a single file; else
	places []archive.Place
	only   []string // streams; nil = all
}

func (c *verifyCmd) Run(g *globals) (err error) {
	if c.exports, c.What, err = split(c.What, c.Proof, c.Key != ""); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	pubs, jobs, zone, units, err := c.plan(ctx, g)
	if c.far != nil {
		defer func() { err = errors.Join(err, c.far.close()) }()
	}
	if err != nil {
		return err
	}
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
		out, err := verifyJob(ctx, v, j)
		if err != nil {
			return err
		}
		hides := slices.ContainsFunc(out.Findings, func(f archive.Finding) bool { return f.UID == "" }) // what is of no stream may say why
		for _, uid := range j.only {
			if !hides && !v.Heard(uid) {
				return fault.New("", fmt.Sprintf("nothing is known of a stream %q: no file, and no ledger that names one", uid), "see the ids with: media-server status")
			}
		}
		all.Groomed += out.Groomed
		all.Files, all.Signed, all.Unsigned, all.Gone, all.Bytes = all.Files+out.Files, all.Signed+out.Signed, all.Unsigned+out.Unsigned, all.Gone+out.Gone, all.Bytes+out.Bytes
		all.Elsewhere += out.Elsewhere
		all.Encrypted, all.Closed, all.Destroyed = all.Encrypted+out.Encrypted, all.Closed+out.Closed, all.Destroyed+out.Destroyed
		all.Findings = append(all.Findings, out.Findings...)
	}
	if c.JSON {
		if err := printJSON(struct {
			archive.Verified
			NotRead []notRead        `json:",omitempty"` // spaces that were left out
			Exports []*export.Report `json:",omitempty"`
		}{all, c.far.notRead(), reports}); err != nil {
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
			if all.Destroyed > 0 {
				fmt.Printf("%d of those nobody can read again: their keys were destroyed, see media-server keys list\n", all.Destroyed)
			}
		}
	}
	for _, x := range c.far.notRead() {
		if !c.JSON {
			fmt.Printf("space %s was not read and is not verified: %s\n", x.Space, x.Why)
		}
	}
	if len(all.Findings)+found+len(c.far.notRead()) > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// verifyJob verifies spaces as one archive, or a single file.
func verifyJob(ctx context.Context, v *archive.Verifier, j job) (*archive.Verified, error) {
	if j.file != "" {
		return v.VerifyFile(j.file), nil
	}
	return v.VerifyPlaces(ctx, j.places...)
}

// together makes one job of all folders, and one of each file.
func together(paths []string) (jobs []job, err error) {
	var dirs []archive.Place
	for _, p := range paths {
		fi, err := os.Stat(p)
		switch {
		case err != nil:
			return nil, err
		case fi.IsDir():
			dirs = append(dirs, archive.Place{Dir: filepath.Clean(p)})
		default:
			jobs = append(jobs, job{file: p})
		}
	}
	if len(dirs) > 0 {
		jobs = append(jobs, job{places: dirs})
	}
	return jobs, nil
}

// plan says what to verify with which keys.
func (c *verifyCmd) plan(ctx context.Context, g *globals) (pubs []ed25519.PublicKey, jobs []job, zone *time.Location, units archive.UnitKeys, err error) {
	if c.Key != "" {
		b, err := os.ReadFile(c.Key)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		if pubs, err = keys.ParsePublic(b); err != nil {
			return nil, nil, nil, nil, fmt.Errorf("%s: %w", c.Key, err)
		}
		if len(c.Space) > 0 {
			return nil, nil, nil, nil, usagef("--space names spaces of the settings, which are not read with --key: name folders instead")
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
	places, err := c.places(ctx, g, set)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	slices.Sort(streams) // each of them once
	jobs = []job{{places: places, only: slices.Compact(streams)}}
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
