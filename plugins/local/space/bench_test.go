package space

import (
	"context"
	"fmt"
	"testing"
)

// 100 files that grow by 125 kB parts (2 Mbit/s, 0.5 s), synced as by default.
func BenchmarkAppend(b *testing.B) {
	set := Settings{Path: b.TempDir(), Fsync: DefaultFsync}
	s, _, err := Open(b.Context(), Options{Name: "b", Epoch: 1, Create: true, Settings: set})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c, err := s.Begin(ctx, 1)
	if err != nil {
		b.Fatal(err)
	}
	const files, part = 100, 125000
	names := make([]string, files)
	for i := range names {
		names[i] = fmt.Sprint("open/", i)
	}
	p := make([]byte, part)
	b.SetBytes(part)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		off := uint64(i/files%100) * part // 1.25 GB at most
		c.Append(Data{Sequence: uint64(i + 1), Name: names[i%files], Offset: off, ReserveTo: off + 20*part, Create: true, Payload: p})
		i++
	}
	b.StopTimer()
	cancel()
	<-done
	if err := s.Close(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(s.Calls())/b.Elapsed().Seconds(), "syncs/s")
}
