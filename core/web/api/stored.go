package api

import (
	"errors"
	"io"
	"os"

	"github.com/valyala/fasthttp"

	"media-server/core/web"
)

// StoredFile is a file as it lies in a space.
type StoredFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// Stored is the part of Backend that reads what lies in a space as it is
// stored, for a verification beside the running server: of a space that is no
// folder only the server's own storage plugin reads. Errors as those of Spaces,
// or os.ErrNotExist.
type Stored interface {
	// StoredFiles lists at most most files by name, those with the prefix and
	// behind after; more tells that there are others.
	StoredFiles(space, prefix, after string, most int) (files []StoredFile, more bool, err error)
	// ReadStored reads like io.ReaderAt.
	ReadStored(space, name string, off int64, p []byte) (int, error)
}

// For the server's own user on its own machine: it is footage without any right
// asked, and a hole where it would be reached from elsewhere.
var storedRoutes = []route{
	{"GET", "spaces/{name}/files", Administrator, (*API).storedFiles},
	{"GET", "spaces/{name}/file", Administrator, (*API).storedFile},
}

func onlyControl(ctx *fasthttp.RequestCtx) *web.Error {
	if web.IsControl(ctx.Conn()) {
		return nil
	}
	return web.E(403, "control_socket", "files as they are stored are read over the control socket only", "media-server verify does; ranges and record.mp4 are for everybody else")
}

func (a *API) storedFiles(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	if e := onlyControl(ctx); e != nil {
		return e
	}
	limit, e := intArg(ctx, "limit", 1000, 1, 10000)
	if e != nil {
		return e
	}
	q := ctx.QueryArgs()
	files, more, err := a.b.StoredFiles(args[0], string(q.Peek("prefix")), string(q.Peek("cursor")), limit)
	if err != nil {
		return placeError(err, args[0])
	}
	l := list{Items: files}
	if files == nil {
		l.Items = []StoredFile{}
	}
	if more {
		l.Next = files[len(files)-1].Name
	}
	web.JSON(ctx, l)
	return nil
}

// mostStored is the most bytes of one answer.
const mostStored = 4 << 20

// storedFile answers with length bytes of a file from offset on; fewer where it
// ends.
func (a *API) storedFile(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	if e := onlyControl(ctx); e != nil {
		return e
	}
	off, e := intArg(ctx, "offset", 0, 0, 1<<62)
	if e != nil {
		return e
	}
	n, e := intArg(ctx, "length", mostStored, 1, mostStored)
	if e != nil {
		return e
	}
	b := make([]byte, n)
	n, err := a.b.ReadStored(args[0], string(ctx.QueryArgs().Peek("name")), int64(off), b)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return web.E(404, "no_such_file", err.Error(), "")
	case err != nil && !errors.Is(err, io.EOF):
		return placeError(err, args[0])
	}
	ctx.SetContentType("application/octet-stream")
	ctx.SetBody(b[:n])
	return nil
}
