package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"media-server/core/fault"
)

// Target says where a restore goes.
type Target struct {
	DataDir  string
	Settings string
	Streams  string
	KeysDir  string
}

const (
	stageDir   = "restore"
	planFile   = "restore.json"
	mostMember = 8 << 30
	mostFiles  = 100_000
)

// plan is what Finish carries out: written whole and synced before anything is
// moved.
type plan struct {
	Format string  `json:"format"`
	Before string  `json:"before"` // folder that takes what was there
	Epoch  uint64  `json:"epoch"`  // that the restored server goes on from
	Moves  []moved `json:"moves"`
}

type moved struct {
	From string `json:"from"` // in the stage
	To   string `json:"to"`
	Keep bool   `json:"keep"` // an existing file stays as it is
}

// Staged is what a staged restore will do.
type Staged struct {
	Manifest Manifest
	Restores []string // files that will be put in place
	Left     []string // settings that exist and stay as they are
}

// Stage reads a backup, checks all of it, and prepares its restore, which
// Finish carries out when no server runs. Nothing that is in use is touched.
func Stage(file, passphrase string, to Target) (*Staged, error) {
	stage := filepath.Join(to.DataDir, stageDir)
	if err := errors.Join(os.RemoveAll(filepath.Join(to.DataDir, planFile)), os.RemoveAll(stage), os.MkdirAll(stage, 0o700)); err != nil {
		return nil, err
	}
	m, err := extract(file, passphrase, stage)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(stage))
	}
	s := &Staged{Manifest: *m}
	p := plan{Format: format, Epoch: epochAfter(time.Now(), m.Epoch, readEpoch(to.DataDir)), Before: filepath.Join(to.DataDir, "before-restore-"+time.Now().UTC().Format("20060102T150405Z"))}
	for _, x := range m.Members {
		dest, settings := to.place(x.Name)
		if dest == "" {
			continue
		}
		if _, err := os.Lstat(dest); err == nil && settings {
			s.Left = append(s.Left, dest)
			continue
		}
		if x.Name == "data/accounts.db" { // the first password is of the accounts that go
			p.Moves = append(p.Moves, moved{To: filepath.Join(to.DataDir, "first-password")})
		}
		s.Restores = append(s.Restores, dest)
		p.Moves = append(p.Moves, moved{From: filepath.Join(stage, filepath.FromSlash(x.Name)), To: dest, Keep: settings})
	}
	p.Moves = append(p.Moves, moved{To: filepath.Join(to.DataDir, offerFile)})
	// A database's log of its own belongs to the one that was there.
	for _, db := range databases {
		for _, suffix := range []string{"-wal", "-shm"} {
			p.Moves = append(p.Moves, moved{To: filepath.Join(to.DataDir, db+suffix)})
		}
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = writeWhole(filepath.Join(to.DataDir, planFile), text)
	}
	return s, err
}

// place is where a member belongs; "" = nowhere.
func (t *Target) place(name string) (path string, settings bool) {
	rest, isData := strings.CutPrefix(name, "data/")
	switch {
	case isData && strings.HasPrefix(rest, "keys/"):
		return filepath.Join(t.KeysDir, filepath.FromSlash(strings.TrimPrefix(rest, "keys/"))), false
	case isData:
		return filepath.Join(t.DataDir, rest), false
	case name == "settings/media-server.ini":
		return t.Settings, true
	case strings.HasPrefix(name, "settings/conf.d/"):
		return filepath.Join(filepath.Dir(t.Settings), "conf.d", filepath.Base(name)), true
	case strings.HasPrefix(name, "settings/streams.d/"):
		return filepath.Join(t.Streams, filepath.Base(name)), true
	}
	return "", false
}

// Finish carries out a staged restore. It may be cut short at any instant and
// is called again at the next start. It tells whether there was one.
func Finish(dataDir string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var p plan
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.Format != format {
		return false, fault.New(filepath.Join(dataDir, planFile), "the plan of a restore cannot be read", "stage the restore again, or delete the file: nothing has been changed")
	}
	if err := os.MkdirAll(p.Before, 0o700); err != nil {
		return true, err
	}
	for i, m := range p.Moves {
		if err := m.carryOut(p.Before, i); err != nil {
			return true, fmt.Errorf("restore %s: %w", m.To, err)
		}
	}
	if err := writeEpoch(dataDir, p.Epoch); err != nil {
		return true, fmt.Errorf("restore the epoch: %w", err)
	}
	err = errors.Join(os.RemoveAll(filepath.Join(dataDir, stageDir)), os.Remove(filepath.Join(dataDir, planFile)), syncDir(dataDir))
	return true, err
}

