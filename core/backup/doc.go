// Package backup saves what a server knows and no media file says — accounts,
// locks, gap causes, events, keys, settings — in one file, and brings it back.
//
//	databases (snapshots), keys/, node-id, ini files ─▶ Write ─▶ path/media-server-<node>-<time>.backup
//	a backup ─▶ Stage ─▶ data-dir/restore/ + data-dir/restore.json ─▶ Finish (at a start) ─▶ data-dir
//
// Format: a tar (POSIX.1-2001) that `tar tvf` lists. Its first member is
// manifest.json: {"format":"media-server backup","version":1,"program","node",
// "made_ms","members":[{"name","size","sha256"}]}; the others follow in that
// order. With a passphrase the tar is wrapped: "MSBAKE1\n", 16 bytes of salt,
// then pieces of at most 64 KiB, each a big-endian u32 length and AES-256-GCM
// of the piece (key: argon2id of the passphrase, 64 MiB, 3 passes; nonce: four
// zero bytes and the piece's number; associated data: one byte, 1 for the last).
//
// A server deletes old backups of its own alone. One that starts anew beside
// backups offers the newest until a restore is carried out or the offer is
// dismissed: data-dir/restore-offer. Until then nothing as old as that one is
// deleted.
//
// The catalogue is not in it: it is a cache. Footage is not in it either.
//
// Invariants: a backup appears under its name when it is whole; nothing of a
// backup is trusted before its hashes fit; a restore that is cut short at any
// instant is finished by the next start, and what was there before is kept
// beside, never deleted; ini files that exist are never overwritten.
//
// No goroutine. When backups are made is node's.
package backup
