package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"media-server/core/fault"
)

// Source is where settings files are read from: the disk, or a Watcher, which
// remembers what was read in order to watch it.
type Source interface {
	// ReadFile returns a file's bytes, at most MaxFileSize+1 of them.
	ReadFile(path string) ([]byte, error)
	// ReadDir returns the sorted names of the regular files in a folder,
	// without those that Ignored says are none of ours.
	ReadDir(path string) ([]string, error)
}

// Disk reads the file system as it is.
type Disk struct{}

// ReadFile implements Source.
func (Disk) ReadFile(path string) ([]byte, error) {
	// Opening a FIFO would wait for a writer for ever.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFileSize+1))
}

// ReadDir implements Source.
func (Disk) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !Ignored(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Ignored tells whether a file name is an editor's or package manager's, never
// an operator's settings.
func Ignored(name string) bool {
	if name == "" || name[0] == '.' || strings.HasSuffix(name, "~") || strings.Contains(name, ".dpkg-") {
		return true
	}
	for _, suffix := range []string{".swp", ".swx", ".tmp", ".bak"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// reason is the system's word for a failure without the path, which the
// problem around it names already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// Read reads and parses one file; a file that cannot be read is a problem.
func Read(source Source, path, shown string) (*File, fault.Problems) {
	data, err := source.ReadFile(path)
	if err != nil {
		return &File{Path: shown}, fault.Problems{{File: shown, What: "cannot be read: " + reason(err), Err: err}}
	}
	return Parse(shown, data)
}