// carryOut puts one file in place; what was there goes aside first. Where the
// staged file is gone the move was made before.
func (m *moved) carryOut(before string, n int) error {
	if m.From != "" {
		if _, err := os.Lstat(m.From); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if _, err := os.Lstat(m.To); err == nil {
		if m.Keep {
			return os.Remove(m.From)
		}
		if err := setAside(m.To, filepath.Join(before, fmt.Sprintf("%03d-%s", n, filepath.Base(m.To)))); err != nil {
			return err
		}
	}
	if m.From == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(m.To), 0o700); err != nil {
		return err
	}
	if err := rename(m.From, m.To); err != nil {
		return copyInstead(m.From, m.To, err)
	}
	return syncDir(filepath.Dir(m.To))
}

// rename is os.Rename; tests make it refuse what another file system would.
var rename = os.Rename

// setAside keeps what was there. Where it is kept already, the move was cut
// short between the copy of the staged file and its removal: what lies in the
// place now is that copy, and must not take the place of the original.
func setAside(path, aside string) error {
	if _, err := os.Lstat(aside); err == nil {
		return os.Remove(path)
	}
	if err := rename(path, aside); err != nil {
		return copyInstead(path, aside, err)
	}
	return nil
}

// copyInstead is for a place on another file system.
func copyInstead(from, to string, renamed error) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return errors.Join(renamed, err)
	}
	if err := writeWhole(to, b); err != nil {
		return err
	}
	return os.Remove(from)
}

func writeWhole(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// extract reads a backup into dir and checks every byte of it.
func extract(file, passphrase, dir string) (*Manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bad := func(err error) error {
		hint := "take an older backup"
		if errors.Is(err, ErrPassphrase) || errors.Is(err, ErrWrapped) {
			hint = "give the passphrase it was made with ([backup] passphrase, or --passphrase-stdin)"
		}
		return fault.Wrap(err, file, "the backup cannot be restored", hint)
	}
	r, err := unwrapped(f, passphrase)
	if err != nil {
		return nil, bad(err)
	}
	m, err := unpack(r, dir)
	if err != nil {
		return nil, bad(err)
	}
	return m, nil
}

// unpack reads a tar into dir; dir "" = only check it.
func unpack(r io.Reader, dir string) (*Manifest, error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if errors.Is(err, ErrPassphrase) {
		return nil, err
	}
	if err != nil || h.Name != manifestName || h.Size > 64<<20 {
		return nil, errors.Join(errors.New("it is not a backup of a media server"), err)
	}
	var m Manifest
	if err := json.NewDecoder(io.LimitReader(t, h.Size)).Decode(&m); err != nil || m.Format != format {
		return nil, errors.Join(errors.New("its manifest cannot be read"), err)
	}
	switch {
	case m.Version > version:
		return nil, fmt.Errorf("it was made by a newer version (%s): install that", m.Program)
	case len(m.Members) > mostFiles:
		return nil, fmt.Errorf("it has %d members", len(m.Members))
	}
	for _, x := range m.Members {
		if !allowed(x.Name) || x.Size < 0 || x.Size > mostMember {
			return nil, fmt.Errorf("member %q cannot be in a backup", x.Name)
		}
		h, err := t.Next()
		if err != nil || h.Name != x.Name || h.Size != x.Size || h.Typeflag != tar.TypeReg {
			return nil, errors.Join(fmt.Errorf("member %s is missing or changed", x.Name), err)
		}
		sum, err := unpackOne(t, dir, x.Name)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", x.Name, err)
		}
		if sum != x.SHA256 {
			return nil, fmt.Errorf("member %s is damaged", x.Name)
		}
	}
	if _, err := t.Next(); err != io.EOF {
		return nil, errors.Join(errors.New("there is more in it than its manifest names"), err)
	}
	return &m, nil
}

func unpackOne(r io.Reader, dir, name string) (sum string, err error) {
	h := sha256.New()
	if dir == "" {
		_, err = io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.MultiWriter(f, h), r)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

// allowed holds names to the few places that a backup may fill.
func allowed(name string) bool {
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\\\x00") || strings.Contains(name, "..") || strings.Contains(name, "//") {
		return false
	}
	for _, p := range []string{"data/keys/public/", "data/keys/", "settings/conf.d/", "settings/streams.d/"} {
		if rest, ok := strings.CutPrefix(name, p); ok && rest != "" && !strings.Contains(rest, "/") {
			return true
		}
	}
	switch name {
	case "data/state.db", "data/accounts.db", "data/journal.db", "data/node-id", "data/streams.json", "settings/media-server.ini":
		return true
	}
	return false
}
