// Package camera runs test cameras that nobody here wrote: GStreamer's RTSP
// server, fed with the clips of plugins/sim/clip, each frame stamped for the
// frame ledger (camera.py, which also runs by hand and says how).
//
// What does not belong here: judging what became of the frames (test/ledger).
//
//	Start ─▶ python3 camera.py ─▶ rtsp://127.0.0.1:PORT/NAME ─▶ server under test
//	                          └─▶ DIR/NAME.csv, what was sent
//
// Invariants: the process ends with its context, with Stop, and when this one
// dies (its standard input closes). It listens on loopback only.
//
// Goroutines: none but those of os/exec, which Stop waits for.
package camera
