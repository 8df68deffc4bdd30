package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/stream"
	"media-server/core/timeline"
)

// standIn is a driver of one camera that does as the test says.
type standIn struct{ sink stream.Sink }

func (d *standIn) Subscribe(_ stream.Subscription, s stream.Sink) (stream.Session, error) {
	d.sink = s
	return d, nil
}
func (d *standIn) Ack(media.RunPosition) {}
func (d *standIn) SetDelivery(bool)      {}
func (d *standIn) Resubscribe()          {}
func (d *standIn) Close()                {}

// live is a node with streams and nothing in front of them.
type live struct{ *sealedNode }

func newLive(t *testing.T) *live {
	data := t.TempDir()
	dir := storagetest.New(t.TempDir())
	dir.SyncEvery = 3 * time.Millisecond
	n := &live{newSealedNode(t, data, dir, t.TempDir(), 1)}
	t.Cleanup(n.stop)
	n.boot = &Settings{}
	n.current.Store(n.boot)
	n.known, n.web = readKnown(data), &webSide{ctx: t.Context()}
	n.streams = newStreams(n.Node)
	n.timeline = timeline.New(n.archive, n.streams.ring)
	n.timeline.Complete(backend{n.Node}.missing)
	return n
}

// add makes a stream with a driver that the test speaks for.
func (n *live) add(uid string, added time.Time, change func(*stream.Config)) *standIn {
	n.t.Helper()
	c := stream.DefaultConfig()
	c.URL = "stand-in://"
	if change != nil {
		change(&c)
	}
	r := &running{set: &StreamSettings{UID: uid, Config: c}}
	d := &standIn{}
	var dep stream.Deps
	if c.DVR.Enable {
		var err error
		if r.rec, err = n.archive.Recorder(uid, archive.Rules{}); err != nil {
			n.t.Fatal(err)
		}
		dep.Recorder = r.rec
	}
	dep.Driver, dep.LastEnd, dep.Epoch, dep.Log = d, n.lastEnd, 1, n.log
	r.str = stream.New(stream.Spec{Capture: stream.Subscription{UID: uid}, Record: true, Modes: c.Modes(time.UTC)}, dep)
	if err := r.str.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.streams.put(r)
	n.known.m[uid] = known{Added: added.UnixMilli()}
	return d
}

// send gives units of a run that began at a time, as far as they have come.
func (d *standIn) send(run byte, began time.Time, from, to uint64) {
	if from == 0 {
		d.sink.Opened(stream.Opened{Run: media.RunID{run}, Tracks: []media.Track{{ID: 1, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}},
			First: []media.Position{{Track: 1}}, At: media.WallOf(began)})
	}
	for i := from; i < to; i++ {
		at := began.Add(time.Duration(i) * 40 * time.Millisecond)
		d.sink.Units([]media.AccessUnit{{Track: 1, Seq: i, PTS: int64(i) * 320, Key: true, Payload: fmt.Appendf(nil, "unit %d;", i),
			Received: media.WallOf(at), Mono: int64(i) * 40e6}})
	}
}

// gaps are those of ranges.json and of the list of all streams.
func (n *live) gaps(uid string) (own, all string) {
	n.t.Helper()
	ever := media.Span{From: 0, To: 1<<63 - 1}
	_, gs, err := n.timeline.Ranges(uid, ever)
	items, err2 := backend{n.Node}.OpenGaps(ever)
	if err = errors.Join(err, err2); err != nil {
		n.t.Fatal(err)
	}
	var a, b []string
	for _, g := range gs {
		a = append(a, fmt.Sprintf("%s %s", g.Span.Duration().Round(10*time.Second), g.Why))
	}
	for _, g := range items {
		if g.UID == uid {
			b = append([]string{fmt.Sprintf("%s %s", (time.Duration(g.To-g.From) * time.Millisecond).Round(10*time.Second), g.Why)}, b...)
		}
	}
	return strings.Join(a, ", "), strings.Join(b, ", ")
}

func (n *live) want(what, uid, want string) {
	n.t.Helper()
	if own, all := n.gaps(uid); own != want || all != want {
		n.t.Errorf("%s: ranges.json has the gaps %q, the list of all %q, want %q", what, own, all, want)
	}
}

