package space

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an open space with its sync loop running.
type rig struct {
	*Space
	t    *testing.T
	stop func()
}

func start(t *testing.T, dir string, epoch uint64, tweak func(*Settings), mutate func(*diskCalls)) *rig {
	t.Helper()
	return startAs(t, dir, epoch, tweak, func(s *Space) {
		if mutate != nil {
			mutate(&s.disk)
		}
	})
}

// startAs is start for a test that changes more than the disk.
func startAs(t *testing.T, dir string, epoch uint64, tweak func(*Settings), mutate func(*Space)) *rig {
	t.Helper()
	set, bad := ParseSettings(map[string]string{"path": dir, "fsync": "10ms"})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	if tweak != nil {
		tweak(&set)
	}
	s, _, err := Open(t.Context(), Options{Name: "main", Epoch: epoch, Node: "n1", Create: true, Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	mutate(s)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	r := &rig{Space: s, t: t}
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { r.stop() })
	return r
}

// failing makes fdatasync fail whenever now says so.
func failing(d *diskCalls, now func() bool) {
	real := d.fdatasync
	d.fdatasync = func(f *os.File) error {
		if now() {
			return syscall.EIO
		}
		return real(f)
	}
}

// counted waits until the folder has been counted.
func (r *rig) counted() {
	for !r.use.exact.Load() {
		time.Sleep(time.Millisecond)
	}
}

func (r *rig) begin() *Session {
	r.t.Helper()
	c, err := r.Begin(r.t.Context(), r.Epoch())
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// until collects reports until ok.
func until(t *testing.T, c *Session, ok func(all Report) bool) Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all, r Report
	for !ok(all) {
		if !c.Next(ctx, &r) {
			t.Fatalf("the session ended; so far %+v", all)
		}
		all.Failures = append(all.Failures, r.Failures...)
		all.Written = max(all.Written, r.Written)
		all.Synced = max(all.Synced, r.Synced)
		all.Calls = max(all.Calls, r.Calls)
	}
	return all
}

func synced(n uint64) func(Report) bool { return func(r Report) bool { return r.Synced >= n } }
func failed(n int) func(Report) bool    { return func(r Report) bool { return len(r.Failures) >= n } }

func content(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAppendSealListDelete(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, nil, nil)
	r.counted()
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, ReserveTo: 1 << 20, Payload: []byte("hello ")})
	c.Append(Data{Sequence: 2, Name: "open/a", Offset: 6, Payload: []byte("world")})
	c.Append(Data{Sequence: 3, Name: "open/a", Offset: 6, Payload: []byte("world")}) // repeated
	got := until(t, c, synced(3))
	if len(got.Failures) > 0 || got.Written != 3 {
		t.Fatalf("%+v", got)
	}
	if u, err := r.Usage(); err != nil || u.Used < 1<<20 || u.Reserved != 1<<20-11 {
		t.Fatalf("usage %+v, %v", u, err)
	}
	for range 2 { // a Seal may be repeated
		if err := r.Seal(1, "open/a", "gate/2024-01-02/a.mp4", 11); err != nil {
			t.Fatal(err)
		}
	}
	if got := content(t, dir, "gate/2024-01-02/a.mp4"); got != "hello world" {
		t.Fatal(got)
	}
	fi, _ := os.Stat(filepath.Join(dir, "gate/2024-01-02/a.mp4"))
	if blocks(fi) > 8192 {
		t.Fatalf("%d bytes of blocks after sealing", blocks(fi))
	}
	if u, _ := r.Usage(); u.Used != blocks(fi) || u.Reserved != 0 {
		t.Fatalf("usage after sealing %+v, file %d", u, blocks(fi))
	}
	if err := r.Write(1, "ledger/x.bin", []byte("record")); err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := r.List(t.Context(), "", "", func(e Entry) error { names = append(names, e.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(names) != "[gate/2024-01-02/a.mp4 ledger/x.bin]" {
		t.Fatal(names)
	}
	missing, err := r.Delete(t.Context(), 1, []string{"gate/2024-01-02/a.mp4", "gate/none"})
	if err != nil || fmt.Sprint(missing) != "[gate/none]" {
		t.Fatal(missing, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gate")); !os.IsNotExist(err) {
		t.Fatal("empty folders stay")
	}
}

func TestListOrder(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, nil, nil)
	want := []string{"a-b/x", "a.txt", "a/b/c", "a/x", "a0", "open/1"}
	for _, n := range want {
		if err := r.Write(1, n, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "a", "strange name"), nil, 0o600)
	os.Symlink("/etc/passwd", filepath.Join(dir, "a", "link"))
	for i := 0; i <= len(want); i++ {
		after := ""
		if i > 0 {
			after = want[i-1]
		}
		var got []string
		r.List(t.Context(), "", after, func(e Entry) error { got = append(got, e.Name); return nil })
		if strings.Join(got, " ") != strings.Join(want[i:], " ") {
			t.Errorf("after %q: %v", after, got)
		}
	}
	for _, p := range []string{"a", "a/", "a/b", "open/", "z"} {
		var got, exp []string
		r.List(t.Context(), p, "", func(e Entry) error { got = append(got, e.Name); return nil })
		for _, n := range want {
			if strings.HasPrefix(n, p) {
				exp = append(exp, n)
			}
		}
		if strings.Join(got, " ") != strings.Join(exp, " ") {
			t.Errorf("prefix %q: %v", p, got)
		}
	}
}

func TestAppendFailures(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, nil, nil)
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("abc")})
	c.Append(Data{Sequence: 2, Name: "open/a", Offset: 4, Payload: []byte("x")}) // past the end
	c.Append(Data{Sequence: 3, Name: "open/a", Offset: 5, Payload: []byte("x")}) // dropped
	c.Append(Data{Sequence: 4, Name: "open/b", Payload: []byte("x")})            // not there
	c.Append(Data{Sequence: 5, Name: "open/b", Offset: 1, Payload: []byte("x")}) // dropped
	c.Append(Data{Sequence: 6, Name: "../b", Create: true, Payload: []byte("x")})
	c.Append(Data{Sequence: 7, Name: "open/a", Offset: 3, Payload: []byte("de")}) // sent again
	got := until(t, c, synced(7))
	var s []string
	for _, f := range got.Failures {
		s = append(s, fmt.Sprintf("%d:%s:%d", f.Sequence, f.Reason, f.Size))
	}
	if strings.Join(s, ", ") != "2:bad offset:3, 4:not found:-1, 6:bad name:-1" {
		t.Fatal(s)
	}
	if got := content(t, dir, "open/a"); got != "abcde" {
		t.Fatal(got)
	}
}

