package mux

import (
	"media-server/core/flac"
	"media-server/core/media"
)

// FLACString is the RFC 6381 name of FLAC in MP4, as Safari has it; Chromium and
// hls.js take it as well as "flac".
const FLACString = "fLaC"

// FLACable tells whether a track is G.711 that core/flac can turn into FLAC.
func FLACable(t media.Track) bool {
	if t.Codec != media.PCMA && t.Codec != media.PCMU {
		return false
	}
	FillParameters(&t)
	return t.SampleRate > 0 && t.SampleRate <= flac.MaxRate && t.Channels > 0 && t.Channels <= flac.MaxChannels
}

// flacEntry appends the stsd entry of such a track as FLAC ("Encapsulation of
// FLAC in ISO Base Media File Format" 3.3.1 and 3.3.2). Its timescale stays that
// of the recording.
func (b *boxes) flacEntry(t *media.Track) {
	sound := *t
	FillParameters(&sound)
	at := b.audio("fLaC", &sound)
	dfLa := b.full("dfLa", 0, 0)
	info := flac.StreamInfo(sound.SampleRate, sound.Channels)
	b.u32(0x80<<24 | uint32(len(info))) // the last block, of type STREAMINFO
	b.bytes(info...)
	b.shut(dfLa)
	b.shut(at)
}
