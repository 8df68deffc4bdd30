// Package ledger verifies what a server made of stamped cameras' frames: it
// reads recordings back through the ordinary doors and accounts for every unit
// the cameras say they sent.
//
// What does not belong here: making stamps (plugins/internal/stamp) and
// anything of the server's. The reader of tokens is written anew on purpose,
// ffmpeg's ffprobe demuxes, and no package of the server is imported, so that
// one mistake cannot hide another.
//
//	record.mp4, playlist.m3u8, file ─Read─▶ []Found ─┐
//	sent-ledger CSV ───────ReadSent─▶ Sent ──────────┼─Compare─▶ Report
//	ranges.json ──────────ReadGaps─▶ []Gap ──────────┘
//
// Every unit sent is in exactly one class: present; lost; in a gap that the
// server reports; before the first key frame after such a gap; or at the head
// or tail, within what the caller allows there. Beside that a unit can be
// doubled, out of order, misplaced in time, or present without ever having been
// sent. Only present, reported, before-key, head and tail are no failures.
//
// Times: a token says when a unit was captured, by the host's clock. A file
// says when it is shown: the start the caller gives (record.mp4) or
// EXT-X-PROGRAM-DATE-TIME, plus presentation time.
//
// No goroutines outlive a call; programs are ended with their context.
package ledger
