package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// errNotRunning: no server answers on the control socket.
var errNotRunning = errors.New("no server is running with these settings")

// client speaks the API over the running server's control socket. The socket
// is 0600 and the server checks who opens it: no token is needed.
type client struct {
	http   http.Client
	socket string
}

func newClient(socket string) *client {
	c := &client{socket: socket}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	return c
}

// running tells whether somebody answers.
func (c *client) running() bool {
	conn, err := net.DialTimeout("unix", c.socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// do sends a request and decodes the JSON answer into out, which may be nil.
func (c *client) do(method, path string, in, out any) error {
	resp, err := c.send(context.Background(), method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the server's answer is not understood: %w", err)
	}
	return nil
}

// all reads a list to its end, page by page.
func all[T any](c *client, path string) ([]T, error) {
	out, cursor := []T{}, ""
	for {
		var page struct {
			Items []T
			Next  *string
		}
		q := "?limit=1000"
		if cursor != "" {
			q += "&cursor=" + url.QueryEscape(cursor)
		}
		if err := c.do("GET", path+q, nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == nil {
			return out, nil
		}
		cursor = *page.Next
	}
}

func (c *client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	return c.sendIf(ctx, method, path, in, nil)
}

// sendIf sends a request with headers that set puts in.
func (c *client) sendIf(ctx context.Context, method, path string, in any, set func(http.Header)) (*http.Response, error) {
	if !c.running() {
		return nil, errNotRunning
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, body)
	if err != nil {
		return nil, err
	}
	if set != nil {
		set(req.Header)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		var e struct {
			Error struct{ Message, Hint string }
		}
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if json.Unmarshal(b, &e) != nil || e.Error.Message == "" {
			e.Error.Message = "the server answered " + resp.Status
		}
		if e.Error.Hint != "" {
			e.Error.Message += " (" + e.Error.Hint + ")"
		}
		return nil, &answered{resp.StatusCode, e.Error.Message}
	}
	return resp, nil
}

// answered is a refusal of the server.
type answered struct {
	status int
	text   string
}

func (e *answered) Error() string { return e.text }

func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
