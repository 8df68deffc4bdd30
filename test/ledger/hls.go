package ledger

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// segment is an entry of a media playlist.
type segment struct {
	uri, bytes string // bytes: "first-last" or ""
	init       string // URI and range of its map, as one key
	initURI    string
	initBytes  string
	date       int64 // EXT-X-PROGRAM-DATE-TIME, Unix nanoseconds; 0 = none
	duration   float64
	gap        bool
	after      bool // follows a discontinuity
}

// hls reads all renditions of a playlist. Segments under one map and without a
// discontinuity between them are joined into one file, so that ffprobe runs
// once for each; a packet's place in the file tells its segment.
func (s *Source) hls(ctx context.Context) (*Media, error) {
	m := &Media{}
	return m, s.playlist(ctx, s.URL, m, 0)
}

func (s *Source) playlist(ctx context.Context, address string, m *Media, depth int) error {
	resp, err := s.get(ctx, address, "")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	resp.Body.Close()
	if err != nil {
		return err
	}
	base := resp.Request.URL
	media, segments, err := parsePlaylist(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	if len(media) > 0 && depth > 0 {
		return fmt.Errorf("%s: a multivariant playlist in another", address)
	}
	for _, uri := range media {
		u, err := base.Parse(uri)
		if err != nil {
			return err
		}
		if err := s.playlist(ctx, u.String(), m, depth+1); err != nil {
			return err
		}
	}
	var group []segment
	for i, seg := range segments {
		if len(group) > 0 && (seg.after || seg.gap || seg.init != group[0].init || seg.init == "") {
			if err := s.group(ctx, base, group, m); err != nil {
				return err
			}
			group = group[:0]
		}
		if !seg.gap {
			group = append(group, segments[i])
		}
	}
	if len(group) == 0 {
		return nil
	}
	return s.group(ctx, base, group, m)
}

// group reads segments that share one time line.
func (s *Source) group(ctx context.Context, base *url.URL, group []segment, m *Media) error {
	path := filepath.Join(s.Temp, "group")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	add := func(uri, bytes string) error {
		u, err := base.Parse(uri)
		if err != nil {
			return err
		}
		_, err = s.download(ctx, u.String(), bytes, path)
		return err
	}
	if group[0].initURI != "" {
		if err := add(group[0].initURI, group[0].initBytes); err != nil {
			return err
		}
	}
	ends := make([]int64, len(group))
	for i, seg := range group {
		if err := add(seg.uri, seg.bytes); err != nil {
			return err
		}
		fi, err := os.Stat(path)
		if err != nil {
			return err
		}
		ends[i] = fi.Size()
	}
	p, err := probe(ctx, path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.collect(f, p, dates(p, group, ends))
}

// dates says when a packet is shown: its segment's date plus its distance from
// the segment's first sample, which the date belongs to (RFC 8216 4.3.2.6): the
// first picture shown where there is video.
func dates(p *probed, group []segment, ends []int64) shown {
	place := func(k packet) int { return sort.Search(len(ends), func(i int) bool { return k.pos < ends[i] }) }
	first := make([]int64, len(group))
	video := make([]bool, len(group))
	for i := range first {
		first[i] = math.MaxInt64
	}
	for _, k := range p.packets {
		i := place(k)
		if i == len(group) || !k.timed {
			continue
		}
		v := p.streams[k.stream].kind == "video"
		if v && !video[i] {
			video[i], first[i] = true, k.pts
		} else if v == video[i] {
			first[i] = min(first[i], k.pts)
		}
	}
	// A segment without a date follows the one before.
	zero := make([]int64, len(group))
	for i, seg := range group {
		switch {
		case seg.date != 0 && first[i] != math.MaxInt64:
			zero[i] = seg.date - first[i]
		case i > 0:
			zero[i] = zero[i-1]
		}
	}
	return func(k packet) int64 {
		i := place(k)
		if i == len(group) || zero[i] == 0 {
			return 0
		}
		return zero[i] + k.pts
	}
}

// parsePlaylist reads what this package needs of RFC 8216: of a multivariant
// playlist the first variant and the renditions with a URI of their own, of a
// media playlist its segments. Parts of low latency are passed over, since
// they are in segments too but for the last ones.
func parsePlaylist(text string) (media []string, segments []segment, err error) {
	var cur segment
	var next int64 // default start of a byte range
	variant := false
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		l := strings.TrimSpace(sc.Text())
		tag, value, _ := strings.Cut(l, ":")
		switch {
		case l == "":
		case tag == "#EXT-X-STREAM-INF":
			variant = true
		case tag == "#EXT-X-MEDIA":
			if u := attribute(value, "URI"); u != "" {
				media = append(media, u)
			}
		case tag == "#EXT-X-MAP":
			cur.initURI = attribute(value, "URI")
			cur.initBytes, _, err = byteRange(attribute(value, "BYTERANGE"), 0)
			cur.init = cur.initURI + " " + cur.initBytes
		case tag == "#EXTINF":
			n, _, _ := strings.Cut(value, ",")
			cur.duration, err = strconv.ParseFloat(n, 64)
		case tag == "#EXT-X-BYTERANGE":
			cur.bytes, next, err = byteRange(value, next)
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			var t time.Time
			t, err = time.Parse(time.RFC3339Nano, value)
			cur.date = t.UnixNano()
		case tag == "#EXT-X-DISCONTINUITY":
			cur.after = true
		case tag == "#EXT-X-GAP":
			cur.gap = true
		case strings.HasPrefix(l, "#"):
		case variant:
			media = append([]string{l}, media...)
			return firstVariant(media, sc)
		default:
			cur.uri = l
			segments = append(segments, cur)
			cur = segment{init: cur.init, initURI: cur.initURI, initBytes: cur.initBytes}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("line %q: %w", l, err)
		}
	}
	return media, segments, sc.Err()
}

// firstVariant leaves out all further variants: they hold the same frames.
func firstVariant(media []string, sc *bufio.Scanner) ([]string, []segment, error) {
	for sc.Scan() {
		if tag, value, _ := strings.Cut(sc.Text(), ":"); tag == "#EXT-X-MEDIA" {
			if u := attribute(value, "URI"); u != "" {
				media = append(media, u)
			}
		}
	}
	return media, nil, sc.Err()
}

func attribute(list, name string) string {
	for list != "" {
		k, rest, ok := strings.Cut(list, "=")
		if !ok {
			return ""
		}
		var v string
		if strings.HasPrefix(rest, `"`) {
			v, rest, _ = strings.Cut(rest[1:], `"`)
			rest = strings.TrimPrefix(rest, ",")
		} else {
			v, rest, _ = strings.Cut(rest, ",")
		}
		if strings.TrimSpace(k) == name {
			return v
		}
		list = rest
	}
	return ""
}

// byteRange turns "length[@offset]" into "first-last" and where the next begins.
func byteRange(v string, next int64) (string, int64, error) {
	if v == "" {
		return "", next, nil
	}
	length, offset, has := strings.Cut(v, "@")
	n, err := strconv.ParseInt(length, 10, 64)
	if err == nil && has {
		next, err = strconv.ParseInt(offset, 10, 64)
	}
	if err != nil || n <= 0 || next < 0 {
		return "", 0, fmt.Errorf("byte range %q", v)
	}
	return fmt.Sprintf("%d-%d", next, next+n-1), next + n, nil
}
