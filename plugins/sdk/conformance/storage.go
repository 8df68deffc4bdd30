package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk/pb"
)

var storageChecks = []check{
	{"space", "Open makes a space where it may, finds it again under the same id, and says what is wrong where it may not", "a disk that is not mounted must not be recorded beside", "write a marker; answer Problem with what and hint", storages, openSpace},
	{"space-older", "a space that noted an older epoch than the core knows of is an older copy: Open says so and writes nothing; only for backends that note epochs", "a copy of a disk, or a disk from the drawer, must not be recorded on as if it were the one that was used last", "note the newest epoch of the node durably in Open, answer it, and compare it with least_epoch before anything is written", storages, spaceOlder},
	{"space-epoch", "after Open of a newer epoch nothing of an older one is written, and its calls are refused with FAILED_PRECONDITION", "bytes of a dead core must not land after the new one has looked", "end and wait for what older epochs have under way, then answer Open", storages, spaceEpoch},
	{"append", "what is appended is written, read back and synced; Written and Synced only grow, and nothing is synced before it is written", "the core frees its memory by Written and tells drivers by Synced", "report by sequence, in order", storages, appendAndSync},
	{"resend", "what is sent again at the same offset changes nothing", "after a death the core sends again what it is not sure of", "write at the offset, never at the end", storages, resend},
	{"offset", "an append past the end is refused as BAD_OFFSET with the size, and so is all of that file until it is sent again; other files go on", "a hole in a file cannot be read", "compare offset and size; remember the file as failed", storages, badOffset},
	{"absent", "an append without create to a file that is not there is refused as NOT_FOUND", "a file that was deleted must not begin in its middle", "make files only where create is set", storages, absent},
	{"names", "a name that is none, or leaves the space, is refused by every call", "nothing outside the space may be touched", "check names byte by byte; open without following links", storages, badNames},
	{"truncate", "Truncate cuts and never lengthens, and appends go on at the new end", "torn tails are cut at start", "refuse a size above the file's", storages, truncate},
	{"seal", "Seal gives the final name once, at the size told, over no other file, and may be repeated", "an answer may be lost, a recording may not", "compare the size; refuse a name that is taken; answer a repetition", storages, seal},
	{"write", "Write replaces a small file whole", "records are written so", "temporary name, sync, rename, sync", storages, write},
	{"put", "Put stores a file whole under its final name, at the size told, over no other file, or not at all", "footage that is moved into the space comes so, and its original is deleted then", "spool it where no call shows it; make it durable, then give it its name", storages, put},
	{"read", "Read gives exactly the bytes asked for, NOT_FOUND where there is no file", "playback is made of ranges", "offset and length are the request's; length 0 is all that follows", storages, read},
	{"list", "List gives every file once, sorted by the bytes of the name, by prefix and after a name, at most 1,000 a message", "the core reads all it knows of a space so", "sort whole names, not folder by folder", storages, list},
	{"delete", "Delete removes, and names what was not there", "retention repeats what it is not sure of", "a missing file is no error", storages, remove},
	{"usage", "Usage says what is there, and counts what is written", "retention works by it", "fill in total, free and used", storages, usage},
	{"descriptors", "descriptors, if offered, are of the file asked for, read-only, and refused outside the space", "playback sends from them", "see PROTOCOL.md; open with O_RDONLY", storages, descriptors},
	{"descriptors-many", "descriptors asked for in one message are answered one after the other, in that order", "a rebuild opens every file there is, 32 a message", "read on where a request ends: one message may hold the end of one and the beginning of another", storages, manyDescriptors},
}

// spaceOf is a space of its own for one check.
type spaceOf struct {
	k    *kit
	st   pb.StorageClient
	name string
	set  map[string]string
	dir  string // empty: the backend has no path
}