// TestOutageThatGoesOn: a camera that is off is missing in every list until it
// is back, and then it was one gap.
func TestOutageThatGoesOn(t *testing.T) {
	n := newLive(t)
	hour := time.Hour
	d := n.add("gate", time.Now().Add(-3*hour), nil)
	n.want("before it has answered", "gate", "")
	d.sink.Closed(stream.Closed{Cause: stream.CauseUnreachable})
	n.want("never seen", "gate", "3h0m0s camera_lost")

	d.send(1, time.Now().Add(-hour), 0, 200)
	if _, gs, _ := n.timeline.Ranges("gate", media.Span{From: 0, To: 1<<63 - 1}); len(gs) != 0 {
		t.Errorf("while it is behind, and goes on: %v", gs)
	}
	d.sink.Closed(stream.Closed{Run: media.RunID{1}, Cause: stream.CauseLost})
	n.want("lost", "gate", "59m50s camera_lost")
	w := media.Span{From: media.WallOf(time.Now().Add(-30 * time.Minute)), To: media.WallOf(time.Now().Add(hour))}
	if _, gs, err := n.timeline.Ranges("gate", w); err != nil || len(gs) != 1 || gs[0].Span.From != w.From || gs[0].Span.To > media.WallOf(time.Now()) {
		t.Errorf("in a window: %v %v", gs, err)
	}
	w = media.Span{From: 0, To: media.WallOf(time.Now().Add(-hour))}
	if _, gs, err := n.timeline.Ranges("gate", w); err != nil || len(gs) != 0 {
		t.Errorf("in a window before: %v %v", gs, err)
	}
	d.sink.Closed(stream.Closed{Cause: stream.CauseSilent})
	n.want("found silent", "gate", "59m50s camera_silent")
	d.sink.Closed(stream.Closed{Cause: stream.CauseLost})

	back := time.Now()
	for i := uint64(0); i < 200; i += 10 { // the gap never goes, whatever is listed already
		d.send(2, back, i, i+10)
		n.want(fmt.Sprintf("back, after %d units", i+10), "gate", "59m50s camera_lost")
	}

	s := n.streams.get("gate")
	off := *s.set
	off.Config.DVR.Enable = false
	n.streams.put(&running{set: &off, str: s.str})
	d.sink.Closed(stream.Closed{Run: media.RunID{2}, Cause: stream.CauseLost})
	n.want("switched off", "gate", "59m50s camera_lost")
	if own, _ := n.gaps("nobody"); own != "" {
		t.Errorf("of a stream that never was: %s", own)
	}
}

// TestOutageBeforeFirstFootage: the outage of a camera that was never seen stays
// in every list when it is seen at last.
func TestOutageBeforeFirstFootage(t *testing.T) {
	n := newLive(t)
	if err := n.archive.Rebuild(t.Context(), "", nil); err != nil { // it is known that there is nothing
		t.Fatal(err)
	}
	hour := time.Hour
	d := n.add("gate", time.Now().Add(-30*hour), nil)
	if r := n.streams.get("gate"); n.known.since("gate") == 0 {
		t.Fatal("it is not known since when it is to be recorded")
	} else {
		r.rec.Since(n.known.since("gate"))
	}
	d.sink.Closed(stream.Closed{Cause: stream.CauseUnreachable})
	n.want("never seen", "gate", "30h0m0s camera_lost")
	d.send(1, time.Now().Add(-20*time.Second), 0, 500)
	n.want("seen", "gate", "29h59m40s camera_lost")
	n.boot.Server.zone = time.UTC
	in, err := backend{n.Node}.Inspect(time.Now().Add(-30*hour), true, []string{"gate"})
	if err != nil || len(in.Streams) != 1 || in.Streams[0].Missing < 1 {
		t.Errorf("the inspection misses nothing: %+v %v", in, err)
	}
}

