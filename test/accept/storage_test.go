package accept

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/disk"
	"media-server/test/ledger"
)

// fingerprint is all that must be the same after a rebuild.
type fingerprint struct {
	footage harness.Footage
	sum     [32]byte
	size    int64
}

func fingerprintOf(t *testing.T, s *harness.Server, uid string) fingerprint {
	t.Helper()
	f := fingerprint{footage: s.Footage(uid)}
	if len(f.footage.Ranges) == 0 {
		t.Fatalf("%s has no footage", uid)
	}
	resp, err := http.Get(fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", s.HTTP, uid, f.footage.Ranges[0].From, f.footage.Ranges[len(f.footage.Ranges)-1].To))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h := sha256.New()
	if f.size, err = io.Copy(h, resp.Body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("record.mp4 of %s: %s %v", uid, resp.Status, err)
	}
	h.Sum(f.sum[:0])
	return f
}

func dropCatalogue(t *testing.T, s *harness.Server, damage bool) {
	t.Helper()
	for _, f := range []string{"catalogue.db-wal", "catalogue.db-shm"} {
		_ = os.Remove(filepath.Join(s.Data, f))
	}
	path := filepath.Join(s.Data, "catalogue.db")
	var err error
	if damage {
		err = os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600)
	} else {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestCatalogueDeleted(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s"})
	uids := []string{"one", "two", "three"}
	for i, q := range []string{"cue=4s:params", "codec=h265&audio=pcma", "codec=none"} {
		s.Sim(uids[i], q, "dvr-chunk = 2s")
	}
	live := harness.Camera{UID: "goes-on", Sent: s.Sim("goes-on", "", "dvr-chunk = 2s")}
	s.Start()
	footage(s, append(uids, "goes-on")...)
	time.Sleep(3 * time.Second)
	since := time.Now()
	s.KillPlugin("sim") // a gap with a cause
	live.Rules.From = since.UnixNano() + int64(6*time.Second)
	s.Past(since.UnixMilli(), append(uids, "goes-on")...)
	time.Sleep(3 * time.Second)
	s.Close(uids...)
	before := map[string]fingerprint{}
	gaps := 0
	for _, uid := range uids {
		before[uid] = fingerprintOf(t, s, uid)
		gaps += len(before[uid].footage.Gaps)
	}
	for _, damaged := range []bool{false, true} {
		s.Kill()
		dropCatalogue(t, s, damaged)
		s.Start()
		for _, uid := range uids {
			s.Until("ranges of "+uid, func() bool { return reflect.DeepEqual(s.Footage(uid), before[uid].footage) })
			if after := fingerprintOf(t, s, uid); after.sum != before[uid].sum {
				t.Errorf("%s, damaged %v: %d bytes with %x, before %d with %x", uid, damaged, after.size, after.sum, before[uid].size, before[uid].sum)
			}
		}
	}
	s.Past(live.Rules.From/1e6+3000, "goes-on")
	live.Rules.To, live.Rules.Tail, live.Rules.Gaps = s.Close("goes-on"), -1, map[string][]ledger.Gap{}
	harness.Row(t, "catalogue deleted, then damaged", 0, "%d streams with %d gaps: ranges, gaps and record.mp4 identical; recording meanwhile: %s", len(uids), gaps, s.Judge("goes-on", s.Account(live)))
}

func TestStreamRemovedAndRebuilt(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Linger: "2s"})
	c := harness.Camera{UID: "gone", Sent: s.Sim("gone", "", "dvr-chunk = 2s", "stream-name = Old gate")}
	s.Start()
	footage(s, "gone")
	time.Sleep(5 * time.Second)
	c.Rules.To, c.Rules.Tail = s.Close("gone"), -1
	before := fingerprintOf(t, s, "gone")
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
	dropCatalogue(t, s, false)
	if out, err := exec.Command(filepath.Join(harness.Bin, "media-server"), "rebuild", "-c", s.Conf).CombinedOutput(); err != nil {
		t.Fatalf("media-server rebuild: %v\n%s", err, out)
	}
	s.Start()
	after := fingerprintOf(t, s, "gone")
	if !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if st := s.Stream("gone"); !st.Removed || st.State != "off" {
		t.Errorf("the removed stream is %+v", st)
	}
	line := s.Judge("gone", s.Account(c))
	harness.Row(t, "stream file removed, catalogue rebuilt by the verb", 0, "still listed and playable, record.mp4 byte-identical; %s", line)
}