// newSpace prepares a space; its folder is there and empty.
func (k *kit) newSpace() (*spaceOf, error) {
	k.space++
	s := &spaceOf{k: k, st: pb.NewStorageClient(k.p.conn), name: fmt.Sprintf("conformance-%d", k.space), set: maps.Clone(k.o.Settings)}
	if s.set == nil {
		s.set = map[string]string{}
	}
	has := func(name string) bool {
		return slices.ContainsFunc(k.keys, func(x *pb.SettingKey) bool { return x.Name == name })
	}
	if has("prefix") { // a part of a bucket
		s.set["prefix"] = path.Join(s.set["prefix"], filepath.Base(k.dir), s.name)
	}
	if has("path") {
		base := s.set["path"]
		if base == "" {
			base = k.dir
		}
		s.dir = filepath.Join(base, s.name)
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, err
		}
		s.set["path"] = s.dir
	}
	if _, given := s.set["fsync"]; has("fsync") && !given {
		s.set["fsync"] = "50ms"
	}
	return s, nil
}

func (s *spaceOf) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.k.ctx, s.k.o.Wait)
}

// open opens the space under a newer epoch.
func (s *spaceOf) open(epoch uint64, create bool) (*pb.OpenReply, error) {
	return s.ask(&pb.OpenRequest{Epoch: epoch, Create: create})
}

func (s *spaceOf) openLeast(epoch, least uint64) (*pb.OpenReply, error) {
	return s.ask(&pb.OpenRequest{Epoch: epoch, LeastEpoch: least})
}

func (s *spaceOf) ask(r *pb.OpenRequest) (*pb.OpenReply, error) {
	ctx, cancel := s.call()
	defer cancel()
	r.Space, r.Settings, r.Node = s.name, s.set, "0123456789abcdef0123456789abcdef"
	return s.st.Open(ctx, r)
}

// opened is a new space that is open.
func (k *kit) opened() (*spaceOf, error) {
	s, err := k.newSpace()
	if err != nil {
		return nil, err
	}
	r, err := s.open(k.newer(), true)
	if err == nil && r.Problem != nil {
		err = fmt.Errorf("a new space is refused: %v", r.Problem)
	}
	return s, err
}

func openSpace(k *kit) error {
	s, err := k.newSpace()
	if err != nil {
		return err
	}
	r, err := s.open(k.newer(), false)
	switch {
	case err != nil:
		return err
	case r.Problem.GetWhat() == "" || r.Problem.GetHint() == "":
		return fmt.Errorf("Open without create of a space that is not there gives the problem %v, want what and hint", r.Problem) //nolint:staticcheck // the call's name
	case r.Created:
		return errors.New("a space was created without create")
	}
	if r, err = s.open(k.newer(), true); err != nil {
		return err
	}
	if r.Problem != nil || !r.Created || len(r.Id) != 16 {
		return fmt.Errorf("with create: %v, want created and an id of 16 bytes", r)
	}
	again, err := s.open(k.newer(), true)
	if err != nil {
		return err
	}
	if again.Created || !bytes.Equal(again.Id, r.Id) {
		return fmt.Errorf("opened again: %v, want the id %x", again, r.Id)
	}
	if s.dir == "" {
		return nil
	}
	other, err := k.newSpace()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(other.dir, "somebody.txt"), []byte("x"), 0o600); err != nil {
		return err
	}
	if r, err = other.open(k.newer(), true); err != nil || r.Problem.GetWhat() == "" {
		return fmt.Errorf("a folder with somebody else's files: %v, %w; want a problem", r, err)
	}
	return nil
}

