// Package flac turns G.711 sound into FLAC (RFC 9639), which browsers play. It
// encodes only, and loses nothing: G.711 is 14 or 13 bits a sample by definition
// (ITU-T G.711 tables 1 and 2), and FLAC gives them back to the bit.
//
//	stored unit (bytes of G.711) ─▶ Law.Expand ─▶ 16-bit samples ─▶ Encoder.Append ─▶ one FLAC frame
//	                                                                 StreamInfo    ─▶ dfLa of an init segment (mux)
//
// A frame is made of a constant, a fixed predictor of order 0 to 4 with Rice
// coded residuals, or the samples as they are, whichever is shortest; wasted
// bits are taken off first. Linear prediction would take some bytes less for many
// times the work, and the sound of a camera is a few per cent of its pictures: a
// second of speech at 8 kHz takes 0.16 ms of CPU and 11 kB (BenchmarkSecond).
//
// What does not belong here: boxes (mux), segments (hls), decoding.
//
// Invariants:
//   - A frame depends on nothing but its samples, its sample number and the
//     format: the same unit gives the same bytes in every segment, at any time,
//     and may be decoded without another.
//   - Blocks have the length of the units they are made of (variable block
//     size, 9.1.5), at most MaxBlock samples a channel.
//   - No goroutine lives here; an Encoder is for one goroutine.
package flac
