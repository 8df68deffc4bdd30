package access

import (
	"context"
	"fmt"
	"regexp"
	"sort"
	"time"

	"media-server/core/fault"
)

// Token is an API token as it is shown; its secret is shown once, when made.
type Token struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Role      string `json:"role"`
	By        string `json:"by"`
	CreatedMS int64  `json:"created_ms"`
	ExpiresMS int64  `json:"expires_ms"` // 0 = never

	role Role
}

// CreateToken makes an API token. ttl 0 = it never expires.
func (a *Access) CreateToken(ctx context.Context, name string, role Role, ttl time.Duration, by string) (secret string, t Token, err error) {
	switch {
	case role < Viewer || role > Administrator:
		return "", t, fault.New("token", "a token needs a role", "viewer, operator or administrator")
	case ttl < 0:
		return "", t, fault.New("token", "the lifetime is negative", "like 24h; 0 = for ever")
	case len(name) > 100:
		return "", t, fault.New("token", "the name is longer than 100 bytes", "")
	}
	secret, id, hash := newSecret(tokenPrefix)
	now := a.o.Now()
	t = Token{ID: id, Name: name, Role: role.String(), By: by, CreatedMS: now.UnixMilli(), role: role}
	if ttl > 0 {
		t.ExpiresMS = now.Add(ttl).UnixMilli()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.db.Write.ExecContext(ctx, "INSERT INTO tokens VALUES(?,?,?,?,?,?,?)", id, hash[:], name, int(role), by, t.CreatedMS, t.ExpiresMS); err != nil {
		return "", Token{}, fmt.Errorf("store the token: %w", err)
	}
	kept := t
	a.tokens[hash] = &kept
	return secret, t, nil
}

func (t *Token) expired(now int64) bool { return t.ExpiresMS > 0 && now >= t.ExpiresMS }

func (a *Access) token(hash [32]byte) (Identity, bool) {
	now := a.o.Now().UnixMilli()
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tokens[hash]
	if t == nil || t.expired(now) {
		return Identity{}, false
	}
	name := "token " + t.ID
	if t.Name != "" {
		name = "token " + t.Name
	}
	return Identity{Name: name, Role: t.role, Token: t.ID}, true
}

// Tokens lists API tokens that are still good, oldest first.
func (a *Access) Tokens() []Token {
	now := a.o.Now().UnixMilli()
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Token, 0, len(a.tokens))
	for _, t := range a.tokens {
		if !t.expired(now) {
			all = append(all, *t)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].CreatedMS != all[j].CreatedMS {
			return all[i].CreatedMS < all[j].CreatedMS
		}
		return all[i].ID < all[j].ID
	})
	return all
}

// RevokeToken makes an API token, or a play token made here, worthless from the next
// request on.
func (a *Access) RevokeToken(ctx context.Context, id string) error {
	if done, err := a.revokeAPIToken(ctx, id); done {
		return err
	}
	return a.revokePlayToken(ctx, id, true)
}

// RevokeForeign makes a play token worthless that was made elsewhere with our secret,
// by its jti.
func (a *Access) RevokeForeign(ctx context.Context, id string) error {
	if !foreignID.MatchString(id) {
		return fault.New("token", "not the id of a token", "the jti of its claims: up to 100 letters, digits and _.:-")
	}
	return a.revokePlayToken(ctx, id, false)
}

var foreignID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,100}$`)

func (a *Access) revokeAPIToken(ctx context.Context, id string) (done bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for h, t := range a.tokens {
		if t.ID != id {
			continue
		}
		// In memory first: where the file cannot be written, it is at least
		// refused until the next start, and the error says so.
		delete(a.tokens, h)
		if _, err := a.db.Write.ExecContext(ctx, "DELETE FROM tokens WHERE id=?", id); err != nil {
			return true, fmt.Errorf("revoke token %s (refused until the next start only): %w", id, err)
		}
		return true, nil
	}
	return false, nil
}

func errNoToken(id string) error {
	return fault.New("token", fmt.Sprintf("there is no token %q", id), "media-server token list")
}

func (a *Access) loadTokens(ctx context.Context) error {
	rows, err := a.db.Read.QueryContext(ctx, "SELECT id,hash,name,role,made_by,created_ms,expires_ms FROM tokens")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		t, hash := &Token{}, []byte{}
		if err := rows.Scan(&t.ID, &hash, &t.Name, &t.role, &t.By, &t.CreatedMS, &t.ExpiresMS); err != nil {
			return err
		}
		t.Role = t.role.String()
		if len(hash) == 32 {
			a.tokens[[32]byte(hash)] = t
		}
	}
	return rows.Err()
}
