package access

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// session is one login.
type session struct {
	id, user string
	seen     int64 // ms; of the last request
	stored   int64 // ms; seen as the file has it
}

// seenEvery is how often the time of the last request is written down.
const seenEvery = time.Minute

// ErrLogin says that name or password is wrong; which of them is not said.
var ErrLogin = errors.New("wrong name or password")

// Locked says that an address tried too often.
type Locked struct{ Until time.Time }

func (l *Locked) Error() string {
	return fmt.Sprintf("too many failed logins from this address; shut out until %s", l.Until.Format(time.RFC3339))
}

// Login checks a password and begins a session; its secret goes into the
// cookie. It fails with ErrLogin, with *Locked, or because the file cannot be
// written.
func (a *Access) Login(ctx context.Context, name, password, address string) (secret string, who Identity, err error) {
	now := a.o.Now()
	if until, ok := a.lock.try(address, now); !ok {
		return "", who, &Locked{until}
	}
	a.mu.Lock()
	u := a.users[fold(name)]
	a.mu.Unlock()
	ok, err := a.verify(ctx, u, password)
	if err != nil {
		return "", who, err
	}
	if !ok {
		// Counted already by try, so that a hundred at once are not a hundred
		// free guesses.
		a.o.Log.Warn("login failed", "user", Loggable(name), "address", address)
		a.Audit(Loggable(name), address, "login failed")
		return "", who, ErrLogin
	}
	a.lock.forgive(address)
	secret, id, hash := newSecret(sessionPrefix)
	s := &session{id: id, user: u.name, seen: now.UnixMilli(), stored: now.UnixMilli()}
	a.mu.Lock()
	if a.users[fold(name)] != u { // removed or changed meanwhile
		a.mu.Unlock()
		return "", who, ErrLogin
	}
	if _, err := a.db.Write.ExecContext(ctx, "INSERT INTO sessions VALUES(?,?,?,?,?,?)", id, hash[:], u.name, address, s.seen, s.seen); err != nil {
		a.mu.Unlock()
		return "", who, fmt.Errorf("store the session: %w", err)
	}
	a.sessions[hash] = s
	who = identity(u, s)
	a.mu.Unlock()
	a.loggedIn(u.name)
	a.Audit(u.name, address, "login")
	return secret, who, nil
}

// Loggable keeps what a stranger typed short and plain: people type passwords
// into the wrong field, and attackers type lines into logs.
func Loggable(name string) string {
	if userName.MatchString(name) {
		return name
	}
	return "(not a name)"
}

func identity(u *user, s *session) Identity {
	return Identity{Name: u.name, Role: u.role, MustChange: u.mustChange, Session: s.id}
}

func (a *Access) session(hash [32]byte) (Identity, bool) {
	now := a.o.Now().UnixMilli()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[hash]
	if s == nil {
		return Identity{}, false
	}
	u := a.users[fold(s.user)]
	if u == nil || now-s.seen >= a.o.Config.SessionTTL.Milliseconds() {
		delete(a.sessions, hash)
		a.forget(s.id)
		return Identity{}, false
	}
	s.seen = max(s.seen, now)
	if s.seen-s.stored > seenEvery.Milliseconds() {
		s.stored = s.seen
		if _, err := a.db.Write.Exec("UPDATE sessions SET seen_ms=? WHERE id=?", s.seen, s.id); err != nil {
			a.o.Log.Warn("the session cannot be stored", "err", err)
		}
	}
	return identity(u, s), true
}

func (a *Access) forget(id string) {
	if _, err := a.db.Write.Exec("DELETE FROM sessions WHERE id=?", id); err != nil {
		a.o.Log.Warn("an ended session cannot be deleted", "err", err)
	}
}

// Logout ends a session by the id in its Identity.
func (a *Access) Logout(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for h, s := range a.sessions {
		if s.id == id {
			delete(a.sessions, h)
			a.forget(id)
		}
	}
}

// endSessions ends all of a user but keep. Needs mu.
func (a *Access) endSessions(ctx context.Context, name, keep string) error {
	for h, s := range a.sessions {
		if fold(s.user) == fold(name) && s.id != keep {
			delete(a.sessions, h)
		}
	}
	if _, err := a.db.Write.ExecContext(ctx, "DELETE FROM sessions WHERE user=? AND id<>?", name, keep); err != nil {
		return fmt.Errorf("end the sessions of %q: %w", name, err)
	}
	return nil
}

func (a *Access) loadSessions(ctx context.Context) error {
	rows, err := a.db.Read.QueryContext(ctx, "SELECT id,hash,user,seen_ms FROM sessions")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		s, hash := &session{}, []byte{}
		if err := rows.Scan(&s.id, &hash, &s.user, &s.seen); err != nil {
			return err
		}
		s.stored = s.seen
		if len(hash) == 32 {
			a.sessions[[32]byte(hash)] = s
		}
	}
	return rows.Err()
}
