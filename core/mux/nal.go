package mux

import (
	"bytes"
	"encoding/binary"

	"media-server/core/media"
)

// NAL unit types used here (ITU-T H.264 table 7-1, H.265 table 7-1).
const (
	avcIDR, avcSPS, avcPPS            = 5, 7, 8
	hevcFirstIRAP, hevcLastIRAP       = 16, 23
	hevcVPS, hevcSPS, hevcPPS   uint8 = 32, 33, 34
)

// nextNAL cuts the first NAL unit off a payload in MP4 sample form.
func nextNAL(p []byte) (nal, rest []byte, ok bool) {
	if len(p) < 5 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(p)
	if n == 0 || uint64(n) > uint64(len(p)-4) {
		return nil, nil, false
	}
	return p[4 : 4+n], p[4+n:], true
}

// contents is what a video unit turns out to hold.
type contents struct {
	wellFormed    bool
	key           bool
	vps, sps, pps []byte // the first of each that differs from the track's; nil = none does, or the track's is among them
	has           bool   // any parameter set at all
	width, height int    // MJPEG only
}

// inspect walks a video unit. It aliases p.
func inspect(t *media.Track, p []byte) contents {
	if t.Codec == media.MJPEG {
		w, h := jpegSize(p)
		return contents{wellFormed: true, key: true, width: w, height: h}
	}
	c := contents{wellFormed: true}
	var same [3]bool
	for len(p) > 0 {
		nal, rest, ok := nextNAL(p)
		if !ok {
			c.wellFormed = false
			return c
		}
		p = rest
		c.look(t, nal, &same)
	}
	for i, s := range []*[]byte{&c.vps, &c.sps, &c.pps} {
		if same[i] {
			*s = nil
		}
	}
	return c
}

func (c *contents) look(t *media.Track, nal []byte, same *[3]bool) {
	set := -1
	if t.Codec == media.H264 {
		switch nal[0] & 0x1f {
		case avcIDR:
			c.key = true
		case avcSPS:
			set = 1
		case avcPPS:
			set = 2
		}
	} else {
		switch typ := nal[0] >> 1 & 0x3f; {
		case typ >= hevcFirstIRAP && typ <= hevcLastIRAP:
			c.key = true
		case typ >= hevcVPS && typ <= hevcPPS:
			set = int(typ - hevcVPS)
		}
	}
	if set < 0 {
		return
	}
	c.has = true
	have, found := [...][]byte{t.VPS, t.SPS, t.PPS}[set], [...]*[]byte{&c.vps, &c.sps, &c.pps}[set]
	if bytes.Equal(nal, have) {
		same[set] = true
	} else if *found == nil {
		*found = nal
	}
}

// KeyFrame tells whether a unit can be decoded without earlier ones, by what
// it contains: an IDR picture (H.264), an IRAP picture (H.265); every unit of
// the other codecs. A driver may know better (recovery points).
func KeyFrame(codec media.Codec, payload []byte) bool {
	switch codec {
	case media.H264, media.H265:
		return inspect(&media.Track{Codec: codec}, payload).key
	}
	return len(payload) > 0
}

// jpegSize reads the frame header (ITU-T T.81 B.2.2) of a JFIF image; 0, 0
// when there is none in the first 64 kB.
func jpegSize(p []byte) (width, height int) {
	p = p[:min(len(p), 1<<16)]
	if len(p) < 4 || p[0] != 0xff || p[1] != 0xd8 {
		return 0, 0
	}
	for p = p[2:]; len(p) >= 9 && p[0] == 0xff; {
		marker := p[1]
		if marker == 0xff { // fill byte
			p = p[1:]
			continue
		}
		if marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc {
			return int(binary.BigEndian.Uint16(p[7:])), int(binary.BigEndian.Uint16(p[5:]))
		}
		n := 2 + int(binary.BigEndian.Uint16(p[2:]))
		if marker == 0xda || n > len(p) {
			return 0, 0
		}
		p = p[n:]
	}
	return 0, 0
}