func TestNoEmptyFiles(t *testing.T) {
	dir := t.TempDir()
	var full atomic.Bool
	full.Store(true)
	r := start(t, dir, 1, nil, func(d *diskCalls) {
		d.pwrite = func(f *os.File, p []byte, off int64) (int, error) {
			if full.Load() {
				n, _ := f.WriteAt(p[:len(p)/2], off) // a short write, as on a full disk
				return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
			}
			return f.WriteAt(p, off)
		}
	})
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("abcd")})
	got := until(t, c, failed(1))
	if got.Failures[0].Reason != NoSpace {
		t.Fatalf("%+v", got.Failures)
	}
	if _, err := os.Stat(filepath.Join(dir, "open/a")); !os.IsNotExist(err) {
		t.Fatal("an empty file stays")
	}
	full.Store(false)
	c.Append(Data{Sequence: 2, Name: "open/a", Create: true, Payload: []byte("abcd")})
	full.Store(true)
	c.Append(Data{Sequence: 3, Name: "open/a", Offset: 4, Payload: []byte("efgh")})
	until(t, c, failed(1))
	if got := content(t, dir, "open/a"); got != "abcd" {
		t.Fatalf("half a message stays: %q", got)
	}
}

func TestSyncFailureIsNeverForgotten(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	r := start(t, dir, 1, nil, func(d *diskCalls) {
		failing(d, broken.Load)
	})
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("safe.")})
	until(t, c, synced(1))
	broken.Store(true)
	c.Append(Data{Sequence: 2, Name: "open/a", Offset: 5, Payload: []byte("lost.")})
	got := until(t, c, failed(1))
	f := got.Failures[0]
	if f.Reason != SyncFailed || f.Size != 5 || f.Sequence != 2 {
		t.Fatalf("%+v", f)
	}
	broken.Store(false)
	// The kernel now calls the pages clean. The file must not be sealed, and
	// nothing may be added behind the hole.
	if err := r.Seal(1, "open/a", "x/a", 10); ReasonOf(err) != BadOffset {
		t.Fatal(err)
	}
	c.Append(Data{Sequence: 3, Name: "open/a", Offset: 10, Payload: []byte("more.")})
	until(t, c, synced(3))
	if e, _, _ := r.Stat("open/a"); e.Size != 5 {
		t.Fatalf("size %d", e.Size)
	}
	c.Append(Data{Sequence: 4, Name: "open/a", Offset: 5, Payload: []byte("lost.")})
	c.Append(Data{Sequence: 5, Name: "open/a", Offset: 10, Payload: []byte("more.")})
	if got := until(t, c, synced(5)); len(got.Failures) > 0 {
		t.Fatalf("%+v", got.Failures)
	}
	if err := r.Seal(1, "open/a", "x/a", 15); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir, "x/a"); got != "safe.lost.more." {
		t.Fatal(got)
	}
}

