package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"media-server/core/keys"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"Public keys, oldest first."`
	Public keysPublicCmd `cmd:"" help:"Print the public keys (PEM), for media-server verify --key and openssl."`
	New    keysRotateCmd `cmd:"" help:"The same as rotate."`
	Rotate keysRotateCmd `cmd:"" help:"Make a new signing key; the server takes it at its next start."`
	Export keysExportCmd `cmd:"" help:"Save the signing key and all public keys in a file, wrapped by a passphrase read from standard input."`
}

type keysListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *keysListCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	ks, err := keys.List(set.KeysDir())
	if err != nil {
		return err
	}
	type line struct {
		ID      string `json:"id"`
		Made    int64  `json:"made_ms"`
		InForce bool   `json:"in_force"`
	}
	all := []line{}
	for _, k := range ks {
		all = append(all, line{k.ID.String(), k.Made.UnixMilli(), k.InForce})
	}
	if c.JSON {
		return printJSON(all)
	}
	if len(ks) == 0 {
		fmt.Println("no keys yet: the first is made when a server starts with a pool of which sign = true")
	}
	for _, k := range ks {
		note := "old"
		if k.InForce {
			note = "in force"
		}
		fmt.Printf("%s  made %s  %s\n", k.ID, k.Made.In(set.Server.Zone()).Format("2006-01-02 15:04"), note)
	}
	return nil
}

type keysPublicCmd struct{}

func (c *keysPublicCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	ks, err := keys.List(set.KeysDir())
	if err != nil {
		return err
	}
	if len(ks) == 0 {
		return errors.New("there are no keys yet: the first is made when a server starts with a pool of which sign = true")
	}
	for _, k := range ks {
		b, err := keys.PublicPEM(k.Key)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(b); err != nil {
			return err
		}
	}
	return nil
}

type keysRotateCmd struct{}

func (c *keysRotateCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	s, err := keys.Rotate(set.KeysDir(), set.Signing.Passphrase)
	if err != nil {
		return err
	}
	fmt.Printf("%s is in force from the next start of the server on; older footage goes on to verify\n", keys.ID(s.KeyID()))
	return nil
}

type keysExportCmd struct {
	Out string `short:"o" required:"" type:"path" help:"File to write."`
}

func (c *keysExportCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	pass, err := passphrase("passphrase of the export: ")
	if err != nil {
		return err
	}
	b, err := keys.Export(set.KeysDir(), set.Signing.Passphrase, pass)
	if err != nil {
		return err
	}
	return os.WriteFile(c.Out, b, 0o600)
}

// passphrase reads a line from standard input, unseen on a terminal.
func passphrase(prompt string) (string, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && line == "" {
		return "", fmt.Errorf("read the passphrase from standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
