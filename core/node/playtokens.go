package node

import (
	"context"
	"errors"

	"media-server/core/access"
	"media-server/core/fault"
	"media-server/core/web/api"
)

// CreatePlayToken implements api.PlayTokens.
func (b backend) CreatePlayToken(t api.NewPlayToken) (string, api.PlayToken, error) {
	return createPlayToken(b.n.web.ctx, b.n.access, t)
}

func createPlayToken(ctx context.Context, a *access.Access, t api.NewPlayToken) (string, api.PlayToken, error) {
	text, made, err := a.CreatePlayToken(ctx, access.PlayToken{UID: t.UID, User: t.User, Address: t.Address,
		FromMS: t.From.Milli(), ToMS: t.To.Milli(), By: t.By}, t.TTL)
	return text, apiPlayToken(&made), err
}

func apiPlayToken(t *access.PlayToken) api.PlayToken {
	p := api.PlayToken{ID: t.ID, Kind: "play", UID: t.UID, User: t.User, From: t.FromMS, To: t.ToMS, By: t.By, Created: t.CreatedMS, Expires: t.ExpiresMS}
	if t.Address.IsValid() {
		p.Address = t.Address.String()
	}
	return p
}

// PlayTokens implements api.PlayTokens.
func (b backend) PlayTokens(after string, limit int) ([]api.PlayToken, error) {
	return playTokens(b.n.web.ctx, b.n.access, after, limit)
}

func playTokens(ctx context.Context, a *access.Access, after string, limit int) (out []api.PlayToken, err error) {
	ts, err := a.PlayTokens(ctx, after, limit)
	for i := range ts {
		out = append(out, apiPlayToken(&ts[i]))
	}
	return out, err
}

// RevokeForeign implements api.PlayTokens.
func (b backend) RevokeForeign(id string) error { return b.n.access.RevokeForeign(b.n.web.ctx, id) }

// RotateTokenSecret implements api.PlayTokens.
func (b backend) RotateTokenSecret(revoke bool) error {
	set := b.n.current.Load()
	b.n.backups.one.Lock() // a backup reads the file
	defer b.n.backups.one.Unlock()
	if err := RotateTokenSecret(set, revoke); err != nil {
		return err
	}
	b.n.emit(event("server.keys", "", "info", "a new secret of play tokens is in force", map[string]any{"revoked": revoke}))
	return nil
}

// RotateTokenSecret makes a new secret of play tokens in the folder of keys; a server
// that runs sees it within a second.
func RotateTokenSecret(set *Settings, revoke bool) error {
	if len(set.Access.TokenSecrets) > 0 {
		return fault.New("[auth] token-secret", "the secrets of play tokens stand in the settings", "put a new one in front of the list there; take old ones out of it once nobody needs them")
	}
	return errors.Join(access.RotateSecret(keysDir(set), revoke), set.GiveBack())
}

// CreatePlayToken implements api.PlayTokens for a server that does not run.
func (o *Offline) CreatePlayToken(t api.NewPlayToken) (string, api.PlayToken, error) {
	return createPlayToken(context.Background(), o.acc, t)
}

// PlayTokens implements api.PlayTokens.
func (o *Offline) PlayTokens(after string, limit int) ([]api.PlayToken, error) {
	return playTokens(context.Background(), o.acc, after, limit)
}

// RevokeForeign implements api.PlayTokens.
func (o *Offline) RevokeForeign(id string) error {
	return o.acc.RevokeForeign(context.Background(), id)
}

// RotateTokenSecret implements api.PlayTokens.
func (o *Offline) RotateTokenSecret(revoke bool) error { return RotateTokenSecret(o.set, revoke) }
