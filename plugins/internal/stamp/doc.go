// Package stamp writes a name into every access unit of a test camera, so that
// each one can be counted after it went through the whole server: the frame
// ledger.
//
// A name is an ASCII token
//
//	MSL1:<camera>:<track>:<number>:<time ns>;
//
// with camera = [a-z0-9-]+, track = v (video), a (audio) or d (data), number =
// decimal from 0 per camera and track over all connections, and time = the
// instant the unit was captured, Unix nanoseconds by the host's clock (not by
// the camera's, which may be wrong on purpose). For a unit of a stream without
// B-frames that is also when it was sent; with B-frames it is the instant its
// presentation time means, and the unit is sent a few frames later.
//
// Nothing is re-encoded. Where the token goes:
//
//	h264, h265  user_data_unregistered SEI before the first slice
//	aac         data_stream_element before the other elements
//	opus        padding of a code 3 packet (RFC 6716 3.2.5)
//	pcma, pcmu  instead of the first samples (a click of some 8 ms)
//	mjpeg       between the last entropy-coded byte and EOI. A COM marker would
//	            be cleaner but RFC 2435 carries no markers before the scan,
//	            and decoders skip bytes before a marker (ITU T.81 E.2.4)
//	metadata    XML comment behind the document
//
// What does not belong here: making streams (plugins/sim) and judging them
// (test/ledger, which has a reader of its own on purpose).
//
//	sample ─Split─▶ Template ─Append(token)─▶ stamped sample ─Find─▶ token
//
// Invariants: a token holds no zero byte and no 0xFF, so it needs no emulation
// prevention (H.26x) and no stuffing (JPEG) and is found by a plain search.
// Everything is pure; no goroutines.
package stamp
