package export

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// laneOf is a lane of units that are letters.
func laneOf(s string) *lane {
	l := &lane{}
	for i := range s {
		l.units = append(l.units, unit{payload: [32]byte{s[i]}})
	}
	l.sort()
	return l
}

func hashes(s string) (out [][32]byte) {
	for i := range s {
		out = append(out, [32]byte{s[i]})
	}
	return out
}

func TestAlign(t *testing.T) {
	for _, c := range []struct {
		name, lane, have string
		near             int32
		want             []int32
	}{
		{"whole", "abcdef", "abcdef", 0, []int32{0, 1, 2, 3, 4, 5}},
		{"a clip", "abcdef", "cde", 0, []int32{2, 3, 4}},
		{"one altered", "abcdef", "bcXef", 0, []int32{1, 2, -1, 4, 5}},
		{"one left out", "abcdef", "abdef", 0, []int32{0, 1, 3, 4, 5}},
		{"one put in", "abcdef", "abXcd", 0, []int32{0, 1, -1, 2, 3}},
		{"one repeated", "abcdef", "abbcd", 0, []int32{0, -1, 1, 2, 3}},
		{"swapped", "abcdef", "abdcef", 0, []int32{0, 1, -1, 2, 4, 5}},
		{"all backwards", "abc", "cba", 0, []int32{-1, -1, 0}},
		{"foreign", "abc", "XYZ", 0, []int32{-1, -1, -1}},
		{"silence behind speech", "ssssabssss", "bss", 0, []int32{5, 6, 7}},
		{"silence before speech", "ssssabssss", "ssab", 0, []int32{2, 3, 4, 5}},
		{"silence between speech", "assb", "assb", 0, []int32{0, 1, 2, 3}},
		{"silence left out", "asssb", "asb", 0, []int32{0, 3, 4}},
		{"more silence than there was", "asb", "assb", 0, []int32{0, -1, 1, 2}},
		{"nothing but silence", "sssss", "ss", 0, []int32{0, 1}},
		{"nothing but silence, by the clock", "sssss", "ss", 3, []int32{3, 4}},
		{"nothing but silence, at a clock that is over", "sssss", "ss", 9, []int32{0, 1}},
		{"none", "abc", "", 0, []int32{}},
	} {
		if got := laneOf(c.lane).align(hashes(c.have), func(int) int32 { return c.near }); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q in %q: %v, want %v", c.name, c.have, c.lane, got, c.want)
		}
	}
}

// TestAlignKeepsOrder: whatever is compared with whatever, places rise and are
// those of the same payload; and a clip of different units finds itself.
func TestAlignKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := laneOf(rapid.StringMatching(`[a-h]{0,30}`).Draw(t, "lane"))
		have := hashes(rapid.StringMatching(`[a-i]{0,30}`).Draw(t, "have"))
		last := int32(-1)
		for i, p := range l.align(have, func(int) int32 { return 0 }) {
			if p < 0 {
				continue
			}
			if p <= last || l.units[p].payload != have[i] {
				t.Fatalf("sample %d at %d, behind %d", i, p, last)
			}
			last = p
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		const all = "abcdefghijklmnopqrstuvwxyz0123456789"
		from := rapid.IntRange(0, len(all)-1).Draw(t, "from")
		to := rapid.IntRange(from, len(all)).Draw(t, "to")
		for i, p := range laneOf(all).align(hashes(all[from:to]), func(int) int32 { return 0 }) {
			if int(p) != from+i {
				t.Fatalf("sample %d at %d", i, p)
			}
		}
	})
}
