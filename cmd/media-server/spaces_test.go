package main

import (
	"strings"
	"testing"

	"media-server/core/web/api"
)

func TestPrintSpaces(t *testing.T) {
	var b strings.Builder
	printSpaces(&b, []api.SpaceStatus{
		{Name: "main", State: "normal", Pools: []string{"default"}, Free: 5e9, Total: 1e10},
		{Name: "old", State: "scanning", Done: 25, Found: 100, Progress: 0.25, Pools: []string{"a", "b"}},
		{Name: "gone", State: "lost", Why: "lost: the space is not there", Hint: "mount its disk again"},
		{Name: "tired", State: "normal", Leaving: true},
	})
	want := `space main: normal, 5.0 GB of 10.0 GB free, pool default
space old: scanning 25% (25 of 100 files), 0 B of 0 B free, 2 pools
space gone: lost, 0 B of 0 B free, in no pool: lost: the space is not there; mount its disk again
space tired: normal, 0 B of 0 B free, in no pool, goes once it is empty
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}
