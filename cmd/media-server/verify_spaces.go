package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"media-server/core/archive"
	"media-server/core/node"
)

// farSpaces are spaces whose files are not in a folder of this machine.
type farSpaces struct {
	files map[string]archive.Files
	left  map[string]error // those that cannot be read, and why
	end   func() error
}

// notRead is a space that was left out.
type notRead struct{ Space, Why string }

func (f *farSpaces) notRead() (out []notRead) {
	if f == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.left)) {
		out = append(out, notRead{name, f.left[name].Error()})
	}
	return out
}

// close lets go of what was opened to read them.
func (f *farSpaces) close() error {
	if f == nil || f.end == nil {
		return nil
	}
	return f.end()
}

// places are the spaces of the settings, or those that --space names.
func (c *verifyCmd) places(ctx context.Context, g *globals, set *node.Settings) (out []archive.Place, err error) {
	for _, name := range c.Space {
		if !slices.ContainsFunc(set.Archive.Spaces, func(s archive.SpaceConfig) bool { return s.Name == name }) {
			return nil, usagef("there is no space %q in the settings", name)
		}
	}
	var far []archive.SpaceConfig
	for _, sp := range set.Archive.Spaces {
		switch {
		case len(c.Space) > 0 && !slices.Contains(c.Space, sp.Name):
		case sp.Driver == "local":
			out = append(out, archive.Place{Dir: sp.Path})
		default:
			far = append(far, sp)
		}
	}
	if len(far) == 0 {
		return out, nil
	}
	cl, _, err := g.server()
	if err != nil {
		return nil, err
	}
	if c.far = throughServer(ctx, cl, far); c.far == nil {
		c.far = throughPlugins(ctx, set, far)
	}
	for _, sp := range far {
		if files := c.far.files[sp.Name]; files != nil {
			out = append(out, archive.Place{Dir: "space " + sp.Name, Files: files})
		}
	}
	return out, nil
}

// throughServer reads spaces through the server that runs: it has their storage
// plugins, and nobody else may start them. nil: none runs.
func throughServer(ctx context.Context, cl *client, spaces []archive.SpaceConfig) *farSpaces {
	if !cl.running() {
		return nil
	}
	f := &farSpaces{files: map[string]archive.Files{}, left: map[string]error{}, end: func() error { return nil }}
	for _, sp := range spaces {
		s := serverFiles{cl, "/api/v1/spaces/" + url.PathEscape(sp.Name)}
		if _, _, err := s.page(ctx, "", "", 1); err != nil {
			f.left[sp.Name] = err
			continue
		}
		f.files[sp.Name] = s
	}
	return f
}

// throughPlugins starts the storage plugins of spaces, as no server runs.
func throughPlugins(ctx context.Context, set *node.Settings, spaces []archive.SpaceConfig) *farSpaces {
	var names []string
	for _, sp := range spaces {
		names = append(names, sp.Name)
	}
	fmt.Fprintf(os.Stderr, "no server runs, and none can start until this is over: space %s is read through its storage plugin\n", strings.Join(names, ", "))
	f := &farSpaces{}
	var err error
	if f.files, f.left, f.end, err = node.OpenStored(ctx, set, version, spaces); err != nil {
		f.left, f.end = map[string]error{}, func() error { return nil }
		for _, name := range names {
			f.left[name] = err
		}
	}
	return f
}

// serverFiles is a space as the running server reads it. It implements
// archive.Files.
type serverFiles struct {
	cl   *client
	path string
}

func (s serverFiles) page(ctx context.Context, prefix, after string, most int) (out []archive.Entry, next string, err error) {
	q := url.Values{"prefix": {prefix}, "cursor": {after}, "limit": {strconv.Itoa(most)}}
	resp, err := s.cl.send(ctx, "GET", s.path+"/files?"+q.Encode(), nil)
	if err != nil {
		return nil, "", away(err)
	}
	defer resp.Body.Close()
	var a struct {
		Items []struct {
			Name string
			Size int64
		}
		Next string
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return nil, "", fmt.Errorf("the server's answer is not understood: %w", err)
	}
	for _, x := range a.Items {
		out = append(out, archive.Entry{Name: x.Name, Size: x.Size})
	}
	return out, a.Next, nil
}

// away tells of a server that is not there any more.
func away(err error) error {
	if errors.Is(err, errNotRunning) {
		return fmt.Errorf("%w: the server was stopped; verify again", archive.ErrAway)
	}
	return err
}

// List implements archive.Files.
func (s serverFiles) List(ctx context.Context, prefix, after string, fn func([]archive.Entry) error) error {
	for {
		es, next, err := s.page(ctx, prefix, after, 1000)
		if err == nil {
			err = fn(es)
		}
		if err != nil || next == "" {
			return err
		}
		after = next
	}
}

// ReadAt implements archive.Files.
func (s serverFiles) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	q := url.Values{"name": {name}, "offset": {strconv.FormatInt(off, 10)}, "length": {strconv.Itoa(len(p))}}
	resp, err := s.cl.send(ctx, "GET", s.path+"/file?"+q.Encode(), nil)
	if a := new(answered); errors.As(err, &a) && a.status == http.StatusNotFound {
		return 0, fmt.Errorf("%w: %w", os.ErrNotExist, err)
	}
	if err != nil {
		return 0, away(err)
	}
	defer resp.Body.Close()
	n, err := io.ReadFull(resp.Body, p)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && int64(n) == resp.ContentLength:
		err = io.EOF // all of the answer: the file is shorter
	case errors.Is(err, io.EOF) && resp.ContentLength > 0:
		err = io.ErrUnexpectedEOF // the server is gone, not the rest of the file
	}
	return n, err
}