// A newer core waits for the last byte of the older, and then reads what it
// will find for ever.
func TestEpochWaitsForTheLastByte(t *testing.T) {
	dir := t.TempDir()
	in, out := make(chan struct{}), make(chan struct{})
	var slow atomic.Bool
	r := start(t, dir, 1, nil, func(d *diskCalls) {
		d.pwrite = func(f *os.File, p []byte, off int64) (int, error) {
			if slow.Load() {
				close(in)
				<-out
			}
			return f.WriteAt(p, off)
		}
	})
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("1")})
	slow.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		c.Append(Data{Sequence: 2, Name: "open/a", Offset: 1, Payload: []byte("2")})
		c.Append(Data{Sequence: 3, Name: "open/a", Offset: 2, Payload: []byte("3")})
	})
	<-in
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	_, err := r.Reopen(short, Options{Epoch: 2, Node: "n1", Settings: *r.set.Load()})
	cancel()
	if err == nil {
		t.Fatal("opened while a byte of the old core was still to come")
	}
	slow.Store(false)
	close(out)
	if _, err := r.Reopen(t.Context(), Options{Epoch: 2, Node: "n1", Settings: *r.set.Load()}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir, "open/a"); got != "12" {
		t.Fatalf("%q", got)
	}
	wg.Wait()
	if got := content(t, dir, "open/a"); got != "12" {
		t.Fatalf("the dead core wrote: %q", got)
	}
	for what, err := range map[string]error{
		"truncate": r.Truncate(1, "open/a", 0),
		"seal":     r.Seal(1, "open/a", "x", 2),
		"write":    r.Write(1, "w", nil),
		"open":     func() error { _, err := r.Reopen(t.Context(), Options{Epoch: 1, Node: "n1"}); return err }(),
		"begin":    func() error { _, err := r.Begin(t.Context(), 1); return err }(),
	} {
		if ReasonOf(err) != StaleEpoch {
			t.Errorf("%s by the old core: %v", what, err)
		}
	}
}

func TestEpochSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 7, nil, nil)
	r.stop()
	set := Settings{Path: dir, Fsync: time.Second}
	if _, _, err := Open(t.Context(), Options{Name: "main", Epoch: 6, Node: "n1", Settings: set}); ReasonOf(err) != StaleEpoch {
		t.Fatal(err)
	}
	s, got, err := Open(t.Context(), Options{Name: "main", Epoch: 1, Node: "new", Settings: set})
	if err != nil || got.Created {
		t.Fatalf("a new installation counts from one: %v %+v", err, got)
	}
	// One folder, one space.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := Open(ctx, Options{Name: "other", Epoch: 1, Node: "new", Settings: set}); ReasonOf(err) != Unusable {
		t.Fatal(err)
	}
	s.Close(t.Context())
}

func TestOpenRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	foreign, damaged := t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(foreign, "photo.jpg"), []byte("x"), 0o600)
	os.Mkdir(filepath.Join(damaged, private), 0o700)
	os.WriteFile(filepath.Join(damaged, markerName), []byte("{"), 0o600)
	for _, tc := range []struct {
		name, path string
		create     bool
		want       string
	}{
		{"missing", missing, false, "cannot be opened"},
		{"unmarked", t.TempDir(), false, "marker .space/marker is missing"},
		{"foreign", foreign, true, `not empty ("photo.jpg")`},
		{"damaged", damaged, true, "cannot be read"},
	} {
		_, _, err := Open(t.Context(), Options{Name: "x", Epoch: 1, Create: tc.create, Settings: Settings{Path: tc.path}})
		if ReasonOf(err) != Unusable || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestLostDiskIsNoticed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	r := start(t, dir, 1, nil, nil)
	if _, err := r.Usage(); err != nil {
		t.Fatal(err)
	}
	os.Rename(dir, dir+".away")
	os.MkdirAll(dir, 0o700)
	if _, err := r.Usage(); ReasonOf(err) != Unusable {
		t.Fatal(err)
	}
}

func TestSizeLimit(t *testing.T) {
	r := start(t, t.TempDir(), 1, func(s *Settings) { s.SizeLimit = Size{Bytes: 100 << 10} }, nil)
	r.counted()
	c := r.begin()
	chunk := bytes.Repeat([]byte("x"), 40<<10)
	for i := range 3 {
		c.Append(Data{Sequence: uint64(i + 1), Name: "open/a", Offset: uint64(i * len(chunk)), Create: true, Payload: chunk})
	}
	got := until(t, c, func(r Report) bool { return r.Written == 3 })
	if len(got.Failures) != 1 || got.Failures[0].Reason != Limit || got.Failures[0].Sequence != 3 {
		t.Fatalf("%+v", got)
	}
	if err := r.Truncate(1, "open/a", 1); err != nil {
		t.Fatal(err)
	}
	c.Append(Data{Sequence: 4, Name: "open/a", Offset: 1, Payload: chunk})
	if got := until(t, c, func(r Report) bool { return r.Written == 4 }); len(got.Failures) > 0 {
		t.Fatalf("%+v", got)
	}
}

// What was counted at start and booked since must be what lies there.
func TestUsageCount(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, nil, nil)
	for i := range 20 {
		r.Write(1, fmt.Sprintf("u%d/d/f%d", i%3, i), bytes.Repeat([]byte("x"), 5000*(i+1)))
	}
	r.stop()
	r = start(t, dir, 2, nil, nil)
	c := r.begin()
	for i := range 20 { // while counting goes on
		c.Append(Data{Sequence: uint64(i + 1), Name: "open/a", Offset: uint64(i) * 5000, Create: true, Payload: make([]byte, 5000)})
		r.Delete(t.Context(), 2, []string{fmt.Sprintf("u%d/d/f%d", i%3, i)})
		r.Write(2, fmt.Sprintf("new%d/f", i), make([]byte, 3000))
	}
	until(t, c, synced(20))
	if err := r.Seal(2, "open/a", "u9/a", 100000); err != nil {
		t.Fatal(err)
	}
	r.counted()
	var want int64
	r.List(t.Context(), "", "", func(e Entry) error {
		fi, _ := os.Stat(filepath.Join(dir, e.Name))
		want += blocks(fi)
		return nil
	})
	if u, err := r.Usage(); err != nil || u.Used != want {
		t.Fatalf("%+v, %v; the folder holds %d", u, err, want)
	}
}

// A file that is sealed between the beginning of a round and its own turn is
// synced once, and counted so.
func TestSealedInARoundIsCountedOnce(t *testing.T) {
	r := start(t, t.TempDir(), 1, nil, nil)
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("abc")})
	until(t, c, synced(1))
	r.mu.Lock()
	f := r.files["open/a"]
	r.mu.Unlock()
	round := []snap{{f: f, size: 3}}
	if err := r.Seal(1, "open/a", "a", 3); err != nil {
		t.Fatal(err)
	}
	r.stop() // the round that the new name brings is over
	before := r.Calls()
	r.flushFiles(round)
	if n := r.Calls() - before; n != 0 || round[0].err != nil {
		t.Fatalf("%d calls of a file that is closed, %v", n, round[0].err)
	}
}

