package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"media-server/core/backup"
	"media-server/core/node"
	"media-server/core/web/api"
)

type backupCmd struct {
	Make    backupMakeCmd    `cmd:"" default:"withargs" help:"Make a backup now."`
	List    backupListCmd    `cmd:"" help:"Backups in the folder, newest first, those of other servers too."`
	Dismiss backupDismissCmd `cmd:"" help:"Go on without the backup that was found when this server started anew."`
}

type backupMakeCmd struct {
	Out  string `short:"o" type:"path" help:"Copy the backup there as well."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (c *backupMakeCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	var b api.Backup
	if cl.running() {
		err = cl.do("POST", "/api/v1/backups", nil, &b)
	} else {
		b.Path, err = node.BackupOffline(context.Background(), set, version)
	}
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := copyFile(b.Path, c.Out); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(b)
	}
	fmt.Println(b.Path)
	return nil
}

type backupListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *backupListCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	var list []api.Backup
	if cl.running() {
		list, err = all[api.Backup](cl, "/api/v1/backups")
	} else {
		list, err = node.BackupsOffline(set)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(append([]api.Backup{}, list...))
	}
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "MADE\tSIZE\tSERVER\tFILE\tNOTE")
	for _, b := range list {
		of, note := b.Node, ""
		switch {
		case b.Own:
			of = "this one"
		case of == "":
			of = "unknown"
		}
		if b.Offered {
			note = "offered"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", time.UnixMilli(b.Made).In(set.Server.Zone()).Format(time.DateTime), size(b.Size), of, filepath.Join(set.BackupDir(), b.Name), note)
	}
	return w.Flush()
}

type backupDismissCmd struct{}

func (backupDismissCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	if cl.running() {
		return cl.do("POST", "/api/v1/restore", map[string]bool{"dismiss": true}, nil)
	}
	was, err := node.DismissOffline(set)
	if err == nil && was == "" {
		return errors.New("no backup is offered to this server")
	}
	return err
}

func copyFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return errors.Join(err, w.Sync(), w.Close())
}

type restoreCmd struct {
	File  string `arg:"" type:"existingfile" help:"Backup."`
	Yes   bool   `help:"Do not ask."`
	Stdin bool   `name:"passphrase-stdin" help:"Read the backup's passphrase from standard input; else it is [backup] passphrase."`
}

func (c *restoreCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	if cl.running() {
		return errors.New("a server is running: stop it first, or ask it to restore at its next start with POST /api/v1/restore")
	}
	pass := set.Backup.Passphrase
	if c.Stdin {
		if pass, err = passphrase("passphrase of the backup: "); err != nil {
			return err
		}
	}
	if !c.Yes {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return usagef("a restore replaces databases and keys; say --yes")
		}
		fmt.Printf("Databases and keys in %s are replaced by those of %s; what is there now is kept beside them. Type yes to go on: ", set.Server.DataDir, c.File)
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		if strings.TrimSpace(line) != "yes" {
			return errors.New("nothing was changed")
		}
	}
	s, err := node.RestoreOffline(set, c.File, pass)
	if err != nil {
		return err
	}
	printRestored(s)
	return nil
}

func printRestored(s *backup.Staged) {
	fmt.Printf("%d files restored, made by %s\n", len(s.Restores), s.Manifest.Program)
	for _, f := range s.Left {
		fmt.Println("left as it is:", f)
	}
}
