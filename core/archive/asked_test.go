package archive

import (
	"log/slog"
	"testing"
	"time"

	"media-server/core/archive/retain"
)

// TestAsked: a confirmation is of all that the rules want, and of no more than somebody
// was told: for more, and by other rules, he is told again.
func TestAsked(t *testing.T) {
	st, err := openState(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	a := &Archive{state: st, ensured: make(chan struct{}, 1)}
	if err := a.loadConfirms(); err != nil {
		t.Fatal(err)
	}
	const gb = 1 << 30
	both := retain.Stream{UID: "gate", Duration: time.Hour, Capacity: 10 * gb, Most: 50, Bytes: 100 * gb, Overdue: retain.Amount{Files: 600, Bytes: 60 * gb}}
	take := func(s retain.Stream) []retain.Held {
		return a.asked.take([]retain.Held{{UID: s.UID, Why: retain.Age, Goes: s.Overdue, Bytes: s.Bytes}}, []retain.Stream{s})
	}
	if fresh := take(both); len(fresh) != 1 || fresh[0].Goes.Bytes != 90*gb {
		t.Errorf("of two limits he is told %+v", fresh)
	}
	if fresh := take(both); len(fresh) != 0 {
		t.Errorf("he is told again: %+v", fresh)
	}
	if !a.ConfirmRetention("gate") || !a.asked.confirmed(&both) {
		t.Error("what was confirmed is not")
	}
	change := func(f func(s *retain.Stream)) *retain.Stream {
		s := both
		f(&s)
		return &s
	}
	for name, c := range map[string]struct {
		s    *retain.Stream
		want bool
	}{
		"some of it went":  {change(func(s *retain.Stream) { s.Bytes, s.Overdue.Bytes = 50*gb, 10*gb }), true},
		"a little more":    {change(func(s *retain.Stream) { s.Bytes = 105 * gb }), true},
		"the clock is set": {change(func(s *retain.Stream) { s.Bytes, s.Overdue.Bytes = 200*gb, 200*gb }), false},
		"other rules":      {change(func(s *retain.Stream) { s.Duration = time.Minute }), false},
	} {
		if got := a.asked.confirmed(c.s); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, s := range []*retain.Stream{change(func(s *retain.Stream) { s.Overdue.Bytes, s.Bytes = 150*gb, 160*gb }), change(func(s *retain.Stream) { s.Duration = time.Minute })} {
		if fresh := take(*s); len(fresh) != 1 {
			t.Errorf("of %+v he is not told", s)
		}
		if a.asked.confirmed(&both) {
			t.Error("and what was confirmed before still is")
		}
	}

	space := func(rules string, asked int64) []HeldBack {
		return a.asked.takeSpaces([]retain.HeldSpace{{Space: "s0", Why: retain.Reserve, Goes: asked - 5*gb, Bytes: 500 * gb}}, nil, map[string]wanted{"s0": {rules, asked}})
	}
	if fresh := space("10%", 20*gb); len(fresh) != 1 || !a.ConfirmSpace("s0") || !a.asked.confirmedSpace("s0", wanted{"10%", 20 * gb}) {
		t.Errorf("of a space: %+v", fresh)
	}
	if a.asked.confirmedSpace("s0", wanted{"10%", 400 * gb}) || a.asked.confirmedSpace("s0", wanted{"20%", 20 * gb}) {
		t.Error("another program has filled the disk, or other limits: that was not confirmed")
	}
	if fresh := space("10%", 400*gb); len(fresh) != 1 || a.asked.confirmedSpace("s0", wanted{"10%", 20 * gb}) {
		t.Errorf("more of a space: %+v", fresh)
	}
}
