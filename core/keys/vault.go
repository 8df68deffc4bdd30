package keys

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"media-server/core/fault"
)

const (
	vaultName = "encryption.keys"
	cutSuffix = ".cut" // what a file was before its torn tail was cut
)

// VaultOptions says where a vault lies.
type VaultOptions struct {
	Dir        string // folder of the keys
	Passphrase string // wraps the master key; empty = it lies there as it is
	Note       string // file that remembers, apart from the keys, that there are some; empty = none
	Make       bool   // a master key is made where there is none
	Log        *slog.Logger
}

// Vault keeps the keys of encrypted footage, one a stream and UTC day, wrapped
// by the master key. One that cannot be opened is there all the same, answers
// with why, and is tried again by Run. Safe for concurrent use.
type Vault struct {
	o    VaultOptions
	disk sync.Mutex // held while the file is written; before mu

	mu       sync.Mutex
	refused  bool  // for good
	wanted   bool  // there are none, and somebody asked for one
	err      error // why it is not open
	master   [keySize]byte
	id       KeyID
	made     int64
	wrapper  cipher.AEAD // of master
	keys     map[KeyID]*heldKey
	days     map[streamDay]KeyID // the key in force
	gone     map[KeyID]GoneKey
	fresh    []*heldKey // not yet durable
	wake     chan struct{}
	distrust bool // the file is written anew, not added to
	size     int64
}

type streamDay struct {
	uid string
	day uint32
}

type heldKey struct {
	rec     vaultKey
	key     [keySize]byte
	durable chan struct{} // closed when it is; nil: it was read from the file
}

// OpenVault opens the vault of a folder.
func OpenVault(o VaultOptions) *Vault {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	v := &Vault{o: o, wake: make(chan struct{}, 1)}
	v.disk.Lock()
	defer v.disk.Unlock()
	v.load()
	return v
}

// Err tells why the vault is not open; nil: it is.
func (v *Vault) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

var errNone = errors.New("there are no keys")

// load reads the file, or makes it; v.disk is held.
func (v *Vault) load() {
	err := v.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = v.missing()
	}
	if err != nil && !errors.Is(err, errNone) {
		err = fault.Wrap(err, filepath.Join(v.o.Dir, vaultName), "the keys of encrypted footage cannot be used",
			"check [keys] path and passphrase, or restore the file from a backup or an export; it is looked at again every few seconds")
	}
	v.mu.Lock()
	if !v.refused {
		v.err = err
	}
	v.mu.Unlock()
}