// TestSealBack: what was sealed by a call without an answer can grow, be cut and be
// sealed again.
func TestSealBack(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, nil, nil)
	r.counted()
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("hello world")})
	until(t, c, synced(1))
	for _, err := range []error{r.Seal(1, "open/a", "u/a", 11), r.Seal(1, "u/a", "open/a", 11), r.Truncate(1, "open/a", 6)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Append(Data{Sequence: 2, Name: "open/a", Offset: 6, Payload: []byte("index")})
	if got := until(t, c, synced(2)); len(got.Failures) > 0 {
		t.Fatalf("%+v", got)
	}
	if err := r.Seal(1, "open/a", "u/a", 11); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir, "u/a"); got != "hello index" {
		t.Fatal(got)
	}
	fi, _ := os.Stat(filepath.Join(dir, "u/a"))
	if u, _ := r.Usage(); u.Used != blocks(fi) || u.Reserved != 0 {
		t.Fatalf("usage %+v, file %d", u, blocks(fi))
	}
}

func TestFsyncOff(t *testing.T) {
	r := start(t, t.TempDir(), 1, func(s *Settings) { s.Fsync = 0 }, nil)
	c := r.begin()
	before := r.Calls()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("abc")})
	until(t, c, synced(1))
	if err := r.Seal(1, "open/a", "a", 3); err != nil {
		t.Fatal(err)
	}
	if r.Calls() != before {
		t.Fatal("synced though off")
	}
	if len(r.dirty) != 0 {
		t.Fatal("a sealed file is kept")
	}
	if err := r.Sync(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, 1, nil, nil).stop()
	os.MkdirAll(filepath.Join(dir, "open"), 0o700)
	for n, b := range map[string]string{"open/empty": "", "open/full": "x", ".space/tmp/w1": "half"} {
		os.WriteFile(filepath.Join(dir, n), []byte(b), 0o600)
	}
	start(t, dir, 2, nil, nil)
	for n, want := range map[string]bool{"open/empty": false, "open/full": true, ".space/tmp/w1": false} {
		if _, err := os.Stat(filepath.Join(dir, n)); (err == nil) != want {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func TestBooksAppendAllocations(t *testing.T) {
	r := start(t, t.TempDir(), 1, func(s *Settings) { s.Fsync = time.Hour }, nil)
	c := r.begin()
	d := Data{Sequence: 1, Name: "open/a", Create: true, Payload: make([]byte, 100)}
	c.Append(d)
	n := testing.AllocsPerRun(200, func() {
		d.Sequence++
		d.Offset += 100
		c.Append(d)
	})
	if n > 1 {
		t.Errorf("%v allocations an append", n)
	}
}

// TestDeleteBeyondBad: files that cannot be removed keep none of the others, and
// the error names them.
func TestDeleteBeyondBad(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, nil, nil)
	for _, n := range []string{"gate/a", "gate/b", "gate/c"} {
		if err := r.Write(1, n, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"gate/x.mp4/in", "gate/y.mp4/in"} { // a folder is no file
		if err := os.MkdirAll(filepath.Join(dir, n), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	missing, err := r.Delete(t.Context(), 1, []string{"gate/x.mp4", "gate/a", "../up", "gate/y.mp4", "gate/b", "gate/none"})
	if err == nil || ReasonOf(err) != BadName || len(missing) != 1 || missing[0] != "gate/none" {
		t.Fatalf("%v, missing %v", err, missing)
	}
	for _, n := range []string{"gate/x.mp4", "../up", "gate/y.mp4"} {
		if !strings.Contains(err.Error(), n) {
			t.Errorf("%s is not named: %v", n, err)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, "gate"))
	if err != nil || len(left) != 3 {
		t.Errorf("left are %v: %v", left, err)
	}
	if _, err := r.Delete(t.Context(), 1, []string{"gate/c"}); err != nil {
		t.Error(err)
	}
}

// TestSealFailureIsNeverForgotten: what a Seal could not make durable is told to the
// session, before a sync that succeeds passes it for durable.
func TestSealFailureIsNeverForgotten(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	r := start(t, dir, 1, func(s *Settings) { s.Fsync = time.Hour }, func(d *diskCalls) {
		failing(d, broken.Load)
	})
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("safe.")})
	if err := r.Sync(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.Append(Data{Sequence: 2, Name: "open/a", Offset: 5, Payload: []byte("lost.")})
	broken.Store(true)
	if err := r.Seal(1, "open/a", "x/a", 10); ReasonOf(err) != SyncFailed {
		t.Fatal(err)
	}
	broken.Store(false)
	if err := r.Sync(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	got := until(t, c, synced(2))
	if len(got.Failures) != 1 || got.Failures[0].Reason != SyncFailed || got.Failures[0].Size != 5 || got.Failures[0].Sequence != 2 {
		t.Fatalf("%+v", got)
	}
	if err := r.Seal(1, "open/a", "x/a", 10); ReasonOf(err) != BadOffset {
		t.Fatal(err)
	}
	c.Append(Data{Sequence: 3, Name: "open/a", Offset: 5, Payload: []byte("lost.")})
	if err := r.Seal(1, "open/a", "x/a", 10); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir, "x/a"); got != "safe.lost." {
		t.Fatal(got)
	}
}

// TestSealFailsInALaterProcess: of a file that the process before wrote, nothing is
// given up because one sync fails.
func TestSealFailsInALaterProcess(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, nil, nil)
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("safe.")})
	until(t, c, synced(1))
	r.stop()
	var fails atomic.Int32
	fails.Store(2)
	r = start(t, dir, 2, nil, func(d *diskCalls) {
		failing(d, func() bool { return fails.Add(-1) >= 0 })
	})
	if err := r.Seal(2, "open/a", "x/a", 5); ReasonOf(err) != SyncFailed {
		t.Fatal(err)
	}
	c = r.begin()
	if err := r.Seal(2, "open/a", "x/a", 5); ReasonOf(err) != SyncFailed {
		t.Fatal(err)
	}
	until(t, c, failed(1))
	if err := r.Seal(2, "open/a", "x/a", 5); ReasonOf(err) != SyncFailed { // the session may have more to send
		t.Fatal(err)
	}
	r.begin()
	if err := r.Seal(2, "open/a", "x/a", 5); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir, "x/a"); got != "safe." {
		t.Fatal(got)
	}
}

