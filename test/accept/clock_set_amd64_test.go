package accept

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// TestClockSet: the server's clock is set ahead, back, and back to where there is
// footage already, the core is killed meanwhile, and all of it starts again under
// another clock. Every frame is there once and in order, at the time that the clock
// showed, through HLS and MP4; what clock there was is told; the live edge is what
// comes now; and a rule deletes nothing because the clock is a month ahead.
func TestClockSet(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Linger: "60s"})
	rules := []string{"dvr-chunk = 3s", "dvr-duration = 30d"}
	cams := []harness.Camera{{UID: "gate", Sent: s.Sim("gate", "", rules...)}, {UID: "yard", Sent: s.Sim("yard", "codec=h265", rules...)}}
	s.Sim("seen", "", "dvr-enable = false") // not recorded: live alone
	s.Start()
	footage(s, "gate", "yard")
	record := func() { time.Sleep(harness.Pick(20*time.Second, 6*time.Second)) } // real cameras take real time
	record()
	kill := func(by time.Duration) {
		s.Kill()
		s.Launch()
		s.SetClock(by)
		s.Ready()
		record()
	}
	const month = 40 * 24 * time.Hour
	steps := 0
	for _, by := range []time.Duration{time.Hour, 0, -30 * time.Second, month} {
		s.SetClock(by)
		steps++
		set := time.Now().Add(by)
		s.Until("the step to be told", func() bool { return len(s.Events("server.clock")) == steps*(len(cams)+1) })
		record()
		live(t, s, set, "gate", "seen")
		kill(by)
		live(t, s, set, "gate", "seen")
	}
	if harness.Full() {
		var held struct{ Items []struct{ UID, Why string } }
		s.Until("the rule to wait for somebody", func() bool {
			_, err := s.Call("GET", "retention/held", &held)
			return err == nil && len(held.Items) == len(cams)
		})
	}
	// Off, and on again when the clock is right. What no disk had yet goes with all
	// processes: a part, and what waits for the sync.
	off := time.Now().Add(month).UnixMilli()
	lost := harness.Span{From: off - 1100, To: off + 500, Why: "server_down"}
	s.Kill()
	for _, p := range s.Processes() {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	s.Start()
	on := time.Now()
	s.Past(on.UnixMilli()+2000, "gate", "yard")
	record()
	live(t, s, on, "gate", "seen")
	s.Close("gate", "yard")

	line := ""
	for _, c := range cams {
		for _, door := range doors {
			line += fmt.Sprintf("; %s by %s %s", c.UID, door, once(t, s, c, door, steps, lost))
		}
		for _, g := range s.Footage(c.UID).Gaps {
			if g.Why != "clock_set" && g.Why != "server_down" && g.Why != "disabled" { // off, and closed before what is a month ahead
				t.Errorf("%s: a gap because of %q: %v", c.UID, g.Why, spans(s.Footage(c.UID).Gaps))
			}
		}
	}
	before := fingerprintOf(t, s, "gate")
	s.Kill()
	dropCatalogue(t, s, false)
	s.Start()
	s.Until("the ranges of before", func() bool { return reflect.DeepEqual(s.Footage("gate"), before.footage) })
	if after := fingerprintOf(t, s, "gate"); after.sum != before.sum {
		t.Errorf("rebuilt: %d bytes with %x, before %d with %x", after.size, after.sum, before.size, before.sum)
	}
	harness.Row(t, "the server's clock is set by hours, into footage, by a month, core killed meanwhile", 0, "%d steps%s", steps, line)
}

// live checks that the live playlists and one that goes on from a while ago end with
// what comes now, by a clock that was set to a time.
func live(t *testing.T, s *harness.Server, set time.Time, recorded, watched string) {
	t.Helper()
	for _, path := range []string{"/live/" + recorded + "/media.m3u8", "/live/" + watched + "/media.m3u8",
		fmt.Sprintf("/dvr/%s/media.m3u8?from=%d", recorded, set.Add(-3*time.Second).UnixMilli())} {
		newest, err := edge(s, path)
		// A stream may take some seconds to begin; an edge that stands still stands longer.
		for end := time.Now().Add(15 * time.Second); (err != nil || newest.Before(set)) && time.Now().Before(end); newest, err = edge(s, path) {
			time.Sleep(200 * time.Millisecond)
		}
		if err != nil || newest.Before(set) || newest.After(set.Add(2*time.Minute)) {
			t.Errorf("%s ends at %s, the clock was set to %s (%v)", path, newest.UTC(), set.UTC(), err)
		}
	}
}

// edge is the date of the last segment of a playlist that goes on.
func edge(s *harness.Server, path string) (time.Time, error) {
	const date = "#EXT-X-PROGRAM-DATE-TIME:"
	_, list := s.Get(s.HTTP + path)
	at := strings.LastIndex(list, date)
	if at < 0 || strings.Contains(list, "#EXT-X-ENDLIST") {
		return time.Time{}, fmt.Errorf("no list that goes on: %.200s", list)
	}
	text, _, _ := strings.Cut(list[at+len(date):], "\n")
	return time.Parse(time.RFC3339Nano, text)
}

// once checks that every unit of a stream is there once, takes in the order in which
// they were recorded, and, where each segment has its date, at its time.
func once(t *testing.T, s *harness.Server, c harness.Camera, door string, steps int, lost harness.Span) string {
	t.Helper()
	sent, err := ledger.ReadSent(c.Sent)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Read(context.Background(), c.UID, door)
	if err != nil {
		t.Fatal(err)
	}
	total, worst, gaps := 0, time.Duration(0), append(s.Footage(c.UID).Gaps, lost)
	for id, units := range sent {
		have, last, back, late := map[uint64]int{}, uint64(0), 0, 0
		for _, f := range m.Found {
			if f.ID != id {
				continue
			}
			have[f.Number]++
			if f.Number < last {
				back++
			}
			last = f.Number
			switch off := time.Duration(f.Shown - f.Token); {
			case door == "mp4":
			case off.Abs() <= 50*time.Millisecond:
				worst = max(worst, off.Abs())
			default:
				late++ // by the clock as it was, up to the next key frame
			}
		}
		first, end := -1, 0
		for i, u := range units {
			if have[u.Number] > 0 {
				if first < 0 {
					first = i
				}
				end = i + 1
			}
		}
		if first < 0 || time.Duration(units[first].Time-units[0].Time) > 5*time.Second {
			t.Errorf("%s through %s: nothing of its beginning is there", id, door)
			continue
		}
		var missing, twice []uint64
		for _, u := range units[first:end] {
			switch {
			case have[u.Number] > 1:
				twice = append(twice, u.Number)
			case have[u.Number] == 1:
				total++
			case !down(gaps, u):
				missing = append(missing, u.Number)
			}
		}
		if len(missing)+len(twice) > 0 || back > 4 {
			t.Errorf("%s through %s: missing %v, twice %v, %d times back", id, door, missing, twice, back)
		}
		if late > steps*60 { // a group of pictures a step, and its sound
			t.Errorf("%s: %d of %d are not at the time that the clock showed", id, late, len(units))
		}
	}
	return fmt.Sprintf("%d frames, each once (worst %.1f ms)", total, float64(worst.Microseconds())/1000)
}

// down tells whether a unit was sent when the server is said to have been off.
func down(gaps []harness.Span, u ledger.Unit) bool {
	const slack = 50 // ms; a gap's ends are times of the server
	return slices.ContainsFunc(gaps, func(g harness.Span) bool {
		return g.Why == "server_down" && u.Time >= (g.From-slack)*1e6 && u.Time < (g.To+slack)*1e6
	})
}
