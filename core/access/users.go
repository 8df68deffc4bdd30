package access

import (
	"context"
	"fmt"
	"regexp"
	"sort"

	"media-server/core/fault"
)

type user struct {
	name       string
	role       Role
	hash       string
	mustChange bool
	created    int64
}

// User is an account as it is shown.
type User struct {
	Name       string `json:"name"`
	Role       string `json:"role"`
	MustChange bool   `json:"must_change"`
	CreatedMS  int64  `json:"created_ms"`
}

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// Users lists all accounts by name.
func (a *Access) Users() []User {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]User, 0, len(a.users))
	for _, u := range a.users {
		all = append(all, User{u.name, u.role.String(), u.mustChange, u.created})
	}
	sort.Slice(all, func(i, j int) bool { return fold(all[i].Name) < fold(all[j].Name) })
	return all
}

// AddUser makes an account. mustChange asks for another password at the first
// login.
func (a *Access) AddUser(ctx context.Context, name string, role Role, password string, mustChange bool) error {
	if !userName.MatchString(name) {
		return fault.New("user", fmt.Sprintf("%q cannot be a user's name", name), "letters, digits, . _ @ -, at most 64")
	}
	if role < Viewer || role > Administrator {
		return fault.New("user", "a user needs a role", "viewer, operator or administrator")
	}
	if err := checkPassword(name, password); err != nil {
		return err
	}
	u := &user{name: name, role: role, mustChange: mustChange, created: a.o.Now().UnixMilli()}
	if err := a.slowly(ctx, func() { u.hash = hashPassword(password) }); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users[fold(name)] != nil {
		return fault.New("user", fmt.Sprintf("user %q exists", name), "change it, or take another name")
	}
	if _, err := a.db.Write.ExecContext(ctx, "INSERT INTO users VALUES(?,?,?,?,?)", u.name, int(u.role), u.hash, u.mustChange, u.created); err != nil {
		return fmt.Errorf("store user %q: %w", name, err)
	}
	a.users[fold(name)] = u
	return nil
}

func noUser(name string) error {
	return fault.New("user", fmt.Sprintf("there is no user %q", name), "")
}

// others counts administrators beside name. Needs mu.
func (a *Access) others(name string) (n int) {
	for k, u := range a.users {
		if u.role == Administrator && k != fold(name) {
			n++
		}
	}
	return n
}

// RemoveUser deletes an account and ends its sessions.
func (a *Access) RemoveUser(ctx context.Context, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users[fold(name)] == nil {
		return noUser(name)
	}
	if a.others(name) == 0 {
		return fault.New("user", fmt.Sprintf("%q is the last administrator", name), "make another one first")
	}
	if _, err := a.db.Write.ExecContext(ctx, "DELETE FROM users WHERE name=?", name); err != nil {
		return fmt.Errorf("remove user %q: %w", name, err)
	}
	delete(a.users, fold(name))
	return a.endSessions(ctx, name, "")
}

// SetRole changes what a user may do, from the next request on.
func (a *Access) SetRole(ctx context.Context, name string, role Role) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.users[fold(name)]
	switch {
	case u == nil:
		return noUser(name)
	case role < Viewer || role > Administrator:
		return fault.New("user", "a user needs a role", "viewer, operator or administrator")
	case role != Administrator && u.role == Administrator && a.others(name) == 0:
		return fault.New("user", fmt.Sprintf("%q is the last administrator", name), "make another one first")
	}
	if _, err := a.db.Write.ExecContext(ctx, "UPDATE users SET role=? WHERE name=?", int(role), name); err != nil {
		return fmt.Errorf("store user %q: %w", name, err)
	}
	u.role = role
	return nil
}

// SetPassword sets a password without asking for the old one (an
// administrator, or the command line). All sessions of the user end.
func (a *Access) SetPassword(ctx context.Context, name, password string) error {
	return a.setPassword(ctx, name, password, "")
}

// ChangePassword is what a user does for himself. The session it is done in
// goes on, all others of the user end.
func (a *Access) ChangePassword(ctx context.Context, who Identity, old, password string) error {
	a.mu.Lock()
	u := a.users[fold(who.Name)]
	a.mu.Unlock()
	if u == nil || who.Session == "" {
		return noUser(who.Name)
	}
	if ok, err := a.verify(ctx, u, old); err != nil || !ok {
		if err == nil {
			err = fault.New("password", "the old password is wrong", "")
		}
		return err
	}
	if old == password {
		return fault.New("password", "the new password is the old one", "choose another")
	}
	return a.setPassword(ctx, who.Name, password, who.Session)
}

func (a *Access) setPassword(ctx context.Context, name, password, keep string) error {
	if err := checkPassword(name, password); err != nil {
		return err
	}
	var hash string
	if err := a.slowly(ctx, func() { hash = hashPassword(password) }); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.users[fold(name)]
	if u == nil {
		return noUser(name)
	}
	if _, err := a.db.Write.ExecContext(ctx, "UPDATE users SET hash=?, must_change=0 WHERE name=?", hash, name); err != nil {
		return fmt.Errorf("store the password of %q: %w", name, err)
	}
	// A new value: somebody may be comparing with the old one at this moment.
	a.users[fold(name)] = &user{name: u.name, role: u.role, hash: hash, created: u.created}
	a.loggedIn(name)
	return a.endSessions(ctx, name, keep)
}

// verify compares a password; u nil takes as long.
func (a *Access) verify(ctx context.Context, u *user, password string) (ok bool, err error) {
	h := nobody
	if u != nil {
		if h, err = parseHash(u.hash); err != nil {
			return false, fault.Wrap(err, "user", fmt.Sprintf("the password of %q cannot be read", u.name), "set a new one: media-server passwd "+u.name)
		}
	}
	if len(password) > maxPassword {
		password = password[:maxPassword+1]
	}
	err = a.slowly(ctx, func() { ok = h.matches(password) })
	return ok && u != nil, err
}
