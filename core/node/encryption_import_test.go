package node

import (
	"log/slog"
	"testing"

	"media-server/core/keys"
)

// TestImportAsksFirst: an export whose passphrase is not known leaves nothing
// behind, not even the public keys, which are not wrapped by it.
func TestImportAsksFirst(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	from, to := t.TempDir(), t.TempDir()
	if _, err := keys.Open(from, ""); err != nil {
		t.Fatal(err)
	}
	v := keys.OpenVault(keys.VaultOptions{Dir: from, Make: true, Log: quiet})
	if _, _, _, err := v.ForDay("gate", 20000); err != nil {
		t.Fatal(err)
	}
	signing, err := keys.Export(from, "", "words")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := v.Export("words")
	if err != nil {
		t.Fatal(err)
	}
	export := string(signing) + string(sealed)
	own := keys.OpenVault(keys.VaultOptions{Dir: to, Make: true, Log: quiet})
	public := func() int {
		ks, err := keys.List(to)
		if err != nil {
			t.Fatal(err)
		}
		return len(ks)
	}
	if _, err := importKeys(to, own, export, "other words"); err == nil || public() != 0 {
		t.Fatalf("with a wrong passphrase: %v, and %d public keys were taken over", err, public())
	}
	if n, err := importKeys(to, own, export, "words"); err != nil || n.Encryption != 1 || n.Public != 1 || public() != 1 {
		t.Fatalf("imported %+v %v, %d public keys", n, err, public())
	}
}
