package sdk

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"

	"media-server/core/media"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

func TestReconnectWaits(t *testing.T) {
	type end struct {
		cause pb.Cause
		lived time.Duration
		want  time.Duration
	}
	s, ms := time.Second, time.Millisecond
	for name, c := range map[string]struct {
		first, max time.Duration
		numbers    uint32
		ends       []end
	}{
		"never reached":        {s, 5 * s, 0, []end{{pb.Cause_UNREACHABLE, 0, s}, {pb.Cause_UNREACHABLE, 0, 2 * s}, {pb.Cause_UNREACHABLE, 0, 4 * s}, {pb.Cause_UNREACHABLE, 0, 5 * s}, {pb.Cause_UNREACHABLE, 0, 5 * s}}},
		"loss, then grows":     {10 * s, 60 * s, 0, []end{{pb.Cause_LOST, time.Hour, 500 * ms}, {pb.Cause_UNREACHABLE, 0, 500 * ms}, {pb.Cause_UNREACHABLE, 0, 500 * ms}}},
		"first below 500 ms":   {200 * ms, s, 0, []end{{pb.Cause_SILENT, time.Minute, 200 * ms}}},
		"refused is slow":      {s, 8 * s, 0, []end{{pb.Cause_LOST, time.Minute, 500 * ms}, {pb.Cause_REFUSED, 0, s}, {pb.Cause_REFUSED, 0, 2 * s}, {pb.Cause_REFUSED, 0, 4 * s}}},
		"changed at once":      {s, 8 * s, 0, []end{{pb.Cause_CHANGED, 2 * s, 0}, {pb.Cause_CHANGED, 0, 500 * ms}}},
		"numbers":              {s, 8 * s, 3, []end{{pb.Cause_UNREACHABLE, 0, s}, {pb.Cause_UNREACHABLE, 0, 2 * s}, {pb.Cause_UNREACHABLE, 0, -1}}},
		"quick tries are free": {s, 8 * s, 1, []end{{pb.Cause_LOST, time.Minute, 500 * ms}, {pb.Cause_UNREACHABLE, 0, 500 * ms}}},
	} {
		r := reconnect{first: c.first, max: c.max, numbers: c.numbers}
		now := time.Unix(1e9, 0)
		for i, e := range c.ends {
			if got := r.after(e.cause, e.lived, now); got != e.want {
				t.Errorf("%s: end %d: wait %v, want %v", name, i, got, e.want)
			}
		}
	}
	// Half a minute after the loss the quick tries end; a flapping camera does
	// not begin them anew.
	r, now := reconnect{first: 2 * s, max: 8 * s}, time.Unix(1e9, 0)
	var waits []time.Duration
	r.after(pb.Cause_LOST, time.Hour, now)
	for range 3 {
		now = now.Add(20 * s)
		waits = append(waits, r.after(pb.Cause_LOST, s, now))
	}
	if fmt.Sprint(waits) != "[500ms 2s 4s]" {
		t.Errorf("flapping: %v", waits)
	}
}

// silent is a stream that nobody reads.
type silent struct{ grpc.ServerStream }

func TestARoundIsSharedFairly(t *testing.T) {
	b := newBudget(func() []*capture { return nil })
	cn := newConn(context.Background(), 1, silent{}, func(*capture) {})
	const streams = 20
	for i := range streams {
		c := newCapture(fmt.Sprint(i), nil, b, nil)
		run := &Run{c: c}
		c.current = run
		if err := run.Open([]media.Track{{ID: 1, Codec: media.H264, Timescale: 90000}}, ""); err != nil {
			t.Fatal(err)
		}
		n := 200 // 4 MB
		if i == 0 {
			n = 1000
		}
		for range n {
			if err := run.Write(media.AccessUnit{Track: 1, Payload: make([]byte, 20_000)}); err != nil {
				t.Fatal(err)
			}
		}
		c.subscribe(&handle{id: uint32(i), conn: cn, c: c}, nil)
	}
	sent := map[uint32]int{}
	for round := 0; ; round++ {
		out := cn.round()
		if out == nil {
			break
		}
		share, total := map[uint32]int{}, 0
		for _, m := range out.messages {
			if batch, ok := m.(*codec.Batch); ok {
				size := 0
				for i := range batch.Units {
					u := &batch.Units[i]
					if int(u.Sequence) != sent[u.Handle] {
						t.Fatalf("stream %d: unit %d, want %d", u.Handle, u.Sequence, sent[u.Handle])
					}
					sent[u.Handle]++
					share[u.Handle] += u.Size()
					size += u.Size()
				}
				total += size
				if size > MaxMessage {
					t.Errorf("a message of %d bytes", size)
				}
			}
		}
		for h, n := range share {
			if n > roundBytes/4 {
				t.Errorf("round %d: stream %d took %d of %d bytes", round, h, n, total)
			}
		}
		if round == 5 && len(sent) != streams {
			t.Errorf("after 5 rounds only %d streams were served", len(sent))
		}
	}
	for h, n := range sent {
		if want := map[bool]int{true: 1000, false: 200}[h == 0]; n != want {
			t.Errorf("stream %d: %d units, want %d", h, n, want)
		}
	}
}
