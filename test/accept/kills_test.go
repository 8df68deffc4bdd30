package accept

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// kills is a server under attack.
type kills struct {
	*harness.Server
	rng    *rand.Rand
	watch  *harness.Watch
	uids   []string
	cams   []harness.Camera
	before func()          // a plugin is killed, if not nil
	gone   harness.Process // killed last; no PID: it was the core
	sent   time.Time       // when its signal was sent
	dead   []time.Time     // of plugins
	hit    map[string]int  // "core: seal" → times
	slow   []time.Duration
	twice  map[harness.Moment][]time.Duration // between a kill of the core and the next, at its start
}

const (
	retained  = 20 * time.Second       // what the stream cam-00 keeps
	apart     = 200 * time.Millisecond // most between two kills of the core that count as "twice"
	pythonUID = "python"
)

// kinds are the simulated cameras under attack, in turn.
var kinds = []struct {
	query, hls string
	pace       pace
}{
	{"", "va", pace{}}, {"codec=h265", "va", pace{}}, {"codec=none", "a", pace{}}, {"fps=1&audio=none", "v", pace{unit: time.Second}},
	{"gop=30s", "va", pace{}}, {"audio=pcma&metadata=on", "va", pace{}},
}

// underAttack starts a server with n simulated cameras whose files are short,
// one of them with a short memory so that retention deletes all the time.
func underAttack(t *testing.T, rng *rand.Rand, n int, more func(*harness.Server) []harness.Camera) *kills {
	t.Helper()
	k := &kills{Server: harness.New(t, harness.Options{Linger: "60s", Restart: "1s", Ini: "[log]\nlevel = warn"}), rng: rng, hit: map[string]int{}, twice: map[harness.Moment][]time.Duration{}}
	for i := range n {
		uid := fmt.Sprintf("cam-%02d", i)
		lines := []string{fmt.Sprintf("dvr-chunk = %ds", 2+i%4)}
		if i == 0 {
			lines = append(lines, fmt.Sprintf("dvr-duration = %v", retained))
		}
		kind := kinds[i%len(kinds)]
		k.cams = append(k.cams, harness.Camera{UID: uid, Sent: k.Sim(uid, kind.query, lines...), HLS: kind.hls})
	}
	if more != nil {
		k.cams = append(k.cams, more(k.Server)...)
	}
	for _, c := range k.cams {
		k.uids = append(k.uids, c.UID)
	}
	k.Start()
	k.Active(k.uids...)
	footage(k.Server, k.uids...)
	k.watch = k.Watch(filepath.Join(k.Data, "media"))
	t.Cleanup(k.watch.Close)
	return k
}

// recover waits until every stream records again, and notes how long it took
// since the kill had happened.
func (k *kills) recover(since time.Time) {
	k.T.Helper()
	if old := k.gone; old.PID != 0 { // or what is asked below is answered before the death is noticed
		k.Until("another process of "+old.Name, func() bool { pid := k.Plugin(old.Name); return pid != 0 && pid != old.PID })
	}
	k.Ready()
	k.Serving()
	k.Active(k.uids...)
	k.Past(since.UnixMilli(), k.uids...)
	k.slow = append(k.slow, time.Since(since))
}

// kill ends a process at a moment and says when that had happened; the core is
// started again by the caller.
func (k *kills) kill(victim string, m harness.Moment) (dead time.Time) {
	k.T.Helper()
	k.gone = harness.Process{Name: victim}
	if victim != "core" {
		k.gone.PID = k.Plugin(victim)
	}
	hit := false
	switch m {
	case harness.AnyMoment:
		time.Sleep(time.Duration(k.rng.IntN(1000)) * time.Millisecond)
		hit = true
	case harness.Reload:
		answered := make(chan struct{})
		k.Put("cam-01x", "stream-url = sim://", "stream-enable = false", fmt.Sprintf("stream-name = %d", k.rng.Int()))
		go func() { _, _ = k.Call("POST", "reload", nil); close(answered) }()
		time.Sleep(time.Duration(k.rng.IntN(1500)) * time.Microsecond)
		select {
		case <-answered:
		default:
			hit = true
		}
	default:
		hit = k.watch.Await(m, 75*time.Second) // retention looks once a minute
		if m != harness.Sync {
			time.Sleep(time.Duration(k.rng.IntN(800)) * time.Microsecond)
		}
	}
	if m == harness.AnyMoment && victim != "core" {
		k.Serving() // the instant is any at which there is something to kill
	}
	if victim == "core" {
		k.sent = time.Now()
		k.Kill()
	} else {
		if k.before != nil {
			k.before()
		}
		hit = k.KillPlugin(victim) && hit
	}
	dead = time.Now()
	if victim != "core" {
		k.dead = append(k.dead, dead)
	}
	if hit {
		k.hit[victim+": "+string(m)]++
	}
	return dead
}

