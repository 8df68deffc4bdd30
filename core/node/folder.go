package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"media-server/core/archive"
	"media-server/core/fault"
)

// checkFolder tells what speaks against a folder becoming a space: it is, or
// lies under, a file; nothing can be written there; by some symbolic link it is
// the system's, or another space's. nil = nothing.
func checkFolder(path string, others []archive.SpaceConfig) *fault.Problem {
	real, err := nearest(path)
	if err != nil {
		return &fault.Problem{What: err.Error(), Hint: "name a folder, or one that can be made"}
	}
	if why := archive.SystemFolder(real); why != "" {
		return &fault.Problem{What: fmt.Sprintf("path %s %s", path, why), Hint: "name a folder made for footage, such as /srv/media or the mount point of a disk"}
	}
	for _, o := range others {
		r, err := nearest(o.Path)
		if err == nil && (within(real, r) || within(r, real)) {
			return &fault.Problem{What: fmt.Sprintf("path %s overlaps that of space %q (both lead to %s)", path, o.Name, real), Hint: "each space needs a folder of its own"}
		}
	}
	at := real
	for {
		var st unix.Statfs_t
		err := unix.Statfs(at, &st)
		if errors.Is(err, fs.ErrNotExist) && at != "/" {
			at = filepath.Dir(at)
			continue
		}
		if err != nil {
			return &fault.Problem{What: fmt.Sprintf("the file system of %s cannot be looked at: %v", path, err), Hint: "may the server enter the folder?"}
		}
		if st.Flags&unix.ST_RDONLY != 0 {
			return &fault.Problem{What: fmt.Sprintf("path %s lies on a file system that is read-only", path), Hint: "remount it for writing, or name another folder"}
		}
		break
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return &fault.Problem{What: fmt.Sprintf("the server may not write in %s", at), Hint: "give it to the server's user (chown), or name another folder"}
	}
	return nil
}

// nearest is the path with the links of what exists of it resolved.
func nearest(path string) (string, error) {
	path = filepath.Clean(path)
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is a file, not a folder", at)
		case err == nil:
			real, err := filepath.EvalSymlinks(at)
			return filepath.Join(real, rest), err
		case errors.Is(err, unix.ENOTDIR): // told by what lies above
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("%s cannot be looked at: %w", at, err)
		case at == "/":
			return "", err
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

func within(a, b string) bool { return strings.HasPrefix(a+"/", b+"/") }
