package mux

import "media-server/core/media"

// Straight tells whether a track's parameters promise that pictures are shown in
// the order of decoding. Where they promise nothing, it is false.
func Straight(t media.Track) bool {
	depth, known := reorderDepth(&t)
	return known && depth == 0
}
