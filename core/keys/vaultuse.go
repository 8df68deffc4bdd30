package keys

import (
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"media-server/core/fault"
)

// ForDay gives the key in force of a stream's UTC day (counted from
// 1970-01-01), and makes one where there is none. durable is closed when the
// key survives a power cut; nil = it does already. It never waits for a disk.
func (v *Vault) ForDay(uid string, day uint32) (id KeyID, key [keySize]byte, durable <-chan struct{}, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		if errors.Is(v.err, errNone) { // a pool encrypts that did not at the start
			v.wanted = true
			v.poke()
		}
		return id, key, nil, v.err
	}
	k := v.keys[v.days[streamDay{uid, day}]]
	if k == nil {
		if k, err = v.mint(uid, day); err != nil {
			return id, key, nil, err
		}
	}
	return k.rec.id, k.key, k.durable, nil
}

// mint makes a key; v.mu is held.
func (v *Vault) mint(uid string, day uint32) (*heldKey, error) {
	if len(uid) > mostUID {
		return nil, fmt.Errorf("stream name of %d bytes", len(uid))
	}
	k := &heldKey{durable: make(chan struct{})}
	k.rec = vaultKey{uid: uid, day: day, made: time.Now().UnixMilli()}
	if _, err := rand.Read(k.rec.id[:]); err != nil {
		return nil, err
	}
	if _, err := rand.Read(k.key[:]); err != nil {
		return nil, err
	}
	v.keys[k.rec.id], v.days[streamDay{uid, day}] = k, k.rec.id
	v.fresh = append(v.fresh, k)
	v.poke()
	return k, nil
}

func (v *Vault) poke() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// GoneError says that a key was destroyed.
type GoneError struct{ Key GoneKey }

func (e *GoneError) Error() string {
	return fmt.Sprintf("its key was destroyed by %s at %s", e.Key.Who, e.Key.At.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// Destroyed tells that the key is gone for ever.
func (e *GoneError) Destroyed() bool { return true }

// Key finds a key by its id.
func (v *Vault) Key(id KeyID) (key [keySize]byte, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return key, v.err
	}
	if k := v.keys[id]; k != nil {
		return k.key, nil
	}
	if d, ok := v.gone[id]; ok {
		return key, &GoneError{d}
	}
	return key, fmt.Errorf("key %s is not among the keys of this server", id)
}

// Rotate makes a new master key and puts all keys under it. Interrupted at any
// instant, the old one or the new one opens all of them.
func (v *Vault) Rotate() (KeyID, error) {
	v.disk.Lock()
	defer v.disk.Unlock()
	if err := v.Err(); err != nil {
		return KeyID{}, err
	}
	if err := v.remaster(); err != nil {
		return KeyID{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.id, nil
}

// Destroy destroys the keys of a stream's day and says how many there were.
func (v *Vault) Destroy(uid string, day uint32, who string) (int, error) {
	v.disk.Lock()
	defer v.disk.Unlock()
	v.mu.Lock()
	err := v.err
	var gone []GoneKey
	for _, k := range v.keys {
		if k.rec.uid == uid && k.rec.day == day {
			gone = append(gone, GoneKey{ID: k.rec.id, UID: uid, Day: day, At: time.Now().Truncate(time.Millisecond), Who: who})
		}
	}
	v.mu.Unlock()
	if err != nil || len(gone) == 0 {
		return 0, err
	}
	return len(gone), v.rewrite(nil, gone)
}

// Info says what a vault holds.
type Info struct {
	Master    KeyID
	Made      time.Time
	Keys      int
	Streams   int
	First     uint32 // day
	Last      uint32
	Destroyed []GoneKey
}

// Info says what the vault holds; ok is false when it is not open.
func (v *Vault) Info() (in Info, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return in, false
	}
	in = Info{Master: v.id, Made: time.UnixMilli(v.made)}
	streams := map[string]bool{}
	for _, k := range v.keys {
		if k.rec.uid == secretsUID {
			continue
		}
		in.Keys++
		streams[k.rec.uid] = true
		if in.First == 0 || k.rec.day < in.First {
			in.First = k.rec.day
		}
		in.Last = max(in.Last, k.rec.day)
	}
	in.Streams = len(streams)
	for _, d := range v.gone {
		in.Destroyed = append(in.Destroyed, d)
	}
	slices.SortFunc(in.Destroyed, func(a, b GoneKey) int { return a.At.Compare(b.At) })
	return in, true
}

// Export is the vault in a form to be kept elsewhere, wrapped by a passphrase
// of its own; its headers say what it opens. Put in the place of the vault, with
// that passphrase in [keys], it is one.
func (v *Vault) Export(passphrase string) ([]byte, error) {
	if passphrase == "" {
		return nil, fault.New("", "an export needs a passphrase", "it lies where others may read it")
	}
	in, ok := v.Info()
	if !ok {
		return nil, v.Err()
	}
	v.mu.Lock()
	m := &newMaster{key: v.master, id: v.id, made: v.made, g: v.wrapper}
	var all []*heldKey
	for _, k := range v.keys {
		all = append(all, k)
	}
	v.mu.Unlock()
	slices.SortFunc(all, func(a, b *heldKey) int {
		return strings.Compare(a.rec.uid+string(a.rec.id[:]), b.rec.uid+string(b.rec.id[:]))
	})
	b, _, err := encodeVault(m, all, in.Destroyed, passphrase)
	if err != nil {
		return nil, err
	}
	opens := "nothing yet"
	if in.Keys > 0 {
		opens = dayName(in.First) + " to " + dayName(in.Last)
	}
	return pem.EncodeToMemory(&pem.Block{Type: vaultType, Bytes: b, Headers: map[string]string{
		"Master": in.Master.String(), "Exported": time.Now().UTC().Format(time.RFC3339), "Keys": strconv.Itoa(in.Keys), "Opens": opens}}), nil
}

func dayName(day uint32) string { return time.Unix(int64(day)*86400, 0).UTC().Format("2006-01-02") }

// None tells whether the vault is not open because there never were keys.
func (v *Vault) None() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return errors.Is(v.err, errNone)
}

// Refuse keeps the vault closed from now on, whatever becomes of its file.
func (v *Vault) Refuse(why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err, v.refused = why, true
}

// Gone lists the keys of a stream that were destroyed.
func (v *Vault) Gone(uid string) (out []KeyID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, d := range v.gone {
		if d.UID == uid {
			out = append(out, id)
		}
	}
	return out
}
