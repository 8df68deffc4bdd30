package accept

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// TestScrub: a scrub playlist names one picture for each group of pictures, each a key
// frame at its time, of H.264 and H.265; ffmpeg decodes them without a word.
func TestScrub(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Fatal("ffprobe is not there: install the Debian package ffmpeg")
	}
	s := harness.New(t, harness.Options{})
	s.Sim("gate", "bitrate=500k")
	s.Sim("yard", "codec=h265&audio=pcma&bitrate=500k")
	s.Start()
	s.Active("gate", "yard")
	s.Past(time.Now().UnixMilli()+harness.Pick[int64](60_000, 15_000), "gate", "yard")
	for _, uid := range []string{"gate", "yard"} {
		r := s.Footage(uid).Ranges[0]
		span := "?from=" + strconv.FormatInt(r.From, 10) + "&to=" + strconv.FormatInt(r.To-3000, 10)
		list := fetched(t, s.HTTP+"/dvr/"+uid+"/scrub.m3u8"+span)
		var at float64
		var want []float64
		for _, m := range regexp.MustCompile(`#EXTINF:([0-9.]+),\n\d+-\d+-k\.m4s\?s=\w+\n`).FindAllStringSubmatch(list, -1) {
			want = append(want, at)
			d, _ := strconv.ParseFloat(m[1], 64)
			at += d
		}
		if len(want) < 4 || !strings.Contains(list, "#EXT-X-I-FRAMES-ONLY") {
			t.Fatalf("%s: %s", uid, list)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, "ffprobe", "-v", "warning", "-show_entries", "frame=pts_time,key_frame,pict_type", "-of", "json", s.HTTP+"/dvr/"+uid+"/scrub.m3u8"+span)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		stop()
		var got struct {
			Frames []struct {
				Key  int    `json:"key_frame"`
				Pict string `json:"pict_type"`
				At   string `json:"pts_time"`
			}
		}
		if err != nil || json.Unmarshal(out, &got) != nil || said.Len() > 0 {
			t.Errorf("%s: %v %s", uid, err, tail(said.String()))
		}
		if len(got.Frames) != len(want) {
			t.Errorf("%s: %d pictures were decoded of %d", uid, len(got.Frames), len(want))
			continue
		}
		var first, worst float64
		for i, f := range got.Frames {
			at, err := strconv.ParseFloat(f.At, 64)
			if i == 0 {
				first = at
			}
			worst = max(worst, math.Abs(at-first-want[i]))
			if err != nil || f.Key != 1 || f.Pict != "I" {
				t.Errorf("%s: picture %d is %+v", uid, i, f)
			}
		}
		if worst > 0.05 {
			t.Errorf("%s: a picture is %.3f s from where its playlist has it", uid, worst)
		}
		if main := fetched(t, s.HTTP+"/dvr/"+uid+"/playlist.m3u8"+span); !strings.Contains(main, `,URI="scrub.m3u8?from=`) || !strings.Contains(main, "#EXT-X-I-FRAME-STREAM-INF:") {
			t.Errorf("%s: the multivariant playlist does not name it: %s", uid, main)
		}
		harness.Row(t, "scrub playlist", 0, "%s: %d key frames decoded by ffmpeg, worst %.0f ms from its entry", uid, len(want), worst*1000)
	}
}

func fetched(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %s %v", url, resp.StatusCode, b, err)
	}
	return string(b)
}
