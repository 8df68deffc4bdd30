package node

import (
	"log/slog"
	"testing"

	"media-server/core/archive"
)

// TestKeyState: GET keys says which key signs, whether it has been saved, and
// how the keys of encrypted footage are.
func TestKeyState(t *testing.T) {
	for _, c := range []struct {
		sign, encrypt bool
		vault         string
	}{{false, false, "none"}, {true, false, "none"}, {true, true, "open"}} {
		set := new(Settings)
		set.Server.DataDir, set.Signing.Path = t.TempDir(), t.TempDir()
		set.Archive.Pools = []archive.PoolConfig{{Name: "p", Sign: c.sign, Encrypt: c.encrypt}}
		n := &Node{log: slog.New(slog.DiscardHandler), boot: set}
		n.proofs, n.vault = newProofs(n), openVault(set, slog.New(slog.DiscardHandler))
		var err error
		if n.signer, err = openSigner(set, n.vault, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		k, err := backend{n}.Keys()
		if err != nil || k.Pending != c.sign || (k.Signs != "") != c.sign || k.Vault != c.vault || (k.Encryption != nil) != c.encrypt {
			t.Errorf("%+v: %+v %v", c, k, err)
		}
		if c.sign && (len(k.Signing) != 1 || k.Signing[0].ID != k.Signs) {
			t.Errorf("it signs with %s of %+v", k.Signs, k.Signing)
		}
		if !c.encrypt {
			continue
		}
		o := *set // its keys are lost: nothing is made in their place
		o.Signing.Path = t.TempDir()
		n.boot, n.vault = &o, o.OpenVault()
		if k, err := (backend{n}).Keys(); err != nil || k.Vault != "closed" || k.VaultWhy == "" || k.Encryption != nil {
			t.Errorf("without its keys: %+v %v", k, err)
		}
	}
}
