// Package cdp drives Debian's Chromium for the tests of the pages: it starts
// one with an empty profile, speaks the DevTools protocol over a pair of pipes,
// and gathers what a page complains of.
//
//	Start ─▶ Browser ─Page─▶ Page.Go, Eval, Wait, Click, Type, Shot
//	             │ pipes 3 and 4, JSON ended by NUL
//	          chromium (a process group of its own, killed at the end)
//
// What does not belong here: what is tested.
//
// Invariants: everything ends with the test; nothing is left in /tmp; every
// wait is bounded. Owned goroutine: one reader a Browser, which ends when the
// pipe does; Close waits for it.
package cdp
