package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"media-server/core/keys"
	"media-server/core/web/api"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"Public keys, oldest first."`
	Public keysPublicCmd `cmd:"" help:"Print the public keys (PEM), for media-server verify --key and openssl."`
	New    keysRotateCmd `cmd:"" help:"The same as rotate."`
	Rotate keysRotateCmd `cmd:"" help:"Make a new signing key, which the server takes at its next start, and a new master key of encrypted footage, which is in force at once."`
	Export keysExportCmd `cmd:"" help:"Save the signing key, all public keys and the keys of encrypted footage in a file, wrapped by a passphrase read from standard input."`

	Destroy keysDestroyCmd `cmd:"" help:"Make the encrypted footage of one day of a stream unreadable for ever."`
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

		Encryption *api.EncryptionKeys `json:"encryption,omitempty"` // of the master key
	}
	all := []line{}
	for _, k := range ks {
		all = append(all, line{ID: k.ID.String(), Made: k.Made.UnixMilli(), InForce: k.InForce})
	}
	enc, encErr := encryptionKeys(set)
	if enc != nil {
		all = append(all, line{ID: enc.Master, Made: enc.Made, InForce: true, Encryption: enc})
	}
	if c.JSON {
		return errors.Join(printJSON(all), encErr)
	}
	if len(ks) == 0 && enc == nil && encErr == nil {
		fmt.Println("no keys yet: the first is made when a server starts with a pool of which sign = true")
	}
	for _, k := range ks {
		note := "old"
		if k.InForce {
			note = "in force"
		}
		fmt.Printf("%s  made %s  %s\n", k.ID, k.Made.In(set.Server.Zone()).Format("2006-01-02 15:04"), note)
	}
	if enc != nil {
		printEncryption(enc, set.Server.Zone())
	}
	return encErr
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

type keysRotateCmd struct {
	Only string `enum:",signing,encryption" default:"" placeholder:"KIND" help:"Only the signing key, or only the master key of encrypted footage."`
}

func (c *keysRotateCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	if c.Only != "signing" && (c.Only == "encryption" || !set.OpenVault().None()) {
		cl, _, err := g.server()
		if err != nil {
			return err
		}
		if err := rotateEncryption(cl, set); err != nil {
			return err
		}
		if c.Only == "encryption" {
			return nil
		}
	}
	s, err := keys.Rotate(set.KeysDir(), set.Signing.Passphrase)
	if err = errors.Join(err, set.GiveBack()); err != nil {
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
	b, err := exportKeys(set, pass)
	if err = errors.Join(err, set.GiveBack()); err != nil { // where it was signed for the first time
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
	return passphraseLine()
}

// passphraseLine reads a line from standard input.
func passphraseLine() (string, error) {
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && line == "" {
		return "", fmt.Errorf("read the passphrase from standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
