// Package server answers the storage protocol (plugin.proto, Storage) with
// spaces of package bucket. Append, Truncate and Seal answer UNIMPLEMENTED:
// objects do not grow.
//
// What does not belong here: how files are kept (bucket), the process (main).
//
// Invariant: calls of a space are bounded and share nothing with those of
// another, so that a server that does not answer stalls its own spaces only.
// No goroutine of its own.
package server
