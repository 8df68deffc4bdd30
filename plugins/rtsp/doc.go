// Command rtsp is the driver for cameras that speak RTSP. It only joins the
// plugin SDK to rtspsource, which does the work and is shared with other
// drivers.
//
//	core ◀─ frames ─ plugins/sdk ◀─ Write ─ rtspsource ◀─ RTSP, RTP ─ camera
//
// What does not belong here: anything about packets (rtspsource), reconnecting
// and buffering (plugins/sdk). It owns no goroutine.
//
// Settings of a stream (driver-KEY in streams.d/<uid>.ini):
//
//	driver-transport  = auto   auto | tcp | udp. auto is TCP, which loses nothing,
//	                           and UDP only where the device refuses TCP (461).
//	driver-tls-verify = false  rtsps: true refuses certificates nobody vouches for.
//	                           Cameras sign their own, so the default encrypts
//	                           without proof of who answers.
//	driver-gather     = true   while nobody watches live, let the kernel collect
//	                           up to 100 ms of a TCP stream before waking us.
package main
