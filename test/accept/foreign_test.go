package accept

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// hands is another program at work in a space.
type hands struct {
	t     *testing.T
	space string
	fds   []int
}

func (h *hands) must(errs ...error) {
	h.t.Helper()
	if err := errors.Join(errs...); err != nil {
		h.t.Fatal(err)
	}
}

// sealed lists the complete files of a stream, oldest first.
func (h *hands) sealed(uid string) []string {
	files, _ := filepath.Glob(filepath.Join(h.space, uid, "*", "*.mp4"))
	slices.Sort(files)
	return files
}

// growing is the file that a stream is being recorded into.
func (h *hands) growing(uid string) string {
	files, _ := filepath.Glob(filepath.Join(h.space, "open", uid+".*.mp4"))
	slices.Sort(files)
	if len(files) == 0 {
		return ""
	}
	return files[len(files)-1]
}

// hold opens a file, reads all of it and locks it, both ways there are.
func (h *hands) hold(path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return // sealed since it was listed
	}
	h.must(err)
	h.fds = append(h.fds, fd)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil && !errors.Is(err, unix.EWOULDBLOCK) { // we have it by another descriptor
		h.t.Fatal(err)
	}
	h.must(unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	_, err = io.Copy(io.Discard, io.NewSectionReader(os.NewFile(uintptr(dup(h.t, fd)), path), 0, 1<<40))
	h.must(err)
}

func dup(t *testing.T, fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (h *hands) letGo() {
	for _, fd := range h.fds {
		unix.Close(fd)
	}
	h.fds = nil
}

// all is every file of the space, the server's own ones too.
func (h *hands) all() (out []string) {
	_ = filepath.WalkDir(h.space, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(p, filepath.Join(h.space, ".space")) {
			out = append(out, p)
		}
		return nil
	})
	return out
}

// spaceAt gives the ini of a server whose only space lies at dir.
func spaceAt(dir, pool string) string {
	return "[space.main]\npath = " + dir + "\n[pool.default]\nspaces = main\n" + pool
}

// TestForeignReaders: a scanner opens every file, reads it, locks it and
// changes its rights, while files grow, are sealed, and are played. Nothing is
// lost and nothing is said.
func TestForeignReaders(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "space")
	s := harness.New(t, harness.Options{Ini: spaceAt(dir, "")})
	var cams []harness.Camera
	uids := []string{"one", "two", "three"}
	for i, q := range []string{"", "codec=h265&audio=pcma", "codec=none"} {
		cams = append(cams, harness.Camera{UID: uids[i], Sent: s.Sim(uids[i], q, "dvr-chunk = 1s")})
	}
	s.Start()
	footage(s, uids...)
	h := &hands{t: t, space: dir}
	defer h.letGo()
	held := 0
	for end := time.Now().Add(harness.Pick(5*time.Minute, 8*time.Second)); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		for _, f := range h.all() {
			h.hold(f)
			if err := os.Chmod(f, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if held += len(h.fds); len(h.fds) > 400 {
			h.letGo()
		}
	}
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
	}
	if p := s.Problems(); strings.Contains(fmt.Sprint(p), "space") {
		t.Errorf("said: %v", p)
	}
	judge(t, s, fmt.Sprintf("another program opens, reads, locks and bars files (%d times)", held), 0, cams, "mp4")
}

// taken is a stream that something was taken from.
type taken struct {
	cam   harness.Camera
	why   string
	least time.Duration // of what the server must report
	most  time.Duration // 0 = all that there was by then
}

