package node

import (
	"path/filepath"

	"media-server/core/archive"
	"media-server/core/keys"
)

// keysDir is where the signing keys lie.
func keysDir(set *Settings) string {
	if set.Signing.Path != "" {
		return set.Signing.Path
	}
	return filepath.Join(set.Server.DataDir, "keys")
}

// KeysDir is where the signing keys of these settings lie, for the command line.
func (s *Settings) KeysDir() string { return keysDir(s) }

// openSigner opens or makes the signing key, if any pool signs.
func openSigner(set *Settings) (archive.Signer, error) {
	for _, p := range set.Archive.Pools {
		if p.Sign {
			return keys.Open(keysDir(set), set.Signing.Passphrase)
		}
	}
	return nil, nil
}
