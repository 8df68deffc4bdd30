// Package sdktest lets a driver be tested without a server: it plays the core,
// over the real protocol and an in-memory connection.
//
//	core := sdktest.Start(t, plugin)
//	s := core.Subscribe("cam1", "rtsp://…", nil)
//	opened := s.Opened()
//	u := s.Unit()
//
// What does not belong here: judging a finished binary (conformance does).
//
// Invariants: everything received is kept in order and handed out once;
// payloads are copies. Goroutines: one server and one reader per Core, ended
// by t.Cleanup.
package sdktest
