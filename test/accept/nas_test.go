package accept

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/disk"
	"media-server/test/ledger"
)

// TestMountHangs: a mounted storage that stops to answer stalls its own space
// only: the other one records, plays and is asked about; afterwards the first
// goes on, and what waited in memory is stored.
func TestMountHangs(t *testing.T) {
	t.Parallel()
	nas := disk.Fuse(t, 1)
	s := harness.New(t, harness.Options{Ini: "[space.nas]\npath = " + filepath.Join(nas.Dir(), "space") + "\n[space.disk]\npath = " + filepath.Join(t.TempDir(), "disk") +
		"\n[pool.default]\nspaces = disk\n[pool.nas]\nspaces = nas\n"})
	cams := map[string]*harness.Camera{}
	for uid, pool := range map[string]string{"on-nas": "nas", "on-disk": "default"} {
		cams[uid] = &harness.Camera{UID: uid, Sent: s.Sim(uid, "", "dvr-chunk = 2s", "dvr-pool = "+pool)}
	}
	s.Start()
	footage(s, "on-nas", "on-disk")
	time.Sleep(3 * time.Second)
	release := nas.Inject(disk.Fault{Ops: disk.All, Stall: time.Hour})
	hung := time.Now()
	length := harness.Pick(25*time.Second, 14*time.Second)
	slowest := time.Duration(0)
	for time.Since(hung) < length {
		begin := time.Now()
		fetch(t, s, "on-disk", hung.UnixMilli()-2000, hung.UnixMilli()-500)
		s.Problems()
		slowest = max(slowest, time.Since(begin))
		time.Sleep(200 * time.Millisecond)
	}
	if slowest > 3*time.Second {
		t.Errorf("an answer about the other space took %s", slowest)
	}
	s.Past(time.Now().UnixMilli()-1500, "on-disk")
	// A reader of what hangs is answered within a bound.
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/dvr/on-nas/record.mp4?from=%d&to=%d", s.HTTP, hung.UnixMilli()-3000, hung.UnixMilli()-2000), nil)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
	read := time.Since(begin)
	if read > 45*time.Second {
		t.Errorf("a reader of the space that hangs waited %s", read)
	}
	said := fmt.Sprint(s.Problems())
	if nas.Hits() == 0 || !strings.Contains(said, "nas") {
		t.Errorf("%d calls hung, and this was said: %s", nas.Hits(), said)
	}
	release()
	s.Past(time.Now().UnixMilli(), "on-nas", "on-disk")
	s.Until("the trouble to be over", func() bool { return !strings.Contains(fmt.Sprint(s.Problems()), "nas") })
	var lines []string
	for _, uid := range []string{"on-disk", "on-nas"} {
		c := cams[uid]
		c.Rules.To, c.Rules.Tail = s.Close(uid), -1
		if uid == "on-disk" {
			c.Rules.Gaps = map[string][]ledger.Gap{}
		}
		lines = append(lines, uid+" "+s.Judge(uid, s.Account(*c)))
	}
	harness.Row(t, "a mounted storage hangs", 0, "for %s; said %q; answers about the other space within %s, a reader of the one that hangs ended after %s; %s",
		time.Since(hung).Round(time.Second), said, slowest.Round(time.Millisecond), read.Round(time.Millisecond), strings.Join(lines, "; "))
}