// killCoreTwice kills the core, and the next one at a moment of its start. That
// of start-up is drawn to lie within apart of the first kill; the other one is
// the core's to choose. within tells whether it was so near.
func (k *kills) killCoreTwice(m harness.Moment) (dead time.Time, within bool) {
	k.T.Helper()
	k.kill("core", harness.AnyMoment)
	first := k.sent
	k.Launch()
	hit := true
	if m == harness.Reattach {
		hit = k.watch.Await(m, 75*time.Second)
	} else {
		time.Sleep(time.Until(first.Add(time.Duration(k.rng.IntN(120)) * time.Millisecond)))
		ready := make(chan bool, 1)
		go func() { status, _ := k.Get(k.Admin + "/readyz"); ready <- status == 200 }()
		select {
		case is := <-ready:
			hit = !is
		case <-time.After(20 * time.Millisecond): // it does not even answer
		}
	}
	k.sent = time.Now()
	k.Kill()
	dead = time.Now()
	if hit {
		k.hit["core: "+string(m)]++
	}
	d := k.sent.Sub(first)
	k.twice[m] = append(k.twice[m], d)
	return dead, d <= apart
}

// closeAll ends all streams and says what is judged of each.
func (k *kills) closeAll(gaps map[string][]ledger.Gap, slack time.Duration) {
	k.T.Helper()
	to := k.Close(k.uids...)
	for i := range k.cams {
		r := &k.cams[i].Rules
		if r.To == 0 { // else it has been closed before
			r.To = to
		}
		r.Tail, r.Gaps, r.GapSlack = -1, gaps, slack
		if uid := k.cams[i].UID; uid == "cam-00" { // the rest has been deleted by rule
			if f := k.Footage(uid); len(f.Ranges) > 0 {
				r.From = f.Ranges[0].From*1e6 + int64(time.Second)
			}
		}
	}
}

func (k *kills) moments() string {
	var out []string
	for _, m := range slices.Sorted(maps.Keys(k.hit)) {
		out = append(out, fmt.Sprintf("%s %d", m, k.hit[m]))
	}
	for _, m := range slices.Sorted(maps.Keys(k.twice)) {
		d := slices.Sorted(slices.Values(k.twice[m]))
		near, _ := slices.BinarySearch(d, apart+1)
		out = append(out, fmt.Sprintf("the second of two kills, at %s, within %v of the first %d of %d times (median %v, worst %v)",
			m, apart, near, len(d), d[len(d)/2].Round(time.Millisecond), d[len(d)-1].Round(time.Millisecond)))
	}
	slices.Sort(k.slow)
	if n := len(k.slow); n > 0 {
		out = append(out, fmt.Sprintf("all streams record again after %v (median), %v (worst)", k.slow[n/2].Round(10*time.Millisecond), k.slow[n-1].Round(10*time.Millisecond)))
	}
	return strings.Join(out, ", ")
}

// fileMoments are those that hit core and storage alike. Retention looks once a
// minute, too seldom for the shortened run.
func fileMoments() []harness.Moment {
	m := []harness.Moment{harness.PartWrite, harness.RollOver, harness.Sync, harness.Seal, harness.AnyMoment}
	if harness.Full() {
		m = append(m, harness.Retention)
	}
	return m
}

