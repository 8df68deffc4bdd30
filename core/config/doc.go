// Package config is the engine for ini text: raw lines and their places, typed
// values, schemas, problems with suggestions, secrets, one-key edits, watching.
//
// Its one job is to turn files into values that the rooms declared, or into a
// complete list of what is wrong with them. It knows no key of the product: each
// room declares a Config and binds its fields to a Set; core/node joins them.
//
//	bytes ─▶ Parse ─▶ File (blocks, entries, line:column) ─┐
//	         (values decoded by ini.v1)                    ├─▶ Set.Load ─▶ fields of the rooms' Configs
//	rooms ─▶ Set / Section / Key (type, default, doc) ─────┘         ├─▶ Effective (origin of each key)
//	                                                                 └─▶ fault.Problems, all at once
//	File.Set ─▶ the same bytes with one line changed ─▶ WriteFile
//	Watcher (a Source) ─▶ "something changed" ─▶ the caller loads again
//
// What does not belong here: product keys and their meaning, checks across
// rooms (core/node), what happens with a changed value.
//
// Invariants:
//   - This is the only package that imports ini.v1, and only for the notation of
//     a value: its defaults cut rtsp://u:p#ss@h/1 at the #, an unclosed quote
//     swallows the following lines, and it knows no positions (see value.go).
//   - Whatever the bytes, Parse neither panics nor stops at the first problem.
//   - An edit leaves every other line byte-identical, and reads back as written.
//   - No secret is in a Problem, nor in what Effective shows.
//   - A file that is refused changes nothing: values are bound to a Config the
//     caller throws away.
//
// Goroutines: only Watcher.Run, which owns the one that reads inotify and waits
// for it.
package config
