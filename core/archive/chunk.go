package archive

import (
	"time"

	"media-server/core/media"
)

// chunk is one message to storage: bytes of a media file or of a ledger at a
// fixed offset. It stays in its space's queue until it is synced.
type chunk struct {
	f       *file   // nil for a ledger
	led     *ledger // nil for a media file
	note    uint64  // of a ledger: number of the fact, from 1
	off     int64
	size    int64
	reserve int64
	create  bool
	data    [][]byte
	ent     *entry // the part it belongs to; nil for header-only and index chunks
	queued  time.Time

	// The space's lock guards these.
	seq     uint64 // on the present Appender
	sentAt  time.Time
	written bool
	heldBy  int64 // space.breaks of the connection on which it was written last

	synced bool // the file's lock guards it
}

func (c *chunk) end() int64 { return c.off + c.size }

func (c *chunk) name() string {
	if c.led != nil {
		return c.led.name
	}
	return c.f.openName
}

// entry is a part on its way to durability.
type entry struct {
	st     *stream
	part   *media.Part
	run    media.RunID
	left   int // chunks not yet synced
	queued time.Time
}

// split cuts pieces into chunks of at most MaxAppend bytes from offset off.
func split(pieces [][]byte, off int64) []*chunk {
	var out []*chunk
	cur := &chunk{off: off}
	for _, p := range pieces {
		for len(p) > 0 {
			room := MaxAppend - cur.size
			if room == 0 {
				out = append(out, cur)
				cur = &chunk{off: cur.end()}
				room = MaxAppend
			}
			n := min(int64(len(p)), room)
			cur.data = append(cur.data, p[:n:n])
			cur.size += n
			p = p[n:]
		}
	}
	if cur.size > 0 {
		out = append(out, cur)
	}
	return out
}
