package archive_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
	"media-server/core/mux"
)

// dayKeys makes keys and keeps them; they are durable when the test says so.
type dayKeys struct {
	mu      sync.Mutex
	keys    map[archive.KeyID][32]byte
	days    map[string]archive.KeyID
	gone    map[archive.KeyID]bool
	away    error
	durable chan struct{} // nil: at once
}

func newKeys() *dayKeys {
	return &dayKeys{keys: map[archive.KeyID][32]byte{}, days: map[string]archive.KeyID{}, gone: map[archive.KeyID]bool{}}
}

type goneKey struct{}

func (goneKey) Error() string   { return "destroyed" }
func (goneKey) Destroyed() bool { return true }

func (k *dayKeys) ForDay(uid string, day uint32) (archive.KeyID, [32]byte, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away != nil {
		return archive.KeyID{}, [32]byte{}, nil, k.away
	}
	name := fmt.Sprint(uid, day)
	id, ok := k.days[name]
	if !ok {
		var key [32]byte
		rand.Read(id[:])
		rand.Read(key[:])
		k.days[name], k.keys[id] = id, key
	}
	return id, k.keys[id], k.durable, nil
}

func (k *dayKeys) Key(id archive.KeyID) (key [32]byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.away != nil:
		return key, k.away
	case k.gone[id]:
		return key, goneKey{}
	}
	key, ok := k.keys[id]
	if !ok {
		err = errors.New("no such key")
	}
	return key, err
}

func (k *dayKeys) Gone(string) (out []archive.KeyID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.gone {
		out = append(out, id)
	}
	return out
}

func (k *dayKeys) destroyAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.keys {
		k.gone[id] = true
	}
}

// secret makes options whose pools encrypt.
func secret(k archive.DayKeys) optioned {
	return func(data string, epoch uint64, dirs ...*storagetest.Dir) archive.Options {
		o := options(data, epoch, dirs...)
		o.Keys = k
		for i := range o.Pools {
			o.Pools[i].Encrypt = true
		}
		return o
	}
}

// noMarker fails when a unit's stamp lies readable anywhere below a folder.
func noMarker(t *testing.T, root string) {
	t.Helper()
	n := 0
	filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		b, _ := os.ReadFile(p)
		if n += len(b); bytes.Contains(b, []byte("MSL1:")) {
			t.Errorf("%s holds clear footage", p)
		}
		return nil
	})
	if n < 10_000 {
		t.Errorf("only %d bytes were looked at", n)
	}
}

func TestEncryptedCrashes(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { crash(t, seed, secret(newKeys())) })
	}
}

func TestEncryptedPowerCut(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { powerCut(t, seed, secret(newKeys())) })
	}
}

func TestEncryptedFailOver(t *testing.T) { failOver(t, secret(newKeys())) }

// TestNothingClear: neither growing nor sealed files hold a readable unit, by
// either way of reading all of it comes back, and a rebuild needs no key.
func TestNothingClear(t *testing.T) {
	for _, descriptors := range []bool{true, false} {
		t.Run(fmt.Sprintf("descriptors %v", descriptors), func(t *testing.T) {
			keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
			dir.Descriptors = descriptors
			h := open(t, secret(keys)(t.TempDir(), 1, dir))
			rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			f := start(t, cam, rec, archive.GapNone)
			if err := f.feed(25 * 10); err != nil {
				t.Fatal(err)
			}
			eventually(t, "stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
			noMarker(t, dir.Root)
			f.flush()
			audit(t, h.a, cam, 0, 250)
			rec.End(archive.GapNone)
			rec.Close()
			eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") })
			noMarker(t, dir.Root)
			audit(t, h.a, cam, 0, 250)
			anyRange(t, h.a)
			before, _ := h.a.Segments("gate", all)
			h.close()

			// Without any key everything is listed all the same.
			h = open(t, options(t.TempDir(), 2, dir))
			eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 })
			segs, err := h.a.Segments("gate", all)
			if err != nil || len(segs) != len(before) {
				t.Fatalf("%d segments without keys: %v", len(segs), err)
			}
			if _, err := h.a.Pin(segs[0].File); !errors.Is(err, archive.ErrNoKey) || !strings.Contains(err.Error(), "gate/") {
				t.Errorf("without keys: %v", err)
			}
			h.close()
			h = open(t, secret(keys)(t.TempDir(), 3, dir))
			defer h.close()
			eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 })
			audit(t, h.a, cam, 0, 250)
		})
	}
}

