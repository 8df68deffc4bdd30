// Package fault is an error an operator can act on: what happened, where, and
// what to do about it.
//
// Its one job is the shape of such an error and its one-line rendering, so that
// log, API, cpanel and `check` all say the same sentence:
//
//	streams.d/gate.ini:9:1: unknown key "dvr-chnk" in [gate]; did you mean "dvr-chunk"?
//	└── place ────────────┘ └── what ────────────────────┘  └── hint ──────────────┘
//
// What does not belong here: deciding what is wrong (the room that knows), how it
// is shown (web, cmd), and errors only a programmer can act on (fmt.Errorf).
//
// Invariants:
//   - A Problem never holds a secret: who makes one masks values first.
//   - Rendering is deterministic; sorting is by file, line, column, text.
//   - The package starts no goroutine and imports nothing of ours.
package fault
