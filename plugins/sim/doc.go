// Command sim is the driver of simulated cameras: sim:// is a complete stream
// URL, and everything else is set by the URL's query or by driver- keys (see
// camera.Keys, which is also what the server shows).
//
// What belongs here: joining plugins/sim/camera to the SDK. What the camera is
// and does belongs there.
//
//	sdk.Main ─Capture─▶ camera.Engine.Connect ─▶ Line ─Write─▶ sdk.Run
//
// Invariant: a camera does not notice whether the core is there; only the SDK
// buffers. Goroutines: main's engine, for the life of the process; the rest is
// the SDK's.
package main