// TestKillsOfCoreAndStorage: not one frame may be missing, and no gap reported.
func TestKillsOfCoreAndStorage(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	k := underAttack(t, rng, harness.Pick(50, 8), pythonCamera)
	moments := fileMoments()
	coreMoments := append([]harness.Moment{harness.Reload}, moments...)
	for i := range harness.Pick(60, len(moments)) {
		k.recover(k.kill("local", moments[i%len(moments)]))
	}
	for i := range harness.Pick(60, len(coreMoments)) {
		dead := k.kill("core", coreMoments[i%len(coreMoments)])
		k.Launch()
		k.recover(dead)
	}
	starts := []harness.Moment{harness.StartUp, harness.Reattach}
	for i := range harness.Pick(60, 6) { // core twice within 200 ms, and at its start
		for try := 1; ; try++ {
			dead, within := k.killCoreTwice(starts[i%2])
			k.Launch()
			k.recover(dead)
			if within || starts[i%2] != harness.StartUp {
				break
			}
			if try == 5 { // the test itself was late, each time
				t.Errorf("the core was never killed twice within %v: %v", apart, k.twice[harness.StartUp])
				break
			}
		}
	}
	for _, m := range moments {
		for _, v := range []string{"core", "local"} {
			if k.hit[v+": "+string(m)] == 0 {
				t.Errorf("no kill of %s has hit %s", v, m)
			}
		}
	}
	for _, m := range []harness.Moment{harness.Reload, harness.StartUp, harness.Reattach} {
		if m == harness.Reload && !harness.Full() {
			continue // over in about a millisecond: one try may miss it
		}
		if k.hit["core: "+string(m)] == 0 {
			t.Errorf("no kill of core has hit %s", m)
		}
	}
	k.closeAll(map[string][]ledger.Gap{}, 0)
	sims := slices.DeleteFunc(slices.Clone(k.cams), func(c harness.Camera) bool { return c.UID == pythonUID })
	judge(t, k.Server, "kills of core and storage", seed, sims, "mp4")
	judge(t, k.Server, "kills of core and storage", seed, sims[1:1+len(kinds)], "hls") // one of each kind, and not what retention shortens
	const python = "the Python driver through kills of the core"
	if i := slices.IndexFunc(k.cams, func(c harness.Camera) bool { return c.UID == pythonUID }); i >= 0 {
		judge(t, k.Server, python, seed, k.cams[i:i+1], "mp4") // it makes nothing that HLS carries
	} else {
		harness.NotJudged(t, python, seed, "it needs the Debian packages python3-grpcio and python3-protobuf")
	}
	harness.Row(t, "kills of core and storage, moments hit", seed, "%s", k.moments())
}

// pythonCamera adds the driver written in Python, where it can run. It must run
// where its package is installed.
func pythonCamera(s *harness.Server) []harness.Camera {
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		if status, _ := exec.Command("dpkg-query", "-W", "-f", "${Status}", "python3-grpcio").Output(); string(status) == "install ok installed" {
			s.T.Errorf("python3-grpcio is installed, and yet the Python driver cannot run: %v: %s", err, out)
		}
		s.T.Log("without the Python driver: it needs the Debian packages python3-grpcio and python3-protobuf")
		return nil
	}
	root, err := harness.Root()
	if err == nil {
		err = os.CopyFS(filepath.Join(s.Dir, "plugins", "python-clock"), os.DirFS(filepath.Join(root, "plugins/examples/python-clock")))
	}
	if err == nil {
		err = s.AddPlugins(filepath.Join(s.Dir, "plugins"))
	}
	if err != nil {
		s.T.Fatal(err)
	}
	sent := filepath.Join(s.Dir, "python.csv")
	s.Put(pythonUID, "stream-url = clock://python", "stream-access = public", "dvr-chunk = 3s", "driver-ledger = "+sent)
	// It stamps a unit when it makes it, which may be late on a busy machine.
	return []harness.Camera{{UID: pythonUID, Sent: sent, Rules: ledger.Rules{Off: time.Second}}}
}
