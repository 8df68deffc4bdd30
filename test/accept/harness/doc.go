// Package harness runs the real server for the acceptance scenarios: the
// binaries as `make build` makes them, processes apart, with folders of their
// own, and reads what they recorded back through the ordinary doors.
//
// What does not belong here: the scenarios (test/accept), accounting for
// frames (test/ledger), cameras (test/camera), disks (test/disk).
//
//	Build ─▶ bin ─▶ New ─▶ Server ─┬─ Put, Remove      stream files
//	Mutant ─▶ a core that is wrong │
//	                               ├─ Start, Kill, Stop
//	                               ├─ API              control.sock
//	                               ├─ Plugin, Kill…    processes by their environment
//	                               └─ Account          doors ─▶ test/ledger
//
// Invariants: nothing waits for a time to pass where it can wait for a fact;
// no port is fixed; after a test no process of its server is left, and a test
// that leaves one behind fails.
//
// Goroutines: one a started server, which waits for the process; Kill and Stop
// wait for it.
package harness
