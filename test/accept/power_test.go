package accept

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/disk"
)

// powerBound is what a power cut may take at the defaults: the sync interval
// (500 ms), a part (0.5 s, or a frame where frames are longer), the sync.
const powerBound = 2 * time.Second

// cut is what one power cut did.
type cut struct {
	loss           time.Duration // of the newest footage, worst stream
	torn, setAside float64
	files          int
	failures       int
	report         string
}

// powerCut lets a server record to a disk that forgets, takes the power away
// after a drawn time, and starts a server on what is left.
func powerCut(t *testing.T, seed uint64, rng *rand.Rand, least time.Duration, fsync string) cut {
	t.Helper()
	forgets := disk.Fuse(t, seed)
	space := func(path string) string {
		return fmt.Sprintf("[space.main]\npath = %s\nfsync = %s\n", path, fsync)
	}
	s := harness.New(t, harness.Options{Ini: "[log]\nlevel = warn\n" + space(forgets.Dir())})
	var cams []harness.Camera
	var uids []string
	for i, q := range []string{"", "codec=h265&bitrate=2M", "codec=none", "audio=pcma&metadata=on"} {
		uid := fmt.Sprintf("cam-%d", i)
		uids = append(uids, uid)
		cams = append(cams, harness.Camera{UID: uid, Sent: s.Sim(uid, q, fmt.Sprintf("dvr-chunk = %ds", 1+i))})
	}
	s.Start()
	footage(s, uids...)
	time.Sleep(least + time.Duration(rng.IntN(3000))*time.Millisecond)
	image := filepath.Join(s.Dir, "image")
	if err := os.Mkdir(image, 0o700); err != nil {
		t.Fatal(err)
	}
	off, _, _, err := forgets.Cut(image)
	if err != nil {
		t.Fatal(err)
	}
	s.Kill() // the power is off for everything else too
	for _, p := range []string{"local", "sim", "rtsp"} {
		s.KillPlugin(p)
	}
	bare := rng.IntN(2) == 0
	if bare { // and may take the catalogue with it
		for _, f := range []string{"catalogue.db", "catalogue.db-wal", "catalogue.db-shm"} {
			_ = os.Remove(filepath.Join(s.Data, f))
		}
	}
	conf, err := os.ReadFile(s.Conf)
	if err == nil {
		err = os.WriteFile(s.Conf, []byte(strings.Replace(string(conf), forgets.Dir(), image, 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.Active(uids...)
	s.Past(off.UnixMilli()+2000, uids...)
	s.Until("the catalogue to be whole", func() bool { // one that was lost is rebuilt beside the recording
		return !bare || slices.ContainsFunc(s.Events("archive.rebuild"), func(e harness.Event) bool { return e.TimeMS > off.UnixMilli() })
	})
	x := cut{torn: s.Metric("mediaserver_torn_tails_total"), setAside: s.Metric("mediaserver_files_set_aside_total"), files: len(harness.Files(image))}
	for _, e := range s.Events("archive.set_aside") {
		t.Logf("set aside: %s", e.Message)
	}
	var b strings.Builder
	for _, c := range cams {
		c.Rules.To, c.Rules.Tail = off.UnixNano(), powerBound
		r, err := s.TryAccount(c)
		if err != nil {
			x.failures++
			fmt.Fprintf(&b, "%s: %v\n", c.UID, err)
			continue
		}
		x.failures += r.Failures()
		for _, tr := range r.Tracks {
			for _, m := range tr.Missing {
				x.loss = max(x.loss, time.Duration(off.UnixNano()-m.Start))
			}
			if tr.Failures() > 0 {
				r.Write(&b)
			}
		}
		x.loss = max(x.loss, newest(c, r, off))
	}
	x.report = b.String()
	return x
}

func TestPowerLoss(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	var worst time.Duration
	var torn, aside float64
	files, n := 0, harness.Pick(50, 4)
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			x := powerCut(t, seed+uint64(i), rng, 3*time.Second, "500ms")
			if x.failures > 0 {
				t.Errorf("%d failures, loss %v\n%s", x.failures, x.loss, x.report)
			}
			worst, torn, aside, files = max(worst, x.loss), torn+x.torn, aside+x.setAside, files+x.files
		})
	}
	harness.Row(t, "power loss", seed, "%d cuts, %d files, worst loss %v (allowed %v), %v torn tails cut, %v files set aside",
		n, files, worst.Round(time.Millisecond), powerBound, torn, aside)
}
