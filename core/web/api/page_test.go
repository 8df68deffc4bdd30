package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// long is a backend whose every list has n items.
func long(n int) *fake {
	f := &fake{}
	for i := range n {
		name := fmt.Sprintf("i%d", (i*7)%n) // in no order but their own
		f.problems = append(f.problems, Problem{Where: "here", What: name})
		f.spaces = append(f.spaces, SpaceStatus{Name: name})
		f.pools = append(f.pools, Pool{Name: name})
		f.tokens = append(f.tokens, Token{ID: name})
		f.locks = append(f.locks, Lock{ID: name})
		f.marks = append(f.marks, Mark{Kind: name})
		f.moves = append(f.moves, Move{From: "a", To: name}, Move{From: "a", To: name, Stage: true})
		f.groomings = append(f.groomings, Grooming{Pool: name})
		f.held = append(f.held, HeldBack{Space: name}, HeldBack{UID: name})
		f.backups = append(f.backups, Backup{Name: name})
		f.inspected = append(f.inspected, InspectionStream{UID: name})
	}
	return f
}

var pagedLists = []string{"problems", "spaces", "pools", "tokens", "streams/a/locks", "streams/a/events", "moves", "groomings", "retention/held", "backups", "inspection?day=today"}

// askPage is one page of a list: its items as they came, and the next cursor.
func askPage(t *testing.T, f *fake, path string, limit int, cursor string) (items []string, next string) {
	t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	ctx, _ := do(newAPI(f), "admin", "GET", fmt.Sprintf("/api/v1/%s%slimit=%d&cursor=%s", path, sep, limit, url.QueryEscape(cursor)), "")
	var l struct {
		Items []json.RawMessage
		Next  *string
	}
	if err := json.Unmarshal(ctx.Response.Body(), &l); err != nil || ctx.Response.StatusCode() != 200 || len(l.Items) > limit {
		t.Fatalf("%s by %d: %d %s", path, limit, ctx.Response.StatusCode(), ctx.Response.Body())
	}
	for _, x := range l.Items {
		items = append(items, string(x))
	}
	if l.Next != nil {
		next = *l.Next
	}
	return items, next
}

// TestEveryListPages: each list comes whole by pages of any length, in its
// order and nothing twice.
func TestEveryListPages(t *testing.T) {
	f := long(9)
	for _, path := range pagedLists {
		whole, next := askPage(t, f, path, 100, "")
		if next != "" || len(whole) < 9 {
			t.Fatalf("%s: %d items, then %q", path, len(whole), next)
		}
		for _, limit := range []int{1, 2, 9, 18} {
			var told []string
			for cursor, n := "", 0; ; n++ {
				items, next := askPage(t, f, path, limit, cursor)
				told = append(told, items...)
				if cursor = next; cursor == "" {
					break
				}
				if n > 20 {
					t.Fatalf("%s by %d does not end", path, limit)
				}
			}
			if !slices.Equal(told, whole) {
				t.Errorf("%s by %d: %q", path, limit, told)
			}
		}
		for query, code := range map[string]string{"limit=0": "bad_limit", "limit=10001": "bad_limit", "cursor=x": "bad_cursor", "cursor=-1-0000000000000000": "bad_cursor", "cursor=1-12": "bad_cursor"} {
			sep := "?"
			if strings.Contains(path, "?") {
				sep = "&"
			}
			ctx, _ := do(newAPI(f), "admin", "GET", "/api/v1/"+path+sep+query, "")
			if ctx.Response.StatusCode() != 400 {
				t.Errorf("%s %s: %d", path, query, ctx.Response.StatusCode())
				continue
			}
			shape(t, ctx, code)
		}
	}
}

// TestPagesOfAListThatChanges: what comes and goes between two pages neither
// repeats nor hides what stays.
func TestPagesOfAListThatChanges(t *testing.T) {
	of := func(names ...string) *fake {
		f := &fake{}
		for _, n := range names {
			f.locks = append(f.locks, Lock{ID: n})
		}
		return f
	}
	_, cursor := askPage(t, of("a", "b", "c", "d"), "streams/a/locks", 2, "")
	for want, f := range map[string]*fake{
		"c d":   of("a", "b", "c", "d"),
		"c d ":  of("0", "1", "a", "b", "c", "d"), // two came before
		"d":     of("b", "d"),                     // what was told before, and what follows, went
		" c d":  of("a", "c", "d"),                // the last that was told went
		"c d  ": of("c", "d"),                     // all that were told went
		"":      of("a"),
		"c d e": of("a", "b", "c", "d", "e"),
	} {
		items, _ := askPage(t, f, "streams/a/locks", 10, cursor)
		var got []string
		for _, x := range items {
			var l Lock
			if err := json.Unmarshal([]byte(x), &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l.ID)
		}
		if strings.Join(got, " ") != strings.TrimSpace(want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPagesBesideWhatGoes: an item that stays is told though most of what was told
// before it goes between the pages, and each page is short.
func TestPagesBesideWhatGoes(t *testing.T) {
	for _, gone := range []int{1, 2, cursorKeys - 1, cursorKeys, 30} {
		f := &fake{}
		for i := range 40 {
			f.held = append(f.held, HeldBack{Space: fmt.Sprintf("s%02d", i)})
		}
		told := map[string]bool{}
		cursor := ""
		for range 30 {
			items, next := askPage(t, f, "retention/held", 1, cursor)
			told[items[0]] = true
			cursor = next
		}
		f.held = slices.Delete(f.held, 30-gone, 30)
		for cursor != "" {
			items, next := askPage(t, f, "retention/held", 1, cursor)
			for _, x := range items {
				if told[x] && gone < cursorKeys {
					t.Errorf("%d went: %s comes twice", gone, x)
				}
				told[x] = true
			}
			cursor = next
		}
		if len(told) != 40 {
			t.Errorf("%d went: %d of 40 items were told", gone, len(told))
		}
	}
}

// TestInspectionOfAPage: only the streams of a page are accounted for.
func TestInspectionOfAPage(t *testing.T) {
	f := long(9)
	_, next := askPage(t, f, "inspection?day=today", 2, "")
	if len(f.asked) != 2 {
		t.Errorf("a page of two: %q", f.asked)
	}
	askPage(t, f, "inspection?month=2026-03", 3, next)
	if len(f.asked) != 5 || f.asked[2] != f.inspected[2].UID {
		t.Errorf("the next one: %q", f.asked)
	}
}
