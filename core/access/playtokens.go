package access

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"crypto/rand"

	"media-server/core/fault"
)

// mostPlayTokens bounds how many tokens made here are good at once: each is a row.
const mostPlayTokens = 500_000

// CreatePlayToken makes a play token: t says for what, ttl how long it is good.
func (a *Access) CreatePlayToken(ctx context.Context, t PlayToken, ttl time.Duration) (text string, made PlayToken, err error) {
	switch {
	case t.UID == "":
		return "", t, fault.New("token", "a play token is for a stream", "name its uid")
	case ttl <= 0 || ttl > MaxPlayTTL:
		return "", t, fault.New("token", "a play token lives for more than 0 and at most 366 days", "like ttl = 1h")
	case t.ToMS != 0 && t.ToMS <= t.FromMS:
		return "", t, fault.New("token", "to is not after from", "")
	case len(t.User) > 100:
		return "", t, fault.New("token", "the user's name is longer than 100 bytes", "")
	}
	s, err := a.secrets.signing()
	if err != nil {
		return "", t, err
	}
	var id [8]byte
	rand.Read(id[:])
	now := a.o.Now()
	t.ID, t.CreatedMS = hex.EncodeToString(id[:]), now.UnixMilli()
	t.ExpiresMS = (t.CreatedMS + ttl.Milliseconds() + 999) / 1000 * 1000 // a token tells whole seconds
	if text, err = t.sign(s); err != nil {
		return "", t, fmt.Errorf("sign the token: %w", err)
	}
	if len(text) > mostPlayToken {
		return "", t, fault.New("token", "the token would be longer than 2 kB", "shorten the user's name")
	}
	a.playMu.Lock()
	defer a.playMu.Unlock()
	if a.playCount++; a.playCount%1000 == 1 {
		if err := a.sweepPlayTokens(ctx, now); err != nil {
			return "", t, err
		}
	}
	if a.playRows >= mostPlayTokens {
		return "", t, fmt.Errorf("%w: %d are good already", ErrTooManyTokens, a.playRows)
	}
	address := ""
	if t.Address.IsValid() {
		address = t.Address.String()
	}
	if _, err := a.db.Write.ExecContext(ctx, "INSERT INTO play_tokens VALUES(?,?,?,?,?,?,?,?,?,0)", t.ID, t.UID, t.User, address, t.FromMS, t.ToMS, t.By, t.CreatedMS, t.ExpiresMS); err != nil {
		return "", t, fmt.Errorf("store the token: %w", err)
	}
	a.playRows++
	return text, t, nil
}

// ErrTooManyTokens: give them a shorter life, or revoke some.
var ErrTooManyTokens = errors.New("there are too many play tokens")

// sweepPlayTokens forgets what has expired. Needs playMu.
func (a *Access) sweepPlayTokens(ctx context.Context, now time.Time) error {
	if _, err := a.db.Write.ExecContext(ctx, "DELETE FROM play_tokens WHERE expires_ms > 0 AND expires_ms <= ?", now.UnixMilli()); err != nil {
		return fmt.Errorf("forget expired tokens: %w", err)
	}
	a.endedMu.Lock()
	for id, until := range a.ended {
		if until > 0 && until <= now.UnixMilli() {
			delete(a.ended, id)
		}
	}
	a.endedMu.Unlock()
	return a.db.Write.QueryRowContext(ctx, "SELECT count(*) FROM play_tokens").Scan(&a.playRows)
}

// PlayTokens lists play tokens made here that are good, behind the id after, oldest
// first; at most limit of them.
func (a *Access) PlayTokens(ctx context.Context, after string, limit int) (out []PlayToken, err error) {
	rows, err := a.db.Read.QueryContext(ctx, "SELECT id,uid,user,address,from_ms,to_ms,made_by,created_ms,expires_ms FROM play_tokens WHERE id > ? AND revoked_ms = 0 AND expires_ms > ? ORDER BY id LIMIT ?", after, a.o.Now().UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("list play tokens: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t PlayToken
		var address string
		if err := rows.Scan(&t.ID, &t.UID, &t.User, &address, &t.FromMS, &t.ToMS, &t.By, &t.CreatedMS, &t.ExpiresMS); err != nil {
			return nil, err
		}
		if address != "" {
			t.Address, _ = netip.ParsePrefix(address)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// revokePlayToken makes a play token worthless. made says that it has to be one made
// here; one of elsewhere is remembered without an end, since nobody knows its expiry.
func (a *Access) revokePlayToken(ctx context.Context, id string, made bool) error {
	a.playMu.Lock()
	defer a.playMu.Unlock()
	now := a.o.Now()
	expires := int64(0)
	err := a.db.Write.QueryRowContext(ctx, "SELECT expires_ms FROM play_tokens WHERE id=?", id).Scan(&expires)
	if known := !errors.Is(err, sql.ErrNoRows); err != nil && known {
		return fmt.Errorf("revoke token %s: %w", id, err)
	} else if !known && made {
		return errNoToken(id)
	}
	a.endedMu.Lock()
	a.ended[id] = expires // in memory first, as with API tokens
	a.endedMu.Unlock()
	if _, err := a.db.Write.ExecContext(ctx, "INSERT INTO play_tokens VALUES(?,'','','',0,0,'',?,?,?) ON CONFLICT(id) DO UPDATE SET revoked_ms=excluded.revoked_ms",
		id, now.UnixMilli(), expires, now.UnixMilli()); err != nil {
		return fmt.Errorf("revoke token %s (refused until the next start only): %w", id, err)
	}
	return nil
}

func (a *Access) revoked(id string, now time.Time) bool {
	a.endedMu.RLock()
	defer a.endedMu.RUnlock()
	until, ok := a.ended[id]
	return ok && (until == 0 || now.UnixMilli() < until)
}

func (a *Access) loadPlayTokens(ctx context.Context) error {
	if err := a.sweepPlayTokens(ctx, a.o.Now()); err != nil {
		return err
	}
	rows, err := a.db.Read.QueryContext(ctx, "SELECT id,expires_ms FROM play_tokens WHERE revoked_ms > 0")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var until int64
		if err := rows.Scan(&id, &until); err != nil {
			return err
		}
		a.ended[id] = until
	}
	return rows.Err()
}