// TestDiskFull: the oldest goes and nothing newer is lost; where nothing may
// go, recording stops, says so, and goes on by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	t.Run("overwrite", func(t *testing.T) {
		dir := disk.Tmpfs(t, 24<<20)
		s := harness.New(t, harness.Options{Ini: "[space.main]\npath = " + dir + "\nreserve = 2M\n"})
		c := harness.Camera{UID: "big", Sent: s.Sim("big", "bitrate=12M", "dvr-chunk = 1s")}
		s.Start()
		footage(s, "big")
		first := s.Footage("big").Ranges[0].From
		s.Until("the oldest to go", func() bool { f := s.Footage("big"); return len(f.Ranges) > 0 && f.Ranges[0].From > first })
		time.Sleep(harness.Pick(60*time.Second, 6*time.Second))
		c.Rules.To, c.Rules.Tail = s.Close("big"), -1
		// A full space cuts who reads what goes: its last bytes may have filled it.
		s.Until("room to be made", func() bool { return spaceOf(s, "main").State == "normal" })
		f := s.Footage("big")
		c.Rules.From, c.Rules.Gaps = f.Ranges[0].From*1e6+int64(200*time.Millisecond), map[string][]ledger.Gap{}
		line := s.Judge("big", s.Account(c))
		empty(t, dir)
		kept := time.Duration(f.Ranges[len(f.Ranges)-1].To-f.Ranges[0].From) * time.Millisecond
		harness.Row(t, "disk full, oldest goes", 0, "%v kept of a 24 MB disk at 12 Mbit/s, %v files deleted; since then %s", kept, s.Metric("mediaserver_deleted_files_total"), line)
	})
	t.Run("stops", func(t *testing.T) {
		dir := disk.Tmpfs(t, 24<<20)
		s := harness.New(t, harness.Options{Buffer: "2s",
			Ini: "[space.main]\npath = " + filepath.Join(dir, "space") + "\nreserve = 2M\n[pool.default]\noverwrite = false\n[limits]\nwrite-buffer = 2s\n"})
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "space"), 0o755); err != nil {
			t.Fatal(err)
		}
		c := harness.Camera{UID: "big", Sent: s.Sim("big", "bitrate=6M", "dvr-chunk = 1s")}
		s.Start()
		footage(s, "big")
		s.Until("the alarm", func() bool { return strings.Contains(fmt.Sprint(s.Problems()), "full") })
		said := s.Problems()
		time.Sleep(12 * time.Second) // longer than write-buffer, buffer and what was written before the alarm bridge together
		full := time.Now()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		s.Until("recording to go on", func() bool {
			f := s.Footage("big")
			return len(f.Ranges) > 0 && f.Ranges[len(f.Ranges)-1].To > full.UnixMilli()+1500
		})
		s.Until("the alarm to be cleared", func() bool { return !strings.Contains(fmt.Sprint(s.Problems()), "full") })
		c.Rules.To, c.Rules.Tail, c.Rules.GapSlack = s.Close("big"), -1, 250*time.Millisecond
		f := s.Footage("big")
		if len(f.Gaps) == 0 {
			t.Error("no gap is reported")
		}
		for _, g := range f.Gaps {
			if g.Why != "disk_full" {
				t.Errorf("a gap because of %q, not disk_full", g.Why)
			}
		}
		line := s.Judge("big", s.Account(c))
		empty(t, dir)
		harness.Row(t, "disk full, nothing may go", 0, "says %q, goes on by itself once there is room; %s", said, line)
	})
}

func empty(t *testing.T, dir string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(p, ".mp4") {
			if fi, err := d.Info(); err == nil && fi.Size() == 0 {
				t.Errorf("%s has no length", p)
			}
		}
		return nil
	})
}

func TestStorageStopped30s(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	var cams []harness.Camera
	var uids []string
	for i := range harness.Pick(50, 4) {
		uid := fmt.Sprintf("cam-%02d", i)
		uids = append(uids, uid)
		cams = append(cams, harness.Camera{UID: uid, Sent: s.Sim(uid, []string{"", "codec=h265", "codec=none"}[i%3], "dvr-chunk = 5s")})
	}
	s.Start()
	footage(s, uids...)
	time.Sleep(2 * time.Second)
	resume := s.Pause("local")
	t.Cleanup(resume)
	time.Sleep(harness.Pick(30*time.Second, 6*time.Second))
	held := s.Metric("mediaserver_queue_bytes", `queue="write"`)
	resume()
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
	}
	judge(t, s, fmt.Sprintf("storage stopped for %v (%.1f MB waited)", harness.Pick(30*time.Second, 6*time.Second), held/1e6), 0, cams, "mp4")
}