// anyRange reads a file in pieces of any length and compares them with one read.
func anyRange(t *testing.T, a *archive.Archive) {
	t.Helper()
	segs, _ := a.Segments("gate", all)
	pin, err := a.Pin(segs[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Release()
	if _, _, ok := pin.File(); ok {
		t.Error("an encrypted file is given out as it is stored")
	}
	l, _ := a.Layout(segs[0].File)
	whole := make([]byte, l.Size)
	if n, err := pin.ReadAt(whole, 0); err != nil {
		t.Fatal(n, err)
	}
	for off := int64(0); off < l.Size; off += 997 {
		for _, n := range []int64{1, 100, 5000, l.Size} {
			b := make([]byte, min(n, l.Size-off))
			if _, err := pin.ReadAt(b, off); err != nil || !bytes.Equal(b, whole[off:off+int64(len(b))]) {
				t.Fatalf("%d bytes at %d: %v", len(b), off, err)
			}
		}
	}
}

// parsed reads the fragments of every media file below a folder.
func parsed(t *testing.T, root string, fn func(file string, b []byte, x *mux.FragmentInfo)) {
	t.Helper()
	for _, name := range mediaFiles(t, root) {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte("mspart")) - 18
		for {
			x, next, err := mux.ParseFragment(bytes.NewReader(b), int64(at), int64(len(b)))
			if err != nil {
				break
			}
			fn(name, b, &x)
			at = int(next)
		}
	}
}

// TestEqualUnitsDiffer: two cameras that send the same, and one that sends the
// same picture for ever, leave no two equal hashes, nonces or pieces of payload.
func TestEqualUnitsDiffer(t *testing.T) {
	keys, dir := newKeys(), newDir(t)
	h := open(t, secret(keys)(t.TempDir(), 1, dir))
	for i, uid := range []string{"gate", "yard"} {
		cam := newCamera("same", byte(i+1))
		rec, _ := h.a.Recorder(uid, archive.Rules{Chunk: 3 * time.Second})
		f := start(t, cam, rec, archive.GapNone)
		still := func(u media.AccessUnit) media.AccessUnit {
			u.Payload = bytes.Repeat([]byte{0x5a}, 400)
			if u.Track == 1 {
				copy(u.Payload, []byte{0, 0, 1, 0x8c, 0x41})
				if u.Key {
					u.Payload[4] = 0x65
				}
			}
			return u
		}
		for seq := range uint64(100) {
			for track := 1; track <= 2; track++ {
				u, wall := cam.unit(track, seq)
				parts, _, err := f.w.Write(still(u), wall, func() []byte { return nil })
				if err != nil {
					t.Fatal(err)
				}
				if err := f.put(parts); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.flush()
		rec.End(archive.GapNone)
		rec.Close()
	}
	eventually(t, "sealed", func() bool { return openFiles(dir) == 0 && archive.Listed(h.a, "gate") && archive.Listed(h.a, "yard") })
	h.close()
	seen := map[string]string{}
	units := 0
	parsed(t, dir.Root, func(file string, b []byte, x *mux.FragmentInfo) {
		if !x.Header.Encrypted {
			t.Fatal("a part is not encrypted")
		}
		put := func(kind string, v []byte) {
			k := kind + string(v)
			if other, ok := seen[k]; ok {
				t.Fatalf("%s of %s: the same %s", other, file, kind)
			}
			seen[k] = file
		}
		put("nonce", x.Header.Encryption.Nonce[:])
		at := x.PayloadAt
		for i, s := range x.Samples {
			units++
			put("hash", fmt.Appendf(nil, "%x", x.Header.Hashes[i]))
			put("payload", b[at:at+int64(s.Size)])
			at += int64(s.Size)
		}
	})
	if units < 350 {
		t.Errorf("only %d units were compared", units)
	}
}

// TestLargePart: a part too large to be kept for all is decrypted once by whoever
// reads it in small pieces.
func TestLargePart(t *testing.T) {
	keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
	dir.Descriptors = false
	h := open(t, secret(keys)(t.TempDir(), 1, dir))
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{})
	f := start(t, cam, rec, archive.GapNone)
	var want []byte
	for seq := range uint64(30) {
		u, wall := cam.unit(1, seq)
		big := append(bytes.Clone(u.Payload[:5]), make([]byte, 600_000)...)
		rand.Read(big[5:])
		binary.BigEndian.PutUint32(big, uint32(len(big)-4))
		u.Payload = big
		want = append(want, big...)
		parts, _, err := f.w.Write(u, wall, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.put(parts); err != nil {
			t.Fatal(err)
		}
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") })
	segs, _ := h.a.Segments("gate", all)
	pin, err := h.a.Pin(segs[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Release()
	l, _ := h.a.Layout(segs[0].File)
	var got []byte
	most := int64(0)
	reads := dir.Reads.Load()
	for _, fr := range l.Fragments {
		most = max(most, fr.DataSize)
		b := make([]byte, fr.DataSize)
		for at := int64(0); at < fr.DataSize; at += 64 << 10 {
			if _, err := pin.ReadAt(b[at:min(at+64<<10, fr.DataSize)], fr.DataOffset+at); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, b...)
	}
	if most <= 4<<20 || !bytes.Equal(got, want) {
		t.Errorf("largest part %d bytes, %d of %d read", most, len(got), len(want))
	}
	if n := dir.Reads.Load() - reads; n > int64(2*len(l.Fragments)) {
		t.Errorf("%d reads of %d fragments", n, len(l.Fragments))
	}
}

// TestTampered: no byte of a part that was changed is given out, whatever was
// changed of it, and what lies beside it plays.
func TestTampered(t *testing.T) {
	for _, what := range []string{"payload", "tag", "nonce", "hash", "swapped"} {
		t.Run(what, func(t *testing.T) { tampered(t, what) })
	}
}

func tampered(t *testing.T, what string) {
	keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
	o := secret(keys)(t.TempDir(), 1, dir)
	h := open(t, o)
	record(t, h, cam, "", 25*4)
	h.close()
	name := mediaFiles(t, dir.Root)[0]
	var frags []mux.FragmentInfo
	parsed(t, dir.Root, func(file string, _ []byte, x *mux.FragmentInfo) {
		if file == name {
			frags = append(frags, *x)
		}
	})
	path := filepath.Join(dir.Root, name)
	b, _ := os.ReadFile(path)
	bad := frags[2]
	end := bad.HeaderAt + bad.HeaderLen
	at := map[string]int64{"payload": bad.PayloadAt + bad.PayloadLen/2, "tag": end - 10, "nonce": end - 30, "hash": bad.HeaderAt + 153}[what]
	if what == "swapped" { // the payload of another part of the same track, of the same length
		for _, o := range frags[3:] {
			if o.Header.Track == bad.Header.Track && o.PayloadLen == bad.PayloadLen {
				copy(b[bad.PayloadAt:], b[o.PayloadAt:o.PayloadAt+o.PayloadLen])
				at = -1
			}
		}
		if at == 0 {
			at = bad.PayloadAt
		}
	}
	if at > 0 {
		b[at] ^= 1
	}
	mendHeader(b[bad.HeaderAt:end])
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	o = secret(keys)(t.TempDir(), 2, dir)
	h = open(t, o)
	defer h.close()
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 })
	segs, _ := h.a.Segments("gate", all)
	pin, err := h.a.Pin(segs[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Release()
	for range 2 {
		buf := make([]byte, bad.PayloadLen)
		n, err := pin.ReadAt(buf, bad.PayloadAt)
		if !errors.Is(err, archive.ErrDamaged) || n != 0 || !bytes.Equal(buf, make([]byte, len(buf))) {
			t.Fatalf("%d bytes of a changed part were given out: %v", n, err)
		}
	}
	if h.saw("archive.damaged") != 1 {
		t.Errorf("told %d times", h.saw("archive.damaged"))
	}
	for _, x := range []mux.FragmentInfo{frags[1], frags[3]} {
		if _, err := pin.ReadAt(make([]byte, x.PayloadLen), x.PayloadAt); err != nil {
			t.Errorf("the part beside it: %v", err)
		}
	}
}

// TestDestroyedKey: what was decrypted before is given out no more, the day is a
// hole with its cause, also after a restart and a rebuild, and new footage is
// recorded with another key.
func TestDestroyedKey(t *testing.T) {
	keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	h := open(t, secret(keys)(data, 1, dir))
	record(t, h, cam, "", 100)
	segs, _ := h.a.Segments("gate", all)
	file := segs[0].File
	pin, err := h.a.Pin(file)
	if err != nil {
		t.Fatal(err)
	}
	l, _ := h.a.Layout(file)
	fr := l.Fragments[0]
	if _, err := pin.ReadAt(make([]byte, 10), fr.DataOffset); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
	foot, err := h.a.DayFootage("gate", archive.DayOf(cam.born))
	if err != nil || foot.Files != len(mediaFiles(t, dir.Root)) || foot.Open || len(foot.Locked) != 0 || len(foot.Spans) != 1 {
		t.Fatalf("%+v %v", foot, err)
	}
	if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: cam.born, To: cam.born + 1e9}, Reason: "x", Who: "anna"}); err != nil {
		t.Fatal(err)
	}
	if foot, _ := h.a.DayFootage("gate", archive.DayOf(cam.born)); len(foot.Locked) != 1 {
		t.Errorf("a lock is not seen: %+v", foot)
	}
	keys.destroyAll()
	h.a.KeysDestroyed("gate", foot.Spans)
	if _, err := pin.ReadAt(make([]byte, 10), fr.DataOffset); !errors.Is(err, archive.ErrKeyDestroyed) {
		t.Errorf("a reader of before: %v", err)
	}
	pin.Release()
	gone := func(h *host) {
		t.Helper()
		if _, err := h.a.Pin(file); !errors.Is(err, archive.ErrKeyDestroyed) || errors.Is(err, archive.ErrNoKey) {
			t.Errorf("a new reader: %v", err)
		}
		if err := h.a.Readable([]archive.FileID{file}); !errors.Is(err, archive.ErrKeyDestroyed) || !strings.Contains(err.Error(), "gate") {
			t.Error(err)
		}
		if err := h.a.Unreadable("gate", all); !errors.Is(err, archive.ErrKeyDestroyed) {
			t.Error(err)
		}
		if segs, _ := h.a.Segments("gate", all); len(segs) != 0 {
			t.Errorf("%d segments", len(segs))
		}
		if es, _ := h.a.Extents("gate", all); len(es) != 0 {
			t.Errorf("%d extents", len(es))
		}
		rs, gs, err := h.a.Ranges("gate", all)
		if err != nil || len(rs) != 0 || len(gs) != 1 || gs[0].Why != archive.GapKeyDestroyed {
			t.Errorf("%v %v %v", rs, gs, err)
		}
	}
	gone(h)
	h.close()
	h = open(t, secret(keys)(data, 2, dir)) // after a restart
	gone(h)
	h.close()
	h = open(t, secret(keys)(t.TempDir(), 3, dir)) // after a rebuild
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 })
	gone(h)
	keys.mu.Lock()
	clear(keys.days)
	keys.mu.Unlock()
	again := newCamera("gate", 2)
	again.born = again.born.Add(time.Minute)
	record(t, h, again, "", 100)
	if segs, _ := h.a.Segments("gate", all); len(segs) == 0 {
		t.Error("nothing is recorded any more")
	}
	h.close()
}

// TestKeyNotDurable: no part leaves before its key survives a power cut; it is
// read from memory meanwhile, and moves on to another space if need be.
func TestKeyNotDurable(t *testing.T) {
	keys, one, two, cam := newKeys(), newDir(t), newDir(t), newCamera("gate", 1)
	keys.durable = make(chan struct{})
	h := open(t, secret(keys)(t.TempDir(), 1, one, two))
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Second})
	defer rec.Close()
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(150); err != nil {
		t.Fatal(err)
	}
	f.flush()
	audit(t, h.a, cam, 0, 150)
	time.Sleep(30 * time.Millisecond) // what was wrong would be there by now
	if n := openFiles(one) + openFiles(two) + len(mediaFiles(t, one.Root)); n != 0 {
		t.Fatalf("%d files were written before their key was durable", n)
	}
	one.FailAppends(func(archive.AppendData) archive.FailReason { return archive.FailReadOnly })
	close(keys.durable)
	eventually(t, "moved", func() bool { return h.saw("storage.moved") > 0 })
	rec.End(archive.GapNone)
	eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") })
	audit(t, h.a, cam, 0, 150)
	if n := len(mediaFiles(t, two.Root)); n == 0 {
		t.Error("nothing went to the other space")
	}
}

