// Package camera is a simulated camera: it plays a clip for ever in real time,
// names every access unit for the frame ledger (plugins/internal/stamp) and
// misbehaves on cue.
//
// What does not belong here: the plugin protocol (plugins/sim joins this to the
// SDK) and buffering. A camera keeps nothing: what it makes while nobody is
// connected is gone, as with a real one.
//
//	            Settings (URL, driver- keys)
//	                │
//	Engine ── one goroutine, wakes for what is due, at most every 10 ms
//	  ├─ camera ─ track ─ clip   what is due is stamped …
//	  │             │
//	  │             ├─▶ ledger file (one write a wake-up, before delivery)
//	  │             └─▶ Line.Output (sdk.Run)
//	  └─ cues: times of the settings, lines on the control socket
//
// Two clocks: the host's monotonic clock says when a unit is due; the camera's
// own may run fast (drift), be off (offset) and jump (step), and gives PTS and
// NTP time. A token carries the host's wall clock at the instant of capture.
//
// Invariants: numbers count what the camera made, sent or not, and go on across
// connections, and across restarts of the process when there is a ledger. The
// ledger holds what was handed to a connection, and is written before the
// handing over, so that after a kill it never lacks a unit that arrived. Equal
// seeds and cues give equal units, byte for byte but for the time in the token.
//
// Goroutines: Engine.Run is the only one that makes units; its caller owns it.
// Each control socket has one, ended by Engine.Run.
package camera
