package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/backup"
)

// TestOfferOverRestarts: a backup that lies beside a new data folder is offered
// by every start until somebody says no, though the folder is new no more.
func TestOfferOverRestarts(t *testing.T) {
	set := new(Settings)
	set.Server.DataDir, set.Backup.Path = t.TempDir(), t.TempDir()
	src := backup.Source{DataDir: t.TempDir(), Node: "before", Snapshot: func(context.Context, string, string) error { return nil }}
	file, err := backup.Write(t.Context(), src, set.Backup.Path, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	start := func() *backups {
		k := &backups{n: &Node{boot: set, home: &home{}}}
		if err := k.found(set); err != nil {
			t.Fatal(err)
		}
		return k
	}
	offers := func(k *backups) (is bool) {
		for _, p := range k.problems() {
			is = is || strings.Contains(p.Hint, "restore "+file)
		}
		return is
	}
	if !offers(start()) {
		t.Fatal("the first start offers nothing")
	}
	for _, db := range []string{"state.db", "accounts.db"} {
		if err := os.WriteFile(filepath.Join(set.Server.DataDir, db), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := start()
	if !offers(k) {
		t.Error("the second start offers nothing")
	}
	if was, err := k.dismiss(); was != file || err != nil || offers(k) {
		t.Errorf("dismissed %q %v, offered on %v", was, err, offers(k))
	}
	if was, err := k.dismiss(); was != "" || err != nil {
		t.Errorf("dismissed again: %q %v", was, err)
	}
	if offers(start()) {
		t.Error("what was dismissed is offered by the next start")
	}
}

// TestOfferOfItsOwn: in a folder that several servers share, one that kept its id
// is offered its own backup, though another has made one since. One that has a new
// id is offered the newest.
func TestOfferOfItsOwn(t *testing.T) {
	set := new(Settings)
	set.Backup.Path = t.TempDir()
	own := &home{node: [16]byte{1}}
	var files []string
	for i, node := range []string{own.nodeName(), (&home{node: [16]byte{2}}).nodeName()} {
		src := backup.Source{DataDir: t.TempDir(), Node: node, Snapshot: func(context.Context, string, string) error { return nil }}
		file, err := backup.Write(t.Context(), src, set.Backup.Path, "", time.Now().Add(time.Duration(i-2)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for want, h := range map[string]*home{files[0]: own, files[1]: {node: [16]byte{3}}} {
		set.Server.DataDir = t.TempDir()
		k := &backups{n: &Node{boot: set, home: h}}
		if err := k.found(set); err != nil || k.offered() != want {
			t.Errorf("node %s: %s is offered, want %s: %v", h.nodeName(), k.offered(), want, err)
		}
	}
}

// TestOfferedIsKept: a server that kept its id and lost all else makes backups
// of its own. They push out what is offered to it no sooner than somebody has
// decided.
func TestOfferedIsKept(t *testing.T) {
	n := newLive(t)
	n.home = &home{}
	n.boot.Server.DataDir, n.boot.Backup.Path, n.boot.Backup.Keep = t.TempDir(), t.TempDir(), 1
	src := backup.Source{DataDir: t.TempDir(), Node: n.home.nodeName(), Snapshot: func(context.Context, string, string) error { return nil }}
	file, err := backup.Write(t.Context(), src, n.boot.Backup.Path, "", time.Now().Add(-time.Hour))
	if err == nil {
		err = n.backups.found(n.boot)
	}
	if err != nil || n.backups.offered() != file {
		t.Fatalf("%q is offered, want %q: %v", n.backups.offered(), file, err)
	}
	made := func(want bool) {
		t.Helper()
		path, err := n.backups.make(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(file); (err == nil) != want {
			t.Errorf("what is or was offered: %v, want it there: %v", err, want)
		}
	}
	made(true)
	made(true)
	if _, err := n.backups.dismiss(); err != nil {
		t.Fatal(err)
	}
	made(false)
}