// TestKeysAway: a pool that encrypts takes nothing without keys, neither in
// clear nor elsewhere; the driver's memory gives it all when they are back.
func TestKeysAway(t *testing.T) {
	keys, one, two, cam := newKeys(), newDir(t), newDir(t), newCamera("gate", 1)
	keys.away = errors.New("the passphrase is wrong")
	h := open(t, secret(keys)(t.TempDir(), 1, one, two))
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Second})
	defer rec.Close()
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(60); !errors.Is(err, archive.ErrBehind) {
		t.Fatalf("without keys: %v", err)
	}
	if h.saw("storage.failed") != 1 {
		t.Errorf("told %d times", h.saw("storage.failed"))
	}
	if n := len(mediaFiles(t, one.Root)) + len(mediaFiles(t, two.Root)); n != 0 {
		t.Fatalf("%d files", n)
	}
	keys.mu.Lock()
	keys.away = nil
	keys.mu.Unlock()
	f = start(t, cam, rec, archive.GapNone)
	if err := f.feed(60); err != nil {
		t.Fatal(err)
	}
	f.flush()
	audit(t, h.a, cam, 0, 60)
	if h.saw("storage.ok") != 1 {
		t.Error("that it works again was not told")
	}
}

// TestKeyGoneInBetween: a run that was being recorded when its key went goes on
// in another file, encrypted with another key, or clear where the pool is by now.
func TestKeyGoneInBetween(t *testing.T) {
	for _, still := range []bool{true, false} {
		keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
		data := t.TempDir()
		h := open(t, secret(keys)(data, 1, dir))
		rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: time.Hour})
		f := start(t, cam, rec, archive.GapNone)
		if err := f.feed(60); err != nil {
			t.Fatal(err)
		}
		f.flush()
		eventually(t, "stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
		rec.Close()
		h.close()
		others := newKeys()
		o := secret(others)(data, 2, dir)
		o.Pools[0].Encrypt = still
		h = open(t, o)
		rec, _ = h.a.Recorder("gate", archive.Rules{Chunk: time.Hour})
		f = start(t, cam, rec, archive.GapServerDown)
		if f.next[1] != 60 {
			t.Fatalf("goes on at %d", f.next[1])
		}
		if err := f.feed(120); err != nil {
			t.Fatal(err)
		}
		f.flush()
		rec.End(archive.GapNone)
		rec.Close()
		eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") })
		if n := len(others.keys); (n == 1) != still {
			t.Errorf("%d keys were made, encrypting: %v", n, still)
		}
		if (markers(dir.Root) == 0) != still {
			t.Errorf("%d clear units, encrypting: %v", markers(dir.Root), still)
		}
		h.close()
		for id, k := range others.keys {
			keys.keys[id] = k
		}
		h = open(t, secret(keys)(data, 3, dir))
		audit(t, h.a, cam, 0, 120)
		h.close()
	}
}

