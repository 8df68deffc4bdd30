package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Source says what goes into a backup.
type Source struct {
	DataDir  string
	Settings string // media-server.ini; conf.d beside it
	Streams  string // folder of stream files
	KeysDir  string
	Program  string
	Node     string // id, which the name of the file has
	// Snapshot writes a consistent copy of a database to a new file.
	Snapshot func(ctx context.Context, from, to string) error
}

// databases are those that are no caches.
var databases = []string{"state.db", "accounts.db", "journal.db"}

// Manifest is the first member of a backup.
type Manifest struct {
	Format  string   `json:"format"`
	Version int      `json:"version"`
	Program string   `json:"program"`
	Node    string   `json:"node"`
	Made    int64    `json:"made_ms"`
	Epoch   uint64   `json:"epoch,omitempty"` // of the core then; before version 2 it was not said
	Members []Member `json:"members"`
}

// Member is a file of a backup.
type Member struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const (
	format       = "media-server backup"
	version      = 2
	manifestName = "manifest.json"
)

// Write makes a backup in dir and returns its path.
func Write(ctx context.Context, src Source, dir, passphrase string, at time.Time) (path string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of backups: %w", err)
	}
	work, err := os.MkdirTemp(dir, ".making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	files, err := gather(ctx, &src, work)
	if err != nil {
		return "", err
	}
	m := Manifest{Format: format, Version: version, Program: src.Program, Node: src.Node, Made: at.UnixMilli(), Epoch: readEpoch(src.DataDir)}
	for _, name := range sortedKeys(files) {
		x, err := member(name, files[name])
		if err != nil {
			return "", err
		}
		m.Members = append(m.Members, x)
	}
	path = filepath.Join(dir, fileName(src.Node, at))
	tmp := filepath.Join(work, "backup")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	err = write(f, &m, files, passphrase)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("write the backup: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", err
	}
	return path, syncDir(dir)
}

func sortedKeys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// gather lists the files of a backup, all as copies in work: whoever saves an
// ini file meanwhile must not make a backup whose hashes do not fit.
func gather(ctx context.Context, src *Source, work string) (map[string]string, error) {
	files := map[string]string{}
	for _, db := range databases {
		from := filepath.Join(src.DataDir, db)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		to := filepath.Join(work, db)
		if err := src.Snapshot(ctx, from, to); err != nil {
			return nil, err
		}
		files["data/"+db] = to
	}
	add := func(name, path string) error {
		fi, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.Mode().IsRegular() {
			return nil // a dangling link among them
		}
		b, err := os.ReadFile(path)
		if err == nil {
			to := filepath.Join(work, fmt.Sprintf("copy-%d", len(files)))
			files[name], err = to, os.WriteFile(to, b, 0o600)
		}
		return err
	}
	if err := errors.Join(add("data/node-id", filepath.Join(src.DataDir, "node-id")), add("data/streams.json", filepath.Join(src.DataDir, "streams.json")), add("settings/media-server.ini", src.Settings)); err != nil {
		return nil, err
	}
	for name, dir := range map[string]string{"data/keys": src.KeysDir, "data/keys/public": filepath.Join(src.KeysDir, "public"),
		"settings/conf.d": filepath.Join(filepath.Dir(src.Settings), "conf.d"), "settings/streams.d": src.Streams} {
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range list {
			if strings.HasPrefix(name, "settings/") && !strings.HasSuffix(e.Name(), ".ini") {
				continue
			}
			if err := add(name+"/"+e.Name(), filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return files, ctx.Err()
}

func member(name, path string) (m Member, err error) {
	f, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return Member{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

func write(w io.Writer, m *Manifest, files map[string]string, passphrase string) (err error) {
	var wrapped *wrapper
	if passphrase != "" {
		if wrapped, err = wrap(w, passphrase); err != nil {
			return err
		}
		w = wrapped
	}
	t := tar.NewWriter(w)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	at := time.UnixMilli(m.Made)
	if err := put(t, manifestName, int64(len(text)), at, bytes.NewReader(text)); err != nil {
		return err
	}
	for _, x := range m.Members {
		f, err := os.Open(files[x.Name])
		if err != nil {
			return err
		}
		err = put(t, x.Name, x.Size, at, io.LimitReader(f, x.Size))
		f.Close()
		if err != nil {
			return fmt.Errorf("%s changed while it was saved: %w", x.Name, err)
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	if wrapped != nil {
		return wrapped.Close()
	}
	return nil
}

func put(t *tar.Writer, name string, size int64, at time.Time, r io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: at, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.Copy(t, r)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
