// Package release opens what earlier releases left behind. testdata/release-N
// in the root folder holds, for each release, a small data folder (media,
// databases, keys, node id), settings, and what the server answered about them
// when it was made; every later server must open them and answer the same.
//
//	go test ./test/release                    open every release
//	go test ./test/release -args -make=N      make testdata/release-N with this server
//
// What does not belong here: acceptance scenarios (test/accept).
//
// Invariants: a release that has been made is never made again; a test works
// on a copy.
package release
