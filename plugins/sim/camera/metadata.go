package camera

import (
	"sync"

	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

const metadataFilm = "metadata"

type filmKey struct {
	name     string
	keysOnly bool
}

var films = struct {
	sync.Mutex
	m map[filmKey]*film
}{m: map[filmKey]*film{}}

// metadata is an ONVIF metadata stream of one document a second (ONVIF
// Analytics Service Specification 5.1): a boat seen by the camera. Its times
// are left out, being those of the loop.
func metadata() *clip.Clip {
	c := &clip.Clip{
		Track: media.Track{Codec: media.Metadata, Timescale: 90000},
		Step:  90000,
	}
	for i := range 10 {
		x := string(rune('0' + i))
		c.Samples = append(c.Samples, clip.Sample{PTS: int64(i), Key: true, Payload: []byte(
			`<?xml version="1.0" encoding="UTF-8"?><tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema">` +
				`<tt:VideoAnalytics><tt:Frame><tt:Object ObjectId="1"><tt:Appearance><tt:Shape>` +
				`<tt:CenterOfGravity x="0.` + x + `" y="-0.4"/></tt:Shape></tt:Appearance></tt:Object></tt:Frame></tt:VideoAnalytics></tt:MetadataStream>`)})
	}
	return c
}