// heldSync is a disk whose first fdatasync waits, and then fails.
func heldSync(d *diskCalls) (entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	var n atomic.Int32
	real := d.fdatasync
	d.fdatasync = func(f *os.File) error {
		if n.Add(1) > 1 {
			return real(f)
		}
		close(entered)
		<-release
		return syscall.EIO
	}
	return entered, release
}

// TestSealBesideARound: the kernel tells one of two syncs of the failure; the file is
// sealed by neither.
func TestSealBesideARound(t *testing.T) {
	dir := t.TempDir()
	var entered, release chan struct{}
	r := start(t, dir, 1, nil, func(d *diskCalls) { entered, release = heldSync(d) })
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("lost.")})
	<-entered
	sealed := make(chan error)
	go func() { sealed <- r.Seal(1, "open/a", "x/a", 5) }()
	select {
	case err := <-sealed:
		t.Errorf("sealed beside a sync that fails: %v", err)
		close(release)
		return
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-sealed; ReasonOf(err) != SyncFailed {
		t.Fatal(err)
	}
	until(t, c, failed(1))
	if err := r.Sync(t.Context(), 1); err != nil { // the round has acted on it, too
		t.Fatal(err)
	}
	c.Append(Data{Sequence: 2, Name: "open/a", Payload: []byte("lost.")})
	if err := r.Seal(1, "open/a", "x/a", 5); err != nil {
		t.Fatal(err)
	}
}

