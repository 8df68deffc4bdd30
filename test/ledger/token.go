package ledger

import (
	"bytes"
	"regexp"
	"strconv"
)

var tokenForm = regexp.MustCompile(`^MSL1:([a-z0-9-]{1,36}):([vad]):([0-9]{1,20}):([0-9]{1,19});`)

var tokenStart = []byte("MSL1:")

// longestToken bounds how far a token reaches.
const longestToken = 5 + 36 + 1 + 1 + 1 + 20 + 1 + 19 + 1

type token struct {
	id     ID
	number uint64
	time   int64
	offset int // in the bytes searched
}

// tokens finds all tokens in b.
func tokens(b []byte) []token {
	var out []token
	for at := 0; ; {
		i := bytes.Index(b[at:], tokenStart)
		if i < 0 {
			return out
		}
		at += i
		window := b[at:min(len(b), at+longestToken)]
		if m := tokenForm.FindSubmatch(window); m != nil {
			n, err1 := strconv.ParseUint(string(m[3]), 10, 64)
			t, err2 := strconv.ParseInt(string(m[4]), 10, 64)
			if err1 == nil && err2 == nil {
				out = append(out, token{ID{string(m[1]), m[2][0]}, n, t, at})
			}
		}
		at += len(tokenStart)
	}
}

// openTail is how many bytes at the end of b may belong to a token that goes
// on behind it.
func openTail(b []byte) int {
	from := max(0, len(b)-longestToken+1)
	tail := b[from:]
	for i := range tail {
		rest := tail[i:]
		n := min(len(rest), len(tokenStart))
		if bytes.Equal(rest[:n], tokenStart[:n]) && bytes.IndexByte(rest, ';') < 0 {
			return len(rest)
		}
	}
	return 0
}

// Search finds the tokens in bytes got by other ways than a recording, such as
// RTP packets.
func Search(b []byte) []Found {
	var out []Found
	for _, t := range tokens(b) {
		out = append(out, Found{ID: t.id, Number: t.number, Token: t.time})
	}
	return out
}
