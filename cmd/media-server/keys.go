package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"media-server/core/keys"
	"media-server/core/node"
	"media-server/core/web/api"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"Public keys, oldest first."`
	Public keysPublicCmd `cmd:"" help:"Print the public keys (PEM), for media-server verify --key and openssl."`
	New    keysRotateCmd `cmd:"" help:"The same as rotate."`
	Rotate keysRotateCmd `cmd:"" help:"Make a new signing key, which the server takes at its next start, and a new master key of encrypted footage, which is in force at once."`
	Export keysExportCmd `cmd:"" help:"Save the signing key, all public keys and the keys of encrypted footage in a file, wrapped by a passphrase read from standard input."`

	Import keysImportCmd `cmd:"" help:"Take over the keys of an export: those that encrypted footage is read with, and the public keys that signed footage verifies with. The passphrase of the export is read from standard input."`

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
	Only   string `enum:",signing,encryption,token" default:"" placeholder:"KIND" help:"Only the signing key, only the master key of encrypted footage, or the secret of play tokens, which nothing else rotates."`
	Revoke bool   `help:"With --only token: tokens made before are refused from now on. Without, they stay good until they expire."`
}

func (c *keysRotateCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	switch {
	case c.Revoke && c.Only != "token":
		return usagef("--revoke goes with --only token")
	case c.Only == "token":
		acc, done, err := g.accounts()
		if err != nil {
			return err
		}
		defer func() { _ = done() }()
		return acc.RotateTokenSecret(c.Revoke)
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

// importAtOnce is how much of an export the server is sent at once: a body of
// less than the smallest request-size that is of use.
const importAtOnce = 400 << 10

type keysImportCmd struct {
	File string `arg:"" type:"existingfile" help:"File that keys export has written, here or on another server."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help is shown by keys import --help.
func (c *keysImportCmd) Help() string {
	return "Keys that are here stay as they are, and what was destroyed here stays unreadable. The private signing key in the export is not taken: each server signs with its own."
}

func (c *keysImportCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	b, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	pass, err := passphrase("passphrase of the export: ")
	if err != nil {
		return err
	}
	var out api.ImportedKeys
	if cl.running() {
		parts, err := keys.Split(b, importAtOnce)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		for _, part := range parts {
			var n api.ImportedKeys
			if err := cl.do("POST", "/api/v1/keys/import", map[string]any{"export": string(part), "passphrase": pass}, &n); err != nil {
				return err
			}
			out.Encryption, out.Public = out.Encryption+n.Encryption, out.Public+n.Public
		}
	} else if out, err = node.ImportKeysOffline(set, string(b), pass); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out)
	}
	fmt.Printf("%d keys of encrypted footage and %d public keys were taken over\n", out.Encryption, out.Public)
	return nil
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