// TestBeginBesideARound: a round that began before a session, and fails, is told to
// the session that has sent everything again meanwhile.
func TestBeginBesideARound(t *testing.T) {
	dir := t.TempDir()
	var entered, release chan struct{}
	r := start(t, dir, 1, nil, func(d *diskCalls) { entered, release = heldSync(d) })
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("lost.")})
	<-entered
	c = r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Payload: []byte("lost.")})
	close(release)
	got := until(t, c, failed(1))
	if f := got.Failures[0]; f.Reason != SyncFailed || f.Name != "open/a" || f.Size != 0 || f.Sequence != 1 {
		t.Fatalf("%+v", f)
	}
	c.Append(Data{Sequence: 2, Name: "open/a", Payload: []byte("lost.")})
	until(t, c, synced(2))
	if err := r.Seal(1, "open/a", "x/a", 5); err != nil {
		t.Fatal(err)
	}
}

// TestFailureOfAllFiles: what was written while a call for the whole file system
// fails is told, although the round had not seen it.
func TestFailureOfAllFiles(t *testing.T) {
	dir := t.TempDir()
	entered, release := make(chan struct{}), make(chan struct{})
	var n atomic.Int32
	r := startAs(t, dir, 1, nil, func(s *Space) {
		s.fs.syncfs = true
		s.disk.syncfs = func(int) error {
			if n.Add(1) > 1 {
				return nil
			}
			close(entered)
			<-release
			return syscall.EIO
		}
	})
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("a")})
	<-entered
	c.Append(Data{Sequence: 2, Name: "open/b", Create: true, Payload: []byte("b")})
	close(release)
	got := until(t, c, failed(2))
	names := map[string]bool{}
	for _, f := range got.Failures {
		names[f.Name] = f.Reason == SyncFailed && f.Size == 0
	}
	if !names["open/a"] || !names["open/b"] {
		t.Fatalf("%+v", got.Failures)
	}
}

// TestSyncSwitchedOn: a space that did not sync begins to when its settings say so.
func TestSyncSwitchedOn(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, 1, func(s *Settings) { s.Fsync = 0 }, nil)
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("a")})
	until(t, c, synced(1)) // as far as there is such a thing
	for range 2 {          // its loop waits for what may come
		if err := r.Sync(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	set, bad := ParseSettings(map[string]string{"path": dir, "fsync": "10ms"})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	if _, err := r.Reopen(t.Context(), Options{Name: "main", Epoch: 1, Node: "n1", Settings: set}); err != nil {
		t.Fatal(err)
	}
	c = r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Offset: 1, Payload: []byte("b")})
	until(t, c, synced(1))
}

// TestRoundBesideATakeover: what a round made durable of, or did not, is not told to
// a session that has ended meanwhile: it would hear the one without the other.
func TestRoundBesideATakeover(t *testing.T) {
	dir := t.TempDir()
	var entered, release chan struct{}
	r := start(t, dir, 1, nil, func(d *diskCalls) { entered, release = heldSync(d) })
	old := r.begin()
	old.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("lost.")})
	<-entered
	set := *r.set.Load()
	if _, err := r.Reopen(t.Context(), Options{Name: "main", Epoch: 2, Node: "n1", Settings: set}); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := r.Sync(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	if old.synced != 0 {
		t.Errorf("synced up to %d", old.synced)
	}
}

// TestIdleFileInDoubt: that the end of a file is in doubt is not forgotten with its
// descriptor.
func TestIdleFileInDoubt(t *testing.T) {
	dir := t.TempDir()
	var fails atomic.Int32
	fails.Store(1)
	r := start(t, dir, 1, func(s *Settings) { s.Fsync = time.Hour }, func(d *diskCalls) {
		failing(d, func() bool { return fails.Add(-1) >= 0 })
	})
	if err := r.Sync(t.Context(), 1); err != nil { // the next one is an hour away
		t.Fatal(err)
	}
	c := r.begin()
	c.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("lost.")})
	if err := r.Seal(1, "open/a", "x/a", 5); ReasonOf(err) != SyncFailed {
		t.Fatal(err)
	}
	if err := r.Sync(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r.begin()
	r.closeIdle(time.Now().Add(2 * idleAfter))
	if err := r.Seal(1, "open/a", "x/a", 5); ReasonOf(err) != BadOffset {
		t.Fatal(err)
	}
}
