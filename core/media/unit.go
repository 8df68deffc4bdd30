package media

// AccessUnit is one coded picture, audio frame or metadata document as a
// driver delivers it.
//
// Payload is in MP4 sample form: H.264 and H.265 as NAL units behind 4-byte
// big-endian lengths without access unit delimiters, everything else raw. Who
// hands a unit over owns Payload and says how long it stays valid; whoever
// keeps it longer copies it.
type AccessUnit struct {
	Track int    // Track.ID
	Seq   uint64 // per run and track, from 0

	PTS    int64 // ticks of the track's timescale, on the camera's media clock
	DTS    int64 // likewise; meaningful only if HasDTS
	HasDTS bool

	NTP      Wall  // capture time by the camera's clock (RTCP sender report, RFC 3550 6.4.1); 0 = not known
	Received Wall  // arrival of the unit's last byte by this host's clock, before any batching
	Mono     int64 // the same instant on CLOCK_BOOTTIME, nanoseconds; 0 = driver runs on another host

	Key     bool // random access point: decodable without earlier units (always true for audio and data)
	Damaged bool // packets of this unit were lost; its bytes are what arrived
	Payload []byte
}
