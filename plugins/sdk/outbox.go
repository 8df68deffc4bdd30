package sdk

import (
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

// roundBytes is how much is taken from the logs at a time; a message with all
// its heads stays below MaxMessage.
const roundBytes = MaxMessage - 256<<10

// messageBytes is where a round's message ends and the next begins. The
// receiver makes each message one buffer: of this size they are few, used again
// at once, and still in the processor's cache when the units are copied out.
const messageBytes = 512 << 10

// outbox collects one round: messages in the order they are sent.
type outbox struct {
	messages []any // *codec.Batch, *pb.FramesReply
	batch    *codec.Batch
	inBatch  int // bytes
	bytes    int
	tail     []any // counters: after everything else

	share, taken int // of the handle that is being asked
}

func (o *outbox) begin(share int) { o.share, o.taken = share, 0 }

// unit adds u, unless the round or the handle's share of it is full; a share
// takes at least one unit, an empty round too.
func (o *outbox) unit(u *codec.Unit) bool {
	n := u.Size()
	if o.bytes > 0 && o.bytes+n > roundBytes || o.taken > 0 && o.taken+n > o.share {
		return false
	}
	if o.batch == nil || o.inBatch > 0 && o.inBatch+n > messageBytes {
		o.batch, o.inBatch = &codec.Batch{}, 0
		o.messages = append(o.messages, o.batch)
	}
	o.batch.Units = append(o.batch.Units, *u)
	o.inBatch += n
	o.bytes += n
	o.taken += n
	return true
}

// control adds a message that must keep its place among the units.
func (o *outbox) control(m *pb.FramesReply) {
	o.messages = append(o.messages, m)
	o.batch = nil
}

func (o *outbox) last(m *pb.FramesReply) { o.tail = append(o.tail, m) }

func (o *outbox) full() bool { return o.bytes >= roundBytes }
