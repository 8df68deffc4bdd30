// Package still makes JPEG pictures of key frames. It is the one room that has
// anything decoded, and it does not decode itself: ffmpeg does, in a process of
// its own for each picture.
//
//	key frame as MP4 ─▶ cache? ─▶ being made already? ─▶ slot (2, at most 16 wait) ─▶ ffmpeg ─▶ JPEG ─▶ cache
//	                                                        stdin: the MP4, stdout: the JPEG
//
// It is a room apart from picture because it stands for everything that picture
// promises not to need: a program of somebody else, processes, waiting. Without
// ffmpeg picture goes on, and only JPEG is missing.
//
// What does not belong here: which frame is meant (mp4, picture), HTTP, who may
// see it, what needs no decoder (a frame of MJPEG is a JPEG: picture).
//
// Invariants:
//   - Bytes of a camera reach ffmpeg through a pipe and nothing else: no shell, no
//     file, no name made of them. It may open neither files nor connections of its
//     own accord, its environment is empty, and it gets nothing that is secret.
//   - A run is bounded in memory, processor time and wall time, and what it writes
//     in length; runs at once and waiting ones are bounded in number. One request
//     too many is refused and counted, and never waits.
//   - ffmpeg and whatever it has started end with the run: by their process group,
//     and with this process should that be killed.
//   - However many ask for a picture at once, it is decoded once.
//   - The cache holds what is asked for by whoever has just planned it from the
//     catalogue: it gives no picture of footage that has been deleted. What was
//     decoded lies in this process's memory until it is pushed out or a restart.
//
// Goroutines: those that os/exec makes for the pipes of a run, and the run waits
// for them. Run waits for all runs.
package still
