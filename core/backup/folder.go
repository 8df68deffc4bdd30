package backup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A backup is named media-server-<node id>-<time>.backup, in UTC, so that
// servers which share a folder, and one that was installed anew over its
// predecessor's, know their own. Before, the names had no node.
const (
	suffix     = ".backup"
	prefix     = "media-server-"
	timeLayout = "20060102T150405.000Z"
)

func fileName(node string, at time.Time) string {
	if node != "" {
		node += "-"
	}
	return prefix + node + at.UTC().Format(timeLayout) + suffix
}

// parseName tells whether a file is a backup by its name, and what the name
// says of it; the time is zero where somebody has renamed it.
func parseName(name string) (node string, made time.Time, is bool) {
	rest, is := strings.CutPrefix(name, prefix)
	rest, whole := strings.CutSuffix(rest, suffix)
	if !is || !whole {
		return "", made, false
	}
	text := rest
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		node, text = rest[:i], rest[i+1:]
	}
	made, err := time.Parse(timeLayout, text)
	if err != nil {
		return "", time.Time{}, true
	}
	return node, made, true
}

// Info is a backup in a folder.
type Info struct {
	Name string
	Node string // id of the server that made it; "" = its name does not tell
	Size int64  // bytes
	Made time.Time
}

// List lists the backups of a folder, newest first, whoever made them.
func List(dir string) (out []Info, err error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range list {
		node, made, is := parseName(e.Name())
		if !is {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		if made.IsZero() {
			made = fi.ModTime() // somebody has renamed it
		}
		out = append(out, Info{Name: e.Name(), Node: node, Size: fi.Size(), Made: made})
	}
	slices.SortFunc(out, func(a, b Info) int { return b.Made.Compare(a.Made) })
	return out, err
}

// Prune deletes all but the newest keep backups that node made. Those of other
// nodes may be the last that is left of them, and the keys in it the only ones;
// those whose name does not tell may be as well. Deleting them is left to a
// person.
//
// Nor is anything deleted that is as old as offered, the backup that a server
// which started anew could begin with ("" = none): the server may have kept its
// id and have lost all else, and then its newest backups hold nothing and push
// out those that do.
func Prune(dir, node string, keep int, offered string) error {
	list, err := List(dir)
	until, known := madeAt(offered)
	if offered != "" && !known {
		return err // it is gone, or renamed: nobody knows what belongs to it
	}
	list = slices.DeleteFunc(list, func(x Info) bool { return x.Node != node || x.Node == "" })
	for i := keep; i < len(list) && list[i].Made.After(until); i++ {
		err = errors.Join(err, os.Remove(filepath.Join(dir, list[i].Name)))
	}
	return err
}

// madeAt tells when a backup was made.
func madeAt(file string) (made time.Time, ok bool) {
	if _, made, _ = parseName(filepath.Base(file)); !made.IsZero() {
		return made, true
	}
	fi, err := os.Stat(file)
	if err != nil {
		return made, false
	}
	return fi.ModTime(), true
}
