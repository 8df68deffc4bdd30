package node

import (
	"log/slog"
	"path/filepath"
	"slices"

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

// signs tells whether any pool signs what it records.
func signs(set *Settings) bool {
	return slices.ContainsFunc(set.Archive.Pools, func(p archive.PoolConfig) bool { return p.Sign })
}

// formerSigner opens the key of pools that sign no more; nil = there is none, or it
// cannot be used.
func formerSigner(set *Settings, log *slog.Logger) *keys.Signer {
	s, err := keys.Existing(keysDir(set), set.Signing.Passphrase)
	if err != nil {
		log.Warn("no pool signs, and the signing key of before cannot be used: of signed footage that goes from now on, verify will say that somebody took it", "err", err)
	}
	return s
}

// openSigner opens or makes the signing key, if any pool signs. A key that
// cannot be used ends the start: nothing is recorded unsigned in silence. Only
// where every pool that signs encrypts as well, and cannot, the server starts:
// nothing is recorded in those. Where no pool signs any more, the key of before
// is opened all the same: footage that was signed is still deleted, moved and
// groomed, and verify must be able to tell that from theft.
func openSigner(set *Settings, v *keys.Vault, log *slog.Logger) (archive.Signer, error) {
	clear := slices.ContainsFunc(set.Archive.Pools, func(p archive.PoolConfig) bool { return p.Sign && !p.Encrypt })
	if !signs(set) {
		if s := formerSigner(set, log); s != nil {
			return s, nil
		}
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
