package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// holed is an archive in which every stream has the same gaps.
type holed struct{ empty }

func (holed) Ranges(_ string, s media.Span) (rs []archive.Range, gs []archive.Gap, err error) {
	for i, why := range []archive.GapCause{archive.GapCameraLost, archive.GapOffSchedule, archive.GapCameraLost, archive.GapDeleted, archive.GapServerDown} {
		from := media.WallMilli(int64(i+1) * 10_000)
		gs = append(gs, archive.Gap{Span: media.Span{From: from, To: from.Add(time.Duration(i+1) * time.Second)}, State: "open", Why: why})
	}
	return rs, gs, nil
}

func holedAPI(f *fake) *API {
	auth := func(*fasthttp.RequestCtx) (Identity, *web.Error) { return Identity{Name: "x", Role: Viewer}, nil }
	return New(f, auth, timeline.New(holed{}, func(string) timeline.Ring { return nil }), func() *time.Location { return time.UTC }, places{}, nil)
}

func page(t *testing.T, a *API, path, cursor string) (l gapList) {
	t.Helper()
	ctx, _ := do(a, "", "GET", "/api/v1/"+path+"&cursor="+url.QueryEscape(cursor), "")
	if err := json.Unmarshal(ctx.Response.Body(), &l); err != nil || ctx.Response.StatusCode() != 200 {
		t.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	return l
}

// walk reads a list to its end by its cursor.
func walk(t *testing.T, a *API, path string) (told string, last gapList) {
	t.Helper()
	cursor := ""
	var out []string
	for range 30 {
		last = page(t, a, path, cursor)
		for _, g := range last.Items {
			out = append(out, fmt.Sprintf("%s%d:%s", g.UID, g.From/10_000, g.Why))
		}
		if last.Next == nil {
			return strings.Join(out, " "), last
		}
		cursor = *last.Next
	}
	t.Fatal("the list does not end")
	return "", last
}

func TestGapPages(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 5, 100} {
		told, l := walk(t, holedAPI(&fake{}), fmt.Sprintf("streams/a/gaps?limit=%d", limit))
		if told != "1:camera_lost 2:off_schedule 3:camera_lost 4:deleted 5:server_down" {
			t.Errorf("by %d: %s", limit, told)
		}
		if c := l.Totals["camera_lost"]; c == nil || *c != (GapTotal{2, 4000, 3000}) || len(l.Totals) != 4 {
			t.Errorf("by %d: totals %+v", limit, l.Totals)
		}
	}
	if told, l := walk(t, holedAPI(&fake{}), "streams/a/gaps?limit=1&why=server_down,deleted"); told != "4:deleted 5:server_down" || len(l.Totals) != 2 {
		t.Errorf("filtered: %s %+v", told, l.Totals)
	}
	if told, _ := walk(t, holedAPI(&fake{}), "streams/a/gaps?state=lost"); told != "" {
		t.Errorf("lost: %s", told)
	}
}

// TestOpenGapPages: a gap that is filled while somebody reads the list shifts
// nothing.
func TestOpenGapPages(t *testing.T) {
	f := &fake{}
	for _, s := range []struct {
		uid string
		at  int64
	}{{"a-1", 9}, {"b", 9}, {"a-1", 5}, {"b", 3}, {"a-1", 1}} {
		f.gaps = append(f.gaps, GapItem{UID: s.uid, From: s.at * 10_000, To: s.at*10_000 + 500, State: "open", Why: "driver"})
	}
	a := holedAPI(f)
	const all = "a-19:driver b9:driver a-15:driver b3:driver a-11:driver"
	for _, limit := range []int{1, 2, 4, 5, 9} {
		if told, _ := walk(t, a, fmt.Sprintf("backfill?limit=%d", limit)); told != all {
			t.Errorf("by %d: %s", limit, told)
		}
	}
	first := page(t, a, "backfill?limit=3", "")
	f.gaps = append(f.gaps[:1:1], f.gaps[3:]...) // the second and the third are filled
	f.gaps = append([]GapItem{{UID: "c", From: 200_000, To: 201_000, State: "open"}}, f.gaps...)
	if l := page(t, a, "backfill?limit=3", *first.Next); len(l.Items) != 2 || l.Items[0].From != 30_000 || l.Next != nil {
		t.Errorf("behind gaps that are gone: %+v", l.Items)
	}
}
