package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"media-server/core/access/dbfile"
	"media-server/core/fault"
)

// Role orders what people may do; each includes those before it.
type Role int

// Roles.
const (
	Anybody Role = iota
	Viewer
	Operator
	Administrator
)

var roleNames = [...]string{"anybody", "viewer", "operator", "administrator"}

func (r Role) String() string {
	if r < 0 || int(r) >= len(roleNames) {
		return fmt.Sprintf("role %d", int(r))
	}
	return roleNames[r]
}

// ParseRole reads viewer, operator or administrator.
func ParseRole(s string) (Role, error) {
	for r := Viewer; r <= Administrator; r++ {
		if roleNames[r] == s {
			return r, nil
		}
	}
	return Anybody, fault.New("role", fmt.Sprintf("%q is not a role", s), "viewer, operator or administrator")
}

// Identity is who asks.
type Identity struct {
	Name       string // of the user, or "token NAME"
	Role       Role
	MustChange bool   // only the password may be changed
	Session    string // id of the session; empty for tokens
	Token      string // id of the API token; empty for sessions
}

// steps lead from one schema version to the next.
var steps = []string{
	`CREATE TABLE users(
		name TEXT PRIMARY KEY COLLATE NOCASE, role INTEGER NOT NULL, hash TEXT NOT NULL,
		must_change INTEGER NOT NULL, created_ms INTEGER NOT NULL);
	CREATE TABLE sessions(
		id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, user TEXT NOT NULL COLLATE NOCASE,
		address TEXT NOT NULL, created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL);
	CREATE TABLE tokens(
		id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL, role INTEGER NOT NULL,
		made_by TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL);
	CREATE TABLE audit(
		id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, who TEXT NOT NULL,
		address TEXT NOT NULL, what TEXT NOT NULL);`,
	// Play tokens made here, and what was revoked of others (then only id and times).
	`CREATE TABLE play_tokens(
		id TEXT PRIMARY KEY, uid TEXT NOT NULL, user TEXT NOT NULL, address TEXT NOT NULL,
		from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, made_by TEXT NOT NULL,
		created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL) WITHOUT ROWID;
	CREATE INDEX play_tokens_expires ON play_tokens(expires_ms);`,
	// Digest accounts: both HA1, encrypted under the key that is named.
	`CREATE TABLE players(
		name TEXT PRIMARY KEY COLLATE NOCASE, key BLOB NOT NULL, sealed BLOB NOT NULL, created_ms INTEGER NOT NULL);`,
}

// Options say where the accounts lie.
type Options struct {
	DataDir string
	KeysDir string // of the secret of play tokens; "" = keys in DataDir
	Config  Config
	Log     *slog.Logger // nil = silent
	Now     func() time.Time
}

// Access is open. All methods may be called from several goroutines.
type Access struct {
	o       Options
	db      *dbfile.DB
	hashing chan struct{}
	lock    lockout
	secrets secrets
	digest  *digests
	sealer  Sealer // of Digest accounts; nil: they cannot be read

	mu       sync.Mutex
	users    map[string]*user // by lower-case name
	sessions map[[32]byte]*session
	tokens   map[[32]byte]*Token

	// Apart from mu, which every request takes: the file may be slow.
	playMu    sync.Mutex
	playRows  int // in the file, since it was swept
	playCount int // made since the start

	endedMu sync.RWMutex
	ended   map[string]int64   // revoked play tokens, and when they would have expired; 0 = not known
	players map[string]*player // by lower-case name
}

// Open opens or makes data-dir/accounts.db.
func Open(ctx context.Context, o Options) (*Access, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Config.SessionTTL <= 0 {
		o.Config.SessionTTL = DefaultConfig().SessionTTL
	}
	db, err := dbfile.Open(ctx, filepath.Join(o.DataDir, "accounts.db"), steps)
	if err != nil {
		return nil, err
	}
	a := &Access{o: o, db: db, hashing: make(chan struct{}, hashesAtOnce), lock: lockout{window: o.Config.Lockout},
		users: map[string]*user{}, sessions: map[[32]byte]*session{}, tokens: map[[32]byte]*Token{}, ended: map[string]int64{},
		digest: newDigests(o.Config.Lockout), players: map[string]*player{}}
	a.secrets = secrets{path: filepath.Join(cmp.Or(o.KeysDir, filepath.Join(o.DataDir, "keys")), secretFile), now: o.Now}
	a.secrets.set(o.Config.TokenSecrets)
	if err := a.load(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("read %s: %w", db.Path, err)
	}
	return a, nil
}

// Close closes the file.
func (a *Access) Close() error { return a.db.Close() }

func (a *Access) load(ctx context.Context) error {
	now := a.o.Now().UnixMilli()
	if _, err := a.db.Write.ExecContext(ctx, "DELETE FROM sessions WHERE seen_ms < ?", now-a.o.Config.SessionTTL.Milliseconds()); err != nil {
		return err
	}
	if _, err := a.db.Write.ExecContext(ctx, "DELETE FROM tokens WHERE expires_ms > 0 AND expires_ms <= ?", now); err != nil {
		return err
	}
	rows, err := a.db.Read.QueryContext(ctx, "SELECT name,role,hash,must_change,created_ms FROM users")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		u := &user{}
		if err := rows.Scan(&u.name, &u.role, &u.hash, &u.mustChange, &u.created); err != nil {
			return err
		}
		a.users[fold(u.name)] = u
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := a.loadSessions(ctx); err != nil {
		return err
	}
	if err := a.loadTokens(ctx); err != nil {
		return err
	}
	if err := a.loadPlayers(ctx); err != nil {
		return err
	}
	return a.loadPlayTokens(ctx)
}

// SetTokenSecrets takes over [auth] token-secret.
func (a *Access) SetTokenSecrets(texts []string) { a.secrets.set(texts) }

// newSecret makes a token, its id, and what is kept of it.
func newSecret(prefix string) (secret, id string, hash [32]byte) {
	var b [32]byte
	rand.Read(b[:])
	secret = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	var i [8]byte
	rand.Read(i[:])
	return secret, hex.EncodeToString(i[:]), sha256.Sum256([]byte(secret))
}

const (
	sessionPrefix = "mss_"
	tokenPrefix   = "mst_"
)

// Identify finds out whose session or API token a secret is. ok is false for
// one that is unknown, expired or revoked.
func (a *Access) Identify(secret string) (who Identity, ok bool) {
	switch {
	case strings.HasPrefix(secret, sessionPrefix):
		return a.session(sha256.Sum256([]byte(secret)))
	case strings.HasPrefix(secret, tokenPrefix):
		return a.token(sha256.Sum256([]byte(secret)))
	}
	return Identity{}, false
}

func fold(name string) string { return strings.ToLower(name) }
