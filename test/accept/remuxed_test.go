package accept

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// taker keeps what a player reads of a URL, without decoding it, in a file.
type taker struct {
	name, tool, pkg string
	args            func(u, file string) []string
	raw             []string // tracks of which the file with this ending has the elementary stream; nil = one file has all
	shown           bool     // it passes on what is to be shown (shownPictures)
}

var takers = []taker{
	{name: "ffmpeg", tool: "ffmpeg", pkg: "ffmpeg", args: func(u, file string) []string {
		return []string{"-v", "error", "-nostdin", "-i", u, "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "matroska", file}
	}},
	{name: "GStreamer", tool: "gst-launch-1.0", pkg: "gstreamer1.0-tools gstreamer1.0-plugins-bad", raw: []string{"v"}, shown: true, args: func(u, file string) []string {
		demux := []string{"hlsdemux", "!", "qtdemux"}
		if !strings.Contains(u, "m3u8") {
			demux = demux[2:]
		}
		return append(append([]string{"-q", "souphttpsrc", "location=" + u, "!"}, demux...),
			"name=d", "d.video_0", "!", "queue", "!", "h264parse", "!", "video/x-h264,stream-format=byte-stream", "!", "filesink", "location="+file+".v",
			"d.audio_0", "!", "queue", "!", "fakesink", "sync=false")
	}},
	// Its muxer of MPEG-TS drops what comes half a second of one track at a time.
	{name: "VLC", tool: "cvlc", pkg: "vlc", raw: []string{"v", "a"}, args: func(u, file string) []string {
		return []string{"-q", "--play-and-exit", "--sout=#es{access-video=file,mux-video=es,dst-video=" + file + ".v,access-audio=file,mux-audio=es,dst-audio=" + file + ".a}", u, "vlc://quit"}
	}},
	{name: "mpv", tool: "mpv", pkg: "mpv", args: func(u, file string) []string {
		return []string{"--no-config", "--vo=null", "--ao=null", "--untimed", "--stream-record=" + file, u}
	}},
}

// frames lists what a taker has kept, by kind of track.
func (k taker) frames(t *testing.T, file string) map[byte][]ledger.Found {
	t.Helper()
	out := map[byte][]ledger.Found{}
	for _, kind := range k.raw {
		b, err := os.ReadFile(file + "." + kind)
		if err != nil {
			t.Error(err)
		}
		out[kind[0]] = ledger.Search(b)
	}
	if k.raw != nil {
		return out
	}
	for kind, form := range map[string]string{"v": "h264", "a": "adts"} {
		b, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", file, "-map", "0:"+kind+":0", "-c", "copy", "-f", form, "-").Output()
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		out[kind[0]] = ledger.Search(b)
	}
	return out
}

// TestCountedInPlayers: what players are given of a range is each frame of it, once and in
// order, by the bytes that they pass on.
func TestCountedInPlayers(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s"})
	s.Sim("gate", "", "dvr-chunk = 4s")
	s.Start()
	footage(s, "gate")
	s.Past(time.Now().UnixMilli()+harness.Pick[int64](60_000, 7_000), "gate")
	s.Kill() // in the middle: nothing is lost by it
	s.Start()
	s.Past(time.Now().UnixMilli()+4_000, "gate")
	s.Close("gate")
	f := s.Footage("gate").Ranges
	span := fmt.Sprintf("?from=%d&to=%d", f[0].From, f[len(f)-1].To)
	paths := []string{"/dvr/gate/playlist.m3u8", "/dvr/gate/record.mp4"}
	want := map[string]map[byte][]ledger.Found{}
	for _, path := range paths {
		m, err := ledger.Read(context.Background(), ledger.Source{Temp: t.TempDir(), URL: s.HTTP + path + span})
		if err != nil {
			t.Fatal(err)
		}
		want[path] = map[byte][]ledger.Found{}
		for _, x := range m.Found {
			want[path][x.ID.Track] = append(want[path][x.ID.Track], x)
		}
	}
	var figures []string
	for _, k := range takers {
		if _, err := exec.LookPath(k.tool); err != nil {
			t.Logf("%s is not there: install the Debian packages %s", k.name, k.pkg)
			continue
		}
		for _, path := range paths {
			ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
			dir := t.TempDir()
			_ = os.Chmod(dir, 0o777)
			_ = os.Chmod(filepath.Dir(dir), 0o755)
			file := filepath.Join(dir, "kept.mkv")
			out, err := command(ctx, dir, k.tool, k.args(s.HTTP+path+span, file)...).CombinedOutput()
			stop()
			if err != nil {
				t.Errorf("%s on %s: %v\n%s", k.name, path, err, tail(string(out)))
				continue
			}
			for kind, got := range k.frames(t, file) {
				want := want[path][kind]
				if strings.HasSuffix(path, ".mp4") && kind == 'v' && k.shown {
					shown, i := shownPictures(t, s.HTTP+path+span), -1
					want = slices.DeleteFunc(slices.Clone(want), func(ledger.Found) bool { i++; return i < len(shown) && !shown[i] })
				}
				bad := ""
				for i, x := range got {
					if i >= len(want) || x.Number != want[i].Number {
						bad = fmt.Sprintf("; the first other one is number %d, %d of its kind", x.Number, i)
						break
					}
				}
				if bad != "" || len(got) < len(want) {
					t.Errorf("%s on %s: %d frames of %c, %d are there%s\n%s", k.name, path, len(got), kind, len(want), bad, tail(string(out)))
				}
				figures = append(figures, fmt.Sprintf("%s %s %c %d of %d", k.name, filepath.Base(path), kind, len(got), len(want)))
			}
		}
	}
	harness.Row(t, "frames in players, by the bytes they pass on", 0, "%s", strings.Join(figures, ", "))
}
