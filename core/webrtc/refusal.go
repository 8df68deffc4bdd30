package webrtc

// Refusal is why there is no session: an HTTP status and words for a program and
// for people.
type Refusal struct {
	Status        int
	Code          string
	Message, Hint string
}

func (r *Refusal) Error() string { return r.Message }

func badOffer(message, hint string) error {
	return &Refusal{400, "bad_offer", message, hint}
}

// notCarried is a codec that WebRTC, or this player, does not take.
func notCarried(message string) error {
	return &Refusal{415, "codec_not_in_webrtc", message, "HLS (playlist.m3u8), RTSP and record.mp4 carry what the stream has"}
}
