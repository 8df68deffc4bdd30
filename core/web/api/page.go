package api

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"media-server/core/web"
)

// part is the items [from, to) of a list that limit= and cursor= ask for.
type part struct {
	from, to int
	next     *string // cursor of what follows; nil = nothing does
}

// pageOf finds the part of a list of n items that limit= and cursor= ask for;
// key(i) tells item i from all others. A cursor is the place of the last item
// that was told, and a hash of its key: the list goes on behind that item
// wherever it is by now, and at its place if it is gone.
func pageOf(ctx *fasthttp.RequestCtx, n int, key func(i int) string) (p part, e *web.Error) {
	limit, e := intArg(ctx, "limit", 1000, 1, 10000)
	if e != nil {
		return p, e
	}
	if p.from, e = resume(string(ctx.QueryArgs().Peek("cursor")), n, key); e != nil {
		return p, e
	}
	if p.to = n; n-p.from > limit {
		p.to = p.from + limit
		next := fmt.Sprintf("%d-%016x", p.to-1, keyHash(key(p.to-1)))
		p.next = &next
	}
	return p, nil
}

// resume is the first item that the cursor has not told yet.
func resume(cursor string, n int, key func(i int) string) (int, *web.Error) {
	if cursor == "" {
		return 0, nil
	}
	place, sum, _ := strings.Cut(cursor, "-")
	at, err1 := strconv.Atoi(place)
	want, err2 := strconv.ParseUint(sum, 16, 64)
	if err1 != nil || err2 != nil || at < 0 || len(sum) != 16 {
		return 0, web.E(400, "bad_cursor", "cursor is not one this server gave", "")
	}
	if at < n && keyHash(key(at)) == want {
		return at + 1, nil
	}
	for i := range n {
		if keyHash(key(i)) == want {
			return i + 1, nil
		}
	}
	return min(at, n), nil
}

func keyHash(key string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	return h.Sum64()
}

// answerPage answers with the page of items that is asked for.
func answerPage[T any](ctx *fasthttp.RequestCtx, items []T, key func(*T) string) *web.Error {
	p, e := pageOf(ctx, len(items), func(i int) string { return key(&items[i]) })
	if e != nil {
		return e
	}
	out := append([]T{}, items[p.from:p.to]...) // never null
	l := list{Items: out}
	if p.next != nil {
		l.Next = *p.next
	}
	web.JSON(ctx, l)
	return nil
}