func spaceOlder(k *kit) error {
	s, err := k.newSpace()
	if err != nil {
		return err
	}
	noted := k.newer()
	r, err := s.open(noted, true)
	if err != nil || r.Problem != nil {
		return fmt.Errorf("a new space is refused: %v, %w", r, err)
	}
	if r.Epoch == 0 {
		return nil // it notes none
	}
	if r.Epoch != noted {
		return fmt.Errorf("Open with the epoch %d tells that %d is noted", noted, r.Epoch) //nolint:staticcheck // the call's name
	}
	for range 2 { // what is refused leaves no note
		k.newer()
		old, err := s.openLeast(k.newer(), k.epoch-1)
		switch {
		case err != nil:
			return err
		case old.Problem.GetWhat() == "" || old.Problem.GetHint() == "" || old.Epoch != noted || !bytes.Equal(old.Id, r.Id):
			return fmt.Errorf("with least_epoch %d where %d is noted: %v, want a problem, the id and the epoch %d", k.epoch-1, noted, old, noted)
		}
	}
	if again, err := s.openLeast(k.newer(), noted); err != nil || again.Problem != nil || again.Epoch != k.epoch {
		return fmt.Errorf("with least_epoch %d, which is noted: %v, %w; want it opened", noted, again, err)
	}
	return nil
}

func spaceEpoch(k *kit) error {
	if !k.grows() {
		return wholeEpoch(k)
	}
	s, err := k.opened()
	if err != nil {
		return err
	}
	old := k.epoch
	a, err := s.append(old)
	if err != nil {
		return err
	}
	defer a.close()
	if _, err := a.put("open/a", 0, true, fill(1000, 1)); err != nil {
		return err
	}
	if err := a.until(func() bool { return a.written == a.sent }); err != nil {
		return err
	}
	if _, err := s.open(k.newer(), true); err != nil {
		return err
	}
	// What the dead core still has on the way.
	_, _ = a.put("open/a", 1000, false, fill(1000, 2))
	_, _ = a.put("open/b", 0, true, fill(10, 3))
	if err := a.ends(); err != nil {
		return fmt.Errorf("the connection of the older epoch: %w", err)
	}
	if n, err := s.size("open/a"); err != nil || n != 1000 {
		return fmt.Errorf("open/a has %d bytes after a newer Open, want 1000 (%w)", n, err)
	}
	if n, err := s.size("open/b"); err != nil || n != -1 {
		return fmt.Errorf("open/b was made after a newer Open (%d bytes, %w)", n, err)
	}
	ctx, cancel := s.call()
	defer cancel()
	for name, f := range map[string]func() error{
		"Open": func() error {
			_, err := s.open(old, true)
			return err
		},
		"Append": func() error {
			a, err := s.append(old)
			if err == nil {
				a.close()
			}
			return err
		},
		"Write": func() error {
			_, err := s.st.Write(ctx, &pb.WriteRequest{Space: s.name, Epoch: old, Name: "w", Payload: []byte("x")})
			return err
		},
		"Truncate": func() error {
			_, err := s.st.Truncate(ctx, &pb.TruncateRequest{Space: s.name, Epoch: old, Name: "open/a"})
			return err
		},
		"Seal": func() error {
			_, err := s.st.Seal(ctx, &pb.SealRequest{Space: s.name, Epoch: old, Name: "open/a", FinalName: "a", Size: 1000})
			return err
		},
		"Delete": func() error {
			_, err := s.st.Delete(ctx, &pb.DeleteRequest{Space: s.name, Epoch: old, Names: []string{"open/a"}})
			return err
		},
		"Sync": func() error {
			_, err := s.st.Sync(ctx, &pb.SyncRequest{Space: s.name, Epoch: old})
			return err
		},
	} {
		if err := wantCode(f(), codes.FailedPrecondition); err != nil {
			return fmt.Errorf("%s of an older epoch: %w", name, err)
		}
	}
	return nil
}

func appendAndSync(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	a, err := s.append(k.epoch)
	if err != nil {
		return err
	}
	defer a.close()
	want := map[string][]byte{}
	for i := range 20 {
		name := fmt.Sprintf("open/%d", i%3)
		p := fill(1+rand.IntN(100_000), byte(i))
		if _, err := a.put(name, len(want[name]), i < 3, p); err != nil {
			return err
		}
		want[name] = append(want[name], p...)
	}
	if err := a.until(func() bool { return a.written == a.sent }); err != nil {
		return err
	}
	for name, b := range want {
		if err := s.holds(name, b); err != nil {
			return fmt.Errorf("after Written: %w", err)
		}
	}
	if err := a.until(func() bool { return a.synced == a.sent }); err != nil {
		return fmt.Errorf("waiting for Synced: %w", err)
	}
	if _, err := a.put("open/0", len(want["open/0"]), false, nil); err != nil { // an empty payload is a message like any other
		return err
	}
	return a.until(func() bool { return a.written == a.sent })
}

