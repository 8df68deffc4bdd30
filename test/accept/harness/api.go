package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Stream is what the tests read of GET streams/{uid}.
type Stream struct {
	UID, State, Reason, Hint string
	Recording                bool
	LastFrame                int64 `json:"last_frame_ms"`
	Tracks                   []struct {
		Kind, Codec string
		LeftOut     string `json:"left_out"`
		InHLS       bool   `json:"in_hls"`
	}
	Settings map[string]string
	Counters map[string]uint64
	Problems []Problem
	Removed  bool
	Viewers  int
}

// Problem is an item of GET problems.
type Problem struct{ Level, Where, What, Hint, UID string }

func (p Problem) String() string {
	return fmt.Sprintf("%s: %s: %s; %s", p.Level, p.Where, p.What, p.Hint)
}

// Event is an item of GET events.
type Event struct {
	ID      int64
	Type    string
	TimeMS  int64 `json:"time_ms"`
	UID     string
	Level   string
	Message string
	Data    map[string]any
}

func (s *Server) control() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.Run, "control.sock"))
		},
	}}
}

// Call asks the API over the control socket; out may be nil.
func (s *Server) Call(method, path string, out any) (int, error) {
	return s.Send(method, path, "", out)
}

// Send is Call with a body.
func (s *Server) Send(method, path, body string, out any) (int, error) {
	req, err := http.NewRequest(method, "http://server/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := s.control().Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		return resp.StatusCode, fmt.Errorf("%s %s: %s %s %w", method, path, resp.Status, b, err)
	}
	if out == nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(b, out)
}

// Get reads a URL without credentials; 0 = no answer.
func (s *Server) Get(address string) (int, string) {
	c := http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(address)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// Stream reads a stream; one that is not there is the zero value.
func (s *Server) Stream(uid string) Stream {
	var st Stream
	_, _ = s.Call("GET", "streams/"+uid, &st)
	return st
}

// Problems lists what needs a person's attention.
func (s *Server) Problems() []Problem {
	var l struct{ Items []Problem }
	_, _ = s.Call("GET", "problems", &l)
	return l.Items
}

// Events lists events, oldest first.
func (s *Server) Events(types ...string) []Event {
	q := url.Values{"limit": {"1000"}}
	if len(types) > 0 {
		q.Set("type", strings.Join(types, ","))
	}
	var l struct{ Items []Event }
	if _, err := s.Call("GET", "events?"+q.Encode(), &l); err != nil {
		s.T.Logf("events: %v", err)
	}
	for i, j := 0, len(l.Items)-1; i < j; i, j = i+1, j-1 {
		l.Items[i], l.Items[j] = l.Items[j], l.Items[i]
	}
	return l.Items
}

// Metric sums the samples of a metric whose labels contain all of those given,
// such as `stream="a"`.
func (s *Server) Metric(name string, labels ...string) float64 {
	_, text := s.Get(s.Admin + "/metrics")
	sum := 0.0
lines:
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err == nil {
			sum += v
		}
	}
	return sum
}

// Span is a range or gap of ranges.json, in Unix ms.
type Span struct {
	From, To  int64
	Why, Kind string
}

// Footage is ranges.json.
type Footage struct{ Ranges, Gaps []Span }

// Footage reads what a stream has.
func (s *Server) Footage(uid string) Footage {
	var f Footage
	if status, body := s.Get(s.HTTP + "/dvr/" + uid + "/ranges.json"); status == 200 {
		if err := json.Unmarshal([]byte(body), &f); err != nil {
			s.T.Errorf("ranges.json of %s: %v", uid, err)
		}
	}
	return f
}
