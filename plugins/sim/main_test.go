package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/plugins/internal/stamp"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/conformance"
	"media-server/plugins/sdk/pb"
	"media-server/plugins/sdk/sdktest"
	"media-server/plugins/sim/camera"
)

func TestValidate(t *testing.T) {
	if p := validate("sim://", nil); len(p) > 0 {
		t.Errorf("sim:// alone: %v", p)
	}
	p := validate("sim://?codec=vp9", map[string]string{"fps": "fast"})
	if len(p) != 2 || p[0].Key != "codec" || p[1].Key != "fps" || p[0].Hint == "" {
		t.Errorf("%v", p)
	}
}

// TestKeys: what the schema offers as default is what the camera does.
func TestKeys(t *testing.T) {
	all := map[string]string{}
	for _, k := range keys() {
		if k.Help == "" {
			t.Errorf("%s has no help", k.Name)
		}
		if k.Default != "" {
			all[k.Name] = k.Default
		}
	}
	with, problems := camera.Parse("sim://", "gate", all)
	without, _ := camera.Parse("sim://", "gate", nil)
	if len(problems) > 0 || with.Codec != without.Codec || with.Seed != without.Seed || !with.Reports {
		t.Errorf("%+v %+v %v", with, without, problems)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel() // it mostly waits
	path := filepath.Join(t.TempDir(), "sim")
	if b, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if r := conformance.Check(t.Context(), path, conformance.Options{}); !r.OK() {
		t.Error("\n" + r.String())
	}
}

func serve(t *testing.T) *sdktest.Plugin {
	t.Helper()
	e := camera.New()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return sdktest.Serve(t, plugin(e))
}

// TestCoreDies: a new core goes on where the old one ended, with every frame.
func TestCoreDies(t *testing.T) {
	p := serve(t)
	core := p.Connect(1)
	s := core.Subscribe("gate", "sim://?metadata=on", nil)
	opened := s.Opened()
	if len(opened.Tracks) != 3 || opened.Device == "" {
		t.Fatalf("%v", opened)
	}
	held := media.RunPosition{Run: media.RunID(opened.Run)}
	next := map[int]uint64{} // track → number expected
	take := func(s *sdktest.Stream, n int) {
		for range n {
			u := s.Unit()
			tok, _, ok := stamp.Find(u.Payload)
			if !ok || tok.Camera != "gate" {
				t.Fatalf("token %v", tok)
			}
			if want, ok := next[u.Track]; ok && want != tok.Number {
				t.Fatalf("track %d: %d, want %d", u.Track, tok.Number, want)
			}
			if late := u.Received.Sub(tok.Time); late < 0 || late > 5*time.Second {
				t.Fatalf("received %v after capture", late)
			}
			next[u.Track] = tok.Number + 1
			held.Tracks = set(held.Tracks, media.Position{Track: u.Track, Next: u.Seq + 1})
		}
	}
	take(s, 100)
	core.Kill()
	again := p.Connect(2).Subscribe("gate", "sim://?metadata=on", nil, held)
	if o := again.Opened(); string(o.Run) != string(opened.Run) {
		t.Fatal("the run did not go on")
	}
	take(again, 100)
}

func set(p []media.Position, n media.Position) []media.Position {
	for i := range p {
		if p[i].Track == n.Track {
			p[i] = n
			return p
		}
	}
	return append(p, n)
}

func TestCausesReachTheCore(t *testing.T) {
	p := serve(t)
	s := p.Connect(1).Subscribe("gate", "sim://?cue=300ms:params,600ms:drop", nil)
	first := s.Opened()
	if c := s.Closed(); c.Cause != pb.Cause_CHANGED {
		t.Errorf("%v", c)
	}
	second := s.Opened()
	if string(first.Tracks[0].Sps) == string(second.Tracks[0].Sps) {
		t.Error("the parameters are the same")
	}
	if c := s.Closed(); c.Cause != pb.Cause_LOST {
		t.Errorf("%v", c)
	}
	s.Opened()
	if c := p.Connect(2).Subscribe("b", "sim://?codec=vp9", nil).Closed(); c.Cause != pb.Cause_SETTINGS || c.Problem.GetHint() == "" {
		t.Errorf("%v", c)
	}
}

func TestProbe(t *testing.T) {
	r, err := probe(t.Context(), sdk.Source{URL: "sim://?codec=h265&metadata=on"})
	if err != nil || len(r.Tracks) != 3 || r.Tracks[0].Codec != media.H265 || !r.Tracks[0].Ready() {
		t.Errorf("%v %v", r, err)
	}
	if _, err := probe(t.Context(), sdk.Source{URL: "sim://?fps=0"}); err == nil {
		t.Error("probed nonsense")
	}
}
