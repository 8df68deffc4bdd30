package pluginhost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
)

// asksMany opens 100 names of which every seventh is not there, and checks that
// each answer belongs to its name.
func asksMany(t *testing.T, space archive.Storage, dir string) {
	t.Helper()
	var names []string
	for i := range 100 {
		name := fmt.Sprintf("f%02d", i)
		names = append(names, name)
		if i%7 == 6 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := space.(archive.Opener).Files(t.Context(), names)
	if len(out) != len(names) {
		t.Fatalf("%d answers to %d questions", len(out), len(names))
	}
	for i, o := range out {
		if i%7 == 6 {
			if !errors.Is(o.Err, os.ErrNotExist) || o.File != nil {
				t.Errorf("%s is not there: %v", names[i], o.Err)
			}
			continue
		}
		if o.Err != nil {
			t.Fatalf("%s: %v", names[i], o.Err)
		}
		b := make([]byte, 3)
		if _, err := o.File.ReadAt(b, 0); err != nil || string(b) != names[i] {
			t.Errorf("the descriptor of %s is that of %q, %v", names[i], b, err)
		}
		o.File.Close()
	}
}

func TestManyDescriptors(t *testing.T) {
	_, s, space := storageRig(t)
	side := &space.(*spaceStorage).side
	defer side.reset("")
	if out := space.(archive.Opener).Files(t.Context(), []string{"a", "b"}); !errors.Is(out[1].Err, archive.ErrNoDescriptors) {
		t.Errorf("before Open: %v", out)
	}
	if _, err := space.Open(t.Context(), 1, 0, true); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		asksMany(t, space, s.dir)
	}
	if n := len(side.idle); n != 1 || side.single {
		t.Errorf("%d connections for what one can do; one by one: %v", n, side.single)
	}
	// A name that cannot be asked for does not keep the others from it.
	os.WriteFile(filepath.Join(s.dir, "x"), []byte("x"), 0o600)
	out := space.(archive.Opener).Files(t.Context(), []string{"x", "bad\x00name", "x"})
	for i, o := range out {
		if (o.Err == nil) != (i != 1) {
			t.Errorf("answer %d: %v", i, o.Err)
		}
		if o.File != nil {
			o.File.Close()
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range space.(archive.Opener).Files(gone, []string{"x", "x"}) {
		if o.Err == nil {
			t.Error("opened though nobody waits any more")
		}
	}
}

// A backend that takes what comes in one read for one request is asked one by
// one after the first time.
func TestManyDescriptorsOfOneWhoForgets(t *testing.T) {
	_, s, space := storageRig(t)
	side := &space.(*spaceStorage).side
	defer side.reset("")
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(shortDir(t), "f"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	go func() {
		for {
			c, err := lis.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for s.oneRead(c) == nil {
				}
			}()
		}
	}()
	s.side = lis.Addr().String()
	if _, err := space.Open(t.Context(), 1, 0, true); err != nil {
		t.Fatal(err)
	}
	side.within = 300 * time.Millisecond
	asksMany(t, space, s.dir)
	if !side.single {
		t.Error("it is asked for many at once again")
	}
	start := time.Now()
	asksMany(t, space, s.dir)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("asking one by one took %s", took)
	}
}

// oneRead answers the first request of a read and forgets the rest.
func (s *toyStorage) oneRead(c *net.UnixConn) error {
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	if n < 4 {
		return io.ErrUnexpectedEOF
	}
	return s.hand(c, b[4:4+binary.BigEndian.Uint32(b)])
}