// TestReadableLong: the keys of a long answer are looked at together, those of
// other streams not at all.
func TestReadableLong(t *testing.T) {
	keys, dir := newKeys(), newDir(t)
	data := t.TempDir()
	o := secret(keys)(data, 1, dir)
	o.Pools = append(o.Pools, archive.Pool{Name: "clear", Spaces: []string{"s0"}, Overwrite: true})
	h := open(t, o)
	record(t, h, newCamera("gate", 1), "", 25*200)
	record(t, h, newCamera("yard", 2), "clear", 25*200)
	files := func(uid string) (ids []archive.FileID) {
		es, err := h.a.Extents(uid, all)
		if err != nil || len(es) < 70 {
			t.Fatalf("%d files, %v", len(es), err)
		}
		for _, e := range es {
			ids = append(ids, e.File)
		}
		return ids
	}
	gate, yard := files("gate"), files("yard")
	if err := errors.Join(h.a.Readable(gate), h.a.Readable(yard)); err != nil {
		t.Error(err)
	}
	keys.mu.Lock()
	keys.away = errors.New("away")
	keys.mu.Unlock()
	h.a.ForgetKeys()
	if err := h.a.Readable(gate); !errors.Is(err, archive.ErrNoKey) || !strings.Contains(err.Error(), "gate/") {
		t.Error(err)
	}
	if err := h.a.Readable(yard); err != nil {
		t.Errorf("clear footage: %v", err)
	}
	h.close()
}

