package stamp

import (
	"bytes"
	"strconv"

	"media-server/core/media"
)

// Magic begins every token.
const Magic = "MSL1:"

// MaxLen is the longest token: a camera of 36 letters, numbers of 20 digits.
const MaxLen = len(Magic) + 36 + 1 + 1 + 1 + 20 + 1 + 19 + 1

// Token names one access unit.
type Token struct {
	Camera string // [a-z0-9-], 1 to 36 letters
	Track  byte   // 'v', 'a' or 'd'
	Number uint64
	Time   media.Wall // of capture, by the host's clock; > 0
}

// Append writes the token's text behind dst.
func (t Token) Append(dst []byte) []byte {
	dst = append(dst, Magic...)
	dst = append(dst, t.Camera...)
	dst = append(dst, ':', t.Track, ':')
	dst = strconv.AppendUint(dst, t.Number, 10)
	dst = append(dst, ':')
	dst = strconv.AppendInt(dst, int64(t.Time), 10)
	return append(dst, ';')
}

// Find returns the first whole token in b and what follows it. Bytes that look
// like the beginning of a token but do not read as one are passed over.
func Find(b []byte) (t Token, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, []byte(Magic))
		if i < 0 {
			return Token{}, nil, false
		}
		b = b[i+len(Magic):]
		if t, rest, ok := parse(b); ok {
			return t, rest, true
		}
	}
}

func parse(b []byte) (t Token, rest []byte, ok bool) {
	n := bytes.IndexByte(b[:min(len(b), MaxLen)], ';')
	if n < 0 {
		return t, nil, false
	}
	f := bytes.SplitN(b[:n], []byte{':'}, 5)
	if len(f) != 4 || !validCamera(f[0]) || len(f[1]) != 1 {
		return t, nil, false
	}
	t.Track = f[1][0]
	if t.Track != 'v' && t.Track != 'a' && t.Track != 'd' {
		return t, nil, false
	}
	if t.Number, ok = digits(f[2]); !ok {
		return t, nil, false
	}
	ns, ok := digits(f[3])
	if !ok || ns == 0 || ns > 1<<63-1 {
		return t, nil, false
	}
	t.Time = media.Wall(ns)
	t.Camera = string(f[0])
	return t, b[n+1:], true
}

// digits reads a decimal number in the one form that Append writes: no sign,
// no leading zero.
func digits(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 1 && b[0] == '0' || b[0] == '+' || b[0] == '-' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b), 10, 64)
	return v, err == nil
}

// ValidCamera tells whether s can be a camera's name in a token.
func ValidCamera(s string) bool { return validCamera([]byte(s)) }

func validCamera(s []byte) bool {
	if len(s) == 0 || len(s) > 36 || bytes.Contains(s, []byte("--")) {
		return false // "--" may not stand in an XML comment
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// TrackOf is the token's letter for a kind of track.
func TrackOf(k media.Kind) byte {
	switch k {
	case media.Video:
		return 'v'
	case media.Audio:
		return 'a'
	}
	return 'd'
}
