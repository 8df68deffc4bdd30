package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"media-server/core/access"
	"media-server/core/web/api"
)

// CreateToken implements api.Accounts.
func (b backend) CreateToken(name, role string, ttl time.Duration, by string) (string, api.Token, error) {
	return createToken(b.n.web.ctx, b.n.access, name, role, ttl, by)
}

func createToken(ctx context.Context, a *access.Access, name, role string, ttl time.Duration, by string) (string, api.Token, error) {
	r, err := access.ParseRole(role)
	if err != nil {
		return "", api.Token{}, err
	}
	secret, t, err := a.CreateToken(ctx, name, r, ttl, by)
	return secret, apiToken(t), err
}

func apiToken(t access.Token) api.Token {
	return api.Token{ID: t.ID, Name: t.Name, Role: t.Role, By: t.By, Created: t.CreatedMS, Expires: t.ExpiresMS}
}

func apiTokens(a *access.Access) (out []api.Token) {
	for _, t := range a.Tokens() {
		out = append(out, apiToken(t))
	}
	return out
}

// Tokens implements api.Accounts.
func (b backend) Tokens() []api.Token { return apiTokens(b.n.access) }

// RevokeToken implements api.Accounts.
func (b backend) RevokeToken(id string) error { return b.n.access.RevokeToken(b.n.web.ctx, id) }

// SetPassword implements api.Accounts.
func (b backend) SetPassword(user, password string) error {
	return b.n.access.SetPassword(b.n.web.ctx, user, password)
}

// SetPlayer implements api.Accounts.
func (b backend) SetPlayer(user, password string) error {
	ctx, stop := context.WithTimeout(b.n.web.ctx, 10*time.Second) // a key may have to be saved first
	defer stop()
	err := b.n.access.SetPlayer(ctx, user, password)
	if errors.Is(err, access.ErrKeys) {
		return fmt.Errorf("%w: %w", api.ErrSealed, err)
	}
	return err
}

// RemovePlayer implements api.Accounts.
func (b backend) RemovePlayer(user string) error {
	return b.n.access.RemovePlayer(b.n.web.ctx, user)
}

// Offline is the accounts of a server that does not run, for the command line.
// It holds the data folder's lock: a server cannot start meanwhile.
type Offline struct {
	home *home
	acc  *access.Access
	set  *Settings
}

// OpenOffline opens the accounts of the settings' data folder.
func OpenOffline(ctx context.Context, set *Settings) (*Offline, error) {
	h, err := offlineHome(set)
	if err != nil {
		return nil, err
	}
	a, err := access.Open(ctx, access.Options{DataDir: set.Server.DataDir, KeysDir: keysDir(set), Config: set.Access})
	if err != nil {
		h.Close()
		return nil, err
	}
	return &Offline{h, a, set}, nil
}

// Close lets go of accounts and lock.
func (o *Offline) Close() error {
	err := o.acc.Close()
	o.home.Close()
	return err
}

// CreateToken implements api.Accounts.
func (o *Offline) CreateToken(name, role string, ttl time.Duration, by string) (string, api.Token, error) {
	return createToken(context.Background(), o.acc, name, role, ttl, by)
}

// Tokens implements api.Accounts.
func (o *Offline) Tokens() []api.Token { return apiTokens(o.acc) }

// RevokeToken implements api.Accounts.
func (o *Offline) RevokeToken(id string) error { return o.acc.RevokeToken(context.Background(), id) }

// SetPassword implements api.Accounts.
func (o *Offline) SetPassword(user, password string) error {
	return o.acc.SetPassword(context.Background(), user, password)
}

// SetPlayer implements api.Accounts: it needs keys, which only a server makes.
func (o *Offline) SetPlayer(user, password string) error {
	return o.acc.SetPlayer(context.Background(), user, password)
}

// RemovePlayer implements api.Accounts.
func (o *Offline) RemovePlayer(user string) error {
	return o.acc.RemovePlayer(context.Background(), user)
}