// TestDayEnds: at midnight UTC another file begins with another key; none holds
// footage of the next day beyond the segment that midnight fell into.
func TestDayEnds(t *testing.T) {
	keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
	midnight := media.WallOf(time.Now().UTC().Truncate(24 * time.Hour))
	cam.born = midnight.Add(-5*time.Second - 200*time.Millisecond)
	h := open(t, secret(keys)(t.TempDir(), 1, dir))
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: time.Hour})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 12); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") })
	audit(t, h.a, cam, 0, 25*12)
	es, err := h.a.Extents("gate", all)
	if err != nil || len(es) != 2 {
		t.Fatalf("%d files: %v", len(es), err)
	}
	var used []archive.Encryption
	for _, e := range es {
		l, err := h.a.Layout(e.File)
		if err != nil {
			t.Fatal(err)
		}
		used = append(used, *l.Encryption)
	}
	if used[0].Key == used[1].Key || used[0].Day+1 != used[1].Day || used[1].Day != archive.DayOf(midnight) {
		t.Errorf("%+v", used)
	}
	if late := es[0].Span.To.Sub(midnight); late < 0 || late > 2*time.Second {
		t.Errorf("the first file goes on for %s", late)
	}
	if n, _, err := h.a.StrangeKeys(); n != 0 || err != nil {
		t.Error(n, err)
	}
	keys.mu.Lock()
	delete(keys.keys, used[0].Key)
	keys.mu.Unlock()
	if n, file, err := h.a.StrangeKeys(); n != 1 || !strings.Contains(file, "/"+archive.DayName(used[0].Day)+"/") || err != nil {
		t.Error(n, file, err)
	}
	h.close()
}