func resend(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	a, err := s.append(k.epoch)
	if err != nil {
		return err
	}
	b := fill(50_000, 7)
	for range 2 { // the second time by another core
		for off := 0; off < len(b); off += 10_000 {
			if _, err := a.put("open/x", off, true, b[off:off+10_000]); err != nil {
				return err
			}
		}
		if err := a.until(func() bool { return a.written == a.sent }); err != nil {
			return err
		}
		if err := s.holds("open/x", b); err != nil {
			return err
		}
		if _, err := a.put("open/x", 20_000, false, b[20_000:30_000]); err != nil { // from the middle
			return err
		}
		if err := a.until(func() bool { return a.written == a.sent }); err != nil {
			return err
		}
		if err := s.holds("open/x", b); err != nil {
			return fmt.Errorf("sent again from the middle: %w", err)
		}
		a.close()
		if _, err := s.open(k.newer(), true); err != nil {
			return err
		}
		if a, err = s.append(k.epoch); err != nil {
			return err
		}
	}
	a.close()
	return nil
}

func badOffset(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	a, err := s.append(k.epoch)
	if err != nil {
		return err
	}
	defer a.close()
	b := fill(3000, 5)
	_, _ = a.put("open/x", 0, true, b[:1000])
	wrong, _ := a.put("open/x", 2000, false, b[2000:])
	_, _ = a.put("open/y", 0, true, b)
	if err := a.until(func() bool { return a.written == a.sent && len(a.failed) > 0 }); err != nil {
		return err
	}
	f := a.failed[0]
	if len(a.failed) != 1 || f.Sequence != wrong || f.Name != "open/x" || f.Reason != pb.AppendFailed_BAD_OFFSET || f.Size != 1000 {
		return fmt.Errorf("Failed is %v, want BAD_OFFSET of sequence %d, open/x, size 1000", a.failed, wrong) //nolint:staticcheck // the message's name
	}
	if err := s.holds("open/x", b[:1000]); err != nil {
		return err
	}
	if err := s.holds("open/y", b); err != nil {
		return fmt.Errorf("another file: %w", err)
	}
	// Sent again from there, it goes on.
	_, _ = a.put("open/x", 1000, false, b[1000:2000])
	_, _ = a.put("open/x", 2000, false, b[2000:])
	if err := a.until(func() bool { return a.written == a.sent }); err != nil {
		return err
	}
	if len(a.failed) != 1 {
		return fmt.Errorf("sent again, and refused: %v", a.failed[1:])
	}
	return s.holds("open/x", b)
}

func absent(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	a, err := s.append(k.epoch)
	if err != nil {
		return err
	}
	defer a.close()
	_, _ = a.put("open/none", 0, false, []byte("x"))
	if err := a.until(func() bool { return len(a.failed) > 0 }); err != nil {
		return err
	}
	if a.failed[0].Reason != pb.AppendFailed_NOT_FOUND {
		return fmt.Errorf("the reason is %v, want NOT_FOUND", a.failed[0].Reason)
	}
	if n, err := s.size("open/none"); err != nil || n != -1 {
		return fmt.Errorf("the file is there all the same (%d bytes, %w)", n, err)
	}
	return nil
}

