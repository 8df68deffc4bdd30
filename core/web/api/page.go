package api

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
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

// cursorKeys is how many items a cursor knows: as many may go at once before a
// list is told from its beginning again.
const cursorKeys = 16

// pageOf finds the part of a list of n items that limit= and cursor= ask for;
// key(i) tells item i from all others. A cursor is the place of the last item
// that was told, and hashes of its key and of a few before: the list goes on behind
// the last of them that is still there, wherever it is by now. If all of them are
// gone it begins anew: better something twice than something never.
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
		next := strconv.Itoa(p.to - 1)
		for i := p.to - 1; i >= max(0, p.to-cursorKeys); i-- {
			next += fmt.Sprintf("-%016x", keyHash(key(i)))
		}
		p.next = &next
	}
	return p, nil
}

// resume is the first item that the cursor has not told yet.
func resume(cursor string, n int, key func(i int) string) (int, *web.Error) {
	if cursor == "" {
		return 0, nil
	}
	place, sums, _ := strings.Cut(cursor, "-")
	at, err := strconv.Atoi(place)
	var want []uint64
	for sum := range strings.SplitSeq(sums, "-") {
		x, err2 := strconv.ParseUint(sum, 16, 64)
		if err2 != nil || len(sum) != 16 {
			err = cmp.Or(err, strconv.ErrSyntax)
		}
		want = append(want, x)
	}
	if err != nil || at < 0 || len(want) > cursorKeys {
		return 0, web.E(400, "bad_cursor", "cursor is not one this server gave", "")
	}
	if at < n && keyHash(key(at)) == want[0] {
		return at + 1, nil
	}
	from, best := 0, len(want)
	for i := range n {
		if k := slices.Index(want[:best], keyHash(key(i))); k >= 0 {
			from, best = i+1, k
		}
	}
	return from, nil
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
