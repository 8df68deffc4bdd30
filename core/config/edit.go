package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Set returns the file's bytes with key in [section] set to value. Only that
// line differs; comment, order, blanks and line ends stay. A key that is not
// there yet follows the section's last one, a section that is not there goes to
// the end. The result reads back as value, or there is an error.
func (f *File) Set(section, key, value string) ([]byte, error) {
	text, err := encode(value)
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w", key, err)
	}
	if key == "" || strings.TrimSpace(key) != key || strings.ContainsAny(key, "=\r\n") || strings.ContainsRune("#;[", rune(key[0])) {
		return nil, fmt.Errorf("setting %q: this cannot be a key", key)
	}
	lines := append([]string(nil), f.lines...)
	block := f.Block(section)
	switch e := block.Entry(key); {
	case e != nil && e.Value == value:
		return f.Bytes(), nil
	case e != nil:
		lines[e.Line-1] = f.replace(e, text)
	case block != nil:
		lines = f.insert(lines, block.lastLine(), key+" = "+text)
	default:
		if strings.TrimSpace(section) != section || section == "" || strings.ContainsAny(section, "]\r\n") {
			return nil, fmt.Errorf("setting %s: %q cannot be a section", key, section)
		}
		if n := len(lines); n > 0 && strings.TrimSpace(lines[n-1]) != "" {
			lines = f.insert(lines, n, "")
		}
		lines = f.insert(lines, len(lines), "["+section+"]")
		lines = f.insert(lines, len(lines), key+" = "+text)
	}
	out := []byte(strings.Join(lines, ""))
	again, _ := Parse(f.Path, out)
	if e := again.Block(section).Entry(key); e == nil || e.Value != value {
		return nil, fmt.Errorf("setting %s in [%s] of %s: the value would not read back", key, section, f.Path)
	}
	return out, nil
}

// Unset returns the file's bytes without the line of key in [section]; its
// default is in force then.
func (f *File) Unset(section, key string) []byte {
	e := f.Block(section).Entry(key)
	if e == nil {
		return f.Bytes()
	}
	return []byte(strings.Join(f.lines[:e.Line-1], "") + strings.Join(f.lines[e.Line:], ""))
}

// replace returns the line of e with another raw value.
func (f *File) replace(e *Entry, text string) string {
	line := f.lines[e.Line-1]
	before, after := line[:e.from], line[e.to:]
	if e.from == e.to && text != "" {
		// key =          gets a blank before the value,
		// key = ; why    one after it too, or the comment would belong to it.
		if strings.HasSuffix(before, "=") {
			before += " "
		}
		if rest := strings.TrimLeft(after, blanks); rest == after && rest != "" && isComment(rest[0]) {
			after = " " + after
		}
	}
	return before + text + after
}

func (b *Block) lastLine() int {
	if n := len(b.Entries); n > 0 {
		return b.Entries[n-1].Line
	}
	return b.Line
}

// insert puts text as a line of its own behind line number after.
func (f *File) insert(lines []string, after int, text string) []string {
	end := "\n"
	if len(f.lines) > 0 && strings.HasSuffix(f.lines[0], "\r\n") {
		end = "\r\n"
	}
	if after > 0 && !strings.HasSuffix(lines[after-1], "\n") {
		lines[after-1] += end
	}
	out := append([]string(nil), lines[:after]...)
	out = append(out, text+end)
	return append(out, lines[after:]...)
}

// WriteFile replaces a settings file so that a reader, or a power cut, finds the
// old bytes or the new ones: temporary name, fsync, rename, fsync of the folder.
// Mode and, where permitted, owner of an existing file stay; a new one is 0640.
func WriteFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	mode := os.FileMode(0o640)
	info, statErr := os.Stat(path)
	if statErr == nil {
		mode = info.Mode().Perm()
	}
	// The name is one that Ignored knows, in case we die before the rename.
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil && statErr == nil {
		keepOwner(tmp, info)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
