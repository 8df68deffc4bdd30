// Package accept holds the acceptance scenarios: what the server must hold,
// each as one test on the real binaries. `go test ./test/accept` runs them
// shortened, `make accept` (MEDIA_SERVER_ACCEPT=full) as long as they are
// worded, and writes ACCEPTANCE.md.
//
//	cameras (sim, GStreamer) ─▶ media-server run ─▶ HTTP ─▶ ffprobe ─▶ ledger
//	        └────────── what was sent (CSV) ─────────────────────────────┘
//
// What does not belong here: tests of one room. Running the server is
// test/accept/harness's.
//
// Invariants: a scenario prints its seed and can be had again with it; it
// judges times that the data carries, never how fast the machine was; it
// leaves no process behind. mutants_test.go shows that the judge can fail.
//
// Goroutines: those of a test, which it waits for.
package accept
