package archive

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func isClosed(f *os.File) bool {
	_, err := f.Stat()
	return errors.Is(err, os.ErrClosed)
}

// TestDescriptors: a file that is read again soon is not opened again, and is open for
// nobody any more once it was dropped, is old, or has been idle.
func TestDescriptors(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		open := func() *os.File {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		var d descriptors
		one, two := new(space), new(space)
		f := open()
		x := d.add(7, one, f)
		if d.take(8, one) != nil || d.take(7, two) != nil {
			t.Error("another file's descriptor")
		}
		if d.take(7, one) != x {
			t.Error("a file that is read is opened again")
		}
		d.give(7, x)
		d.give(7, x)
		time.Sleep(descriptorIdle - 1)
		if d.take(7, one) != x {
			t.Error("a file that was read just now is opened again")
		}
		time.Sleep(descriptorIdle + 1)
		if isClosed(f) {
			t.Error("closed under its reader")
		}
		d.give(7, x)
		time.Sleep(descriptorIdle + 1)
		synctest.Wait()
		if !isClosed(f) || d.take(7, one) != nil {
			t.Error("open though nobody reads")
		}

		f = open()
		x = d.add(7, one, f)
		d.drop(7)
		if isClosed(f) || d.take(7, one) != nil {
			t.Error("dropped: its reader goes on, and nobody else comes")
		}
		d.give(7, x)
		if !isClosed(f) {
			t.Error("dropped, and open behind its last reader")
		}

		f = open()
		x = d.add(7, one, f)
		time.Sleep(descriptorAge + 1)
		if d.take(7, one) != nil {
			t.Error("an old one goes on for ever")
		}
		g := open()
		y := d.add(7, two, g)
		d.give(7, x)
		if !isClosed(f) || isClosed(g) {
			t.Error("the old one is to be closed, the new one not")
		}
		d.give(7, y)
		d.close()
		if !isClosed(g) {
			t.Error("open behind the end")
		}
	})
}
