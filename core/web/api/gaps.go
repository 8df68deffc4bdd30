package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/media"
	"media-server/core/web"
)

// GapItem is a gap of some stream; times in Unix ms.
type GapItem struct {
	UID   string `json:"uid,omitempty"`
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	State string `json:"state"` // open, fetching, filled, lost
	Why   string `json:"why"`
}

// GapTotal sums the gaps of one cause.
type GapTotal struct {
	Gaps    int   `json:"gaps"`
	Millis  int64 `json:"ms"`
	Longest int64 `json:"longest_ms"`
}

// gapList is a page of gaps. Totals, by cause, are of all that match and not
// only of the page.
type gapList struct {
	Items  []GapItem            `json:"items"`
	Next   *string              `json:"next"`
	Totals map[string]*GapTotal `json:"totals"`
}

var gapRoutes = []route{
	{"GET", "streams/{uid}/gaps", Viewer, (*API).gaps},
	{"GET", "backfill", Viewer, (*API).openGaps},
}

// gaps lists those of one stream, oldest first.
func (a *API) gaps(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	s, span, e := a.streamWindow(ctx, args)
	if e != nil {
		return e
	}
	_, gs, err := a.tl.Ranges(s.UID, span)
	if err != nil {
		return unreadable(err)
	}
	items := make([]GapItem, len(gs))
	for i, g := range gs {
		items[i] = GapItem{From: g.Span.From.Milli(), To: g.Span.To.Milli(), State: g.State, Why: string(g.Why)}
	}
	return pageOfGaps(ctx, items)
}

// openGaps lists what is missing of all streams, newest first; of a week when
// it is not told since when.
func (a *API) openGaps(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	span, e := a.window(ctx)
	if e != nil {
		return e
	}
	if len(ctx.QueryArgs().Peek("from")) == 0 {
		span.From = min(span.To, media.WallOf(time.Now())).Add(-7 * 24 * time.Hour)
	}
	items, err := a.b.OpenGaps(span)
	if err != nil {
		return unreadable(err)
	}
	return pageOfGaps(ctx, items)
}

// pageOfGaps answers with the part of items that state=, why= (each a list by
// comma), limit= and cursor= ask for. A cursor names the last gap that was told,
// so that gaps which come or go meanwhile do not shift the pages; if that one is
// gone the list goes on behind its place.
func pageOfGaps(ctx *fasthttp.RequestCtx, items []GapItem) *web.Error {
	limit, e := intArg(ctx, "limit", 1000, 1, 10000)
	if e != nil {
		return e
	}
	skip, e := gapCursor(ctx, items)
	if e != nil {
		return e
	}
	states, whys := listArg(ctx, "state"), listArg(ctx, "why")
	l := gapList{Items: []GapItem{}, Totals: map[string]*GapTotal{}}
	for i, g := range items {
		if states != nil && !slices.Contains(states, g.State) || whys != nil && !slices.Contains(whys, g.Why) {
			continue
		}
		t := l.Totals[g.Why]
		if t == nil {
			t = &GapTotal{}
			l.Totals[g.Why] = t
		}
		t.Gaps++
		t.Millis += g.To - g.From
		t.Longest = max(t.Longest, g.To-g.From)
		switch {
		case i < skip:
		case len(l.Items) < limit:
			l.Items = append(l.Items, g)
		case l.Next == nil:
			last := l.Items[limit-1]
			next := fmt.Sprintf("%d-%d-%s", last.From, last.To, last.UID)
			l.Next = &next
		}
	}
	web.JSON(ctx, l)
	return nil
}

func listArg(ctx *fasthttp.RequestCtx, key string) []string {
	if v := string(ctx.QueryArgs().Peek(key)); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

// gapCursor is how many of items the cursor has told already.
func gapCursor(ctx *fasthttp.RequestCtx, items []GapItem) (int, *web.Error) {
	v := string(ctx.QueryArgs().Peek("cursor"))
	if v == "" {
		return 0, nil
	}
	part := strings.SplitN(v, "-", 3)
	bad := web.E(400, "bad_cursor", "cursor is not one this server gave", "")
	if len(part) != 3 {
		return 0, bad
	}
	from, err1 := strconv.ParseInt(part[0], 10, 64)
	to, err2 := strconv.ParseInt(part[1], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, bad
	}
	last := GapItem{From: from, To: to, UID: part[2]}
	if i := slices.IndexFunc(items, func(g GapItem) bool { return g.UID == last.UID && g.From == from && g.To == to }); i >= 0 {
		return i + 1, nil
	}
	newestFirst := last.UID != ""
	for i, g := range items {
		if newestFirst && (g.From < from || g.From == from && g.UID > last.UID) || !newestFirst && g.From > from {
			return i, nil
		}
	}
	return len(items), nil
}
