package camera

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"media-server/plugins/sim/clip"
)

//go:embed *.py
var scripts embed.FS

// Python is Debian's own interpreter, which has gi.
const Python = "/usr/bin/python3"

// ErrMissing says what must be installed.
var ErrMissing = errors.New("needs the Debian packages python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly")

// Camera is one camera; all but Name may be left zero.
type Camera struct {
	Name        string  `json:"name"`                   // as in tokens, and the path of its URL
	Video       string  `json:"video,omitempty"`        // h264 (default), h264-plain (no B-frames), h265, mjpeg, none
	Audio       string  `json:"audio,omitempty"`        // aac (default), opus, pcma, none; g722, l16, mp2 of noise
	Metadata    bool    `json:"metadata,omitempty"`     // an ONVIF metadata track
	FPS         int     `json:"fps,omitempty"`          // under 5: key frames only
	GOP         int     `json:"gop,omitempty"`          // 1 (default) or 30 seconds, h264
	Transport   string  `json:"transport,omitempty"`    // the only one it takes: tcp, udp; "" = both
	User        string  `json:"user,omitempty"`         // asks for Digest
	Password    string  `json:"password,omitempty"`     //
	ClockOffset float64 `json:"clock_offset,omitempty"` // seconds, of its wall clock
	Drift       int     `json:"drift,omitempty"`        // ppm by which its clock is fast
	NoReports   bool    `json:"-"`                      // sends no RTCP sender reports
}

// MarshalJSON writes it as camera.py reads it.
func (c Camera) MarshalJSON() ([]byte, error) {
	type plain Camera
	return json.Marshal(struct {
		plain
		SR bool `json:"sr"`
	}{plain(c), !c.NoReports})
}

// Ten is the preset of the acceptance test: H.264 with B-frames and AAC, H.265
// and G.711, MJPEG and Opus, each over TCP and UDP; sound only; 1 picture a
// second; 30 s between key frames; ONVIF metadata behind Digest. It must be
// what camera.py calls "ten"; a test compares.
func Ten() []Camera {
	return []Camera{
		{Name: "h264-aac-tcp", Video: "h264", Audio: "aac", Transport: "tcp"},
		{Name: "h264-aac-udp", Video: "h264", Audio: "aac", Transport: "udp"},
		{Name: "h265-pcma-tcp", Video: "h265", Audio: "pcma", Transport: "tcp"},
		{Name: "h265-pcma-udp", Video: "h265", Audio: "pcma", Transport: "udp"},
		{Name: "mjpeg-opus-tcp", Video: "mjpeg", Audio: "opus", Transport: "tcp"},
		{Name: "mjpeg-opus-udp", Video: "mjpeg", Audio: "opus", Transport: "udp"},
		{Name: "audio-only", Video: "none", Audio: "aac", Transport: "tcp"},
		{Name: "one-fps", Video: "h264", Audio: "none", FPS: 1, Transport: "udp"},
		{Name: "gop-30s", Video: "h264", Audio: "aac", GOP: 30, Transport: "tcp"},
		{Name: "metadata", Video: "h264", Audio: "pcma", Metadata: true, Transport: "tcp", User: "admin", Password: "p#ss word"},
	}
}

// Server is a running camera.py.
type Server struct {
	Dir string // holds the sent-ledgers

	cameras []Camera
	urls    map[string]string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  *lockedBuffer
	mu      sync.Mutex // commands, one at a time
}

// Start runs cameras, with everything in dir, on the port given (0 = any; those
// that ask for a password get another). ErrMissing says that this machine cannot.
func Start(ctx context.Context, dir string, port int, cameras []Camera) (*Server, error) {
	if err := exec.CommandContext(ctx, Python, "-c",
		"import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer").Run(); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrMissing, err)
	}
	clips := filepath.Join(dir, "clips")
	if err := errors.Join(unpack(scripts, dir), unpack(clip.Files(), clips)); err != nil {
		return nil, err
	}
	list, err := json.Marshal(cameras)
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, cameras: cameras, stderr: &lockedBuffer{}}
	s.cmd = exec.CommandContext(ctx, Python, "-B", filepath.Join(dir, "camera.py"),
		"--clips", clips, "--ledger", dir, "--port", strconv.Itoa(port), "--cameras", string(list))
	s.cmd.Stderr = s.stderr
	s.cmd.Env = append(os.Environ(), "GST_REGISTRY_FORK=no")
	s.in, err = s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := s.out.ReadBytes('\n')
	var hello struct{ URLs map[string]string }
	if err == nil {
		err = json.Unmarshal(line, &hello)
	}
	if err != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		return nil, fmt.Errorf("start cameras: %w: %s", err, s.stderr)
	}
	s.urls = hello.URLs
	return s, nil
}

func unpack(from fs.FS, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), b, 0o644)
	})
}

// URL is a camera's address, with its password.
func (s *Server) URL(name string) string {
	u, err := url.Parse(s.urls[name])
	if err != nil {
		return ""
	}
	for _, c := range s.cameras {
		if c.Name == name && c.User != "" {
			u.User = url.UserPassword(c.User, c.Password)
		}
	}
	return u.String()
}

// Ledger is the path of a camera's sent-ledger.
func (s *Server) Ledger(name string) string { return filepath.Join(s.Dir, name+".csv") }

// Ledgers are those of all cameras.
func (s *Server) Ledgers() []string {
	var out []string
	for _, c := range s.cameras {
		out = append(out, s.Ledger(c.Name))
	}
	return out
}

// Drop closes a camera's connections and answers 404 for as long as away.
func (s *Server) Drop(name string, away time.Duration) error {
	_, err := s.say(fmt.Sprintf("drop %s %.3f", name, away.Seconds()))
	return err
}

// Silence lets a camera send nothing for d, its connections staying open.
func (s *Server) Silence(name string, d time.Duration) error {
	_, err := s.say(fmt.Sprintf("silence %s %.3f", name, d.Seconds()))
	return err
}

// Clients is the number of connections to all cameras.
func (s *Server) Clients() (int, error) {
	a, err := s.say("clients")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(a)
}

func (s *Server) say(line string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		return "", fmt.Errorf("cameras have gone: %w: %s", err, s.stderr)
	}
	a, err := s.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("cameras have gone: %w: %s", err, s.stderr)
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(a), " ")
	if word != "ok" {
		return "", fmt.Errorf("%s: %s", line, rest)
	}
	return rest, nil
}

// Stop ends the cameras; their ledgers are complete then. What they had to
// complain about is returned.
func (s *Server) Stop() (complaints string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.Close() // ends it, and is the only way it ends well
	err = s.cmd.Wait()
	return s.stderr.String(), err
}

// lockedBuffer keeps the first 64 kB written to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := 64<<10 - l.b.Len(); n > 0 {
		l.b.Write(p[:min(n, len(p))])
	}
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
