// Package archive is the media database: it appends parts to files in storage
// spaces, knows which ranges exist, serves their bytes, and deletes by rule.
//
//	                    ┌ Recorder ─ file ─┐ chunks            ┌─▶ Storage (plugin, through pluginhost)
//	*media.Part ─Append─▶ layout, roll     ├──▶ space: queue ──┤      Written / Synced ─▶ OnDurable
//	                    └ held in memory ──┘   sender goroutine └─▶ Seal ─▶ catalogue row
//
//	Segments, Ranges ─▶ open files in memory + catalogue.db (by stream and time)
//	Layout ─▶ memory, or the index box at the end of the file (one read)
//	Pin    ─▶ bytes still in memory, else descriptor, else ReadAt
//
//	retain_facts.go ─▶ archive/retain decides ─▶ retention.go deletes
//	event.go, lock.go: marks on the timeline   identity.go: which disk is which space
//	taken.go, look.go: what other programs did to our files
//	chain.go, sign.go, verify.go: signed footage   mover.go: pools to pools
//
// What does not belong here: boxes of fragments and init segments (mux), what
// a stream decides to record (stream), protocols (hls, mp4), processes
// (pluginhost). The format is FORMAT.md; which files go is archive/retain.
//
// Invariants:
//   - A file lies in two spaces only while it is moved (mover.go); it is listed
//     once at every instant, and readers follow it.
//   - Append never blocks: not on disk, not on the catalogue, not on a reader.
//   - A part leaves memory only when its space said Synced; a driver is told so
//     only when every earlier part of the stream is durable as well.
//   - Bytes handed to storage never change; sending them again is harmless.
//   - A stuck space stalls its own recorders only.
//   - Files are the truth. catalogue.db may be deleted at any time.
//   - What is not understood is set aside and reported, never deleted.
//
// Goroutines, all owned by Archive.Run, which waits for them: per space a
// sender, a receiver and the sealers; one catalogue writer; one state writer;
// retention; the looker; a rebuild when there is one; one mover per pool that footage is
// moved to.
package archive
