package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/fault"
	"media-server/core/keys"
	"media-server/core/media"
	"media-server/core/web/api"
)

// encryptsAny tells whether any pool of the settings encrypts.
func encryptsAny(set *Settings) bool {
	for _, p := range set.Archive.Pools {
		if p.Encrypt {
			return true
		}
	}
	return false
}

// vaultOptions says where the keys of encrypted footage lie.
func vaultOptions(set *Settings, log *slog.Logger) keys.VaultOptions {
	return keys.VaultOptions{Dir: keysDir(set), Passphrase: set.Signing.Passphrase, Log: log,
		Note: filepath.Join(set.Server.DataDir, "encryption-master"), Make: encryptsAny(set)}
}

// openVault opens the keys of encrypted footage. Where that fails the server
// starts all the same: clear footage plays and is recorded, pools that encrypt
// take nothing, and problems say why.
func openVault(set *Settings, log *slog.Logger) *keys.Vault {
	v := keys.OpenVault(vaultOptions(set, log))
	adoptKept(set, v, log)
	if err := v.Err(); err != nil && !v.None() {
		log.Error("the keys of encrypted footage cannot be used", "err", err)
	}
	return v
}

// OpenVault opens the keys of these settings for the command line: nothing is
// made or changed.
func (s *Settings) OpenVault() *keys.Vault {
	o := vaultOptions(s, slog.New(slog.DiscardHandler))
	o.Make = false
	return keys.OpenVault(o)
}

// vaultKeys is the vault as archive sees it.
type vaultKeys struct{ v *keys.Vault }

// dayKeys gives archive its keys; nil where this process has none.
func dayKeys(n *Node) archive.DayKeys {
	if n.vault == nil {
		return nil
	}
	return VaultKeys(n.vault)
}

// VaultKeys is a vault as archive sees it.
func VaultKeys(v *keys.Vault) archive.DayKeys { return vaultKeys{v} }

func (k vaultKeys) ForDay(uid string, day uint32) (archive.KeyID, [32]byte, <-chan struct{}, error) {
	id, key, durable, err := k.v.ForDay(uid, day)
	return archive.KeyID(id), key, durable, err
}

func (k vaultKeys) Key(id archive.KeyID) ([32]byte, error) { return k.v.Key(keys.KeyID(id)) }

func (k vaultKeys) Gone(uid string) (out []archive.KeyID) {
	for _, id := range k.v.Gone(uid) {
		out = append(out, archive.KeyID(id))
	}
	return out
}

// keyProblems says what ails the keys of encrypted footage.
func (b backend) keyProblems() (out []api.Problem) {
	v, set := b.n.vault, b.n.boot
	err := v.Err()
	if err != nil && (!v.None() || encryptsAny(set)) {
		p := api.Problem{Level: "error", Where: "[keys]", What: "nothing is recorded in pools that encrypt, and encrypted footage does not play: " + err.Error()}
		if f := new(fault.Problem); errors.As(err, &f) {
			p.What, p.Hint = "nothing is recorded in pools that encrypt, and encrypted footage does not play: "+f.What, f.Hint
		}
		out = append(out, p)
	}
	if err == nil && set.Backup.At == "" {
		out = append(out, api.Problem{Level: "warning", Where: "[backup]", What: "no daily backup is made, and footage is encrypted with a new key every day: when keys are lost, it is",
			Hint: "set [backup] at = 03:00, and path to a folder on another disk"})
	}
	if err == nil {
		if p := b.strangers(); p != nil {
			out = append(out, *p)
		}
	}
	return out
}

// Keys implements api.Keys.
func (b backend) Keys() (api.Keys, error) {
	list, err := keys.List(keysDir(b.n.boot))
	if err != nil {
		return api.Keys{}, err
	}
	out := api.Keys{Signing: []api.SigningKey{}}
	for _, k := range list {
		out.Signing = append(out.Signing, api.SigningKey{ID: k.ID.String(), Made: k.Made.UnixMilli(), InForce: k.InForce})
	}
	if b.n.signer != nil && signs(b.n.boot) {
		id := b.n.signer.KeyID()
		out.Signs = hex.EncodeToString(id[:])
	}
	out.Pending = b.exportPending()
	in, open := b.n.vault.Info()
	switch err := b.n.vault.Err(); {
	case open:
		out.Vault, out.Encryption = "open", KeysInfo(&in)
	case b.n.vault.None() && !encryptsAny(b.n.boot):
		out.Vault = "none"
	default:
		out.Vault = "closed"
		if err != nil {
			out.VaultWhy = err.Error()
		}
	}
	return out, nil
}

