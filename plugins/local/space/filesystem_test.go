package space

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestControlOfClosed: a sync that meets a file sealed meanwhile is told so in
// the words it looks for, also where the file is closed after SyscallConn.
func TestControlOfClosed(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := realDisk.fdatasync(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := realDisk.fdatasync(f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("fdatasync of a closed file: %v", err)
	}
}