// TestForeignHands: another program deletes, cuts, renames and alters what is
// recorded, complete or growing. Recording goes on, and what is missing then is
// what was taken, by the server's own account.
func TestForeignHands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "space")
	s := harness.New(t, harness.Options{Restart: "1s", Linger: "2s", Ini: spaceAt(dir, "sign = true\n")})
	h := &hands{t: t, space: dir}
	chunk := map[string]string{"open-gone": "1m", "open-cut": "1m", "open-moved": "1m"}
	cams := map[string]*taken{
		"sealed-gone": {why: "deleted", least: 1500 * time.Millisecond, most: 4500 * time.Millisecond},
		"day-gone":    {why: "deleted", least: 3 * time.Second},
		"sealed-cut":  {why: "damaged", least: 1500 * time.Millisecond, most: 4500 * time.Millisecond},
		"renamed":     {why: "deleted", least: 1500 * time.Millisecond, most: 4500 * time.Millisecond},
		"altered":     {},
		"open-gone":   {why: "deleted", least: 3 * time.Second},
		"open-moved":  {why: "deleted", least: 3 * time.Second},
		"open-cut":    {why: "damaged", least: time.Second},
		"untouched":   {},
	}
	var uids []string
	for uid, c := range cams {
		k := chunk[uid]
		if k == "" {
			k = "2s"
		}
		c.cam = harness.Camera{UID: uid, Sent: s.Sim(uid, "bitrate=300k", "dvr-chunk = "+k)}
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	s.Start()
	footage(s, uids...)
	s.Until("complete files", func() bool {
		return !slices.ContainsFunc(uids, func(uid string) bool { return chunk[uid] == "" && len(h.sealed(uid)) < 3 })
	})
	from := map[string]int64{}
	for _, uid := range uids {
		from[uid] = s.Footage(uid).Ranges[0].From
	}
	before := time.Now()
	file := func(uid string) string { return h.sealed(uid)[1] }
	verifies := file("sealed-cut")
	altered := file("altered")
	h.must(
		os.Remove(file("sealed-gone")),
		os.RemoveAll(filepath.Dir(file("day-gone"))),
		half(file("sealed-cut")),
		os.Rename(file("renamed"), file("renamed")+".bak"),
		flip(altered),
		os.Remove(h.growing("open-gone")),
		os.Rename(h.growing("open-moved"), filepath.Join(dir, "mine.mp4")),
		half(h.growing("open-cut")),
	)
	// Nothing that comes later is lost, but for what the server has to notice by
	// and the rest of a group of pictures.
	const notice = 2 * time.Second
	after := time.Now().UnixMilli()
	for uid, c := range cams {
		if c.why != "" && c.most == 0 {
			c.most = time.Duration(after-from[uid])*time.Millisecond + notice
		}
	}
	s.Past(before.UnixMilli()+harness.Pick[int64](60000, 4000), uids...)
	to := s.Close(uids...)
	var lines []string
	for _, uid := range uids {
		x := cams[uid]
		first, _ := s.Get(fmt.Sprintf("%s/dvr/%s/record.mp4?from=%d&to=%d", s.HTTP, uid, before.UnixMilli()-60000, to/1e6))
		s.Until("the hole in "+uid, func() bool {
			return x.why == "" || slices.ContainsFunc(s.Footage(uid).Gaps, func(g harness.Span) bool { return g.Why == x.why })
		})
		// The sound of a file reaches past the first picture of the next.
		x.cam.Rules.To, x.cam.Rules.Tail, x.cam.Rules.GapSlack = to, -1, 250*time.Millisecond
		r, err := s.TryAccount(x.cam)
		if err != nil {
			t.Errorf("%s: %v", uid, err)
			continue
		}
		lines = append(lines, fmt.Sprintf("%s (first read %d): %s", uid, first, s.Judge(uid, r)))
		x.check(t, s.Footage(uid))
	}
	out, code := verb(t, "verify", "-c", s.Conf)
	for _, f := range []string{verifies, altered} {
		rel, _ := filepath.Rel(dir, f)
		if code != 1 || !strings.Contains(out, rel) {
			t.Errorf("verify does not name %s: exit %d\n%s", rel, code, out)
		}
	}
	t.Logf("verify:\n%s", out)
	harness.Row(t, "another program deletes, cuts, renames, alters", 0, "%s", strings.Join(lines, "; "))
}

// check compares what is reported with what was taken.
func (x *taken) check(t *testing.T, f harness.Footage) {
	t.Helper()
	var sum time.Duration
	for _, g := range f.Gaps {
		sum += time.Duration(g.To-g.From) * time.Millisecond
		if g.Why != x.why {
			t.Errorf("%s: a gap of %d ms because of %q, not %q", x.cam.UID, g.To-g.From, g.Why, x.why)
		}
	}
	if sum < x.least || sum > x.most {
		t.Errorf("%s: %v is reported missing, not %v to %v: %v", x.cam.UID, sum, x.least, x.most, f.Gaps)
	}
}

func half(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, fi.Size()/2)
}

// flip alters a byte inside the media of a file.
func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := 0
	for most, i := 0, 0; i+8 < len(b); { // the largest mdat
		n := int(binary.BigEndian.Uint32(b[i:]))
		if n < 8 {
			return fmt.Errorf("%s: no boxes", path)
		}
		if string(b[i+4:i+8]) == "mdat" && n > most {
			most, at = n, i+n-200
		}
		i += n
	}
	b[at] ^= 0x10
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b[at:at+1], int64(at))
	return errors.Join(err, f.Close())
}
