// A driver in less than a hundred lines, to begin one from.
//
//	device ─▶ capture ─run.Write─▶ sdk ══Frames══▶ core
//
// What does not belong here: more than a newcomer must see.
//
// Invariants: it passes plugins/sdk/conformance, by test. It owns no
// goroutine; the SDK calls capture on one of its own per stream.
package main