// TestPoolSwitched: a pool that begins to encrypt writes nothing in clear any
// more, inside a run that goes on too, and one that ends to goes on in clear
// from the next key frame; all of it plays.
func TestPoolSwitched(t *testing.T) {
	keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	at := uint64(0)
	for epoch := uint64(1); epoch <= 4; epoch++ {
		o := secret(keys)(data, epoch, dir)
		o.Pools[0].Encrypt = epoch == 2 || epoch == 4
		before := markers(dir.Root) // while nothing is open: a file that is sealed just now has two places
		h := open(t, o)
		rec, err := h.a.Recorder("gate", archive.Rules{Chunk: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, cam, rec, archive.GapServerDown)
		if at > 0 && f.next[1] == 0 {
			t.Fatal("the run does not go on")
		}
		at += 60
		if err := f.feed(at); err != nil {
			t.Fatal(err)
		}
		f.flush()
		eventually(t, "stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
		audit(t, h.a, cam, 0, at)
		rec.Close()
		h.close()
		if n := markers(dir.Root); (n > before) == o.Pools[0].Encrypt {
			t.Errorf("epoch %d: %d clear units before, %d after", epoch, before, n)
		}
	}
	h := open(t, secret(keys)(data, 9, dir))
	defer h.close()
	audit(t, h.a, cam, 0, at)
}

// markers counts the readable stamps in a folder.
func markers(root string) (n int) {
	filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, _ := os.ReadFile(p)
			n += bytes.Count(b, []byte("MSL1:"))
		}
		return nil
	})
	return n
}

