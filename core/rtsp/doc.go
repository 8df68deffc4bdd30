// Package rtsp is the RTSP server: streams live and from the archive, for players
// and video management systems (RFC 2326; RTP as RFC 3550; ONVIF Streaming
// Specification, 6, for replay).
//
//	client ─TCP, TLS─▶ conn ─request─▶ answer ─▶ gate (may it?) ─▶ plan (what?) ─▶ Source.Frames
//	                    ▲                                                              │ frames
//	                    └─◀─ interleaved ─┬─ sender ◀─ packers (by coding) ◀─ player ◀─┘
//	client ◀─ UDP, two ports for all ─────┘            (pace, Scale, holes)
//
// What does not belong here: where frames come from (timeline), who may play and
// what accounts there are (access, joined by node), cameras (plugins).
//
// Why not the server of gortsplib, whose client side this project has used: its
// ServerStream sends one sequence of packets to all of its readers through a ring
// for each, while here each session has a place and a pace of its own, packets bear
// a header extension that depends on the PLAY request, and slowness is to be
// answered by the reader of frames, which knows groups of pictures; its sender
// reports take the time of sending for the time of capture; and its JPEG packer
// indexes behind the end of an image that is cut short. What is left of it beyond
// that, the parser of requests and the packers, is less than what adapts it.
//
// Time. An RTP time is the frame's place on the server's clock (timeline's PTS) in
// ticks, plus a random offset of the track, and a sender report pairs the PTS of a
// frame with its RTP time: a receiver has the clock of the recording to less than a
// tick, live and later. A hole is jumped over at once, while RTP time jumps with the
// clock. With a Scale RTP time runs as the viewer's does, upwards, and sound is
// left out; above 4, and backwards, there are key frames only.
//
// Slow clients. A player writes to the connection and waits; so the reader of
// frames is not asked, and leaves out whole groups of pictures when its tap is full.
// Over TCP a client that takes no byte for ten seconds is cut.
//
// Invariants:
//   - Media by UDP go to the address that the connection came from, and nowhere else.
//   - The UDP ports are at the address of the listener, also when that comes later or
//     changes; without one there is TCP only.
//   - A session lives on one connection and ends with it. Over TLS there is no UDP.
//   - Whoever plays holds a Pass, and is cut within two seconds after it is dead.
//   - A client that sends rubbish, or nothing, holds one goroutine and some kilobytes.
//   - Nothing a client sends is logged but its address and names that are well-formed.
//
// Goroutines: one a listener, one a UDP port, one that sweeps, one a connection and
// one a player. Run owns them all and returns when none is left.
package rtsp
