package ledger

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Source is a recording to read. Use it to set what the plain call cannot.
type Source struct {
	URL    string       // http(s) URL or path of a media file or playlist
	Start  int64        // media file: when it begins, Unix nanoseconds; 0 = from X-Media-Start, if any
	Header http.Header  // sent with each request, e.g. Authorization
	Client *http.Client // nil = one that takes any certificate
	Temp   string       // folder for what is downloaded; "" = a new one, removed
}

// Read reads a recording: a playlist if it looks like one, else a media file.
func Read(ctx context.Context, s Source) (*Media, error) {
	if s.Temp == "" {
		dir, err := os.MkdirTemp("", "ledger")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		s.Temp = dir
	}
	if !strings.Contains(s.URL, "://") {
		if strings.HasSuffix(s.URL, ".m3u8") {
			return nil, fmt.Errorf("%s: a playlist is read by its URL", s.URL)
		}
		return ReadFile(ctx, s.URL, s.Start)
	}
	path := filepath.Join(s.Temp, "recording")
	head, err := s.download(ctx, s.URL, "", path)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 7)
	if f, err := os.Open(path); err == nil {
		_, _ = io.ReadFull(f, b)
		f.Close()
	}
	if string(b) == "#EXTM3U" {
		return s.hls(ctx)
	}
	if v := head.Get("X-Media-Start"); s.Start == 0 && v != "" {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return nil, fmt.Errorf("X-Media-Start %q: %w", v, err)
		}
		s.Start = ms(f)
	}
	return ReadFile(ctx, path, s.Start)
}

func (s *Source) get(ctx context.Context, url, bytes string) (*http.Response, error) {
	if s.Client == nil {
		s.Client = &http.Client{Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // a server under test signs for itself
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     time.Second,
		}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range s.Header {
		req.Header[k] = v
	}
	if bytes != "" {
		req.Header.Set("Range", "bytes="+bytes)
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return resp, nil
}

// download adds what url gives to the file at path.
func (s *Source) download(ctx context.Context, url, bytes, path string) (http.Header, error) {
	resp, err := s.get(ctx, url, bytes)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, resp.Body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = fmt.Errorf("%s: %d bytes of %d", url, n, resp.ContentLength)
	}
	return resp.Header, err
}

// Gaps reads the gaps of a ranges.json, by URL or path.
func (s Source) Gaps(ctx context.Context) ([]Gap, error) {
	if !strings.Contains(s.URL, "://") {
		f, err := os.Open(s.URL)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return ReadGaps(f)
	}
	resp, err := s.get(ctx, s.URL, "")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return ReadGaps(resp.Body)
}

// Add joins what was found in another recording.
func (m *Media) Add(o *Media) {
	m.Found = append(m.Found, o.Found...)
	m.Hashed = append(m.Hashed, o.Hashed...)
	m.Unnamed += o.Unnamed
	m.Packets += o.Packets
}
