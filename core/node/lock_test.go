package node

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestLockOfAKilledServer: a lock that the child of a killed server still holds for
// a moment is waited for, and one that stays is refused.
func TestLockOfAKilledServer(t *testing.T) {
	dir := t.TempDir()
	for name, lock := range map[string]func(string) (func() error, error){
		"data-dir": func(dir string) (func() error, error) {
			h, err := takeHome(dir)
			if err != nil {
				return nil, err
			}
			return h.Close, nil
		},
		"run-dir": func(dir string) (func() error, error) {
			f, err := takeRunDir(dir)
			if err != nil {
				return nil, err
			}
			return f.Close, nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, err := takeRunDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			child, err := unix.Dup(int(f.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if _, err := lock(dir); err == nil || !strings.HasPrefix(err.Error(), name+": another server uses "+dir) {
				t.Errorf("%s: a lock that stays: %v", name, err)
			}
			time.AfterFunc(lockWait/2, func() { _ = unix.Close(child) })
			release, err := lock(dir)
			if err != nil {
				t.Fatal(name, err)
			}
			if err := release(); err != nil {
				t.Error(err)
			}
		})
	}
}
