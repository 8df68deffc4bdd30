package still

import (
	"os/exec"
	"slices"
	"strconv"
)

// Widths are those that pictures are made in. Few, so that whoever counts through
// all numbers fills neither the cache nor the processor.
var Widths = []int{80, 160, 320, 480, 640, 960, 1280, 1920, 2560, 4096}

// Least and most that may be asked for.
const (
	LeastWidth = 16
	MostWidth  = 4096
)

// Step is the least of Widths that is not below n.
func Step(n int) int {
	i, _ := slices.BinarySearch(Widths, n)
	return Widths[min(i, len(Widths)-1)]
}

// onPath finds ffmpeg each time, so that one that is installed is used at once.
func onPath() (string, error) { return exec.LookPath("ffmpeg") }

// arguments make ffmpeg read one MP4 from its standard input and write the first
// picture as a JPEG. The lists keep it from whatever else the bytes may lead it to:
// other formats, other decoders, files and connections. One thread each: a picture
// gains nothing by more, and each takes memory.
//
// JPEG is of BT.601 and full range (JFIF 1.02, 5); cameras send BT.709 and limited
// range, which shown as it is looks pale and shifts red and green. A picture is
// scaled down, never up.
func arguments(width int) []string {
	filter := "out_color_matrix=bt601:out_range=jpeg,format=yuvj420p"
	if width > 0 {
		filter = "w=min(" + strconv.Itoa(width) + `\,iw):h=-2:` + filter
	}
	return []string{
		"-nostdin", "-hide_banner", "-loglevel", "error",
		"-threads", "1", "-protocol_whitelist", "pipe", "-format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2", "-codec_whitelist", "h264,hevc,mjpeg",
		"-f", "mp4", "-i", "pipe:0",
		"-map", "0:v:0", "-frames:v", "1", "-filter_threads", "1", "-vf", "scale=" + filter,
		"-c:v", "mjpeg", "-q:v", "4", "-threads", "1", "-f", "image2pipe", "pipe:1",
	}
}
