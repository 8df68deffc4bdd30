package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/keys"
	"media-server/core/node"
	"media-server/core/web/api"
)

// encryptionKeys tells of the keys of encrypted footage, by the file alone;
// nil: there are none, or they cannot be opened, which err then says.
func encryptionKeys(set *node.Settings) (*api.EncryptionKeys, error) {
	v := set.OpenVault()
	if v.None() {
		return nil, nil
	}
	in, ok := v.Info()
	if !ok {
		return nil, v.Err()
	}
	return node.KeysInfo(&in), nil
}

func printEncryption(k *api.EncryptionKeys, zone *time.Location) {
	days := "no keys yet"
	if k.Keys > 0 {
		days = fmt.Sprintf("%d keys of %d streams, %s to %s", k.Keys, k.Streams, k.First, k.Last)
	}
	fmt.Printf("%s  made %s  master key of encrypted footage: %s\n", k.Master[:16], time.UnixMilli(k.Made).In(zone).Format("2006-01-02 15:04"), days)
	for _, d := range k.Destroyed {
		fmt.Printf("%s  of %s for %s  destroyed %s by %s\n", d.ID[:16], d.UID, d.Day, time.UnixMilli(d.At).In(zone).Format("2006-01-02 15:04"), d.Who)
	}
}

// rotateEncryption puts all keys of encrypted footage under a new master key:
// in the running server, or in its file.
func rotateEncryption(cl *client, set *node.Settings) error {
	var out struct{ Master string }
	if cl.running() {
		if err := cl.do("POST", "/api/v1/keys/rotate", nil, &out); err != nil {
			return err
		}
	} else {
		id, err := node.RotateKeysOffline(set)
		if err != nil {
			return err
		}
		out.Master = id
	}
	fmt.Printf("%s is the master key of encrypted footage from now on; exports and backups of before open what they say with the old one\n", out.Master[:16])
	return nil
}

type keysDestroyCmd struct {
	UID   string `arg:"" help:"Stream."`
	Day   string `arg:"" help:"Day of UTC, as 2006-01-02. A file belongs to the day it begins in."`
	Force bool   `help:"Though locks keep some of that footage."`
	Yes   bool   `help:"Do not ask."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help is shown by keys destroy --help.
func (c *keysDestroyCmd) Help() string {
	return "What is destroyed cannot be brought back here: the footage of that day is unreadable, also after a restart and a rebuild. Backups and exports made before still hold the key, wrapped: who restores one reads the day again. Delete those as well."
}

func (c *keysDestroyCmd) Run(g *globals) error {
	cl, _, err := g.server()
	if err != nil {
		return err
	}
	if !cl.running() {
		return fmt.Errorf("%w: what is locked and what is still being written only it can tell", errNotRunning)
	}
	name := c.UID + " " + c.Day
	if !c.Yes {
		fmt.Fprintf(os.Stderr, "all footage of %s recorded on %s (UTC) becomes unreadable for ever; backups and exports of before still hold its key.\nType %q to go on: ", c.UID, c.Day, name)
		answer, err := passphraseLine()
		if err != nil {
			return err
		}
		if strings.TrimSpace(answer) != name {
			return errors.New("nothing was destroyed")
		}
	}
	var d api.DestroyedDay
	if err := cl.do("POST", "/api/v1/keys/destroy", map[string]any{"uid": c.UID, "day": c.Day, "confirm": name, "force": c.Force}, &d); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(d)
	}
	fmt.Printf("%d keys of %s for %s are destroyed, %d files cannot be read any more\n", d.Keys, d.UID, d.Day, d.Files)
	return nil
}

// exportKeys gathers what opens and verifies footage, wrapped by a passphrase.
func exportKeys(set *node.Settings, pass string) ([]byte, error) {
	v := set.OpenVault()
	if err := v.Err(); err != nil && !v.None() {
		return nil, err
	}
	var out []byte
	if v.None() || keys.HasSigning(set.KeysDir()) {
		b, err := keys.Export(set.KeysDir(), set.Signing.Passphrase, pass)
		if err != nil {
			return nil, err
		}
		out = b
	}
	if v.None() {
		return out, nil
	}
	b, err := v.Export(pass)
	return append(out, b...), err
}

// unitKeys are the keys that verify looks into encrypted footage with; nil
// where they are not at hand: then what is stored is verified.
func unitKeys(set *node.Settings) archive.UnitKeys {
	v := set.OpenVault()
	if v.Err() != nil {
		return nil
	}
	return node.VaultKeys(v)
}
