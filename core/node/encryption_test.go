package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/journal"
	"media-server/core/keys"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/web/api"
)

// sealedNode is a node with a vault and an archive and nothing in front.
type sealedNode struct {
	*Node
	t    *testing.T
	dir  *storagetest.Dir
	o    archive.Options
	stop func()
}

func newSealedNode(t *testing.T, data string, dir *storagetest.Dir, keysIn string, epoch uint64) *sealedNode {
	t.Helper()
	n := &sealedNode{Node: &Node{log: slog.New(slog.DiscardHandler)}, t: t, dir: dir}
	n.backups = &backups{n: n.Node}
	var err error
	if n.journal, err = journal.Open(t.Context(), journal.Options{Path: filepath.Join(data, "journal.db"), Log: n.log}); err != nil {
		t.Fatal(err)
	}
	n.vault = keys.OpenVault(keys.VaultOptions{Dir: keysIn, Make: true, Log: n.log})
	n.o = archive.Options{DataDir: data, Epoch: epoch, Log: n.log, Keys: dayKeys(n.Node),
		Spaces: []archive.Space{{Name: "main", Storage: dir, Create: true}},
		Pools:  []archive.Pool{{Name: "vault", Spaces: []string{"main"}, Overwrite: true, Encrypt: true}}}
	g := newGroup(t.Context())
	if n.archive, err = archive.Open(t.Context(), n.o); err != nil {
		t.Fatal(err)
	}
	g.run("journal", n.journal.Run)
	g.run("keys", n.vault.Run)
	g.run("archive", n.archive.Run)
	n.stop = func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		n.archive.Close()
		n.journal.Close()
	}
	return n
}

// record makes footage of four seconds that began at a time.
func (n *sealedNode) record(uid string, at time.Time) {
	n.t.Helper()
	rec, err := n.archive.Recorder(uid, archive.Rules{})
	if err != nil {
		n.t.Fatal(err)
	}
	tracks := []media.Track{{ID: 1, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}}
	born := media.WallOf(at)
	var run media.RunID
	binary.BigEndian.PutUint64(run[:], uint64(born))
	seg, disc := rec.NextSegment()
	w := mux.NewWriter(mux.Config{Epoch: n.o.Epoch}, mux.Start{Run: run, Zero: mux.Zero(born), Tracks: tracks, Segment: seg, Discontinuity: disc})
	if err := rec.Begin(run, mux.Zero(born), tracks, archive.GapNone); err != nil {
		n.t.Fatal(err)
	}
	put := func(parts []*media.Part) {
		for _, p := range parts {
			if err := rec.Append(p); err != nil {
				n.t.Fatal(err)
			}
			p.Release()
		}
	}
	for i := range 100 {
		u := media.AccessUnit{Track: 1, Seq: uint64(i), PTS: int64(i) * 320, Key: true, Payload: fmt.Appendf(nil, "MSL1:%s:%d;", uid, i)}
		parts, _, err := w.Write(u, born.Add(time.Duration(i)*40*time.Millisecond), nil)
		if err != nil {
			n.t.Fatal(err)
		}
		put(parts)
	}
	put(w.Flush())
	rec.End(archive.GapDisabled)
	rec.Close()
}

func (n *sealedNode) read(uid string) ([]byte, error) {
	segs, err := n.archive.Segments(uid, media.Span{From: 0, To: 1 << 62})
	if err != nil || len(segs) == 0 {
		return nil, errors.Join(err, n.archive.Unreadable(uid, media.Span{From: 0, To: 1 << 62}))
	}
	pin, err := n.archive.Pin(segs[0].File)
	if err != nil {
		return nil, err
	}
	defer pin.Release()
	l, err := n.archive.Layout(segs[0].File)
	if err != nil {
		return nil, err
	}
	b := make([]byte, l.Size)
	_, err = pin.ReadAt(b, 0)
	return b, err
}

