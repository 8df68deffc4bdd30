// Package webrtc sends a stream live to browsers: WHEP (a POST of an SDP offer,
// answered by ours), ICE, DTLS-SRTP and RTP, over the timeline's frame reader.
// Nothing is encoded anew.
//
//	offer ─▶ parseOffer ─▶ choose (what the stream has × what the player takes) ─▶ pion ─▶ answer
//	timeline frames ─▶ cut (RTP payloads) ─▶ clocks (RTP times) ─▶ pacer ─▶ pion ─▶ player
//
// What goes through: H.264 without B-frames (RFC 6184, packetization-mode 1,
// parameter sets in front of each key frame), Opus (RFC 7587), G.711 (RFC 3551).
// A stream whose picture cannot be sent is refused (codec_not_in_webrtc) rather
// than sent as sound alone; where only the sound cannot be sent, the picture is,
// and Answer.Notes says so (the header X-Media-Note over HTTP). It also says where a
// player offers a lesser profile of H.264 than the stream's, which is sent all the
// same: decoders mostly do more than they offer.
//
// What does not belong here: HTTP (web/playback), who may play (web/door,
// and a Gate of node's), reading footage (timeline).
//
// Where a picture begins. Cameras cannot be asked for a key frame, so a session
// begins with the newest group of pictures, in one paced burst whose RTP times
// are squeezed into the moment of the burst (clock.go): the player decodes all of
// it and shows its end. Measured with Chromium and key frames a second apart: the
// picture is there with the first key frame, 100 to 500 ms after the offer, and
// live 0.1 to 0.2 s later; with their own times it takes 0.3 to 0.5 s until the jitter
// buffer has learned better, and longer with older key frames. Sound begins at the
// live end: sound of the burst would be buffered, and hold the picture back with
// it. A key frame older than longGroup is sent alone, as a still picture, and the
// next one goes on. A player that asks for a key frame (PLI, FIR) gets the same
// again, at most every rewindEvery; if it asks more often it cannot take as much as
// there is, and gets nothing until the next key frame.
//
// Invariants:
//   - RTP times follow the server's wall clock by the frames' PTS, and sender
//     reports say so; picture and sound share it. RTP times never go back.
//   - A session ends within two seconds when its Pass is no longer alive, when
//     ICE or DTLS end, and with the server. ICE ends when nothing was heard of the
//     player for iceSilent and iceGone.
//   - A player that is too slow loses pictures up to the next key frame, not order:
//     it asks for one, or the reader drops them. Nothing here queues more than one frame;
//     over TCP, pion and the system hold tcpQueue bytes each, together a second of
//     4 Mbit/s, and what finds pion's full is dropped.
//   - pion sees an offer made anew from what was understood of the player's,
//     without its candidates: a lite agent needs none, so none is resolved or dialled.
//   - One port, UDP and TCP; what does not name a session's ufrag is not answered.
//   - Offers alone shut nobody out: those of one address, or network of IPv6, are
//     bounded, and those of people without a token or login leave room for others.
//   - The DTLS key is made for each process and never written.
//
// Goroutines: Run owns the sockets, and opens the port where that was not possible at
// first; each session has a supervisor, a sender and
// a reader of RTCP a track, which Run waits for. Those of pion end with its
// PeerConnection.
package webrtc
