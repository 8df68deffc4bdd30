package keys

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
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
			if err := Write(path+cutSuffix, b, 0o600); err != nil { // it may be more than a write that was cut short
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
	return Write(v.o.Note, []byte(id), 0o600)
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
