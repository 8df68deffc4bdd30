package node

import (
	"path/filepath"

	"media-server/core/archive"
	"media-server/core/keys"
)

// keysDir is where the keys lie.
func keysDir(set *Settings) string {
	if set.Signing.Path != "" {
		return set.Signing.Path
	}
	return filepath.Join(set.Server.DataDir, "keys")
}

// KeysDir is where the keys of these settings lie, for the command line.
func (s *Settings) KeysDir() string { return keysDir(s) }

// openSigner opens or makes the signing key, if any pool signs. A key that
// cannot be used ends the start: nothing is recorded unsigned in silence. Only
// where every pool that signs encrypts as well, and cannot, the server starts:
// nothing is recorded in those.
func openSigner(set *Settings, v *keys.Vault) (archive.Signer, error) {
	signs, clear := false, false
	for _, p := range set.Archive.Pools {
		signs = signs || p.Sign
		clear = clear || p.Sign && !p.Encrypt
	}
	if !signs {
		return nil, nil
	}
	s, err := keys.Open(keysDir(set), set.Signing.Passphrase)
	if err == nil {
		return s, nil
	}
	if v != nil && v.Err() != nil && !clear {
		v.Refuse(err) // not even when the vault opens later
		return nil, nil
	}
	return nil, err
}