// TestDiskStalls30s: the disk takes nothing for half a minute, while the storage
// process itself is well and is not restarted: what comes waits in the core, then
// in the drivers.
func TestDiskStalls30s(t *testing.T) {
	t.Parallel()
	d := disk.Fuse(t, 1)
	s := harness.New(t, harness.Options{Ini: "[space.main]\npath = " + filepath.Join(d.Dir(), "space") + "\n"})
	var cams []harness.Camera
	var uids []string
	for i := range harness.Pick(50, 4) {
		uid := fmt.Sprintf("cam-%02d", i)
		uids = append(uids, uid)
		cams = append(cams, harness.Camera{UID: uid, Sent: s.Sim(uid, []string{"", "codec=h265", "codec=none"}[i%3], "dvr-chunk = 5s")})
	}
	s.Start()
	footage(s, uids...)
	time.Sleep(2 * time.Second)
	pid, length := s.Plugin("local"), harness.Pick(30*time.Second, 6*time.Second)
	release := d.Inject(disk.Fault{Ops: disk.Write | disk.Fsync, Stall: time.Hour})
	held := 0.0
	for begun := time.Now(); time.Since(begun) < length; time.Sleep(500 * time.Millisecond) {
		held = max(held, s.Metric("mediaserver_queue_bytes", `queue="write"`))
	}
	hits := d.Hits()
	release()
	to := s.Close(uids...)
	if now := s.Plugin("local"); now != pid || hits == 0 {
		t.Errorf("the storage process was %d and is %d; %d calls stood still", pid, now, hits)
	}
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
	}
	judge(t, s, fmt.Sprintf("disk stands still for %v (%.1f MB waited)", length, held/1e6), 0, cams, "mp4")
}

// TestFsyncAndExtents counts, on an ext4 of its own, what durability costs.
func TestFsyncAndExtents(t *testing.T) {
	t.Parallel()
	dir := disk.Ext4(t, harness.Pick[int64](16<<30, 4<<30))
	if err := os.RemoveAll(filepath.Join(dir, "lost+found")); err != nil {
		t.Fatal(err)
	}
	s := harness.New(t, harness.Options{Ini: "[space.main]\npath = " + dir + "\n"})
	n := harness.Pick(100, 20)
	var uids []string
	for i := range n {
		uid := fmt.Sprintf("cam-%03d", i)
		uids = append(uids, uid)
		s.Put(uid, "stream-url = sim://?bitrate=1M", "stream-access = public", fmt.Sprintf("dvr-chunk = %v", harness.Pick("30s", "5s")))
	}
	start := time.Now()
	s.Start()
	footage(s, uids...)
	time.Sleep(harness.Pick(2*time.Minute, 12*time.Second))
	s.Close(uids...)
	calls := s.Metric("mediaserver_sync_calls_total")
	intervals := time.Since(start).Seconds() / 0.5
	worst, files := 0, 0
	for _, f := range harness.Files(dir) {
		if strings.HasPrefix(f, "open/") {
			continue // it has pieces in reserve
		}
		e, err := disk.Extents(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		files++
		if worst = max(worst, e); e > 4 {
			fi, _ := os.Stat(filepath.Join(dir, f))
			t.Errorf("%s of %d bytes lies in %d pieces", f, fi.Size(), e)
		}
	}
	if calls > intervals+float64(files) {
		t.Errorf("%v sync calls in %.0f intervals with %d files closed", calls, intervals, files)
	}
	harness.Row(t, "sync calls and extents on ext4", 0, "%d streams: %v sync calls in %.0f intervals with %d files closed; at most %d extents a file",
		n, calls, intervals, files, worst)
}

// TestExtentsOfLargeFiles: the first file of a stream, of which nobody knows how
// large it will get, is no more in pieces than those after it, with others being
// written beside it.
func TestExtentsOfLargeFiles(t *testing.T) {
	t.Parallel()
	dir := disk.Ext4(t, harness.Pick[int64](8<<30, 2<<30))
	if err := os.RemoveAll(filepath.Join(dir, "lost+found")); err != nil {
		t.Fatal(err)
	}
	s := harness.New(t, harness.Options{Ini: "[space.main]\npath = " + dir + "\n"})
	var uids []string
	for i := range harness.Pick(20, 4) {
		uid := fmt.Sprintf("cam-%02d", i)
		uids = append(uids, uid)
		s.Put(uid, "stream-url = sim://?bitrate="+harness.Pick("4M", "16M"), "stream-access = public", fmt.Sprintf("dvr-chunk = %v", harness.Pick("2m", "15s")))
	}
	s.Start()
	footage(s, uids...)
	time.Sleep(harness.Pick(130*time.Second, 17*time.Second)) // one whole file each, and the beginning of the next
	s.Close(uids...)
	worst, files, largest := 0, 0, int64(0)
	for _, f := range harness.Files(dir) {
		fi, err := os.Stat(filepath.Join(dir, f))
		if err != nil || strings.HasPrefix(f, "open/") {
			continue // it has pieces in reserve
		}
		e, err := disk.Extents(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		files, largest = files+1, max(largest, fi.Size())
		if worst = max(worst, e); e > 4 {
			t.Errorf("%s of %d bytes lies in %d pieces", f, fi.Size(), e)
		}
	}
	if largest < 20<<20 {
		t.Errorf("the largest of %d files has %d bytes: too little was tried", files, largest)
	}
	harness.Row(t, "extents of large files on ext4", 0, "%d streams, %d files of up to %d MB: at most %d extents a file", len(uids), files, largest>>20, worst)
}
