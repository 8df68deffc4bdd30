package rtspsource

import (
	"encoding/binary"
	"time"

	"media-server/core/media"
)

// senderReport is the part of an RTCP sender report that relates clocks.
type senderReport struct {
	ssrc    uint32
	ntp     uint64 // seconds since 1900 . binary fraction
	rtp     uint32
	packets uint32 // sent so far
}

// readRTCP walks a compound RTCP packet (RFC 3550 section 6.1). It stops
// without complaint where the bytes stop making sense.
func readRTCP(b []byte, report func(senderReport), bye func(ssrc uint32)) {
	for len(b) >= 4 && b[0]>>6 == 2 {
		n := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) {
			return
		}
		switch b[1] {
		case 200:
			if n >= 28 {
				report(senderReport{
					ssrc: binary.BigEndian.Uint32(b[4:]),
					ntp:  binary.BigEndian.Uint64(b[8:]),
					rtp:  binary.BigEndian.Uint32(b[16:]),

					packets: binary.BigEndian.Uint32(b[20:]),
				})
			}
		case 203:
			if b[0]&0x1f > 0 && n >= 8 {
				bye(binary.BigEndian.Uint32(b[4:]))
			}
		}
		b = b[n:]
	}
}

const ntpToUnix = 2208988800 // seconds from 1900 to 1970

// ntpWall converts NTP time to nanoseconds since 1970 given the shift of its
// seconds. The lower 32 bits are a binary fraction of a second: taking them for
// nanoseconds, as some libraries do, makes time jump by up to 3.3 s.
func ntpWall(v uint64, shift int64) media.Wall {
	sec := int64(v>>32) - shift
	nano := int64((v & 0xffffffff) * uint64(time.Second) >> 32) // rounded down
	return media.Wall(sec*int64(time.Second) + nano)
}

// ntpShift chooses what has to be taken from the seconds of an NTP time: most
// devices count from 1900, after 2036 from the next era, and some write Unix
// time or their uptime without the 70 years. What lies nearest to now wins; the
// caller keeps the choice for the whole run, so that it cannot flip.
func ntpShift(v uint64, now media.Wall) int64 {
	best, dist := int64(ntpToUnix), int64(-1)
	for _, shift := range [...]int64{ntpToUnix, 0, ntpToUnix - 1<<32} {
		d := int64(v>>32) - shift - int64(now)/int64(time.Second)
		if d < 0 {
			d = -d
		}
		if int64(v>>32) >= shift && (dist < 0 || d < dist) {
			best, dist = shift, d
		}
	}
	return best
}

// receiverReport encodes an RTCP receiver report with one block (RFC 3550
// section 6.4.2).
func receiverReport(own, source uint32, fraction uint8, lost uint32, highest uint32, jitter uint32, lastSR uint32, delay time.Duration) []byte {
	b := make([]byte, 32)
	b[0], b[1], b[3] = 0x81, 201, 7
	binary.BigEndian.PutUint32(b[4:], own)
	binary.BigEndian.PutUint32(b[8:], source)
	binary.BigEndian.PutUint32(b[12:], min(lost, 0x7fffff)) // 24 bits signed
	b[12] = fraction
	binary.BigEndian.PutUint32(b[16:], highest)
	binary.BigEndian.PutUint32(b[20:], jitter)
	binary.BigEndian.PutUint32(b[24:], lastSR)
	if lastSR != 0 {
		binary.BigEndian.PutUint32(b[28:], uint32(delay*65536/time.Second))
	}
	return b
}