func badNames(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	if s.dir != "" {
		if err := os.WriteFile(filepath.Join(filepath.Dir(s.dir), "outside"), []byte("outside"), 0o600); err != nil {
			return err
		}
	}
	grows := k.grows()
	names := []string{"", "../outside", "open/../../outside", "/etc/hostname", "a//b", "./a", "a/.", "a/", "..", "a b", "ä", "a\x00b", "a\\b", strings.Repeat("n", 201)}
	for _, name := range names {
		ctx, cancel := s.call()
		for what, err := range map[string]error{
			"Write":      second(s.st.Write(ctx, &pb.WriteRequest{Space: s.name, Epoch: k.epoch, Name: name, Payload: []byte("x")})),
			"Read":       second(s.read(name, 0, 0)),
			"Seal":       second(s.st.Seal(ctx, &pb.SealRequest{Space: s.name, Epoch: k.epoch, Name: name, FinalName: "b"})),
			"Seal to it": second(s.st.Seal(ctx, &pb.SealRequest{Space: s.name, Epoch: k.epoch, Name: "open/b", FinalName: name})),
			"Truncate":   second(s.st.Truncate(ctx, &pb.TruncateRequest{Space: s.name, Epoch: k.epoch, Name: name})),
			"Delete":     second(s.st.Delete(ctx, &pb.DeleteRequest{Space: s.name, Epoch: k.epoch, Names: []string{name}})),
			"Stat":       second(s.st.Stat(ctx, &pb.StatRequest{Space: s.name, Name: name})),
		} {
			// A protobuf string is UTF-8; a client may refuse to send others.
			if c := status.Code(err); c != codes.InvalidArgument && c != codes.Internal && (grows || c != codes.Unimplemented) {
				cancel()
				return fmt.Errorf("%s of the name %.40q: %v, want InvalidArgument", what, name, c)
			}
		}
		cancel()
		if !grows {
			if c := status.Code(s.whole(k.epoch, name, 1, []byte("x"))); c != codes.InvalidArgument && c != codes.Internal {
				return fmt.Errorf("Put of the name %.40q: %v, want InvalidArgument", name, c) //nolint:staticcheck // the call's name
			}
			continue
		}
		a, err := s.append(k.epoch)
		if err != nil {
			return err
		}
		_, _ = a.put(name, 0, true, []byte("x"))
		err = a.until(func() bool { return len(a.failed) > 0 })
		a.close()
		if err != nil {
			return fmt.Errorf("append to the name %.40q is not refused: %w", name, err)
		}
	}
	if s.dir != "" {
		if b, err := os.ReadFile(filepath.Join(filepath.Dir(s.dir), "outside")); err != nil || string(b) != "outside" {
			return fmt.Errorf("a file outside the space was changed: %q, %w", b, err)
		}
	}
	all, err := s.list("", "")
	if err == nil && len(all) > 0 {
		err = fmt.Errorf("files were made: %v", all)
	}
	return err
}

func second[T any](_ T, err error) error { return err }

func truncate(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	b := fill(5000, 9)
	if err := s.put(k.epoch, "open/t", b); err != nil {
		return err
	}
	ctx, cancel := s.call()
	defer cancel()
	if _, err := s.st.Truncate(ctx, &pb.TruncateRequest{Space: s.name, Epoch: k.epoch, Name: "open/t", Size: 6000}); err == nil {
		return errors.New("a file was made longer")
	}
	if _, err := s.st.Truncate(ctx, &pb.TruncateRequest{Space: s.name, Epoch: k.epoch, Name: "open/t", Size: 1234}); err != nil {
		return err
	}
	if err := s.holds("open/t", b[:1234]); err != nil {
		return err
	}
	a, err := s.append(k.epoch)
	if err != nil {
		return err
	}
	defer a.close()
	_, _ = a.put("open/t", 1234, false, b[1234:])
	if err := a.until(func() bool { return a.written == a.sent }); err != nil {
		return err
	}
	return s.holds("open/t", b)
}

