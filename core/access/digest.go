package access

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sort"

	"media-server/core/fault"
)

// Digest accounts (role player) open media to players that know HTTP Digest and no
// tokens. They are apart from users: what Digest needs of a password, HA1, is as good
// as the password itself for this server, so it is encrypted, and opens neither
// cpanel nor API.

// Realm of all Digest accounts. It is part of what is stored, so it never changes.
const Realm = "media-server"

// Sealer encrypts what accounts.db must not say in the clear; key names the key.
// Safe for concurrent use.
type Sealer interface {
	Seal(ctx context.Context, plain, about []byte) (key [16]byte, sealed []byte, err error)
	Open(key [16]byte, sealed, about []byte) ([]byte, error)
}

// Player is a Digest account as it is shown.
type Player struct {
	Name      string `json:"name"`
	CreatedMS int64  `json:"created_ms"`
}

type player struct {
	name    string
	key     [16]byte
	sealed  []byte
	created int64
}

// ha1 is H(name:realm:password) under both hashes (RFC 7616, 3.4.2).
type ha1 struct {
	sha [sha256.Size]byte
	md  [md5.Size]byte
}

func ha1Of(name, password string) ha1 {
	text := []byte(name + ":" + Realm + ":" + password)
	return ha1{sha256.Sum256(text), md5.Sum(text)}
}

// about binds what is sealed to its account.
func (p *player) about() []byte { return []byte("digest 1 " + p.name) }

// ErrKeys says that Digest accounts can be neither made nor read: the keys are locked,
// or are not those that they were made with.
var ErrKeys = errors.New("the keys of Digest accounts are not at hand")

// UseSealer gives the accounts their encryption. Call it before they are used.
func (a *Access) UseSealer(s Sealer) { a.sealer = s }

// loadPlayers reads the accounts; they stay sealed until one is asked for.
func (a *Access) loadPlayers(ctx context.Context) error {
	rows, err := a.db.Read.QueryContext(ctx, "SELECT name,key,sealed,created_ms FROM players")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		p, key := &player{}, []byte{}
		if err := rows.Scan(&p.name, &key, &p.sealed, &p.created); err != nil {
			return err
		}
		if copy(p.key[:], key) == len(p.key) {
			a.players[fold(p.name)] = p
		}
	}
	return rows.Err()
}

// SetPlayer makes a Digest account, or gives it another password.
func (a *Access) SetPlayer(ctx context.Context, name, password string) error {
	if !userName.MatchString(name) {
		return fault.New("user", fmt.Sprintf("%q cannot be a user's name", name), "letters, digits, . _ @ -, at most 64")
	}
	if err := checkPassword(name, password); err != nil {
		return err
	}
	if a.sealer == nil {
		return fault.Wrap(ErrKeys, "user", "Digest accounts need the keys of a running server", "start it")
	}
	h := ha1Of(name, password)
	p := &player{name: name, created: a.o.Now().UnixMilli()}
	var err error
	if p.key, p.sealed, err = a.sealer.Seal(ctx, append(h.sha[:], h.md[:]...), p.about()); err != nil {
		return fmt.Errorf("encrypt the account %q: %w: %w", name, ErrKeys, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.players[fold(name)]; old != nil && old.name != name {
		return fault.New("user", fmt.Sprintf("there is a Digest account %q, which differs in upper and lower case only", old.name), "remove it, or take another name")
	}
	if _, err := a.db.Write.ExecContext(ctx, "INSERT OR REPLACE INTO players VALUES(?,?,?,?)", p.name, p.key[:], p.sealed, p.created); err != nil {
		return fmt.Errorf("store the account %q: %w", name, err)
	}
	a.players[fold(name)] = p
	return nil
}

// RemovePlayer removes a Digest account; what plays by it ends.
func (a *Access) RemovePlayer(ctx context.Context, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.players[fold(name)] == nil {
		return fault.New("user", fmt.Sprintf("there is no Digest account %q", name), "make one with: media-server passwd --digest USER")
	}
	if _, err := a.db.Write.ExecContext(ctx, "DELETE FROM players WHERE name=?", name); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("remove the account %q: %w", name, err)
	}
	delete(a.players, fold(name))
	return nil
}

// Players lists the Digest accounts by name.
func (a *Access) Players() []Player {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Player, 0, len(a.players))
	for _, p := range a.players {
		all = append(all, Player{p.name, p.created})
	}
	sort.Slice(all, func(i, j int) bool { return fold(all[i].Name) < fold(all[j].Name) })
	return all
}

// PlayerSince tells when the Digest account got the password it has; 0 = there is no
// such account.
func (a *Access) PlayerSince(name string) (ms int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.players[fold(name)]; p != nil && p.name == name {
		return p.created
	}
	return 0
}

// openPlayer gives an account's HA1, and since when it has it; 0 = there is no such
// account.
func (a *Access) openPlayer(name string) (h ha1, since int64, err error) {
	a.mu.Lock()
	p, sealer := a.players[fold(name)], a.sealer
	a.mu.Unlock()
	if p == nil || p.name != name {
		return h, 0, nil
	}
	if sealer == nil {
		return h, 0, ErrKeys
	}
	plain, err := sealer.Open(p.key, p.sealed, p.about())
	if err == nil && len(plain) != len(h.sha)+len(h.md) {
		err = errors.New("it is cut short")
	}
	if err != nil {
		return h, 0, fault.Wrap(fmt.Errorf("%w: %w", ErrKeys, err), "accounts.db", fmt.Sprintf("the Digest account %q cannot be decrypted", name), "set its password anew: media-server passwd --digest "+name)
	}
	copy(h.sha[:], plain)
	copy(h.md[:], plain[len(h.sha):])
	return h, p.created, nil
}