// exportPending tells whether a signing key is in use that nobody has saved.
func (b backend) exportPending() bool {
	return (b.n.signer != nil || b.n.proofs.signs()) && !keys.Exported(keysDir(b.n.boot))
}

// KeysInfo tells of a vault in the words of the API.
func KeysInfo(in *keys.Info) *api.EncryptionKeys {
	x := &api.EncryptionKeys{Master: in.Master.String(), Made: in.Made.UnixMilli(), Keys: in.Keys, Streams: in.Streams, Destroyed: []api.DestroyedKey{}}
	if in.Keys > 0 {
		x.First, x.Last = archive.DayName(in.First), archive.DayName(in.Last)
	}
	for _, d := range in.Destroyed {
		x.Destroyed = append(x.Destroyed, api.DestroyedKey{ID: d.ID.String(), UID: d.UID, Day: archive.DayName(d.Day), At: d.At.UnixMilli(), Who: d.Who})
	}
	return x
}

// RotateKeys implements api.Keys.
func (b backend) RotateKeys() (string, error) {
	b.n.backups.one.Lock() // a backup reads the file
	defer b.n.backups.one.Unlock()
	id, err := b.n.vault.Rotate()
	if err != nil {
		return "", err
	}
	b.n.emit(event("server.keys", "", "info", "a new master key is in force; all keys of encrypted footage were put under it", map[string]any{"master": id.String()}))
	return id.String(), nil
}

// DestroyKeys implements api.Keys.
func (b backend) DestroyKeys(uid, day string, force bool, who string) (api.DestroyedDay, error) {
	out := api.DestroyedDay{UID: uid, Day: day}
	at, err := time.Parse("2006-01-02", day)
	if err != nil {
		return out, fault.New("day", fmt.Sprintf("%q is not a day", day), "write for example 2026-03-01; days are those of UTC")
	}
	n := uint32(at.Unix() / 86400)
	if at.Unix() < 0 || n >= archive.DayOf(media.WallOf(now())) {
		return out, fault.New("day", "the day is not over (UTC)", "what is recorded in it has the same key; wait until it is, or stop recording the stream")
	}
	foot, err := b.n.archive.DayFootage(uid, n)
	switch {
	case errors.Is(err, archive.ErrUnread): // force is for locks that somebody has seen
		return out, fault.New("day", "it is not known yet what is locked", "wait until the ledgers of all spaces are read; see problems")
	case err != nil:
		return out, err
	case foot.Open:
		return out, fault.New("day", "a file of that day is not yet complete", "try again in a few minutes")
	case len(foot.Locked) > 0 && !force:
		l := foot.Locked[0]
		return out, fault.New("day", fmt.Sprintf("%d locks keep footage of that day, one of them by %s for %q", len(foot.Locked), l.Who, l.Reason), "remove the locks, or destroy with force")
	}
	b.n.backups.one.Lock() // a backup reads the file
	defer b.n.backups.one.Unlock()
	if out.Keys, err = b.n.vault.Destroy(uid, n, who); err != nil {
		return out, err
	}
	if out.Keys == 0 {
		return out, api.ErrNoKeys
	}
	out.Files = foot.Files
	b.n.archive.KeysDestroyed(uid, foot.Spans)
	b.n.emit(event("record.key_destroyed", uid, "warning", fmt.Sprintf("%s destroyed the key of %s for %s: %d files cannot be read any more", who, uid, day, foot.Files),
		map[string]any{"day": day, "who": who, "files": foot.Files, "forced": force && len(foot.Locked) > 0}))
	return out, nil
}

