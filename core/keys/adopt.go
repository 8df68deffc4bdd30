package keys

import (
	"errors"
	"fmt"
	"os"
)

// Adopt takes over what another file of keys has and this one lacks: keys, and
// which were destroyed. A restore puts an older file in place; the one before
// it has the keys made since, and must not be what brings a destroyed day back.
// It tells how many keys were added and how many ended.
func (v *Vault) Adopt(path string) (added, ended int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	f, err := parseVault(b)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	v.disk.Lock()
	defer v.disk.Unlock()
	keys, gone, err := v.lacking(f)
	if err != nil || len(keys)+len(gone) == 0 {
		return 0, 0, err
	}
	var opened []*heldKey
	if len(keys) > 0 { // the passphrase is asked only where something is to be had
		master, err := f.master.unwrap(v.o.Passphrase)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", path, err)
		}
		g, err := masterGCM(&master)
		if err != nil {
			return 0, 0, err
		}
		for i := range keys {
			k := &heldKey{rec: keys[i]}
			if k.key, err = k.rec.open(g); err != nil {
				return 0, 0, fmt.Errorf("%s: %w", path, err)
			}
			opened = append(opened, k)
		}
	}
	v.mu.Lock()
	for _, k := range opened {
		v.keys[k.rec.id] = k
		if at := (streamDay{k.rec.uid, k.rec.day}); v.keys[v.days[at]] == nil {
			v.days[at] = k.rec.id
		}
	}
	v.mu.Unlock()
	return len(opened), len(gone), v.rewrite(nil, gone)
}

// lacking lists what a file has and the vault does not.
func (v *Vault) lacking(f *vaultFile) (keys []vaultKey, gone []GoneKey, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return nil, nil, errors.Join(errors.New("the keys here are not open"), v.err)
	}
	dead := map[KeyID]bool{}
	for _, d := range f.gone {
		dead[d.ID] = true
		if _, known := v.gone[d.ID]; !known {
			gone = append(gone, d)
		}
	}
	for _, k := range f.keys {
		_, ended := v.gone[k.id]
		if v.keys[k.id] == nil && !ended && !dead[k.id] {
			keys = append(keys, k)
		}
	}
	return keys, gone, nil
}