func seal(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	b := fill(4000, 4)
	for _, name := range []string{"open/s", "open/t"} {
		if err := s.put(k.epoch, name, b); err != nil {
			return err
		}
	}
	ctx, cancel := s.call()
	defer cancel()
	try := func(name, final string, size uint64) error {
		_, err := s.st.Seal(ctx, &pb.SealRequest{Space: s.name, Epoch: k.epoch, Name: name, FinalName: final, Size: size})
		return err
	}
	if try("open/s", "cam/day/s", 3999) == nil {
		return errors.New("sealed at another size than the file's")
	}
	if err := s.holds("open/s", b); err != nil {
		return fmt.Errorf("after a refused Seal: %w", err)
	}
	for i := range 2 { // the second time as if the answer had been lost
		if err := try("open/s", "cam/day/s", 4000); err != nil {
			return fmt.Errorf("time %d: %w", i+1, err)
		}
	}
	if n, err := s.size("open/s"); err != nil || n != -1 {
		return fmt.Errorf("the old name is still there (%d bytes, %w)", n, err)
	}
	if err := s.holds("cam/day/s", b); err != nil {
		return err
	}
	if try("open/t", "cam/day/s", 4000) == nil {
		return errors.New("sealed over another file")
	}
	if try("open/none", "cam/day/n", 1) == nil {
		return errors.New("a file that is not there was sealed")
	}
	return s.holds("open/t", b)
}

func write(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	ctx, cancel := s.call()
	defer cancel()
	for _, b := range [][]byte{fill(3000, 1), []byte("short"), {}} {
		if _, err := s.st.Write(ctx, &pb.WriteRequest{Space: s.name, Epoch: k.epoch, Name: "state/x.json", Payload: b}); err != nil {
			return err
		}
		if err := s.holds("state/x.json", b); err != nil {
			return err
		}
	}
	all, err := s.list("", "")
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("more than the file written is there: %v", all)
	}
	return err
}

func read(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	b := fill(2_500_000, 6)
	if err := s.put(k.epoch, "open/r", b); err != nil {
		return err
	}
	for _, r := range [][2]int{{0, 0}, {0, 1}, {1_000_000, 1_200_000}, {2_499_999, 0}, {2_499_990, 10}, {2_499_990, 5000}, {2_500_000, 0}} {
		got, err := s.read("open/r", r[0], r[1])
		want := b[r[0]:]
		if r[1] > 0 {
			want = want[:min(r[1], len(want))]
		}
		if err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("offset %d, length %d: %d bytes, %w; want %d", r[0], r[1], len(got), err, len(want))
		}
	}
	if got, err := s.read("open/r", 2_500_001, 0); err == nil && len(got) > 0 {
		return fmt.Errorf("%d bytes behind the end", len(got))
	}
	_, err = s.read("open/none", 0, 0)
	return wantCode(err, codes.NotFound)
}

func list(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	names := []string{"a-b/x", "a/x", "a/y", "a.b", "ab", "B", "open/z"}
	for i := range 1010 {
		names = append(names, fmt.Sprintf("m/%04d", i))
	}
	if err := s.makeAll(names); err != nil {
		return err
	}
	slices.Sort(names)
	for _, c := range [][2]string{{"", ""}, {"a", ""}, {"a/", ""}, {"", "a/x"}, {"m/", "m/0500"}, {"open/", ""}, {"none/", ""}, {"a/", "b"}} {
		var want []string
		for _, n := range names {
			if strings.HasPrefix(n, c[0]) && n > c[1] {
				want = append(want, n)
			}
		}
		got, err := s.list(c[0], c[1])
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("prefix %q after %q: %d names, want %d, sorted: %.200v", c[0], c[1], len(got), len(want), got)
		}
	}
	return nil
}

// makeAll makes small files that hold their names.
func (s *spaceOf) makeAll(names []string) error {
	if !s.k.grows() {
		for _, n := range names {
			if err := s.whole(s.k.epoch, n, len(n), []byte(n)); err != nil {
				return err
			}
		}
		return nil
	}
	a, err := s.append(s.k.epoch)
	if err != nil {
		return err
	}
	defer a.close()
	for _, n := range names {
		if _, err := a.put(n, 0, true, []byte(n)); err != nil {
			return err
		}
	}
	if err := a.until(func() bool { return a.written == a.sent }); err != nil {
		return err
	}
	if len(a.failed) > 0 {
		return fmt.Errorf("a file could not be made: %v", a.failed[0])
	}
	return nil
}

