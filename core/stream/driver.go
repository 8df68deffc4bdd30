package stream

import (
	"time"

	"media-server/core/media"
)

// Driver is what a stream needs of the process that talks to its camera. The
// value outlives that process: when it dies, captures are subscribed again
// with the positions their sinks hold.
type Driver interface {
	// Subscribe asks for a capture and returns at once; everything that
	// follows arrives at sink. An error means that no such driver is known or
	// that the subscription can never work.
	Subscribe(sub Subscription, sink Sink) (Session, error)
}

// Subscription says what to capture and how to keep at it.
type Subscription struct {
	UID      string
	URL      string
	Settings map[string]string // driver-KEY of the stream file, without the prefix
	Kinds    []media.Kind      // empty = all

	ReconnectFirst   time.Duration
	ReconnectMax     time.Duration
	ReconnectNumbers int // 0 = for ever
	ReadTimeout      time.Duration
}

// Sink receives a capture. All methods are called from the one goroutine that
// reads a driver process, in order, and must not block: a sink that waits
// holds up every stream of that driver.
type Sink interface {
	// Positions says what is held, for each run that may go on. It is asked
	// whenever the capture is (re)subscribed.
	Positions() []media.RunPosition
	// Opened begins a run, or continues one after a resubscription.
	Opened(Opened)
	// Units delivers access units of the opened run. Payloads are valid
	// during the call only. False = the sink is behind: the capture is
	// unsubscribed, keeps buffering in the driver, and goes on at
	// Session.Resubscribe.
	Units([]media.AccessUnit) bool
	// Closed ends a run, or reports a connection that could not be made.
	Closed(Closed)
	// Stats delivers running totals, at most once a second.
	Stats(Stats)
}

// Session is one subscription. Its methods never block and are safe for
// concurrent use.
type Session interface {
	// Ack lets the driver forget what lies before pos.
	Ack(pos media.RunPosition)
	// SetDelivery asks for each unit at once (somebody watches live) or for
	// batches of up to 100 ms, which cost fewer wake-ups.
	SetDelivery(atOnce bool)
	// Resubscribe takes up a capture that Units had refused.
	Resubscribe()
	// Close ends the capture; no sink method is called after it returns.
	Close()
}

// Opened describes a run.
type Opened struct {
	Run     media.RunID
	Tracks  []media.Track
	LeftOut []LeftOut
	First   []media.Position // first sequence number that will come, per track
	Device  string           // what the device calls itself
	At      media.Wall
}

// LeftOut names a track of the device that cannot be stored, and why.
type LeftOut struct{ Name, Reason string }

// Cause says why a run ended or a connection was not made. The values are the
// plugin protocol's, in lower case.
type Cause string

// Causes.
const (
	CauseLost        Cause = "lost"
	CauseSilent      Cause = "silent"
	CauseUnreachable Cause = "unreachable"
	CauseRefused     Cause = "refused"
	CauseNotFound    Cause = "not_found"
	CauseUnsupported Cause = "unsupported"
	CauseProtocol    Cause = "protocol"
	CauseStopped     Cause = "stopped"
	CauseSettings    Cause = "settings"
	CauseChanged     Cause = "changed"
	CauseOverflow    Cause = "overflow"
	CauseDriver      Cause = "driver" // the driver process died or is not there
)

// Closed tells how a run ended.
type Closed struct {
	Run     media.RunID // zero: no run had been opened
	Cause   Cause
	What    string        // what happened, for an operator
	Hint    string        // what to do
	RetryIn time.Duration // the driver tries again after this; negative = it will not
	At      media.Wall
}

// Stats are running totals of a capture.
type Stats struct {
	PacketsReceived, PacketsLost, PacketsReordered uint64
	UnitsDamaged, UnitsDropped                     uint64
	BytesReceived, Reconnects                      uint64
}
