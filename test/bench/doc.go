// Command bench measures the server as it is built and writes its figures as
// Markdown and JSON: go run ./test/bench -out DIR [-only NAME] [-rounds 3]
// [-quick]. make bench runs all of it.
//
//	main ─▶ measurements, one after the other, each within its budget
//	          ├▶ cameras (process) ─RTSP/TCP─▶ server under test (core, rtsp, local)
//	          │                    └─────────▶ readers: lower bounds, same cameras
//	          ├▶ archive made of footage that never was ─▶ server under test ◀─ requests
//	          └▶ DIR/NAME.json, NAME.md; all of them together: DIR/BENCH.md
//
// What does not belong here: whether the server is right (test/accept), and
// costs of one function (Benchmark… beside it).
//
// How it measures: everything that is compared runs in the same minutes, in
// turn, round after round (A B A B), and a figure is the median of the rounds,
// a ratio the median of the rounds' ratios. Processes are real ones, built as
// make build builds them; CPU is utime + stime of /proc, that of cameras,
// readers and viewers never in the server's figure. The machine has other work:
// its load average is written down with the figures.
//
// All processes started here are ended here, by pid.
package main
