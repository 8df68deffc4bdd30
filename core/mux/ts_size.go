package mux

import "media-server/core/media"

// tsHead is what the first packet of a unit holds beside the unit at most: a PES
// header with both stamps, and an adaptation field with the clock.
const tsHead = 19 + 8

// TSUnitMost is how many bytes AppendTS makes at most of a unit of a track, of size
// bytes in MP4 sample form.
func TSUnitMost(t *media.Track, size int64, key bool) int64 {
	n := tsHead + size
	switch t.Codec {
	case media.H264, media.H265:
		n += int64(len(startCode)) + 3 // the delimiter
		if key {
			n += int64(3*len(startCode) + len(t.VPS) + len(t.SPS) + len(t.PPS))
		}
	case media.AAC:
		n += 7
	case media.Opus:
		n += 2 + size/255 + 1
	}
	return (n + tsPayload - 1) / tsPayload * tsPacket
}

// TSRestMost is how many bytes AppendTS writes at most beside a segment's units,
// whose DTS are spread over so many ticks of TSRate: tables, what is filled up, clocks.
func TSRestMost(tracks int, units int, spread int64) int64 {
	return (2*tsTables + 16*int64(tracks) + clocksMost(units, spread)) * tsPacket
}

// clocksMost is how many packets a clock of its own takes at most.
func clocksMost(units int, spread int64) int64 {
	return 1 + min(spread/tsClock+1, tsMostClocks*int64(units+1))
}
