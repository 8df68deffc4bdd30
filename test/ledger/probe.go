package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Found is a unit found in a recording.
type Found struct {
	ID     ID
	Number uint64
	Token  int64 // time in the token, Unix nanoseconds
	Shown  int64 // time by the recording, Unix nanoseconds; 0 = it does not say
	SHA1   string
}

// Media is what was found in a recording, in the order of each track.
type Media struct {
	Found   []Found
	Unnamed int // packets without a token; their SHA1 is in Hashed
	Hashed  []Found
	Packets int
}

// ErrNoFFprobe names the missing tool.
var ErrNoFFprobe = errors.New("ffprobe is not there: install the Debian package ffmpeg")

type packet struct {
	stream    int
	pts       int64 // nanoseconds on the file's time line
	dts       int64
	pos, size int64
	timed     bool
}

type stream struct {
	codec string
	kind  string
	rate  int64
}

type probed struct {
	streams map[int]stream
	packets []packet
}

// probe lists the packets of a file as ffmpeg demuxes it.
func probe(ctx context.Context, path string) (*probed, error) {
	exe, err := exec.LookPath("ffprobe")
	if err != nil {
		return nil, ErrNoFFprobe
	}
	cmd := exec.CommandContext(ctx, exe, "-v", "error", "-show_packets", "-show_streams",
		"-show_entries", "packet=stream_index,pts_time,dts_time,size,pos:stream=index,codec_name,codec_type,sample_rate",
		"-of", "compact", path)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &probed{streams: map[int]stream{}}
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		p.line(sc.Text())
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("ffprobe %s: %w: %s", path, err, strings.TrimSpace(errs.String()))
	}
	return p, sc.Err()
}

func (p *probed) line(l string) {
	kind, rest, _ := strings.Cut(l, "|")
	f := map[string]string{}
	for kv := range strings.SplitSeq(rest, "|") {
		k, v, _ := strings.Cut(kv, "=")
		f[k] = v
	}
	number := func(k string) int64 { n, _ := strconv.ParseInt(f[k], 10, 64); return n }
	switch kind {
	case "packet":
		k := packet{stream: int(number("stream_index")), pos: -1, size: number("size")}
		if f["pos"] != "" && f["pos"] != "N/A" {
			k.pos = number("pos")
		}
		k.pts, k.timed = nanos(f["pts_time"])
		var ok bool
		if k.dts, ok = nanos(f["dts_time"]); !ok {
			k.dts = k.pts
		}
		p.packets = append(p.packets, k)
	case "stream":
		p.streams[int(number("index"))] = stream{f["codec_name"], f["codec_type"], number("sample_rate")}
	}
}

// nanos reads decimal seconds without going through a float.
func nanos(s string) (int64, bool) {
	if s == "" || s == "N/A" {
		return 0, false
	}
	neg := strings.HasPrefix(s, "-")
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	frac = (frac + "000000000")[:9]
	w, err1 := strconv.ParseInt(whole, 10, 64)
	n, err2 := strconv.ParseInt(frac, 10, 64)
	v := w*int64(time.Second) + n
	if neg {
		v = -v
	}
	return v, err1 == nil && err2 == nil
}

// shown says when a packet is shown, Unix nanoseconds; 0 = not known.
type shown func(p packet) int64

// collect reads the packets' bytes and finds their tokens.
func (m *Media) collect(r io.ReaderAt, p *probed, when shown) error {
	var index []int
	for i := range p.streams {
		index = append(index, i)
	}
	slices.Sort(index)
	for _, i := range index {
		if err := m.track(r, p, i, when); err != nil {
			return err
		}
	}
	return nil
}

func (m *Media) track(r io.ReaderAt, p *probed, index int, when shown) error {
	s := p.streams[index]
	pcm := strings.HasPrefix(s.codec, "pcm_")
	var decoded map[int64][]byte // by place in the file
	if s.codec == "flac" {
		var err error
		if decoded, err = alaw(r, p.packets, index, s.rate); err != nil {
			return err
		}
		pcm = true
	}
	var buf, carry []byte
	for _, k := range p.packets {
		if k.stream != index {
			continue
		}
		m.Packets++
		if k.pos < 0 {
			return fmt.Errorf("packet of stream %d has no position in the file", index)
		}
		buf = append(buf[:0], carry...)
		n := len(buf)
		buf = slices.Grow(buf, int(k.size))[:n+int(k.size)]
		if decoded != nil {
			buf = append(buf[:n], decoded[k.pos]...)
		} else if _, err := r.ReadAt(buf[n:], k.pos); err != nil {
			return fmt.Errorf("read packet at %d: %w", k.pos, err)
		}
		at := int64(0)
		if k.timed && when != nil {
			at = when(k)
		}
		found := tokens(buf)
		for _, t := range found {
			f := Found{ID: t.id, Number: t.number, Token: t.time, Shown: at}
			if pcm && at != 0 && s.rate > 0 {
				// One byte a sample: readers cut sound into packets as they like.
				f.Shown += int64(t.offset-n) * int64(time.Second) / s.rate
			}
			m.Found = append(m.Found, f)
		}
		carry = carry[:0]
		if pcm {
			carry = append(carry, buf[len(buf)-openTail(buf):]...)
		}
		if len(found) == 0 && len(carry) == 0 && n == 0 {
			sum := sha1.Sum(buf)
			m.Unnamed++
			m.Hashed = append(m.Hashed, Found{Shown: at, SHA1: hex.EncodeToString(sum[:])})
		}
	}
	return nil
}

// ReadFile reads a media file that begins at start (Unix nanoseconds, 0 = not
// known, then times are not judged).
func ReadFile(ctx context.Context, path string, start int64) (*Media, error) {
	p, err := probe(ctx, path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &Media{}
	var when shown
	if start != 0 {
		when = func(k packet) int64 { return start + k.pts }
	}
	return m, m.collect(f, p, when)
}
