package access

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// firstUser is whom a new server knows.
const firstUser = "admin"

func (a *Access) firstFile() string { return filepath.Join(a.o.DataDir, "first-password") }

// FirstPassword makes user admin where there is no user yet, with a random
// password that must be changed. On a terminal it is returned, to be shown
// once; else it is written to data-dir/first-password (0600), and the file's
// name is returned, also later while nobody has logged in with it.
func (a *Access) FirstPassword(terminal bool) (password, file string, err error) {
	a.mu.Lock()
	some := len(a.users) > 0
	a.mu.Unlock()
	path := a.firstFile()
	if some {
		if _, err := os.Stat(path); err == nil {
			return "", path, nil
		}
		return "", "", nil
	}
	password = randomPassword()
	if !terminal {
		// Before the account: a crash in between leaves a file that the next
		// start writes anew, not an account that nobody can enter.
		if err := writeFirst(path, password); err != nil {
			return "", "", fmt.Errorf("write %s: %w", path, err)
		}
		file = path
	}
	if err := a.AddUser(context.Background(), firstUser, Administrator, password, true); err != nil {
		return "", "", err
	}
	if file != "" {
		password = ""
	}
	return password, file, nil
}

func writeFirst(path, password string) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(password + "\n")
	if err == nil {
		err = f.Chmod(0o600) // whatever an older file had
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// FirstPending tells whether the first password has not been changed yet, and
// the file it lies in, if it does.
func (a *Access) FirstPending() (file string, pending bool) {
	a.mu.Lock()
	u := a.users[firstUser]
	pending = u != nil && u.mustChange
	a.mu.Unlock()
	if _, err := os.Stat(a.firstFile()); err == nil && pending {
		file = a.firstFile()
	}
	return file, pending
}

// loggedIn removes the file once its password has been used, or replaced.
func (a *Access) loggedIn(name string) {
	if fold(name) != firstUser {
		return
	}
	if err := os.Remove(a.firstFile()); err != nil && !os.IsNotExist(err) {
		a.o.Log.Warn("the file of the first password cannot be removed", "file", a.firstFile(), "err", err, "hint", "remove it")
	}
}
