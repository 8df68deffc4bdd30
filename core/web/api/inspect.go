package api

import (
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// Inspection is what was recorded in a day or a month, in seconds.
type Inspection struct {
	From    int64              `json:"from"` // Unix ms
	To      int64              `json:"to"`
	Zone    string             `json:"time_zone"`
	Streams []InspectionStream `json:"items"`
	Next    *string            `json:"next"`
}

// InspectionStream is one stream of an Inspection.
type InspectionStream struct {
	UID      string             `json:"uid"`
	Expected float64            `json:"expected"`
	Recorded float64            `json:"recorded"`
	Missing  float64            `json:"missing"`
	Causes   map[string]float64 `json:"causes"` // of what is missing
	Buckets  []InspectionBucket `json:"buckets"`
}

// InspectionBucket is an hour of a day, or a day of a month.
type InspectionBucket struct {
	From     int64   `json:"from"`
	To       int64   `json:"to"`
	Expected float64 `json:"expected"`
	Recorded float64 `json:"recorded"`
	Missing  float64 `json:"missing"`
}

// Reason is why there is, or is not, footage at an instant.
type Reason struct {
	At       int64   `json:"at"`
	Recorded bool    `json:"recorded"`
	From     int64   `json:"from,omitempty"` // of the range or the gap
	To       int64   `json:"to,omitempty"`
	State    string  `json:"state,omitempty"`
	Why      string  `json:"why,omitempty"`
	Text     string  `json:"text"`
	Hint     string  `json:"hint,omitempty"`
	Before   int64   `json:"nearest_before,omitempty"`
	After    int64   `json:"nearest_after,omitempty"`
	Events   []Event `json:"events"` // of the stream and the server around that time
}

// Inspector is the part of Backend that knows what should have been recorded.
type Inspector interface {
	// Inspected lists the streams that Inspect accounts for, in order: those with
	// footage, and those that are to be recorded.
	Inspected() ([]string, error)
	// Inspect accounts for a day (by hours) or a month (by days) that t lies
	// in, of streams, in their order.
	Inspect(t time.Time, month bool, uids []string) (*Inspection, error)
	Why(uid string, at media.Wall) (*Reason, error)
	// OpenGaps lists what is missing of all streams in s, newest first, but for
	// what a schedule or an operator left out. An outage that goes on is listed
	// until now, also of a stream that was never recorded.
	OpenGaps(s media.Span) ([]GapItem, error)
}

var inspectRoutes = []route{
	{"GET", "inspection", Viewer, (*API).inspection},
	{"GET", "streams/{uid}/why", Viewer, (*API).why},
}

func (a *API) inspection(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	args := ctx.QueryArgs()
	day, month, uid := string(args.Peek("day")), string(args.Peek("month")), string(args.Peek("uid"))
	layout, text := "2006-01-02", day
	if month != "" {
		layout, text = "2006-01", month
	}
	switch {
	case day != "" && month != "":
		return web.E(400, "bad_day", "day or month, not both", "")
	case day == "" && month == "", text == "today", text == "now":
		text = time.Now().In(a.zone()).Format(layout)
	}
	t, err := time.Parse(layout, text)
	t = time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, a.zone()) // a day may have no midnight
	if err != nil {
		return web.E(400, "bad_day", fmt.Sprintf("%q is not a day or a month", text), "day=2026-03-01, month=2026-03 or day=today")
	}
	uids := []string{uid}
	if uid != "" {
		if _, e := a.one(uids); e != nil {
			return e
		}
	} else if uids, err = a.b.Inspected(); err != nil {
		return unreadable(err)
	}
	p, e := pageOf(ctx, len(uids), func(i int) string { return uids[i] })
	if e != nil {
		return e
	}
	in, err := a.b.Inspect(t, month != "", uids[p.from:p.to])
	if err != nil {
		return unreadable(err)
	}
	page := *in
	page.Next = p.next
	web.JSON(ctx, page)
	return nil
}

func (a *API) why(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	text := string(ctx.QueryArgs().Peek("at"))
	if text == "" {
		return web.E(400, "bad_time", "at is missing", "for example ?at=2026-03-01T03:12:00Z")
	}
	at, err := timeline.ParseTime(text, time.Now(), a.zone())
	if err != nil {
		return web.E(400, "bad_time", "at: "+err.Error(), "")
	}
	r, err := a.b.Why(s.UID, at)
	p := new(fault.Problem)
	switch {
	case errors.As(err, &p):
		return web.E(503, "storage", p.What, p.Hint)
	case err != nil:
		return unreadable(err)
	}
	web.JSON(ctx, r)
	return nil
}
