package webrtc

// opusSamples is how long a packet is in samples of 48 kHz (RFC 6716 3.1, 3.2);
// 0 = it is none.
func opusSamples(p []byte) int64 {
	if len(p) == 0 {
		return 0
	}
	var one int64
	switch config := p[0] >> 3; {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		one = []int64{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		one = []int64{480, 960}[config&1]
	default: // CELT: 2.5, 5, 10, 20 ms
		one = 120 << (config & 3)
	}
	n := int64(1)
	switch p[0] & 3 {
	case 1, 2:
		n = 2
	case 3:
		if len(p) < 2 {
			return 0
		}
		n = int64(p[1] & 63)
	}
	if one*n > 5760 { // 120 ms at most
		return 0
	}
	return one * n
}
