// Package rtspsource captures one RTSP source: it connects, asks for the
// wanted tracks, puts RTP packets together to access units and hands these to
// its Sink until the connection is lost. The rtsp, onvif and peer drivers
// share it.
//
//	TCP ─▶ conn ('$' frames, RTSP) ─┬─▶ receiver ─▶ depacketiser ─▶ timeline ─▶ Sink.Write
//	UDP ─▶ socket pair per track  ──┘   order,       access unit,    64-bit PTS,
//	        RTCP ─▶ sender reports ─────loss         key, damaged    NTP, DTS
//
// What does not belong here: reconnecting, buffering, numbering (plugins/sdk),
// the map from the camera's clock to the server's (core/clock), storing.
//
// # Why not gortsplib's Client
//
// The wire formats (requests, answers, headers, digest, SDP) are gortsplib's
// packages; the connection is our own. Its Client (v4.16.2) fails a whole
// DESCRIBE when one media of it is odd (audio would stop video), drops every
// packet after a change of SSRC, reads 4 kB at a time with one allocation a
// packet, keeps a goroutine and a ticker per format, joins two H.265 pictures
// when the packet between them is lost, and cannot say that a unit is damaged.
//
// # Invariants
//
//   - One goroutine per TCP source: the caller of Capture. UDP adds one per
//     socket; Capture waits for all of them before it returns.
//   - PTS of a track are its RTP timestamps, extended to 64 bits. They start
//     where the camera starts: **PTS of different tracks are not related** but
//     by NTP (sender reports) or, before the first one, by Received. A change of
//     SSRC or a jump of more than 10 s against arrival is bridged: PTS goes on
//     by the time that passed here, so a run has no leap of hours in it.
//   - NTP is the last sender report of the track carried forward by RTP ticks;
//     0 until there was one. Its fraction is 32-bit binary (RFC 3550 section 4).
//     A first report that was made while the source held its media back is not
//     believed, once it shows (first_report.go).
//   - Received and Mono are taken when the read that completed the unit
//     returned, before anything else is done with it.
//   - DTS is given where the reorder depth is known (sps_max_num_reorder_pics,
//     max_num_reorder_frames, POC type 2, Baseline): the n-th DTS is the
//     (n-depth)-th smallest PTS, which needs no look-ahead. A depth that is not
//     written anywhere is learned from the first PTS that runs backwards; until
//     then DTS = PTS, and a unit that cannot have one is left without.
//   - Over TCP nothing is reordered or thrown away; a hole in the sequence
//     numbers is the camera's own loss and is counted.
//   - Over UDP packets wait for a missing one at most 150 ms or 256 packets.
//   - Silence is the absence of RTP packets for ReadTimeout; where only metadata
//     is captured, which may be rare, answers to keep-alives count too. Video
//     that was there and stops while audio goes on counts as silence after
//     three read timeouts, and at least 15 s.
//   - Payloads given to the Sink are never touched again.
//   - No user name, password, path or query of the URL is ever part of an
//     error: some cameras carry the password in the path.
//
// # Wake-ups
//
// A plain TCP source with video, once a sender report has set the map from RTP
// to NTP and while nobody watches live, is not read when a packet arrives but
// every 87 ms, at instants that all sources of the process share: one wake-up
// serves a hundred of them. SO_RCVLOWAT, at 400 ms of the bitrate, keeps the
// kernel from telling of packets meanwhile and makes it give the socket room.
// FIGURES.md has what that is worth, and what it costs in time.
package rtspsource