func remove(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	for _, n := range []string{"open/a", "d/b"} {
		if err := s.put(k.epoch, n, []byte("x")); err != nil {
			return err
		}
	}
	ctx, cancel := s.call()
	defer cancel()
	for i, missing := range [][]string{{"d/none"}, {"open/a", "d/none", "d/b"}} {
		r, err := s.st.Delete(ctx, &pb.DeleteRequest{Space: s.name, Epoch: k.epoch, Names: []string{"open/a", "d/none", "d/b"}})
		if err != nil {
			return err
		}
		if !slices.Equal(r.Missing, missing) {
			return fmt.Errorf("time %d: missing %v, want %v", i+1, r.Missing, missing)
		}
	}
	all, err := s.list("", "")
	if err == nil && len(all) > 0 {
		err = fmt.Errorf("still there: %v", all)
	}
	return err
}

func usage(k *kit) error {
	s, err := k.opened()
	if err != nil {
		return err
	}
	ask := func() (*pb.UsageReply, error) {
		ctx, cancel := s.call()
		defer cancel()
		return s.st.Usage(ctx, &pb.UsageRequest{Space: s.name})
	}
	before, err := ask()
	if err != nil {
		return err
	}
	if before.Total == 0 || before.Free > before.Total || before.ReadOnly {
		return fmt.Errorf("a new space: %v", before)
	}
	if err := s.put(k.epoch, "open/u", fill(3_000_000, 2)); err != nil {
		return err
	}
	for deadline := time.Now().Add(min(k.o.Wait, 5*time.Second)); ; time.Sleep(20 * time.Millisecond) {
		after, err := ask()
		if err != nil {
			return err
		}
		if after.Used >= before.Used+3_000_000 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("used is %d after 3,000,000 bytes were written, it was %d", after.Used, before.Used)
		}
	}
}

// size of a file; -1: it is not there.
func (s *spaceOf) size(name string) (int64, error) {
	ctx, cancel := s.call()
	defer cancel()
	r, err := s.st.Stat(ctx, &pb.StatRequest{Space: s.name, Name: name})
	if err != nil || !r.Exists {
		return -1, err
	}
	return int64(r.Size), nil
}

// holds compares a file's size and bytes.
func (s *spaceOf) holds(name string, want []byte) error {
	n, err := s.size(name)
	if err != nil {
		return err
	}
	if n != int64(len(want)) {
		return fmt.Errorf("%s has %d bytes, want %d", name, n, len(want))
	}
	got, err := s.read(name, 0, 0)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s holds other bytes than were sent", name)
	}
	return err
}

func (s *spaceOf) read(name string, off, n int) ([]byte, error) {
	ctx, cancel := s.call()
	defer cancel()
	st, err := s.st.Read(ctx, &pb.ReadRequest{Space: s.name, Name: name, Offset: uint64(off), Length: uint64(n)})
	if err != nil {
		return nil, err
	}
	var b []byte
	for {
		m, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(m.Payload) > 1<<20 {
			return b, fmt.Errorf("a message of %d bytes, the limit is 1 MB", len(m.Payload))
		}
		b = append(b, m.Payload...)
	}
}

func (s *spaceOf) list(prefix, after string) (names []string, err error) {
	ctx, cancel := s.call()
	defer cancel()
	st, err := s.st.List(ctx, &pb.ListRequest{Space: s.name, Prefix: prefix, After: after})
	if err != nil {
		return nil, err
	}
	for {
		m, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return names, err
		}
		if len(m.Entries) > 1000 {
			return names, fmt.Errorf("a message of %d entries, the limit is 1,000", len(m.Entries))
		}
		for _, e := range m.Entries {
			names = append(names, e.Name)
		}
	}
}

// fill makes n bytes that tell by themselves where they belong.
func fill(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ seed*31
	}
	return b
}
