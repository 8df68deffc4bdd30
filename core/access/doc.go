// Package access knows who may do what: accounts with roles, sessions of the
// control panel, API tokens, play tokens, accounts of players, the audit, and who may
// play a stream.
//
//	password ─▶ Login ─▶ session token ─┐
//	            └─ lock-out by address  ├─▶ Identify ─▶ Identity{name, role}
//	CreateToken ─▶ API token ───────────┘                    │
//	password ─▶ SetPlayer ─▶ both HA1, sealed; Challenges, CheckDigest ─▶ name of a player
//	CreatePlayToken ─▶ signed text ─▶ PlayToken ─▶ stream, expiry, address, span (PLAYTOKEN.md)
//	stream's access rule + address + Identity, PlayToken or player ──▶ Decide ─▶ allow within a span | 401 | 403
//
// What does not belong here: cookies, headers, forms and origins (web), which
// route needs which role (web/api), settings of streams (node).
//
// All of it lies in data-dir/accounts.db (0600); dbfile says how it migrates.
// Tables: users, sessions, tokens, audit, play_tokens, players. All but the audit and
// the list of play tokens are held in memory as well (of those only the revoked), so
// that a request costs no read of the file; this process is the only one that writes
// while it runs.
//
// Secrets. Passwords are kept as argon2id (RFC 9106, second recommended set
// scaled to what OWASP names for servers: 19 MiB, two passes, one lane). Tokens
// of sessions and of the API are 256 random bits and are kept as SHA-256: a
// slow hash protects guessable secrets, and these are not. They are opaque
// rather than signed, because each is looked up anyway (it can be revoked), so
// there is no secret key to lose. Play tokens are signed, so that others can make them:
// their secret lies in the folder of keys (secrets.go) or in the settings, and rotates.
// What HTTP Digest needs of a player's password is as good as the password: it is
// encrypted under the master key, and opens media alone. No secret is ever logged or
// audited.
//
// Invariants:
//   - At most two passwords are hashed at a time, whoever asks; a wrong user
//     name costs as much time as a wrong password.
//   - There is always an administrator: the last one cannot be removed or
//     lowered.
//   - A new password, a removed user or a revoked token ends what was opened
//     with it, at the next request.
//   - Until the first password has been changed, its owner can only do that:
//     see Identity.MustChange.
//
// Goroutines: none.
package access
