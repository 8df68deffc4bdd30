package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
	"media-server/plugins/sdk/sdktest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

var h264 = media.Track{ID: 1, Codec: media.H264, Timescale: 90000}
var meta = media.Track{ID: 2, Codec: media.Metadata, Timescale: 90000}

// camera sends a numbered unit each period until the test's channel says
// otherwise; its numbers go on over connections.
type camera struct {
	period time.Duration
	size   int
	lose   chan error // ends the Capture under way
	n      int
}

func (c *camera) Capture(ctx context.Context, src sdk.Source, run *sdk.Run) error {
	if err := run.Open([]media.Track{h264, meta}, "test camera"); err != nil {
		return err
	}
	t := time.NewTicker(c.period)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case err := <-c.lose:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		p := make([]byte, max(c.size, 16))
		copy(p, fmt.Sprintf("%d;", c.n))
		if err := run.Write(media.AccessUnit{Track: 1, PTS: int64(c.n) * 3600, Key: c.n%10 == 0, Payload: p}); err != nil {
			return err
		}
		run.Stats().PacketsReceived.Add(1)
		c.n++
	}
}

func number(t *testing.T, u media.AccessUnit) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(string(u.Payload), "%d;", &n); err != nil {
		t.Fatalf("unit %q: %v", u.Payload[:16], err)
	}
	return n
}

func plugin(d sdk.Driver) sdk.Plugin {
	return sdk.Plugin{Name: "test", Version: "1.0.0", Schemes: []string{"test"}, Driver: d}
}

func pos(o *pb.Opened, next uint64) media.RunPosition {
	return media.RunPosition{Run: media.RunID(o.Run), Tracks: []media.Position{{Track: 1, Next: next}}}
}

func TestUnitsArriveInOrderAndGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := sdktest.Start(t, plugin(&camera{period: 10 * time.Millisecond}))
		s := core.Subscribe("cam", "test://x", nil)
		o := s.Opened()
		if len(o.Run) != 16 || len(o.Tracks) != 2 || o.Device != "test camera" || o.OpenedAt == 0 {
			t.Errorf("opened: %v", o)
		}
		most := 0
		for i := range 100 {
			e := s.Next()
			if e.Unit == nil || number(t, *e.Unit) != i || e.Unit.Seq != uint64(i) || e.Unit.Received == 0 {
				t.Fatalf("event %d: %+v", i, e)
			}
			if late := e.At.Sub(e.Unit.Received.Time()); late > 101*time.Millisecond {
				t.Errorf("unit %d came after %v", i, late)
			}
			most = max(most, e.BatchSize)
		}
		if most < 9 || most > 11 {
			t.Errorf("batches of up to %d units, want the 10 of 100 ms", most)
		}
		s.AtOnce(true)
		time.Sleep(time.Second)
		for s.Next().At.Before(time.Now().Add(-500 * time.Millisecond)) {
		}
		for range 10 {
			if e := s.Next(); e.At.Sub(e.Unit.Received.Time()) > time.Millisecond {
				t.Errorf("at once took %v", e.At.Sub(e.Unit.Received.Time()))
			}
		}
		time.Sleep(time.Second) // a report that was sent behind the hundredth has come for sure
		if st := s.Stats(); st.GetPacketsReceived() < 100 {
			t.Errorf("stats: %v", st)
		}
	})
}

func TestBatchesAreOfTheProcessNotOfTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(sdk.DriverFunc(func(ctx context.Context, src sdk.Source, run *sdk.Run) error {
			return (&camera{period: 40 * time.Millisecond}).Capture(ctx, src, run)
		})))
		core := p.Connect(1)
		var all []*sdktest.Stream
		for i := range 50 {
			all = append(all, core.Subscribe(fmt.Sprint("cam", i), "test://x", nil))
		}
		time.Sleep(10 * time.Second)
		times := map[time.Time]bool{}
		for _, s := range all {
			for {
				e, ok := s.Try(0)
				if !ok {
					break
				}
				if e.Unit != nil {
					times[e.At] = true
				}
			}
		}
		if len(times) > 105 {
			t.Errorf("50 streams woke the core %d times in 10 s, want 100", len(times))
		}
	})
}

func TestResumeAfterAKilledCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(&camera{period: 40 * time.Millisecond}))
		core := p.Connect(1)
		s := core.Subscribe("cam", "test://x", nil)
		o := s.Opened()
		for range 50 {
			s.Unit()
		}
		s.Ack(pos(o, 30))
		time.Sleep(time.Second)
		core.Kill()
		time.Sleep(5 * time.Second)

		core = p.Connect(2)
		s = core.Subscribe("cam", "test://x", nil, pos(o, 40))
		again := s.Opened()
		if string(again.Run) != string(o.Run) {
			t.Fatal("the run changed though the camera was never lost")
		}
		if again.First[0].Next != 40 {
			t.Errorf("first %v, want 40: the core holds all before", again.First)
		}
		for i := 40; i < 250; i++ {
			if u := s.Unit(); number(t, u) != i || u.Seq != uint64(i) {
				t.Fatalf("unit %d, want %d", number(t, u), i)
			}
		}
		// A core that holds less than was acknowledged learns of the hole.
		core.Kill()
		core = p.Connect(3)
		s = core.Subscribe("cam", "test://x", nil, pos(o, 10))
		if f := s.Opened().First[0].Next; f != 30 {
			t.Errorf("first is %d, want 30: what was acknowledged is gone", f)
		}
	})
}

func TestOverflowWhileTheCoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(&camera{period: 40 * time.Millisecond}))
		core := p.Connect(1)
		s := core.Subscribe("cam", "test://x", nil)
		o := s.Opened()
		s.Unit()
		core.Kill()
		time.Sleep(60 * time.Second) // three times the buffer
		s = p.Connect(2).Subscribe("cam", "test://x", nil, pos(o, 1))
		again := s.Opened()
		first := int(again.First[0].Next)
		if kept := 1500 - first; string(again.Run) != string(o.Run) || kept < 495 || kept > 505 {
			t.Fatalf("first unit is %d of about 1500, want the last 500", first)
		}
		for i := range 100 {
			if n := number(t, s.Unit()); n != first+i {
				t.Fatalf("unit %d, want %d", n, first+i)
			}
		}
	})
}

func TestOverflowWhileTheCoreDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(&camera{period: 40 * time.Millisecond, size: 20_000}))
		core := p.Connect(1)
		s := core.Subscribe("cam", "test://x", nil)
		o := s.Opened()
		s.Unit()
		core.Pause()
		time.Sleep(60 * time.Second)
		core.Resume()
		last, run := 0, o.Run
		for {
			e := s.Next()
			switch {
			case e.Unit != nil:
				if n := number(t, *e.Unit); n != last+1 {
					t.Fatalf("unit %d after %d and nothing was said", n, last)
				}
				last++
				continue
			case e.Closed.GetCause() != pb.Cause_OVERFLOW || string(e.Closed.Run) != string(run):
				t.Fatalf("a hole must be told as OVERFLOW: %+v", e)
			}
			break
		}
		next := s.Next().Opened
		if next == nil || string(next.Run) == string(run) || next.First[0].Next != 0 {
			t.Fatalf("no new run after OVERFLOW: %v", next)
		}
		u := s.Unit()
		if u.Seq != 0 || number(t, u) <= last+1 {
			t.Errorf("after the hole: sequence %d, number %d (before: %d)", u.Seq, number(t, u), last)
		}
		for n := number(t, u); n < 1500; n++ {
			if n != number(t, u) {
				t.Fatalf("unit %d, want %d", number(t, u), n)
			}
			u = s.Unit()
		}
	})
}

func TestBytesBoundHoldsOverAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(sdk.DriverFunc(func(ctx context.Context, src sdk.Source, run *sdk.Run) error {
			return (&camera{period: 40 * time.Millisecond, size: 10_000}).Capture(ctx, src, run)
		})))
		core := p.Connect(1)
		base := pb.NewBaseClient(core.Conn)
		if _, err := base.Configure(t.Context(), &pb.ConfigureRequest{Epoch: 1, BufferMs: 20_000, BufferBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			core.Subscribe(fmt.Sprint("cam", i), "test://x", nil)
		}
		time.Sleep(15 * time.Second)
		core.Kill()
		core = p.Connect(2)
		m, err := pb.NewBaseClient(core.Conn).Metrics(t.Context(), &pb.MetricsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, x := range m.Metrics {
			got[x.Name] = x.Value
		}
		if b := got["buffer_bytes"]; b > 1<<20 || b < 900_000 {
			t.Errorf("%v bytes kept, bound is 1 MB", b)
		}
		for i := range 4 { // oldest first: all streams keep about the same span
			s := core.Subscribe(fmt.Sprint("cam", i), "test://x", nil)
			if first := s.Opened().First[0].Next; first < 340 || first > 355 {
				t.Errorf("stream %d keeps from %d of 375", i, first)
			}
		}
	})
}

func TestEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(&camera{period: 40 * time.Millisecond}))
		first := p.Connect(5)
		first.Subscribe("cam", "test://x", nil).Unit()
		if _, err := p.TryConnect(4); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("an older epoch was answered: %v", err)
		}
		second := p.Connect(6)
		if err := first.Err(); status.Code(err) != codes.Aborted {
			t.Errorf("the older connection ended with %v", err)
		}
		base := pb.NewBaseClient(second.Conn)
		if _, err := base.Configure(t.Context(), &pb.ConfigureRequest{Epoch: 5}); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("Configure of an older epoch: %v", err)
		}
		if _, err := base.Configure(t.Context(), &pb.ConfigureRequest{Epoch: 7}); err != nil {
			t.Errorf("Configure of a newer epoch: %v", err)
		}
		if err := second.Err(); status.Code(err) != codes.Aborted {
			t.Errorf("Configure of a newer core left the older connection: %v", err)
		}
	})
}

func TestFramesNeedHelloFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(&camera{period: time.Second}))
		cc := p.Dial()
		defer cc.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f, err := pb.NewDriverClient(cc).Frames(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Send(&pb.FramesRequest{Message: &pb.FramesRequest_Ack{Ack: &pb.Ack{}}})
		if _, err := f.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Error(err)
		}
	})
}

func TestLargeUnitsComeInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1 << 20, 1<<20 + 1, 8 << 20} {
			core := sdktest.Start(t, plugin(&camera{period: time.Second, size: size}))
			s := core.Subscribe("cam", "test://x", nil)
			s.Opened()
			pieces, total := 0, 0
			for {
				e := s.Next()
				pieces++
				total += len(e.Unit.Payload)
				if len(e.Unit.Payload) > sdk.MaxPiece {
					t.Errorf("a piece of %d bytes", len(e.Unit.Payload))
				}
				if e.Unit.Seq != 0 || !e.Unit.Key {
					t.Errorf("piece lost its heads: %+v", e.Unit.Seq)
				}
				if !e.More {
					break
				}
			}
			if want := (size + sdk.MaxPiece - 1) / sdk.MaxPiece; pieces != want || total != size {
				t.Errorf("%d bytes in %d pieces, %d arrived", size, pieces, total)
			}
			core.Kill()
		}
	})
}

func TestLossAndReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &camera{period: 40 * time.Millisecond, lose: make(chan error)}
		core := sdktest.Start(t, plugin(cam))
		s := core.SubscribeRaw(&pb.Subscribe{Uid: "cam", Url: "test://x", ReconnectFirstMs: 2000, ReconnectMaxMs: 8000})
		o := s.Opened()
		time.Sleep(10 * time.Second)
		cam.lose <- sdk.Fail(pb.Cause_SILENT, "nothing for 5 s", "")
		c := s.Closed()
		if c.Cause != pb.Cause_SILENT || string(c.Run) != string(o.Run) || c.RetryInMs != 500 {
			t.Errorf("closed: %v", c)
		}
		if o2 := s.Opened(); string(o2.Run) == string(o.Run) || time.Unix(0, int64(o2.OpenedAt)).Sub(time.Unix(0, int64(c.ClosedAt))) != 500*time.Millisecond {
			t.Errorf("opened again: %v", o2)
		}
		cam.lose <- errors.New("connection reset by peer")
		if c := s.Closed(); c.Cause != pb.Cause_LOST || !strings.Contains(c.Problem.What, "reset") {
			t.Errorf("closed: %v", c)
		}
		s.Opened()
		cam.lose <- sdk.ErrChanged
		if c := s.Closed(); c.Cause != pb.Cause_CHANGED || c.RetryInMs != 0 {
			t.Errorf("closed: %v", c)
		}
		s.Opened()
	})
}

func TestUnreachableGrowsAndRefusedIsNeverQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := errors.New("no route to host")
		core := sdktest.Start(t, plugin(sdk.DriverFunc(func(ctx context.Context, _ sdk.Source, _ *sdk.Run) error { return err })))
		s := core.SubscribeRaw(&pb.Subscribe{Uid: "cam", Url: "test://x", ReconnectFirstMs: 1000, ReconnectMaxMs: 5000, ReconnectNumbers: 5})
		for _, want := range []int64{1000, 2000, 4000, 5000, -1} {
			if c := s.Closed(); c.Cause != pb.Cause_UNREACHABLE || len(c.Run) != 0 || c.RetryInMs != want {
				t.Errorf("closed: %v, want retry in %d", c, want)
			}
		}
		if e, ok := s.Try(time.Minute); ok {
			t.Errorf("after the last try: %+v", e)
		}
		// Another Subscribe begins anew.
		s = core.Subscribe("cam", "test://x", nil)
		s.Closed()
		s.Closed()
	})
}

func TestPanicIsOneStreamsProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &camera{period: 40 * time.Millisecond}
		core := sdktest.Start(t, plugin(sdk.DriverFunc(func(ctx context.Context, src sdk.Source, run *sdk.Run) error {
			if src.UID == "bad" {
				panic("index out of range")
			}
			return cam.Capture(ctx, src, run)
		})))
		bad, good := core.Subscribe("bad", "test://x", nil), core.Subscribe("good", "test://x", nil)
		if c := bad.Closed(); c.Cause != pb.Cause_PROTOCOL || !strings.Contains(c.Problem.What, "index out of range") {
			t.Errorf("closed: %v", c)
		}
		for range 100 {
			good.Unit()
		}
	})
}

func TestUnsubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := sdktest.Start(t, plugin(&camera{period: 40 * time.Millisecond}))
		s := core.Subscribe("cam", "test://x", nil)
		o := s.Opened()
		for range 10 {
			s.Unit()
		}
		s.Unsubscribe(true)
		time.Sleep(5 * time.Second)
		s = core.Subscribe("cam", "test://x", nil, pos(o, 10))
		if again := s.Opened(); string(again.Run) != string(o.Run) {
			t.Fatal("keep did not keep the capture")
		}
		for i := 10; i < 100; i++ {
			if n := number(t, s.Unit()); n != i {
				t.Fatalf("unit %d, want %d", n, i)
			}
		}
		s.Unsubscribe(false)
		if c := s.Closed(); c.Cause != pb.Cause_STOPPED || c.RetryInMs != -1 {
			t.Errorf("closed: %v", c)
		}
		s = core.Subscribe("cam", "test://x", nil, pos(o, 100))
		if again := s.Opened(); string(again.Run) == string(o.Run) {
			t.Error("a stopped capture went on")
		}
	})
}

func TestChangedSettingsBeginANewRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := sdktest.Start(t, plugin(&camera{period: 40 * time.Millisecond}))
		s := core.Subscribe("cam", "test://x", nil)
		o := s.Opened()
		s.Unit()
		s = core.Subscribe("cam", "test://y", nil, pos(o, 1))
		first := s.Opened()
		if c := s.Closed(); c.Cause != pb.Cause_CHANGED || string(first.Run) != string(o.Run) {
			t.Errorf("closed: %v", c)
		}
		if next := s.Opened(); string(next.Run) == string(o.Run) {
			t.Error("same run for another URL")
		}
	})
}

func TestUnusableSettingsAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plugin(&camera{period: 40 * time.Millisecond})
		p.ItemKeys = []sdk.Key{{Name: "transport", Type: sdk.Enum, Allowed: []string{"tcp", "udp"}}}
		core := sdktest.Start(t, p)
		for _, c := range []struct{ url, value, key string }{
			{"other://x", "tcp", "url"}, {"test://x", "smoke", "transport"},
		} {
			s := core.Subscribe(c.key, c.url, map[string]string{"transport": c.value})
			if m := s.Closed(); m.Cause != pb.Cause_SETTINGS || m.Problem.Key != c.key || m.RetryInMs != -1 {
				t.Errorf("%s: %v", c.key, m)
			}
		}
	})
}

func TestBacklogIsInterleaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(sdk.DriverFunc(func(ctx context.Context, src sdk.Source, run *sdk.Run) error {
			size := 10_000
			if src.UID == "fat" {
				size = 150_000
			}
			return (&camera{period: 40 * time.Millisecond, size: size}).Capture(ctx, src, run)
		})))
		core := p.Connect(1)
		uids := []string{"fat", "a", "b", "c"}
		for _, u := range uids {
			core.Subscribe(u, "test://x", nil)
		}
		time.Sleep(10 * time.Second)
		core.Kill()
		time.Sleep(5 * time.Second)
		core = p.Connect(2)
		var all []*sdktest.Stream
		for _, u := range uids {
			all = append(all, core.Subscribe(u, "test://x", nil))
		}
		time.Sleep(5 * time.Second)
		for i, s := range all {
			first := int(s.Opened().First[0].Next)
			for n := range 300 {
				if got := number(t, s.Unit()); got != first+n {
					t.Fatalf("%s: unit %d, want %d", uids[i], got, first+n)
				}
			}
		}
	})
}

func TestRulesOfTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, f := range map[string]func(*sdk.Run) error{
			"write before open": func(r *sdk.Run) error { return r.Write(media.AccessUnit{Track: 1, Payload: []byte("x")}) },
			"no tracks":         func(r *sdk.Run) error { return r.Open(nil, "") },
			"id above 32": func(r *sdk.Run) error {
				return r.Open([]media.Track{{ID: 33, Codec: media.PCMA, Timescale: 8000}}, "")
			},
			"same ids": func(r *sdk.Run) error { return r.Open([]media.Track{h264, h264}, "") },
			"opened twice": func(r *sdk.Run) error {
				_ = r.Open([]media.Track{h264}, "")
				return r.Open([]media.Track{h264}, "")
			},
			"unknown track": func(r *sdk.Run) error {
				_ = r.Open([]media.Track{h264}, "")
				return r.Write(media.AccessUnit{Track: 7, Payload: []byte("x")})
			},
			"empty unit": func(r *sdk.Run) error {
				_ = r.Open([]media.Track{h264}, "")
				return r.Write(media.AccessUnit{Track: 1})
			},
			"above 8 MB": func(r *sdk.Run) error {
				_ = r.Open([]media.Track{h264}, "")
				return r.Write(media.AccessUnit{Track: 1, Payload: make([]byte, sdk.MaxUnit+1)})
			},
		} {
			got := make(chan error, 1)
			core := sdktest.Start(t, plugin(sdk.DriverFunc(func(ctx context.Context, _ sdk.Source, r *sdk.Run) error {
				err := f(r)
				got <- err
				<-ctx.Done()
				return err
			})))
			core.Subscribe("cam", "test://x", nil)
			if err := <-got; err == nil {
				t.Errorf("%s: was taken", name)
			}
			core.Kill()
		}
	})
}
