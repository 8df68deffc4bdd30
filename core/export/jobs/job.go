package jobs

import (
	"time"

	"media-server/core/media"
)

// State of a job.
type State string

// States. The last four are final, but that a done job expires.
const (
	Queued   State = "queued"
	Running  State = "running"
	Done     State = "done"
	Failed   State = "failed"
	Canceled State = "canceled"
	Expired  State = "expired" // it was done; its file is deleted
)

// Over tells that nothing more is done for it.
func (s State) Over() bool { return s != Queued && s != Running }

// Ask says what to export.
type Ask struct {
	UID    string     `json:"uid"`
	Span   media.Span `json:"span"`
	Name   string     `json:"-"` // wanted file name; "" = made from uid and span
	Proof  bool       `json:"proof,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Who    string     `json:"who"`
}

// Job is an export as it stands: a value, free to keep.
type Job struct {
	ID   string `json:"id"`
	Ask         // as it was asked
	File string `json:"file"` // name in the folder; that of the proof has export.Suffix behind it

	State    State      `json:"state"`
	Made     media.Wall `json:"made"`
	Started  media.Wall `json:"started,omitempty"` // last time
	Ended    media.Wall `json:"ended,omitempty"`
	ExpireAt media.Wall `json:"-"` // when file and entry go; 0 = not by themselves
	Why      *Failure   `json:"why,omitempty"`

	Size   int64      `json:"size"`   // bytes of the file
	Covers media.Span `json:"covers"` // first picture to the end of the last
	SHA256 string     `json:"sha256,omitempty"`

	Recorded time.Duration `json:"recorded"` // footage in the span when it was asked for
	Whole    time.Duration `json:"whole"`    // of it, not groomed

	Attempts int        `json:"attempts,omitempty"` // begun and neither ended nor given back
	Sealed   bool       `json:"sealed,omitempty"`   // file and proof lie whole and durable under temporary names
	Unwanted bool       `json:"unwanted,omitempty"` // deleted when it is over; it was sealed when that was asked for
	Expiry   media.Wall `json:"expiry,omitempty"`   // when it became expired
	Gone     bool       `json:"gone,omitempty"`     // and its file is deleted

	Bytes    int64   `json:"-"` // written
	Progress float64 `json:"-"` // of all work, 0 to 1
}

// span of a job that has a file, or may get one: it holds its name and its size.
func (x *Job) holds() bool {
	return x.State == Queued || x.State == Running || x.State == Done || x.State == Expired && !x.Gone
}
