package keys

import (
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"media-server/core/fault"
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
	if added, ended, err = v.adopt(f, v.o.Passphrase, true); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return added, ended, err
}

// Import takes over the keys of an export, which passphrase opens, and which of
// them were destroyed where it was made; what was destroyed here stays so, and
// no key that is held here ends. Where there are no keys yet, a master key is
// made.
func (v *Vault) Import(export []byte, passphrase string) (added int, err error) {
	f, err := parseVault(export)
	if err != nil {
		return 0, fault.Wrap(err, "", "the export cannot be read", "it is the file that media-server keys export wrote")
	}
	if _, err := f.master.unwrap(passphrase); err != nil { // before anything is made
		return 0, fault.New("", "the passphrase does not open the export", "it is the one that was given to media-server keys export")
	}
	if v.None() {
		v.disk.Lock()
		v.o.Make = true
		v.load()
		v.disk.Unlock()
	}
	added, _, err = v.adopt(f, passphrase, false)
	return added, err
}

// Split cuts an export into exports of at most most bytes each, as far as keys
// can be parted; public keys come with the first. Who takes only so much at once
// gets one after the other. No passphrase is needed.
func Split(export []byte, most int) ([][]byte, error) {
	if len(export) <= most || !HasVault(export) {
		return [][]byte{export}, nil
	}
	f, err := parseVault(export)
	if err != nil {
		return nil, err
	}
	var public []byte
	for block, rest := pem.Decode(export); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != vaultType {
			public = append(public, pem.EncodeToMemory(block)...)
		}
	}
	var out [][]byte
	body := f.master.append([]byte(vaultMagic))
	empty := len(body)
	end := func() {
		out = append(out, append(public, pem.EncodeToMemory(&pem.Block{Type: vaultType, Bytes: body})...))
		body, public = body[:empty], nil
	}
	for i := range f.gone {
		body = f.gone[i].append(body)
	}
	for i := range f.keys {
		if len(body) > empty && len(public)+(len(body)+mostRecord)*3/2 > most { // base64 and its lines
			end()
		}
		body = f.keys[i].append(body)
	}
	end()
	return out, nil
}

// adopt takes over what f has and the vault lacks; end also ends keys that are
// held here and were destroyed there.
func (v *Vault) adopt(f *vaultFile, passphrase string, end bool) (added, ended int, err error) {
	v.disk.Lock()
	defer v.disk.Unlock()
	keys, gone, err := v.lacking(f, end)
	if err != nil || len(keys)+len(gone) == 0 {
		return 0, 0, err
	}
	var opened []*heldKey
	if len(keys) > 0 { // the passphrase is asked only where something is to be had
		master, err := f.master.unwrap(passphrase)
		if err != nil {
			return 0, 0, err
		}
		g, err := masterGCM(&master)
		if err != nil {
			return 0, 0, err
		}
		for i := range keys {
			k := &heldKey{rec: keys[i]}
			if k.key, err = k.rec.open(g); err != nil {
				return 0, 0, err
			}
			opened = append(opened, k)
		}
	}
	v.mu.Lock()
	for _, k := range opened { // nobody takes one for what is recorded now until it is on disk
		v.keys[k.rec.id] = k
	}
	v.mu.Unlock()
	err = v.rewrite(nil, gone)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range opened {
		at := streamDay{k.rec.uid, k.rec.day}
		switch {
		case err != nil:
			delete(v.keys, k.rec.id)
		case v.keys[v.days[at]] == nil:
			v.days[at] = k.rec.id
		}
	}
	if err != nil {
		return 0, 0, err
	}
	return len(opened), len(gone), nil
}

// lacking lists what a file has and the vault does not; among what was destroyed
// keys that are held here, if end.
func (v *Vault) lacking(f *vaultFile, end bool) (keys []vaultKey, gone []GoneKey, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return nil, nil, errors.Join(errors.New("the keys here are not open"), v.err)
	}
	dead := map[KeyID]bool{}
	for _, d := range f.gone {
		dead[d.ID] = true
		if _, known := v.gone[d.ID]; !known && (end || v.keys[d.ID] == nil) {
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