// TestEncryptedMove: a file moves to a space of whole files byte by byte, and
// plays from there.
func TestEncryptedMove(t *testing.T) {
	keys, live, cold, cam := newKeys(), newDir(t), newDir(t), aged("gate", 1, time.Minute)
	o := tiered(t.TempDir(), 1, live, cold)
	o.Keys, o.Pools[0].Encrypt = keys, true
	h := open(t, o)
	defer h.close()
	record(t, h, cam, "live", 25*8)
	eventually(t, "moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && len(mediaFiles(t, cold.Root)) >= 4 })
	noMarker(t, cold.Root)
	audit(t, h.a, cam, 0, 200)
}

// TestSignedAndEncrypted: the chain verifies with the public key alone; with
// the keys of the days the units are compared as well.
func TestSignedAndEncrypted(t *testing.T) {
	keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
	o := secret(keys)(t.TempDir(), 1, dir)
	o.Signer, o.Pools[0].Sign = signerOf(1), true
	h := open(t, o)
	record(t, h, cam, "", 25*8)
	h.close()
	verify := func(k archive.UnitKeys) *archive.Verified {
		v := archive.Verifier{Keys: []ed25519.PublicKey{signerOf(1).public()}, UnitKeys: k, Grace: -1}
		out, err := v.Verify(t.Context(), dir.Root)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	files := len(mediaFiles(t, dir.Root))
	if v := verify(nil); v.Signed != files || v.Encrypted != files || v.Closed != files || len(v.Findings) != 0 {
		t.Errorf("without the key: %+v", v)
	}
	if v := verify(keys); v.Signed != files || v.Closed != 0 || len(v.Findings) != 0 {
		t.Errorf("with the key: %+v", v)
	}
	dead := newKeys()
	maps.Copy(dead.keys, keys.keys)
	dead.destroyAll()
	if v := verify(dead); v.Signed != files || v.Closed != files || v.Destroyed != files || len(v.Findings) != 0 {
		t.Errorf("with a key that was destroyed: %+v", v)
	}
	if v := verify(newKeys()); v.Closed != files || v.Destroyed != 0 {
		t.Errorf("with other keys: %+v", v)
	}
	// The holder of no key changes a byte and mends every checksum.
	name := mediaFiles(t, dir.Root)[1]
	parsed(t, dir.Root, func(file string, b []byte, x *mux.FragmentInfo) {
		if file != name || x.Header.PartIndex != 1 {
			return
		}
		b[x.PayloadAt+5] ^= 1
		end := x.HeaderAt + x.HeaderLen
		crc := crc32.Checksum(b[x.PayloadAt:x.PayloadAt+x.PayloadLen], crc32.MakeTable(crc32.Castagnoli))
		binary.BigEndian.PutUint32(b[end-4:], crc)
		mendHeader(b[x.HeaderAt:end])
		if err := os.WriteFile(filepath.Join(dir.Root, file), b, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	for _, k := range []archive.UnitKeys{nil, keys} {
		v := verify(k)
		if len(v.Findings) == 0 || !strings.HasSuffix(name, v.Findings[0].File) || v.Signed == files {
			t.Errorf("a byte changed: %+v", v)
		}
	}
}

// TestVerifyLooksInside: who holds no key may change an unsigned file so that all
// its checksums fit; with the key that is found.
func TestVerifyLooksInside(t *testing.T) {
	keys, dir, cam := newKeys(), newDir(t), newCamera("gate", 1)
	h := open(t, secret(keys)(t.TempDir(), 1, dir))
	record(t, h, cam, "", 25*4)
	h.close()
	done := false
	parsed(t, dir.Root, func(file string, b []byte, x *mux.FragmentInfo) {
		if done || x.Header.PartIndex != 1 {
			return
		}
		done = true
		b[x.PayloadAt+5] ^= 1
		end := x.HeaderAt + x.HeaderLen
		binary.BigEndian.PutUint32(b[end-4:], crc32.Checksum(b[x.PayloadAt:x.PayloadAt+x.PayloadLen], crc32.MakeTable(crc32.Castagnoli)))
		mendHeader(b[x.HeaderAt:end])
		if err := os.WriteFile(filepath.Join(dir.Root, file), b, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range []struct {
		keys archive.UnitKeys
		want int
	}{{nil, 0}, {keys, 1}} {
		v := archive.Verifier{UnitKeys: c.keys, Grace: -1}
		out, err := v.Verify(t.Context(), dir.Root)
		if err != nil || len(out.Findings) != c.want {
			t.Errorf("%+v %v", out, err)
		}
	}
}

// mendHeader makes the checksum of a part header right again.
func mendHeader(b []byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.BigEndian.PutUint32(b[28:], crc32.Update(crc32.Checksum(b[24:28], table), table, b[32:]))
}
