// Package api answers /api/v1: JSON about the server, its streams, problems
// and events, and the few commands that exist. Its answers are built from what
// its Backend tells; nothing is decided here but the shape.
//
//	request ─▶ who asks (Auth) ─▶ role enough? ─▶ handler ─▶ Backend ─▶ JSON
//
// What does not belong here: sessions and passwords (access), pages (cpanel),
// media (playback).
//
// Invariants:
//   - Every answer is JSON, every failure {"error":{"code","message","hint","id"}}.
//   - Every list is {"items":[…],"next":cursor|null}, and takes limit and cursor.
//   - Settings keep ini keys and ini notation; secrets read back as "***".
//   - A change made with a session cookie needs a matching Origin.
package api
