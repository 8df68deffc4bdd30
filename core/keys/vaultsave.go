package keys

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

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
		return Write(path, b, 0o600)
	}
	old, openErr := os.OpenFile(path, os.O_WRONLY, 0)
	if openErr == nil {
		defer old.Close()
	}
	if err := Write(path, b, 0o600); err != nil {
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