// TestDestroyKeys: a day is destroyed when it is over, nobody keeps it, or
// somebody says so all the same; nothing brings it back but an older copy of
// the keys.
func TestDestroyKeys(t *testing.T) {
	data, keysIn, dir := t.TempDir(), t.TempDir(), storagetest.New(t.TempDir())
	dir.SyncEvery = 3 * time.Millisecond
	n := newSealedNode(t, data, dir, keysIn, 1)
	noon := time.Now().UTC().Add(-48 * time.Hour).Truncate(24 * time.Hour).Add(12 * time.Hour)
	day := noon.Format("2006-01-02")
	n.record("gate", noon)
	n.record("yard", noon)
	for _, uid := range []string{"gate", "yard"} {
		if b, err := n.read(uid); err != nil || bytes.Count(b, []byte("MSL1:"+uid)) != 100 {
			t.Fatal(uid, err)
		}
	}
	b := backend{n: n.Node}
	refused := func(why, uid, day string, force bool) {
		t.Helper()
		if _, err := b.DestroyKeys(uid, day, force, "anna"); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s %s: %v", uid, day, err)
		}
	}
	for end := time.Now().Add(20 * time.Second); n.archive.RetentionWaits() && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	refused("is not a day", "gate", "yesterday", true)
	refused("not over", "gate", time.Now().UTC().Format("2006-01-02"), true)
	refused("not over", "gate", "2999-01-01", true)
	refused("no key", "gate", "2001-01-01", false)
	refused("no key", "nobody", day, false)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if foot, err := n.archive.DayFootage("gate", uint32(noon.Unix()/86400)); err == nil && !foot.Open && foot.Files == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("never sealed")
		}
	}
	if _, err := n.archive.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: media.WallOf(noon), To: media.WallOf(noon) + 1e9}, Reason: "case 12", Who: "bert"}); err != nil {
		t.Fatal(err)
	}
	refused("case 12", "gate", day, false)
	if _, err := n.read("gate"); err != nil {
		t.Fatal(err)
	}
	older, err := n.vault.Export("words")
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.DestroyKeys("gate", day, true, "anna")
	if err != nil || d.Keys != 1 || d.Files != 1 {
		t.Fatalf("%+v %v", d, err)
	}
	gone := func(n *sealedNode) {
		t.Helper()
		if _, err := n.read("gate"); !errors.Is(err, archive.ErrKeyDestroyed) || !strings.Contains(err.Error(), "anna") || !strings.Contains(err.Error(), day) {
			t.Errorf("the destroyed day: %v", err)
		}
		if b, err := n.read("yard"); err != nil || !bytes.Contains(b, []byte("MSL1:yard")) {
			t.Errorf("another stream's: %v", err)
		}
		_, gaps, err := n.archive.Ranges("gate", media.Span{From: 0, To: 1 << 62})
		if err != nil || len(gaps) != 1 || gaps[0].Why != archive.GapKeyDestroyed {
			t.Errorf("%v %v", gaps, err)
		}
	}
	gone(n)
	if k, err := b.keysOf(); err != nil || len(k.Destroyed) != 1 || k.Destroyed[0].Day != day || k.Keys != 1 {
		t.Errorf("%+v %v", k, err)
	}
	var events []journal.Event
	for end := time.Now().Add(20 * time.Second); len(events) == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if events, _, err = n.journal.List(t.Context(), journal.Filter{Types: []string{"record.key_destroyed"}, Limit: 10}); err != nil {
			t.Fatal(err)
		}
	}
	n.stop()
	if err != nil || len(events) != 1 || events[0].UID != "gate" || !strings.Contains(events[0].Message, "anna") {
		t.Errorf("the journal: %v %v", events, err)
	}
	n = newSealedNode(t, data, dir, keysIn, 2) // a restart
	gone(n)
	n.stop()
	n = newSealedNode(t, t.TempDir(), dir, keysIn, 3) // a rebuild
	if err := n.archive.Rebuild(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	gone(n)
	if _, err := n.vault.Rotate(); err != nil { // and another master key
		t.Fatal(err)
	}
	gone(n)
	n.stop()
	// The documents say so: an export of before opens it.
	elsewhere := t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "encryption.keys"), older, 0o600); err != nil {
		t.Fatal(err)
	}
	v := keys.OpenVault(keys.VaultOptions{Dir: elsewhere, Passphrase: "words", Log: slog.New(slog.DiscardHandler)})
	if in, ok := v.Info(); !ok || in.Keys != 2 {
		t.Errorf("%+v %v", in, v.Err())
	}
}

func (b backend) keysOf() (*api.EncryptionKeys, error) {
	in, ok := b.n.vault.Info()
	if !ok {
		return nil, b.n.vault.Err()
	}
	return KeysInfo(&in), nil
}
