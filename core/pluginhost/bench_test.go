package pluginhost

import (
	"fmt"
	"testing"

	"media-server/core/media"
	"media-server/core/stream"
	"media-server/plugins/sdk/codec"
)

type nullSink struct{ bytes int }

func (*nullSink) Positions() []media.RunPosition { return nil }
func (*nullSink) Opened(stream.Opened)           {}
func (s *nullSink) Units(us []media.AccessUnit) bool {
	for i := range us {
		s.bytes += len(us[i].Payload)
	}
	return true
}
func (*nullSink) Closed(stream.Closed) {}
func (*nullSink) Stats(stream.Stats)   {}

// BenchmarkBatch is the reader's work on a 100 ms batch of 100 streams of 25
// pictures and 47 audio frames a second.
func BenchmarkBatch(b *testing.B) {
	const streams, each = 100, 7
	h := New(Options{Epoch: 1})
	d := newSupervisor(h, &spec{name: "x"}).driverOf()
	var units []codec.Unit
	payload := make([]byte, 4000)
	for i := range uint32(streams) {
		s := &session{host: h, sink: &nullSink{}, sub: stream.Subscription{UID: fmt.Sprint(i)}}
		s.handle, s.svc = i+1, d
		s.tracks[1] = true
		s.opened.Store(true)
		d.live[i+1] = s
	}
	for range each {
		for i := range uint32(streams) {
			units = append(units, codec.Unit{Handle: i + 1, Track: 1, Payload: payload})
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(units) * len(payload)))
	for b.Loop() {
		d.batch(units)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(units)), "ns/unit")
}
