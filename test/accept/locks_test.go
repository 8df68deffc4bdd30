package accept

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// asked sends a request with an API token of a role.
func asked(t *testing.T, s *harness.Server, role, method, path, body string) (int, string) {
	t.Helper()
	return requested(t, method, s.HTTP+path, s.Verb("token", "api", "--role", role, "--name", "the "+role), body)
}

// lockNow is what the tests read of a lock.
type lockNow struct {
	ID, Reason, Who string
	From, To, Until int64
}

func locksOf(s *harness.Server, uid string) []lockNow {
	var l struct{ Items []lockNow }
	if _, err := s.Call("GET", "streams/"+uid+"/locks", &l); err != nil {
		s.T.Error(err)
	}
	return l.Items
}

// TestLocksOutlastTheRules: what is locked stays, to the byte, while a crash, an
// age limit and a size limit take all around it; a lock with an end ends, and one
// that is removed too, and then the footage goes. A lock of more than lock-max is
// refused; who locked what, until when and why is told wherever one looks.
func TestLocksOutlastTheRules(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s", Ini: "[pool.default]\nspaces = main\ndelete-most = 100%\noverwrite-free = 0\nlock-max = 3M\n;days\n[space.main]\npath = SPACE\nreserve = 0\n;limit"})
	edit(t, s, "SPACE", filepath.Join(s.Dir, "space"))
	gate := harness.Camera{UID: "gate", Sent: s.Sim("gate", "bitrate=2M", "dvr-chunk = 1s", "dvr-duration = 0")}
	s.Start()
	footage(s, "gate")
	start := s.Footage("gate").Ranges[0].From
	s.Past(start+17_500, "gate")

	kept := [2]int64{start + 4_000, start + 6_000}
	lent := [2]int64{start + 10_500, start + 11_500}
	out, code := verb(t, "lock", "add", "gate", "-c", s.Conf, "--from", fmt.Sprint(kept[0]), "--to", fmt.Sprint(kept[1]), "--reason", "case 12")
	if code != 0 || !strings.Contains(out, "no end") || !strings.Contains(out, "control socket") || !strings.Contains(out, "case 12") {
		t.Fatalf("lock add: exit %d\n%s", code, out)
	}

	// What cannot be.
	whole := fmt.Sprintf(`{"from":%d,"to":%d,"reason":"all of it"}`, start, start+17_000)
	status, body := asked(t, s, "operator", "POST", "/api/v1/streams/gate/locks", whole)
	if status != 409 || !strings.Contains(body, "lock-max allows 3 MB of ") || !strings.Contains(body, "raise lock-max") {
		t.Errorf("more than lock-max by API: %d %s", status, body)
	}
	if out, code = verb(t, "lock", "gate", "-c", s.Conf, "--from", fmt.Sprint(start), "--to=now", "--reason", "all of it"); code != 1 || !strings.Contains(out, "lock-max allows 3 MB of ") {
		t.Errorf("more than lock-max: exit %d\n%s", code, out)
	}
	if status, body = asked(t, s, "viewer", "POST", "/api/v1/streams/gate/locks", whole); status != 403 {
		t.Errorf("a viewer locks: %d %s", status, body)
	}
	if status, body = asked(t, s, "operator", "POST", "/api/v1/streams/gate/locks", fmt.Sprintf(`{"from":%d,"to":%d}`, kept[0], kept[1])); status != 400 || !strings.Contains(body, "no_reason") {
		t.Errorf("without a reason: %d %s", status, body)
	}
	if status, body = asked(t, s, "operator", "POST", "/api/v1/streams/gate/locks", fmt.Sprintf(`{"from":%d,"to":%d,"until":%d,"reason":"late"}`, kept[0], kept[1], start)); status != 409 || !strings.Contains(body, "over at once") {
		t.Errorf("until a time that is over: %d %s", status, body)
	}
	if ls := locksOf(s, "gate"); len(ls) != 1 {
		t.Errorf("locks: %+v", ls)
	}
	was := []string{fetch(t, s, "gate", kept[0], kept[1]), fetch(t, s, "gate", lent[0], lent[1])}

	// Time for all that is seen while it lasts, a crash and a start too.
	until := time.Now().Add(40 * time.Second).UnixMilli()
	status, body = asked(t, s, "operator", "POST", "/api/v1/streams/gate/locks", fmt.Sprintf(`{"from":%d,"to":%d,"until":%d,"reason":"lent to the neighbour"}`, lent[0], lent[1], until))
	var made lockNow
	if err := json.Unmarshal([]byte(body), &made); status != 201 || err != nil || made.Until != until || made.Who != "token the operator" {
		t.Fatalf("a lock by API: %d %s", status, body)
	}
	if ls := locksOf(s, "gate"); len(ls) != 2 {
		t.Errorf("locks: %+v", ls)
	}

	// Told wherever one looks.
	out, _ = verb(t, "lock", "list", "-c", s.Conf)
	for _, want := range []string{"case 12", "lent to the neighbour", "token the operator", "control socket", time.UnixMilli(until).Format("2006-01-02 15:04:05")} {
		if !strings.Contains(out, want) {
			t.Errorf("lock list lacks %q:\n%s", want, out)
		}
	}
	if out, _ = verb(t, "ranges", "gate", "-c", s.Conf); strings.Count(out, "locked: ") != 2 {
		t.Errorf("ranges:\n%s", out)
	}
	if out, _ = verb(t, "status", "-c", s.Conf); !strings.Contains(out, "locks: 2\n") {
		t.Errorf("status:\n%s", out)
	}
	var ranges struct{ Locks []struct{ From, To int64 } }
	if _, body := s.Get(s.HTTP + "/dvr/gate/ranges.json"); json.Unmarshal([]byte(body), &ranges) != nil || len(ranges.Locks) != 2 || ranges.Locks[0].From != kept[0] || ranges.Locks[1].To != lent[1] {
		t.Errorf("ranges.json: %s", body)
	}
	for _, why := range []string{"case 12", "lent to the neighbour"} {
		s.Until("an event to tell who and why", func() bool {
			return slices.ContainsFunc(s.Events("record.locked"), func(e harness.Event) bool {
				return e.UID == "gate" && e.Data["reason"] == why && e.Data["who"] != ""
			})
		})
	}

	// An age limit takes what is around them, behind a crash.
	same := func(when string, span [2]int64, was string) {
		t.Helper()
		if now := fetch(t, s, "gate", span[0], span[1]); now != was {
			t.Errorf("%s: %d bytes, were %d", when, len(now), len(was))
		}
	}
	s.Kill()
	edit(t, s, ";days", "days = 3s")
	s.Start()
	s.Until("what is around the locks to go", func() bool {
		f := s.Footage("gate")
		return !covers(f, start, start+1000) && !covers(f, start+8_100, start+8_400) && !covers(f, start+13_600, start+14_400)
	})
	same("what is locked, behind the age limit", kept, was[0])
	if time.Now().UnixMilli() < until {
		same("what is locked for a time, behind the age limit", lent, was[1])
	} else {
		t.Error("the lock with an end was over before anybody could look")
	}

	// One ends by itself.
	s.Until("its time to be over", func() bool { return time.Now().UnixMilli() > until })
	s.Stop()
	edit(t, s, ";limit", "size-limit = 4M")
	s.Start()
	s.Until("what was lent to go", func() bool { return !covers(s.Footage("gate"), lent[0], lent[1]) })
	if ls := locksOf(s, "gate"); len(ls) != 1 || ls[0].Reason != "case 12" {
		t.Errorf("locks: %+v", ls)
	}
	ended := func(how string) bool {
		return slices.ContainsFunc(s.Events("record.unlocked"), func(e harness.Event) bool { return e.UID == "gate" && strings.Contains(e.Message, how) })
	}
	s.Until("an event to tell it", func() bool { return ended("its time is over") })

	// A size limit takes all but what is locked.
	s.Until("the size limit to be held", func() bool { x := spaceOf(s, "main"); return x.Total == 4<<20 && x.Used <= 4<<20 })
	same("what is locked, behind the size limit", kept, was[0])
	gate.Rules = ledger.Rules{From: kept[0] * 1e6, To: kept[1] * 1e6, Gaps: map[string][]ledger.Gap{}}
	line := s.Judge("gate", s.Account(gate))

	// The other when somebody says so.
	if out, code = verb(t, "lock", "remove", "gate", locksOf(s, "gate")[0].ID, "-c", s.Conf); code != 0 {
		t.Fatalf("lock remove: exit %d\n%s", code, out)
	}
	s.Until("an event to tell it", func() bool { return ended("removed by ") })
	s.Stop()
	s.Start()
	s.Until("what was locked to go", func() bool { return !covers(s.Footage("gate"), kept[0], kept[1]) })
	if out, _ = verb(t, "lock", "list", "-c", s.Conf); strings.TrimSpace(out) != "no locks" {
		t.Errorf("lock list: %s", out)
	}
	harness.Row(t, "locks outlast the rules, and end", 0, "%d bytes locked are the same behind a crash, an age limit of 3s and a size limit of 4M; in the locked 2s %s; a lock with an end ended by itself, more than lock-max was refused", len(was[0]), line)
}