// TestRecordedSince: since when a stream is to be recorded, by what is known of it.
func TestRecordedSince(t *testing.T) {
	k := &knownStreams{m: map[string]known{
		"gate": {Added: 5000}, "old": {}, "off": {Added: 5000, Pauses: []pause{{From: 6000}}}, "on": {Added: 5000, Pauses: []pause{{From: 6000, To: 7000}}}}}
	for uid, want := range map[string]int64{"gate": 5000, "old": 0, "off": 0, "on": 7000, "nobody": 0} {
		if got := k.since(uid); got.Milli() != want {
			t.Errorf("%s: %d, want %d", uid, got.Milli(), want)
		}
	}
	n := newLive(t)
	if err := n.archive.Rebuild(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	n.known.m["gate"] = known{Added: time.Now().Add(-time.Hour).UnixMilli()}
	rec, err := n.recorder("gate", archive.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	rec.Close()
	n.record("gate", time.Now().Add(-20*time.Second))
	if _, gs, err := n.archive.Ranges("gate", media.Span{From: 0, To: 1<<63 - 1}); err != nil || len(gs) != 1 || gs[0].Span.Duration().Round(time.Minute) != time.Hour {
		t.Errorf("the recorder does not know it: %v %v", gs, err)
	}
}

// TestOutageOffSchedule: what goes wrong while nothing is recorded is missing in
// no list, as in the inspection.
func TestOutageOffSchedule(t *testing.T) {
	n := newLive(t)
	// All but the hour that began 90 minutes ago is off.
	began := time.Now().UTC().Add(-90 * time.Minute).Truncate(time.Minute)
	on := func(c *stream.Config) {
		c.DVR.Mode, c.DVR.Schedule = "schedule", fmt.Sprintf("%s-%s continuous", began.Format("15:04"), began.Add(time.Hour).Format("15:04"))
	}
	n.boot.Server.zone = time.UTC
	n.record("gate", began.Add(-2*time.Hour))
	d := n.add("gate", began.Add(-10*time.Hour), on)
	d.sink.Closed(stream.Closed{Cause: stream.CauseLost})
	if own, all := n.gaps("gate"); !strings.HasSuffix(own, "off_schedule, 1h0m0s camera_lost") || all != "1h0m0s camera_lost" {
		t.Errorf("off for an hour that counts: %q, %q", own, all)
	}
	// Stopped, and started again, while nothing was to be recorded.
	n.record("yard", began.Add(-3*time.Hour))
	n.record("yard", began.Add(-2*time.Hour))
	n.add("yard", began.Add(-10*time.Hour), func(c *stream.Config) { on(c); c.DVR.Enable = false })
	all := media.Span{From: 0, To: 1<<63 - 1}
	_, was, err := n.archive.Ranges("yard", all)
	if err != nil || len(was) != 1 {
		t.Fatal(was, err)
	}
	was[0].Why = archive.GapServerDown
	if gs := (backend{n.Node}).missing("yard", all, was); len(gs) != 1 || gs[0].Why != archive.GapOffSchedule {
		t.Errorf("%v", gs)
	}
	// A stream with no hour that counts since.
	n.record("door", began.Add(70*time.Minute))
	n.add("door", began.Add(-10*time.Hour), on).sink.Closed(stream.Closed{Cause: stream.CauseLost})
	n.want("lost off schedule", "door", "")
	if r, err := (backend{n.Node}).Why("door", media.WallOf(time.Now().Add(-5*time.Minute))); err != nil || r.Why != "off_schedule" {
		t.Errorf("%+v %v", r, err)
	}
}

// TestOutageOfEvents: a stream of which only events are recorded misses nothing
// of the time before this process watched it, though the camera is not there
// at once, and all from then on. What an earlier setting has seen is not
// forgotten.
func TestOutageOfEvents(t *testing.T) {
	n := newLive(t)
	n.boot.Server.zone = time.UTC
	n.record("gate", time.Now().Add(-72*time.Hour))
	d := n.add("gate", time.Now().Add(-100*time.Hour), func(c *stream.Config) {
		c.DVR.Mode, c.DVR.Schedule = "schedule", "00:00-24:00 event"
	})
	r := *n.streams.get("gate")
	rest := *r.set
	rest.Config.Enable = false // nothing is captured, or the test would need a driver's process
	r.watched = n.streams.start(&rest, nil).watched
	n.streams.put(&r)
	d.sink.Closed(stream.Closed{Cause: stream.CauseUnreachable})
	n.want("restarted just now", "gate", "")
	r.watched = media.WallOf(time.Now().Add(-time.Hour))
	if own, all := n.gaps("gate"); own != "71h0m0s off_schedule, 1h0m0s camera_lost" || all != "1h0m0s camera_lost" {
		t.Errorf("restarted an hour ago, and gone since: %q, %q", own, all)
	}

	off, waits := *r.set, running{set: r.set, watched: r.watched}
	off.Config.DVR.Enable = false
	if got := r.goesOn(); got != r.watched {
		t.Errorf("set anew: watched since %v, want %v", got.Time(), r.watched.Time())
	}
	if got := waits.goesOn(); got != r.watched {
		t.Errorf("waited for its space: watched since %v, want %v", got.Time(), r.watched.Time())
	}
	if got := (&running{set: &off, watched: r.watched}).goesOn(); time.Since(got.Time()) > time.Minute {
		t.Errorf("was not recorded: watched since %v", got.Time())
	}
	began := time.Now().Add(-30 * time.Minute)
	d.send(1, began, 0, 100)
	if got := r.goesOn(); got.Sub(media.WallOf(began)) < 3*time.Second || got.Sub(media.WallOf(began)) > time.Minute {
		t.Errorf("there until half an hour ago: watched since %v", got.Time())
	}
}

// TestOutageAfterPause: of a stream that was off for a month only what is
// missing since it was switched on counts, while it goes on and when it is over.
func TestOutageAfterPause(t *testing.T) {
	n := newLive(t)
	set := func(on bool, ago time.Duration) {
		t.Helper()
		c := stream.DefaultConfig()
		c.DVR.Enable = on
		n.rememberThen(&Settings{Streams: map[string]*StreamSettings{"gate": {UID: "gate", Config: c}}}, ago)
	}
	n.record("gate", time.Now().Add(-720*time.Hour-6*time.Second))
	d := n.add("gate", time.Now().Add(-1000*time.Hour), nil)
	set(true, 0)
	set(false, 720*time.Hour)
	set(false, 0)
	if ps := n.known.pauses("gate"); len(ps) != 1 || media.WallOf(time.Now()).Sub(ps[0].From) > time.Minute || ps[0].To < media.WallOf(time.Now()) {
		t.Fatalf("%v", ps)
	}
	set(false, 720*time.Hour)
	set(true, time.Hour)
	set(true, time.Hour)
	d.sink.Closed(stream.Closed{Cause: stream.CauseUnreachable})
	want := func(what, why string) {
		t.Helper()
		if own, all := n.gaps("gate"); own != "719h0m0s disabled, 1h0m0s "+why || all != "1h0m0s "+why {
			t.Errorf("%s: %q, %q", what, own, all)
		}
	}
	want("its camera is not there", "camera_lost")
	d.send(1, time.Now(), 0, 200)
	want("its camera is back", "camera_lost")
}

// TestOutageAfterRemoval: a stream whose file was away for a month misses nothing of
// that month. One whose file was refused, or could not be read, does.
func TestOutageAfterRemoval(t *testing.T) {
	c := stream.DefaultConfig()
	c.DVR.Enable = true
	there := map[string]*StreamSettings{"gate": {UID: "gate", Config: c}}
	for _, x := range []struct {
		name string
		away *Settings // what is read in that month
		want string
	}{
		{"removed", &Settings{listed: true}, "719h0m0s disabled, 1h0m0s camera_lost"},
		{"refused", &Settings{listed: true, Refused: map[string]fault.Problems{"gate": {}}}, "720h0m0s camera_lost"},
		{"not read", &Settings{}, "720h0m0s camera_lost"},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := newLive(t)
			n.record("gate", time.Now().Add(-720*time.Hour-6*time.Second))
			d := n.add("gate", time.Now().Add(-1000*time.Hour), nil)
			n.rememberThen(&Settings{listed: true, Streams: there}, 0)
			n.rememberThen(x.away, 720*time.Hour)
			n.rememberThen(x.away, 720*time.Hour)
			n.rememberThen(&Settings{listed: true, Streams: there}, time.Hour)
			d.sink.Closed(stream.Closed{Cause: stream.CauseUnreachable})
			if own, _ := n.gaps("gate"); own != x.want {
				t.Errorf("%q, want %q", own, x.want)
			}
		})
	}
}

