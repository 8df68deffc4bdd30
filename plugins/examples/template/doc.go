// Command template is a driver to copy: it delivers the time of day as a
// metadata track. Replace capture by what your device speaks; everything else
// (buffer, resume, reconnects, life without a core) is the SDK's.
//
//	device ─▶ capture ─run.Write─▶ sdk ══Frames══▶ core
//
// What does not belong here: more than a newcomer must see.
//
// Invariants: it passes plugins/sdk/conformance, by test. It owns no
// goroutine; the SDK calls capture on one of its own per stream.
package main
