package archive

import (
	"reflect"
	"testing"

	"media-server/core/media"
)

func TestShape(t *testing.T) {
	s := func(d uint32, cto int32, key bool) media.Sample {
		return media.Sample{Size: 10, Duration: d, CTO: cto, Key: key}
	}
	l := &Layout{Fragments: []Fragment{
		{Track: 1, Offset: 500, DataOffset: 600, DataSize: 30, BaseTime: 1000, Samples: []media.Sample{s(100, 0, true), s(100, 50, false), s(100, 50, false)}},
		{Track: 2, Offset: 630, DataOffset: 700, DataSize: 10, BaseTime: 90, Samples: []media.Sample{s(20, 0, true)}},
		{Track: 1, Offset: 710, DataOffset: 800, DataSize: 30, BaseTime: 1400, Samples: []media.Sample{s(100, 0, true), s(100, 0, false), s(100, 0, false)}}, // 100 ticks were lost
		{Track: 3, Offset: 830, DataOffset: 840},
	}}
	want := Shape{First: 500, End: 840, Tracks: []TrackShape{
		// durations 100 100 200 | 100 100 and the last: three runs and its own
		{Track: 1, Samples: 6, Times: 4, Offsets: 3, Keys: 2, Chunks: 2, Groups: 1, Shifted: true, Partial: true, Base: 1000, End: 1700, LastStart: 1600},
		{Track: 2, Samples: 1, Times: 1, Offsets: 1, Keys: 1, Chunks: 1, Groups: 1, Base: 90, End: 110, LastStart: 90},
	}}
	got := ShapeOf(l)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	back, err := parseShape(appendShape(nil, &got))
	if err != nil || !reflect.DeepEqual(*back, want) {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func FuzzShape(f *testing.F) {
	sh := Shape{First: 1, End: 900, Tracks: []TrackShape{{Track: 1, Samples: 6, Times: 4, Offsets: 3, Keys: 2, Chunks: 2, Groups: 1}}}
	f.Add(appendShape(nil, &sh))
	f.Fuzz(func(t *testing.T, b []byte) {
		sh, err := parseShape(b)
		if err != nil {
			return
		}
		if again, err := parseShape(appendShape(nil, sh)); err != nil || !reflect.DeepEqual(again, sh) {
			t.Errorf("%+v is written as %+v, %v", sh, again, err)
		}
	})
}