// TestRemovedStreams: which streams have no file, as the folder says.
func TestRemovedStreams(t *testing.T) {
	p := newPlace(t, "streams.d/gate.ini", "[gate]\nstream-url = sim://\n", "streams.d/yard.ini", "[yard]\nno such key = 1\n")
	s, _ := p.load()
	if s.isRemoved("gate") || s.isRemoved("yard") || !s.isRemoved("door") {
		t.Errorf("removed: gate %v, yard %v, door %v", s.isRemoved("gate"), s.isRemoved("yard"), s.isRemoved("door"))
	}
	if err := errors.Join(os.RemoveAll(s.Server.StreamsDir), os.Mkdir(s.Server.StreamsDir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if s, _ = p.load(); s.isRemoved("gate") {
		t.Error("an empty folder, where a disk is to be mounted, removes streams")
	}
	if err := os.Remove(s.Server.StreamsDir); err != nil {
		t.Fatal(err)
	}
	if s, _ = p.load(); s.isRemoved("gate") {
		t.Error("a folder that is not there removes streams")
	}
}

// rememberThen remembers settings as if they had been read so long ago.
func (n *live) rememberThen(set *Settings, ago time.Duration) {
	n.t.Helper()
	n.remember(set)
	if k := n.known.m["gate"]; len(k.Pauses) > 0 {
		p, at := &k.Pauses[len(k.Pauses)-1], time.Now().Add(-ago).UnixMilli()
		if p.To != 0 {
			p.To = at
		} else {
			p.From = at
		}
	}
	n.known = readAgain(n.t, n.known)
}

// readAgain writes what is known and reads it, as a server that starts does.
func readAgain(t *testing.T, k *knownStreams) *knownStreams {
	t.Helper()
	b, err := json.Marshal(k.m)
	if err == nil {
		err = os.WriteFile(k.path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return readKnown(filepath.Dir(k.path))
}

// TestPauses: how the pauses of a stream follow its settings.
func TestPauses(t *testing.T) {
	ps := turn(nil, false, 1000, 0)
	if !paused(ps) || ps[0].From != 1000 {
		t.Fatal(ps)
	}
	if on := turn(ps, true, 9000, 400); paused(on) || len(on) != 1 || on[0] != (pause{From: 1000, To: 9000}) || !paused(ps) {
		t.Errorf("%v", on)
	}
	// A streams.json from a backup, made while the stream was off: it has footage since.
	if on := turn(ps, true, 9000, 5000); len(on) != 1 || on[0] != (pause{From: 5000, To: 9000}) {
		t.Errorf("%v", on)
	}
	if on := turn(ps, true, 9000, 9000); len(on) != 0 {
		t.Errorf("%v", on)
	}
	for i := range int64(1000) {
		ps = turn(turn(ps, true, 10000+2*i, 0), false, 10001+2*i, 0)
	}
	if !paused(ps) || len(ps) != mostPauses || ps[len(ps)-1].From != 10001+2*999 {
		t.Errorf("%d, the last is %v", len(ps), ps[len(ps)-1])
	}
}

// TestOutageOfStorage: a stream that nobody can start, as its space is not
// there, is missing as well.
func TestOutageOfStorage(t *testing.T) {
	n := newLive(t)
	n.record("gate", time.Now().Add(-time.Hour))
	c := stream.DefaultConfig()
	n.streams.put(&running{set: &StreamSettings{UID: "gate", File: filepath.Join("streams.d", "gate.ini"), Config: c}, waits: true})
	n.want("without its space", "gate", "1h0m0s disk_error")
	n.started = time.Now()
	n.want("as the server starts", "gate", "")
}
