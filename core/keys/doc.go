// Package keys keeps this server's keys: the one that footage is signed with
// and those that it is encrypted with. Each is made at first use and wrapped by
// a passphrase where one is set.
//
//	data-dir/keys (0700)
//	  signing.key        the private key in force: PEM, Ed25519 seed, perhaps wrapped
//	  public/<id>.pem    public keys, ordinary PEM (SubjectPublicKeyInfo) that openssl reads
//	  encryption.keys    the master key, and under it one key a stream and day (FORMAT.md)
//	  exported           there when somebody has saved the signing key elsewhere
//
//	archive ─ForDay─▶ Vault ─▶ key at once; added to the file and synced by Run ─▶ durable
//	archive ─Key────▶ Vault (all keys are held in memory)
//
// What does not belong here: what is signed and encrypted (archive), who may
// ask (web), the secret of play tokens (access).
//
// Invariants: a private key is written under a temporary name, synced and
// renamed, readable by its owner only; no key appears in an error or a log. An
// id of a signing key is the first eight bytes of the SHA-256 of the public
// key. Signing keys that were rotated stay as public halves. A vault that
// cannot be opened answers with why, and nothing is made in its place.
//
// Goroutines: Vault.Run, owned by the caller. A Signer and a Vault are safe for
// concurrent use.
package keys
