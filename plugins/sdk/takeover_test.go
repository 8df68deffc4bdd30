package sdk_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
	"media-server/plugins/sdk/sdktest"
)

// A core that is stopped, not dead, holds its connection open and reads
// nothing: the next one must be answered all the same.
func TestANewerCoreTakesOverFromAStoppedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sdktest.Serve(t, plugin(&camera{period: 40 * time.Millisecond, size: 40_000}))
		old := p.Connect(1)
		s := old.Subscribe("cam", "test://x", nil)
		o := s.Opened()
		s.Unit()
		old.Pause()
		time.Sleep(15 * time.Second) // 15 MB: every window is full
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		cc := p.Dial()
		defer cc.Close()
		if _, err := pb.NewBaseClient(cc).Configure(ctx, &pb.ConfigureRequest{Epoch: 2}); err != nil {
			t.Fatal(err)
		}
		s = p.Connect(2).Subscribe("cam", "test://x", nil, pos(o, 1))
		first := s.Opened().First[0].Next
		for n := first; n < first+370; n++ {
			if u := s.Unit(); u.Seq != n {
				t.Fatalf("unit %d, want %d", u.Seq, n)
			}
		}
		old.Resume()
		if err := old.Err(); status.Code(err) != codes.Aborted {
			t.Errorf("the stopped core learns %v", err)
		}
	})
}

func TestCapturesThatNoCoreWantsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		p := sdktest.Serve(t, plugin(sdk.DriverFunc(func(ctx context.Context, src sdk.Source, run *sdk.Run) error {
			defer func() {
				if src.UID == "gone" {
					close(ended)
				}
			}()
			return (&camera{period: 40 * time.Millisecond}).Capture(ctx, src, run)
		})))
		core := p.Connect(1)
		core.Subscribe("gone", "test://x", nil).Unit()
		stays := core.Subscribe("stays", "test://x", nil)
		o := stays.Opened()
		core.Kill()
		time.Sleep(5 * time.Minute)
		select {
		case <-ended:
			t.Fatal("a capture ended while no core was there to want it")
		default:
		}
		core = p.Connect(2)
		stays = core.Subscribe("stays", "test://x", nil)
		<-ended
		if string(stays.Opened().Run) != string(o.Run) {
			t.Error("the other capture ended too")
		}
	})
}
