package pluginhost

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/archive"
	"media-server/plugins/sdk/pb"
)

func storageRig(t *testing.T) (*rig, *toyStorage, archive.Storage) {
	t.Helper()
	s := newToyStorage(shortDir(t))
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(shortDir(t), "d"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.serveDescriptors(lis) }()
	t.Cleanup(func() { lis.Close(); <-done })
	s.side = lis.Addr().String()
	e := serveEndpoint(t, pb.InfoReply_STORAGE, s)
	r := newRig(t)
	r.opt.Plugins["store"] = Plugin{Endpoint: "unix:" + e.socket}
	t.Cleanup(r.down)
	r.up()
	d, err := r.host.Storage("store")
	if err != nil {
		t.Fatal(err)
	}
	return r, s, d.Space("main", map[string]string{"path": "/x"})
}

func TestStorageSpace(t *testing.T) {
	_, s, space := storageRig(t)
	defer space.(*spaceStorage).side.reset("")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := space.File(ctx, "x"); !errors.Is(err, archive.ErrNoDescriptors) {
		t.Errorf("descriptor before Open: %v", err)
	}
	info, err := space.Open(ctx, 1, 0, true)
	if err != nil || !info.Append || !info.Descriptors {
		t.Fatalf("%+v %v", info, err)
	}
	a, err := space.Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("0123456789"), 70000)
	send := func(d archive.AppendData, kind archive.AppendKind) archive.AppendResult {
		t.Helper()
		if err := a.Send(d); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := a.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.Kind == kind {
				return m
			}
		}
	}
	if m := send(archive.AppendData{Sequence: 1, Name: "open/a", Create: true, Payload: [][]byte{payload[:10], payload[10:]}}, archive.Synced); m.Sequence != 1 {
		t.Errorf("%+v", m)
	}
	if m := send(archive.AppendData{Sequence: 2, Name: "open/a", Offset: 1 << 30, Payload: [][]byte{payload}}, archive.Failed); m.Reason != archive.FailBadOffset || m.Name != "open/a" {
		t.Errorf("%+v", m)
	}

	got := make([]byte, len(payload)+5)
	n, err := space.ReadAt(ctx, "open/a", 0, got)
	if n != len(payload) || err != io.EOF || !bytes.Equal(got[:n], payload) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if n, err := space.ReadAt(ctx, "open/a", 7, got[:3]); n != 3 || err != nil || string(got[:3]) != "789" {
		t.Errorf("read %d bytes %q, %v", n, got[:3], err)
	}
	if _, err := space.ReadAt(ctx, "open/none", 0, got); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading nothing: %v", err)
	}
	if _, err := space.Stat(ctx, "open/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat of nothing: %v", err)
	}
	if e, err := space.Stat(ctx, "open/a"); err != nil || e.Size != int64(len(payload)) {
		t.Errorf("%+v %v", e, err)
	}
	for range 3 { // over one connection
		f, err := space.File(ctx, "open/a")
		if err != nil {
			t.Fatal(err)
		}
		if st, err := f.Stat(); err != nil || st.Size() != int64(len(payload)) {
			t.Errorf("descriptor: %v %v", st, err)
		}
		f.Close()
		if _, err := space.File(ctx, "open/none"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("descriptor of nothing: %v", err)
		}
	}
	var names []string
	if err := space.List(ctx, "open/", "", func(e []archive.Entry) error { names = append(names, e[0].Name); return nil }); err != nil || len(names) != 1 {
		t.Errorf("%v %v", names, err)
	}
	if u, err := space.Usage(ctx); err != nil || u.Free != 60 {
		t.Errorf("%+v %v", u, err)
	}

	// A newer core takes over: this one is told so, by every call that writes.
	s.mu.Lock()
	s.epoch = 2
	s.mu.Unlock()
	if err := space.Truncate(ctx, "open/a", 1); !errors.Is(err, archive.StaleEpochError) {
		t.Errorf("truncate: %v", err)
	}
	if _, err := space.Open(ctx, 1, 0, false); !errors.Is(err, archive.StaleEpochError) {
		t.Errorf("open: %v", err)
	}
	if m := send(archive.AppendData{Sequence: 3, Name: "open/a", Payload: [][]byte{payload}}, archive.Failed); m.Reason != archive.FailStaleEpoch {
		t.Errorf("%+v", m)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if a.Send(archive.AppendData{Sequence: 4}) == nil {
		t.Error("send after close")
	}
	if _, err := space.Append(ctx); !errors.Is(err, archive.StaleEpochError) {
		t.Errorf("append: %v", err)
	}
}

func TestStorageDeath(t *testing.T) {
	r := newRig(t)
	r.toy("store", "storage", "TOY_DIR="+shortDir(t))
	r.up()
	d, err := r.host.Storage("store")
	if err != nil {
		t.Fatal(err)
	}
	space := d.Space("main", nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := space.Open(ctx, 1, 0, true); err != nil { // waits for the plugin
		t.Fatal(err)
	}
	a, err := space.Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pid := r.status("store").PID
	unix.Kill(pid, unix.SIGKILL)
	if _, err := a.Recv(); err == nil {
		t.Error("an appender outlives its plugin")
	}
	a.Close()
	eventually(t, "a new process", func() bool { s := r.status("store"); return s.State == StateServing && s.PID != pid })
	if _, err := space.Open(ctx, 1, 0, false); err != nil {
		t.Fatal(err)
	}
	if a, err = space.Append(ctx); err != nil {
		t.Fatal(err)
	}
	a.Close()
	short, cancelShort := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancelShort()
	other, _ := r.host.Storage("none")
	if _, err := other.Space("x", nil).Usage(short); err == nil {
		t.Error("a storage that is not there answers")
	}
}

// A storage that is stopped holds up Send, never Close, and Close returns only
// when gRPC has let go of every payload.
func TestAppenderCloseWhileStorageIsStopped(t *testing.T) {
	r := newRig(t)
	r.opt.HealthEvery = time.Hour
	r.toy("store", "storage", "TOY_DIR="+shortDir(t))
	r.up()
	d, err := r.host.Storage("store")
	if err != nil {
		t.Fatal(err)
	}
	space := d.Space("main", nil)
	ctx := t.Context()
	if _, err := space.Open(ctx, 1, 0, true); err != nil {
		t.Fatal(err)
	}
	a, err := space.Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pid := r.status("store").PID
	unix.Kill(pid, unix.SIGSTOP)
	defer unix.Kill(pid, unix.SIGCONT)
	payload := make([]byte, 1<<20)
	var sent atomic.Uint64
	over := make(chan struct{})
	go func() {
		defer close(over)
		for a.Send(archive.AppendData{Sequence: sent.Load() + 1, Name: "open/a", Create: true, Payload: [][]byte{payload}}) == nil {
			sent.Add(1)
		}
	}()
	full, since := uint64(0), time.Now()
	eventually(t, "windows and buffers to be full", func() bool {
		if n := sent.Load(); n != full {
			full, since = n, time.Now()
		}
		return full > 0 && time.Since(since) > 200*time.Millisecond
	})
	closed := make(chan struct{})
	go func() { a.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for a storage that is stopped")
	}
	<-over
	if n := sent.Load(); n == 0 || n > 64 {
		t.Errorf("%d MB went into a storage that is stopped", n)
	}
	clear(payload) // the race detector speaks up if gRPC still reads it
}