// missing makes the first master key, unless there were keys before.
func (v *Vault) missing() error {
	if v.o.Note != "" {
		if b, err := os.ReadFile(v.o.Note); err == nil {
			return fmt.Errorf("the file is missing, and this server had master key %s", strings.TrimSpace(string(b)))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !v.o.Make {
		return errNone
	}
	if err := os.MkdirAll(v.o.Dir, 0o700); err != nil {
		return err
	}
	v.mu.Lock()
	v.keys, v.days, v.gone = map[KeyID]*heldKey{}, map[streamDay]KeyID{}, map[KeyID]GoneKey{}
	v.mu.Unlock()
	return v.remaster()
}

// read takes over what the file says; v.disk is held.
func (v *Vault) read() error {
	path := filepath.Join(v.o.Dir, vaultName)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := parseVault(b)
	if err != nil {
		return err
	}
	master, err := f.master.unwrap(v.o.Passphrase)
	if err != nil {
		return err
	}
	g, err := masterGCM(&master)
	if err != nil {
		return err
	}
	keys, days, gone := map[KeyID]*heldKey{}, map[streamDay]KeyID{}, map[KeyID]GoneKey{}
	for _, d := range f.gone {
		gone[d.ID] = d
	}
	for i := range f.keys {
		k := &heldKey{rec: f.keys[i]}
		if k.key, err = k.rec.open(g); err != nil {
			return err
		}
		if _, dead := gone[k.rec.id]; !dead {
			keys[k.rec.id], days[streamDay{k.rec.uid, k.rec.day}] = k, k.rec.id
		}
	}
	v.mu.Lock()
	v.master, v.id, v.made, v.wrapper = master, f.master.id, f.master.made, g
	v.keys, v.days, v.gone, v.size = keys, days, gone, int64(f.good)
	v.mu.Unlock()
	// A torn tail, an export put in place, a passphrase set since: written anew.
	if int64(f.good) != int64(len(b)) || (f.master.wrap == wrapNone) != (v.o.Passphrase == "") {
		if !v.o.Make {
			return nil // somebody who only looks
		}
		if int64(f.good) < int64(len(b)) && bytes.HasPrefix(b, []byte(vaultMagic)) {
			v.o.Log.Warn("the tail of the keys' file was cut", "bytes", len(b)-f.good)
			if err := write(path+cutSuffix, b, 0o600); err != nil { // it may be more than a write that was cut short
				return err
			}
		}
		return v.rewrite(nil, nil)
	}
	return v.note()
}

// note remembers apart from the keys that there are some.
func (v *Vault) note() error {
	if v.o.Note == "" || !v.o.Make {
		return nil
	}
	v.mu.Lock()
	id := v.id.String() + "\n"
	v.mu.Unlock()
	if b, err := os.ReadFile(v.o.Note); err == nil && string(b) == id {
		return nil
	}
	return write(v.o.Note, []byte(id), 0o600)
}

// newMaster is a master key that is not yet in force.
type newMaster struct {
	key  [keySize]byte
	id   KeyID
	made int64
	g    cipher.AEAD
}

// remaster makes a new master key and puts all keys under it; v.disk is held.
func (v *Vault) remaster() error {
	m := &newMaster{made: time.Now().UnixMilli()}
	if _, err := rand.Read(m.key[:]); err != nil {
		return err
	}
	if _, err := rand.Read(m.id[:]); err != nil {
		return err
	}
	g, err := masterGCM(&m.key)
	if err != nil {
		return err
	}
	m.g = g
	return v.rewrite(m, nil)
}

// rewrite writes the file anew: under a new master key, or without some keys.
// The rename is the instant at which all of it holds; v.disk is held.
func (v *Vault) rewrite(m *newMaster, without []GoneKey) error {
	v.mu.Lock()
	if m == nil {
		m = &newMaster{key: v.master, id: v.id, made: v.made, g: v.wrapper}
	}
	all := make([]*heldKey, 0, len(v.keys))
	for _, k := range v.keys {
		all = append(all, k)
	}
	gone := make([]GoneKey, 0, len(v.gone)+len(without))
	for _, d := range v.gone {
		gone = append(gone, d)
	}
	v.mu.Unlock()
	gone = append(gone, without...)
	dead := map[KeyID]bool{}
	for _, d := range without {
		dead[d.ID] = true
	}
	all = slices.DeleteFunc(all, func(k *heldKey) bool { return dead[k.rec.id] })
	slices.SortFunc(all, func(a, b *heldKey) int {
		if a.rec.made != b.rec.made {
			return int(a.rec.made - b.rec.made)
		}
		return strings.Compare(string(a.rec.id[:]), string(b.rec.id[:]))
	})
	slices.SortFunc(gone, func(a, b GoneKey) int { return a.At.Compare(b.At) })
	b, recs, err := encodeVault(m, all, gone, v.o.Passphrase)
	if err != nil {
		return err
	}
	path := filepath.Join(v.o.Dir, vaultName)
	if len(without) > 0 {
		if err := os.Remove(path + cutSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := replace(path, b, len(without) > 0); err != nil {
		return err
	}
	v.mu.Lock()
	v.master, v.id, v.made, v.wrapper, v.size, v.distrust = m.key, m.id, m.made, m.g, int64(len(b)), false
	for i, k := range all {
		k.rec = recs[i]
		v.isDurable(k)
	}
	v.fresh = slices.DeleteFunc(v.fresh, func(k *heldKey) bool { return slices.Contains(all, k) || dead[k.rec.id] })
	for _, d := range without {
		if k := v.keys[d.ID]; k != nil {
			clear(k.key[:])
			delete(v.keys, d.ID)
		}
		if at := (streamDay{d.UID, d.Day}); v.days[at] == d.ID {
			delete(v.days, at)
		}
		v.gone[d.ID] = d
	}
	v.mu.Unlock()
	return v.note()
}

// isDurable lets those go that wait for a key; v.mu is held.
func (v *Vault) isDurable(k *heldKey) {
	if k.durable != nil {
		close(k.durable)
		k.durable = nil
	}
}

// encodeVault makes the bytes of a file, every key wrapped under m.
func encodeVault(m *newMaster, all []*heldKey, gone []GoneKey, passphrase string) ([]byte, []vaultKey, error) {
	wrapped, err := wrapMaster(m.id, m.made, &m.key, passphrase)
	if err != nil {
		return nil, nil, err
	}
	b := wrapped.append([]byte(vaultMagic))
	recs := make([]vaultKey, len(all))
	for i, k := range all {
		recs[i] = k.rec
		if err := recs[i].seal(m.g, &k.key); err != nil {
			return nil, nil, err
		}
		b = recs[i].append(b)
	}
	for i := range gone {
		b = gone[i].append(b)
	}
	return b, recs, nil
}

// replace puts a file in place. With wipe it overwrites what it replaces: as
// far as a file system writes in place, what was destroyed is gone from the disk
// too. Nobody else may be reading it then.
func replace(path string, b []byte, wipe bool) error {
	if !wipe {
		return write(path, b, 0o600)
	}
	old, openErr := os.OpenFile(path, os.O_WRONLY, 0)
	if openErr == nil {
		defer old.Close()
	}
	if err := write(path, b, 0o600); err != nil {
		return err
	}
	if openErr == nil {
		if fi, err := old.Stat(); err == nil {
			if _, err := old.WriteAt(make([]byte, fi.Size()), 0); err == nil {
				_ = old.Sync() // best effort: the name is gone already
			}
		}
	}
	return nil
}

// Run makes new keys durable, and tries again to open what could not be.
func (v *Vault) Run(ctx context.Context) error {
	const again = 5 * time.Second
	for {
		wait := again
		if err := v.flush(); err != nil {
			v.o.Log.Error("a key of encrypted footage cannot be saved; what it encrypts waits in memory", "err", err)
			wait = time.Second
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return v.flush()
		case <-v.wake:
		case <-t.C:
		}
		t.Stop()
		v.retry()
	}
}

// retry opens what could not be opened, or makes what is wanted by now.
func (v *Vault) retry() {
	v.disk.Lock()
	defer v.disk.Unlock()
	v.mu.Lock()
	closed := v.err != nil && !v.refused && (v.wanted || !errors.Is(v.err, errNone))
	v.o.Make = v.o.Make || v.wanted
	v.mu.Unlock()
	if !closed {
		return
	}
	if v.load(); v.Err() == nil {
		v.o.Log.Info("the keys of encrypted footage are at hand")
	}
}

// flush saves the keys made since.
func (v *Vault) flush() error {
	v.disk.Lock()
	defer v.disk.Unlock()
	v.mu.Lock()
	fresh, anew, at := slices.Clone(v.fresh), v.distrust, v.size
	var b []byte
	for _, k := range fresh { // wrapped only now: the master key may have been another when it was made
		if err := k.rec.seal(v.wrapper, &k.key); err != nil {
			v.mu.Unlock()
			return err
		}
		b = k.rec.append(b)
	}
	v.mu.Unlock()
	switch {
	case len(fresh) == 0:
		return nil
	case anew:
		return v.rewrite(nil, nil)
	}
	if err := appendAt(filepath.Join(v.o.Dir, vaultName), b, at); err != nil {
		v.mu.Lock()
		v.distrust = true // after a failed write or sync nobody knows what is there
		v.mu.Unlock()
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.size = at + int64(len(b))
	for _, k := range fresh {
		v.isDurable(k)
	}
	v.fresh = slices.DeleteFunc(v.fresh, func(k *heldKey) bool { return slices.Contains(fresh, k) })
	return nil
}

// appendAt writes behind the end of a file, which is known, and syncs it.
func appendAt(path string, b []byte, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("save a key: %w", err)
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() != at {
		err = errors.New("somebody else has changed the file of the keys")
	}
	if err == nil {
		_, err = f.WriteAt(b, at)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("save a key: %w", err)
	}
	return nil
}
