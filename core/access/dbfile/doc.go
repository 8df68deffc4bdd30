// Package dbfile opens an SQLite file with a schema version: accounts.db and
// journal.db.
//
//	path ─▶ version? ─ newer ─▶ refused by name
//	             ├─ older ─▶ copy beside it ─▶ all steps in one transaction
//	             └─ same  ─▶ one writer, a few readers
//
// What does not belong here: any table. A step's number is the version it
// leads to; steps are only ever added.
//
// Invariants: one connection writes, in WAL mode; a file is migrated whole or
// not at all, and before that lies beside itself as NAME.vN. Starts no
// goroutine of its own.
package dbfile
