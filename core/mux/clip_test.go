package mux

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/core/media"
)

// clip is a short piece of one track, made by ffmpeg and cut into units by
// ffprobe: nothing of ours reads it.
type clip struct {
	track media.Track
	units []media.AccessUnit // PTS from 0
}

func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: Debian package ffmpeg", name)
	}
	return path
}

func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(tool(t, name), args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes()
}

const (
	video360  = "testsrc2=size=640x360:rate=25"
	video180  = "testsrc2=size=320x180:rate=25"
	audioTone = "sine=frequency=440:sample_rate=48000"
)

// makeClip encodes seconds of a source with ffmpeg's options.
func makeClip(t testing.TB, track media.Track, source string, seconds int, options ...string) clip {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clip.mov")
	args := append([]string{"-v", "error", "-f", "lavfi", "-i", source, "-t", strconv.Itoa(seconds)}, options...)
	if track.Codec == media.Opus {
		file = strings.TrimSuffix(file, "mov") + "mp4" // mov has no Opus
	}
	run(t, "ffmpeg", append(args, "-bitexact", file)...)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var probe struct {
		Packets []struct {
			PTS, DTS  int64
			Pos, Size string
			Flags     string
		}
		Streams []struct {
			TimeBase string `json:"time_base"`
		}
	}
	if err := json.Unmarshal(run(t, "ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_packets", file), &probe); err != nil {
		t.Fatal(err)
	}
	c := clip{track: track}
	_, scale, _ := strings.Cut(probe.Streams[0].TimeBase, "/")
	n, _ := strconv.Atoi(scale)
	c.track.Timescale = uint32(n)
	c.parameters(data)
	for _, p := range probe.Packets {
		at, _ := strconv.Atoi(p.Pos)
		size, _ := strconv.Atoi(p.Size)
		c.units = append(c.units, media.AccessUnit{PTS: p.PTS - probe.Packets[0].PTS, Key: p.Flags[0] == 'K', Payload: data[at : at+size]})
	}
	return c
}

// parameters takes the sample description from the clip's boxes.
func (c *clip) parameters(data []byte) {
	box := func(kind string) []byte {
		i := bytes.Index(data, []byte(kind))
		if i < 0 {
			return nil
		}
		return data[i+4:]
	}
	sets := func(b []byte, n int) (out []byte, rest []byte) {
		for range n {
			l := int(binary.BigEndian.Uint16(b))
			out, b = b[2:2+l], b[2+l:]
		}
		return out, b
	}
	switch c.track.Codec {
	case media.H264:
		b := box("avcC")
		c.track.SPS, b = sets(b[6:], int(b[5]&31))
		c.track.PPS, _ = sets(b[1:], int(b[0]))
	case media.H265:
		b := box("hvcC")
		for b, n := b[23:], b[22]; n > 0; n-- {
			kind := b[0] & 63
			var set []byte
			set, b = sets(b[3:], int(binary.BigEndian.Uint16(b[1:])))
			switch kind {
			case hevcVPS:
				c.track.VPS = set
			case hevcSPS:
				c.track.SPS = set
			case hevcPPS:
				c.track.PPS = set
			}
		}
	case media.AAC:
		b := box("esds")
		i := bytes.Index(b, []byte{5, 0x80, 0x80, 0x80})
		c.track.Config = b[i+5 : i+5+int(b[i+4])]
	}
}

// source gives units of several clips as one camera sends them.
type source struct {
	unit media.AccessUnit
	wall media.Wall
}

// play interleaves clips from wall on. Units for which skip answers true are lost.
func play(from media.Wall, skip func(track int, at time.Duration) bool, clips ...clip) []source {
	var all []source
	for _, c := range clips {
		for i, u := range c.units {
			at := media.DurationOf(u.PTS, c.track.Timescale)
			if skip != nil && skip(c.track.ID, at) {
				continue
			}
			u.Track, u.Seq = c.track.ID, uint64(i)
			all = append(all, source{u, from.Add(at)})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { // by arrival: a track's own order stays
		a, b := all[i], all[j]
		if a.unit.Track == b.unit.Track {
			return a.unit.Seq < b.unit.Seq
		}
		return a.wall < b.wall
	})
	return all
}

// documents is an ONVIF metadata track, one document every 200 ms.
func documents(id, seconds int) clip {
	c := clip{track: media.Track{ID: id, Codec: media.Metadata, Timescale: 90000}}
	for i := range seconds * 5 {
		c.units = append(c.units, media.AccessUnit{PTS: int64(i) * 18000, Key: true,
			Payload: []byte(`<?xml version="1.0"?><tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"><!-- ` + strconv.Itoa(i) + ` --></tt:MetadataStream>`)})
	}
	return c
}
