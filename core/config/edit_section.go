package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Pair is a key and its value.
type Pair struct{ Key, Value string }

// AddSection returns the file's bytes with a new section behind everything
// else. It reads back as given, or there is an error.
func (f *File) AddSection(section string, pairs []Pair) ([]byte, error) {
	if f.Block(section) != nil {
		return nil, fmt.Errorf("section [%s] is there already, in %s", section, f.Path)
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("section [%s] would be empty", section)
	}
	for _, p := range pairs {
		b, err := f.Set(section, p.Key, p.Value)
		if err != nil {
			return nil, err
		}
		f, _ = Parse(f.Path, b)
	}
	return f.Bytes(), nil
}

// RemoveSection returns the file's bytes without a section: its header, its keys,
// and what stands between them. Comments behind the last key stay, they may be
// about what follows. Where it stands twice both go.
func (f *File) RemoveSection(section string) []byte {
	lines := append([]string(nil), f.lines...)
	for i := len(f.Blocks) - 1; i >= 0; i-- {
		b := f.Blocks[i]
		if b.Name != section {
			continue
		}
		from, to := b.Line-1, b.lastLine()
		for to < len(lines) && strings.TrimSpace(lines[to]) == "" {
			to++
		}
		lines = append(lines[:from:from], lines[to:]...)
	}
	return []byte(strings.Join(lines, ""))
}

// Overlay is a Source in which one file reads as it would after an edit.
type Overlay struct {
	Source
	Path string
	Data []byte
}

// ReadFile implements Source.
func (o Overlay) ReadFile(path string) ([]byte, error) {
	if path == o.Path {
		return o.Data, nil
	}
	return o.Source.ReadFile(path)
}

// ReadDir implements Source.
func (o Overlay) ReadDir(path string) ([]string, error) {
	names, err := o.Source.ReadDir(path)
	name := filepath.Base(o.Path)
	if filepath.Dir(o.Path) != path {
		return names, err
	}
	for i, n := range names {
		if n == name {
			return names, nil
		}
		if n > name {
			return append(append(append([]string(nil), names[:i]...), name), names[i:]...), nil
		}
	}
	return append(append([]string(nil), names...), name), nil
}
