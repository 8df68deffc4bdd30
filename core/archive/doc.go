// Package archive is the media database: it appends parts to files in storage
// spaces, knows which ranges exist, serves their bytes, and deletes by rule.
//
//	                    ┌ Recorder ─ file ─┐ chunks            ┌─▶ Storage (plugin, through pluginhost)
//	*media.Part ─Append─▶ layout, roll     ├──▶ space: queue ──┤      Written / Synced ─▶ OnDurable
//	                    └ held in memory ──┘   sender goroutine └─▶ Seal ─▶ catalogue row
//
//	Segments, Ranges ─▶ open files in memory + catalogue.db (by stream and time)
//	Layout ─▶ memory, or the index box at the end of the file (one read)
//	Rebuild ─▶ scan.go: tails of 32 files at a time ─▶ rows, 1,000 a change (put.go)
//	Pin    ─▶ bytes still in memory, else descriptor, else ReadAt
//
//	retain_facts.go ─▶ archive/retain decides ─▶ retention.go marks ─▶ deleting.go deletes
//	asked.go, confirmed.go: what waits for a person, and what that allowed
//	keep.go: what dvr-keep promises and will not, or does not, hold
//	limits.go: size-limit and reserve   toll.go: what they and thresholds may not take at once
//	device.go: spaces on one disk
//	birth.go: what was missing before the first footage
//	event.go, lock.go: marks on the timeline   identity.go, kin.go: which disk is which space
//	places.go: spaces and pools come and go   choose.go: where a new file goes   wipe.go: a space is emptied
//	taken.go, look.go: what other programs did to our files
//	recover*.go: what grew when a process ended   takeup.go: what was given up   reread.go: what could not be read
//	chain.go, sign.go, verify*.go: signed footage   mover.go: pools to pools
//	groom.go: old files keep key frames (groom_source.go reads, groom_write.go writes)
//	encrypt.go, cipher.go, keyed.go, plain.go: encrypted footage
//	evidence.go: what the proof of an export is made of (core/export)
//
// What does not belong here: boxes of fragments and init segments (mux), what
// a stream decides to record (stream), protocols (hls, mp4), processes
// (pluginhost). The format is FORMAT.md; which files go is archive/retain.
//
// Invariants:
//   - A groomed file takes its original's place in one change of the catalogue;
//     the original goes afterwards, and counts as long as both are there.
//   - A file lies in two spaces only while it is moved (mover.go); it is listed
//     once at every instant, and readers follow it.
//   - Append never blocks: not on disk, not on the catalogue, not on a reader.
//   - A part leaves memory only when its space said Synced; a driver is told so
//     only when every earlier part of the stream is durable as well.
//   - Bytes handed to storage never change; sending them again is harmless.
//   - A stuck space stalls its own recorders only.
//   - Of a pool that encrypts no clear byte is ever queued for a space, and no
//     byte of a part is given out before the whole part was authenticated.
//   - Files are the truth. catalogue.db may be deleted at any time.
//   - What is not understood is set aside and reported, never deleted.
//   - Spaces, pools and movers are one immutable value (places); a change makes
//     another. Nothing new comes to a space that is leaving or being wiped, and
//     none goes before what is recorded into it has gone elsewhere.
//   - Nothing of a space that another installation wrote is listed, and nothing of
//     it changed, before somebody says so; its numbers may be those of our files.
//
// Goroutines, all owned by Archive.Run, which waits for them: per space a
// sender, a receiver and the sealers (RemoveSpace waits for those of its own);
// one catalogue writer; one state writer; retention; the looker; a rebuild when there is
// one; one mover per pool that footage is moved to and one groomer per pool with
// groom-after (SetPools ends those that it replaces); one that ends what no mover
// and no groomer has any more (leftovers.go); one for each space that is being emptied;
// one for what goes from a space by a plan (deleting.go).
package archive
