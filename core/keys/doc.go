// Package keys keeps this server's signing key: made at first use, wrapped by
// a passphrase where one is set, followed by others when it is rotated. The
// public halves of all of them stay, so that old footage goes on to verify.
//
//	data-dir/keys (0700)
//	  signing.key        the private key in force: PEM, Ed25519 seed, perhaps wrapped
//	  public/<id>.pem    public keys, ordinary PEM (SubjectPublicKeyInfo) that openssl reads
//	  exported           there when somebody has saved the keys elsewhere
//
// What does not belong here: what is signed (archive), who may ask (web), the
// secret of play tokens (access).
//
// Invariants: a private key is written under a temporary name, synced and
// renamed, readable by its owner only; it never appears in an error. An id is
// the first eight bytes of the SHA-256 of the public key.
//
// No goroutine. A Signer is safe for concurrent use.
package keys
