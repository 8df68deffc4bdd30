// Package clip holds the media that simulated cameras show (make.sh makes it)
// and reads it into samples. It is shared by the sim driver and by the RTSP
// test camera, and knows nothing of time or stamps.
//
//	*.mp4, alaw.raw ─Load─▶ Clip: media.Track + samples in decoding order
//
// A Clip is read-only and shared; no goroutines.
package clip