// ImportKeys implements api.Keys.
func (b backend) ImportKeys(export, passphrase, who string) (api.ImportedKeys, error) {
	b.n.backups.one.Lock() // a backup reads the file
	defer b.n.backups.one.Unlock()
	out, err := importKeys(keysDir(b.n.boot), b.n.vault, export, passphrase)
	if err != nil || out == (api.ImportedKeys{}) {
		return out, err
	}
	b.n.strange.mu.Lock()
	b.n.strange.next = time.Time{} // what it opens is no problem any more
	b.n.strange.mu.Unlock()
	b.n.emit(event("server.keys", "", "info", fmt.Sprintf("%s imported %d keys of encrypted footage and %d public keys", who, out.Encryption, out.Public),
		map[string]any{"who": who, "encryption": out.Encryption, "public": out.Public}))
	return out, nil
}

// importKeys takes over what an export has: public keys that footage was signed
// with, keys that it was encrypted with, or both. The passphrase comes first:
// without it nothing is taken over.
func importKeys(dir string, v *keys.Vault, export, passphrase string) (out api.ImportedKeys, err error) {
	b := []byte(export)
	public, err := keys.ParsePublic(b)
	signs := err == nil && len(public) > 0
	vault := keys.HasVault(b)
	if !signs && !vault {
		return out, fault.Wrap(err, "", "there are no keys in it", "it is the file that media-server keys export wrote")
	}
	if vault {
		if out.Encryption, err = v.Import(b, passphrase); err != nil {
			return out, err
		}
	}
	if signs { // else it was made where nothing is signed
		out.Public, err = keys.ImportPublic(dir, b)
		return out, err
	}
	return out, nil
}

// ImportKeysOffline does so while no server runs.
func ImportKeysOffline(set *Settings, export, passphrase string) (api.ImportedKeys, error) {
	h, err := offlineHome(set)
	if err != nil {
		return api.ImportedKeys{}, err
	}
	defer h.Close()
	return importKeys(set.KeysDir(), keys.OpenVault(vaultOptions(set, slog.New(slog.DiscardHandler))), export, passphrase)
}

// RotateKeysOffline makes a new master key of encrypted footage while no server
// runs, and returns its id.
func RotateKeysOffline(set *Settings) (string, error) {
	h, err := offlineHome(set)
	if err != nil {
		return "", err
	}
	defer h.Close()
	id, err := keys.OpenVault(vaultOptions(set, slog.New(slog.DiscardHandler))).Rotate()
	return id.String(), err
}

// adoptKept takes over keys that a restore has put aside: those made since the
// backup, and which were destroyed since.
func adoptKept(set *Settings, v *keys.Vault, log *slog.Logger) {
	if v.Err() != nil {
		return
	}
	files, _ := filepath.Glob(filepath.Join(set.Server.DataDir, "before-restore-*", "*-encryption.keys")) // the pattern is a good one
	for _, f := range files {
		added, ended, err := v.Adopt(f)
		switch {
		case err != nil:
			log.Warn("keys that a restore has put aside cannot be read", "file", f, "err", err)
		case added+ended > 0:
			log.Info("keys that a restore has put aside were taken over", "file", f, "added", added, "destroyed", ended)
		}
	}
}

// strangersEvery is how often it is counted at most which footage has keys that
// are not here; strangersShare bounds what share of the time that takes.
const (
	strangersEvery = 5 * time.Second
	strangersShare = 100
)

// strangers says what is encrypted with keys that this server does not have: its
// folder of keys was lost, or the footage is another server's.
func (b backend) strangers() *api.Problem {
	s := &b.n.strange
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.After(s.next) {
		if n, file, err := b.n.archive.StrangeKeys(); err == nil {
			s.next, s.keys, s.file = now.Add(max(strangersEvery, strangersShare*time.Since(now))), n, file
		}
	}
	if s.keys == 0 {
		return nil
	}
	return &api.Problem{Level: "error", Where: "[keys]", What: fmt.Sprintf("footage is encrypted with %d keys that this server does not have, for instance %s", s.keys, s.file),
		Hint: "restore them: media-server restore FILE, or media-server keys import FILE, of what media-server keys export wrote"}
}

// strange is what strangers counted last.
type strange struct {
	mu   sync.Mutex
	next time.Time
	keys int
	file string
}
